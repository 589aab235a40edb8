"""The inbox: conversations as operators see them in a list, most recently active first.

A page is made in two steps: `near` finds which conversations come next, `rows` reads what is shown of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn

# Characters of the newest message in a row.
PREVIEW_CHARACTERS = 200


class InboxEntry(msgspec.Struct, frozen=True):
    """One conversation that has messages. `last_seq` is its newest event. `preview` is the beginning of the newest
    message, None once it was removed.

    `waiting_since`: since when the visitor has waited for a person; None when they do not. The operator is the one who
    has it, if a person does. `visitor_name` is of somebody whom the client's backend vouched for. `cost` is US dollars,
    of all its messages.
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
    visitor_name: str | None
    channel: str
    rating: str | None
    total_messages: int
    cost: Decimal


class Filter(msgspec.Struct, frozen=True):
    """Which conversations are wanted: None where it does not matter. `waiting`: the visitor waits for a person."""

    owner: str | None = None
    rating: str | None = None
    waiting: bool | None = None

    @property
    def states(self) -> list[str]:
        """As the column `inbox_state` has them."""
        owners = ("ai", "queued", "human", "closed") if self.owner is None else (self.owner,)
        ratings = ("unrated", "up", "down") if self.rating is None else (self.rating,)
        waits = ("", " waiting") if self.waiting is None else (" waiting" if self.waiting else "",)
        return [f"{owner} {rating}{wait}" for owner, rating, wait in product(owners, ratings, waits)]


class After(msgspec.Struct, frozen=True):
    """A place in the order: where a page ended, or the next conversation. `client_id` is not part of the order."""

    last_activity_at: datetime
    id: int
    client_id: int = 0


ANY = Filter()
# Before every row: none is younger.
NEWEST = After(datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1)


async def near(
    conn: Conn, *, client_id: int, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[After]:
    """The next ones of one client."""
    after = after or NEWEST
    async with conn.cursor(row_factory=class_row(After)) as cursor:
        # Merged from the first of each state: a short walk along conversations_inbox_idx for every one of them. Planned
        # for these very values: a plan for any client would take a large one for a small one.
        await cursor.execute(
            """
            select n.last_activity_at, n.id, n.client_id
            from unnest(%(states)s::text[]) as s (state)
            cross join lateral (
                select c.last_activity_at, c.id, c.client_id from conversations c
                where c.client_id = %(client_id)s and c.total_messages > 0 and c.inbox_state = s.state
                  and (c.last_activity_at, c.id) < (%(last_activity_at)s, %(id)s)
                order by c.last_activity_at desc, c.id desc
                limit %(limit)s
            ) n
            order by n.last_activity_at desc, n.id desc
            limit %(limit)s
            """,
            {
                "client_id": client_id,
                "states": wanted.states,
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
            },
            prepare=False,
        )
        return await cursor.fetchall()


async def near_of_all(conn: Conn, *, wanted: Filter = ANY, after: After | None = None, limit: int) -> list[After]:
    """System-wide: for operators who serve all clients, and nobody else."""
    after = after or NEWEST
    async with conn.cursor(row_factory=class_row(After)) as cursor:
        # The same along conversations_inbox_of_all_idx.
        await cursor.execute(
            """
            select n.last_activity_at, n.id, n.client_id
            from unnest(%(states)s::text[]) as s (state)
            cross join lateral (
                select c.last_activity_at, c.id, c.client_id from conversations c
                where c.total_messages > 0 and c.inbox_state = s.state
                  and (c.last_activity_at, c.id) < (%(last_activity_at)s, %(id)s)
                order by c.last_activity_at desc, c.id desc
                limit %(limit)s
            ) n
            order by n.last_activity_at desc, n.id desc
            limit %(limit)s
            """,
            {
                "states": wanted.states,
                "last_activity_at": after.last_activity_at,
                "id": after.id,
                "limit": limit,
            },
            prepare=False,
        )
        return await cursor.fetchall()


async def rows(conn: Conn, *, places: Sequence[After]) -> list[InboxEntry]:
    """System-wide: what `near` found, each conversation named with its client. Most recently active first.

    One that has become active since it was found stands where it is now.
    """
    async with conn.cursor(row_factory=class_row(InboxEntry)) as cursor:
        # By their keys, with one look-up of a message and one sum for each.
        await cursor.execute(
            """
            select c.id, c.public_id, c.client_id, c.last_seq, c.owner, c.owner_operator_id, c.last_activity_at,
                   c.waiting_since, o.name as operator_name, o.avatar_url as operator_avatar_url,
                   left(m.content, %(characters)s) as preview, m.role as preview_role, v.name as visitor_name,
                   c.channel, c.rating, c.total_messages,
                   (
                       select coalesce(sum(s.cost), 0) from messages s
                       where s.client_id = c.client_id and s.conversation_id = c.id
                   ) as cost
            from unnest(%(client_ids)s::bigint[], %(ids)s::bigint[]) as k (client_id, id)
            join conversations c on c.client_id = k.client_id and c.id = k.id
            cross join lateral (
                select n.content, n.role from messages n
                where n.client_id = c.client_id and n.conversation_id = c.id
                order by n.id desc
                limit 1
            ) m
            left join operators o on o.id = c.owner_operator_id
            left join visitors v on v.client_id = c.client_id and v.id = c.visitor_id
            order by c.last_activity_at desc, c.id desc
            """,
            {
                "client_ids": [each.client_id for each in places],
                "ids": [each.id for each in places],
                "characters": PREVIEW_CHARACTERS,
            },
        )
        return await cursor.fetchall()


async def page(
    conn: Conn, *, client_id: int, wanted: Filter = ANY, after: After | None = None, limit: int
) -> list[InboxEntry]:
    """One client's next rows."""
    return await rows(conn, places=await near(conn, client_id=client_id, wanted=wanted, after=after, limit=limit))


async def page_of_all(conn: Conn, *, wanted: Filter = ANY, after: After | None = None, limit: int) -> list[InboxEntry]:
    """System-wide: for operators who serve all clients, and nobody else."""
    return await rows(conn, places=await near_of_all(conn, wanted=wanted, after=after, limit=limit))


async def entry(conn: Conn, *, client_id: int, conversation_id: int) -> InboxEntry | None:
    """One conversation's row as it is now; None while it has no messages."""
    found = await rows(conn, places=[After(NEWEST.last_activity_at, conversation_id, client_id)])
    return found[0] if found else None
