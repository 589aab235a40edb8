"""The inbox: conversations as operators see them in a list, most recently active first."""

from datetime import UTC, datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn

# Characters of the newest message in a row.
PREVIEW_CHARACTERS = 200


class InboxEntry(msgspec.Struct, frozen=True):
    """One conversation that has messages. `last_seq` is its newest event. `preview` is the beginning of the newest
    message, None once it was removed.

    `waiting_since`: since when the visitor has waited for a person; None when they do not. The operator is the one who
    has it, if a person does.
    """

    id: int
    public_id: str
    client_id: int
    last_seq: int
    owner: str
    owner_operator_id: int | None
    operator_name: str | None
    operator_avatar_url: str | None
    preview: str | None
    preview_role: str
    last_activity_at: datetime
    waiting_since: datetime | None


class After(msgspec.Struct, frozen=True):
    """Where a page ended: the last row's `last_activity_at` and `id`."""

    last_activity_at: datetime
    id: int


# Before every row: none is younger.
_NOW = After(datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1)


async def page(conn: Conn, *, client_id: int, after: After | None = None, limit: int) -> list[InboxEntry]:
    """One client's."""
    after = after or _NOW
    async with conn.cursor(row_factory=class_row(InboxEntry)) as cursor:
        # Along conversations_client_id_last_activity_at_idx, with one look-up of a message for each.
        await cursor.execute(
            """
            select c.id, c.public_id, c.client_id, c.last_seq, c.owner, c.owner_operator_id, c.last_activity_at,
                   c.waiting_since, o.name as operator_name, o.avatar_url as operator_avatar_url,
                   left(m.content, %(characters)s) as preview, m.role as preview_role
            from conversations c
            cross join lateral (
                select n.content, n.role from messages n
                where n.client_id = c.client_id and n.conversation_id = c.id
                order by n.id desc
                limit 1
            ) m
            left join operators o on o.id = c.owner_operator_id
            where c.client_id = %(client_id)s
              and (c.last_activity_at, c.id) < (%(last_activity_at)s, %(id)s)
            order by c.last_activity_at desc, c.id desc
            limit %(limit)s
            """,
            {
                "client_id": client_id,
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
                "characters": PREVIEW_CHARACTERS,
            },
        )
        return await cursor.fetchall()


async def page_of_all(conn: Conn, *, after: After | None = None, limit: int) -> list[InboxEntry]:
    """System-wide: for operators who serve all clients, and nobody else."""
    after = after or _NOW
    async with conn.cursor(row_factory=class_row(InboxEntry)) as cursor:
        # Along conversations_last_activity_at_idx.
        await cursor.execute(
            """
            select c.id, c.public_id, c.client_id, c.last_seq, c.owner, c.owner_operator_id, c.last_activity_at,
                   c.waiting_since, o.name as operator_name, o.avatar_url as operator_avatar_url,
                   left(m.content, %(characters)s) as preview, m.role as preview_role
            from conversations c
            cross join lateral (
                select n.content, n.role from messages n
                where n.client_id = c.client_id and n.conversation_id = c.id
                order by n.id desc
                limit 1
            ) m
            left join operators o on o.id = c.owner_operator_id
            where (c.last_activity_at, c.id) < (%(last_activity_at)s, %(id)s)
            order by c.last_activity_at desc, c.id desc
            limit %(limit)s
            """,
            {
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
                "characters": PREVIEW_CHARACTERS,
            },
        )
        return await cursor.fetchall()


async def entry(conn: Conn, *, client_id: int, conversation_id: int) -> InboxEntry | None:
    """One conversation's row as it is now; None while it has no messages."""
    async with conn.cursor(row_factory=class_row(InboxEntry)) as cursor:
        # What is told to whoever watches the inbox.
        await cursor.execute(
            """
            select c.id, c.public_id, c.client_id, c.last_seq, c.owner, c.owner_operator_id, c.last_activity_at,
                   c.waiting_since, o.name as operator_name, o.avatar_url as operator_avatar_url,
                   left(m.content, %(characters)s) as preview, m.role as preview_role
            from conversations c
            cross join lateral (
                select n.content, n.role from messages n
                where n.client_id = c.client_id and n.conversation_id = c.id
                order by n.id desc
                limit 1
            ) m
            left join operators o on o.id = c.owner_operator_id
            where c.client_id = %(client_id)s and c.id = %(conversation_id)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "characters": PREVIEW_CHARACTERS},
        )
        return await cursor.fetchone()
