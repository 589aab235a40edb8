"""Notifications: what the operators of a client should know."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Notification(msgspec.Struct, frozen=True):
    """`read_at` is None until somebody has read it."""

    id: int
    client_id: int
    conversation_id: int | None
    conversation_public_id: str | None
    kind: str
    details: dict[str, Any]
    created_at: datetime
    read_at: datetime | None


async def create(
    conn: Conn, *, client_id: int, kind: str, conversation_id: int | None = None, details: dict[str, Any] | None = None
) -> None:
    """`kind`: handoff_requested, turn_failed, tool_in_doubt, limit_near, limit_reached or integration_failed."""
    # Something happened.
    await conn.execute(
        """
        insert into notifications (client_id, conversation_id, kind, details)
        values (%(client_id)s, %(conversation_id)s, %(kind)s, %(details)s)
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "kind": kind,
            "details": Jsonb(details or {}, dumps=msgspec.json.encode),
        },
    )


async def page(conn: Conn, *, client_id: int, before: int | None = None, limit: int) -> list[Notification]:
    """One client's before this id (the newest ones for None), newest first."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # Along notifications_client_id_id_idx.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.kind, n.details,
                   n.created_at, n.read_at
            from notifications n
            left join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            where n.client_id = %(client_id)s and n.id < coalesce(%(before)s::bigint, 9223372036854775807)
            order by n.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def page_of_all(conn: Conn, *, before: int | None = None, limit: int) -> list[Notification]:
    """System-wide: for operators who serve all clients, and nobody else."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # Along the primary key.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.kind, n.details,
                   n.created_at, n.read_at
            from notifications n
            left join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            where n.id < coalesce(%(before)s::bigint, 9223372036854775807)
            order by n.id desc
            limit %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def list_unread(conn: Conn, *, client_id: int, before: int | None = None, limit: int) -> list[Notification]:
    """One client's that nobody has read, newest first."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # Along notifications_unread_idx.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.kind, n.details,
                   n.created_at, n.read_at
            from notifications n
            left join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            where n.client_id = %(client_id)s and n.read_at is null
              and n.id < coalesce(%(before)s::bigint, 9223372036854775807)
            order by n.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def list_unread_of_all(conn: Conn, *, before: int | None = None, limit: int) -> list[Notification]:
    """System-wide: for operators who serve all clients, and nobody else."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # Along notifications_unread_of_all_idx.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.kind, n.details,
                   n.created_at, n.read_at
            from notifications n
            left join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            where n.read_at is null and n.id < coalesce(%(before)s::bigint, 9223372036854775807)
            order by n.id desc
            limit %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def count_unread(conn: Conn, *, client_id: int, most: int) -> int:
    """How many of one client's nobody has read, up to `most`."""
    # A number on a badge: what is beyond it is not counted.
    cursor = await conn.execute(
        """
        select count(*) from (
            select from notifications
            where client_id = %(client_id)s and read_at is null
            order by id desc
            limit %(most)s
        ) n
        """,
        {"client_id": client_id, "most": most},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def count_unread_of_all(conn: Conn, *, most: int) -> int:
    """System-wide: for operators who serve all clients, and nobody else."""
    # The same of everybody's.
    cursor = await conn.execute(
        """
        select count(*) from (
            select from notifications where read_at is null order by id desc limit %(most)s
        ) n
        """,
        {"most": most},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def find_of_any(conn: Conn, *, notification_id: int) -> Notification | None:
    """System-wide: by its number alone, before it is known whether the caller serves its client."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # One notification, whosever it is.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.kind, n.details,
                   n.created_at, n.read_at
            from notifications n
            left join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            where n.id = %(notification_id)s
            """,
            {"notification_id": notification_id},
        )
        return await cursor.fetchone()


async def mark_one_read(conn: Conn, *, client_id: int, notification_id: int) -> bool:
    """False when it was read before, or there is no such notification."""
    # The first who reads it is the one.
    cursor = await conn.execute(
        """
        update notifications set read_at = now()
        where client_id = %(client_id)s and id = %(notification_id)s and read_at is null
        returning id
        """,
        {"client_id": client_id, "notification_id": notification_id},
    )
    return await cursor.fetchone() is not None


async def mark_read(conn: Conn, *, client_id: int, through_id: int) -> int:
    """Up to and including `through_id`, so that one that arrived meanwhile stays unread. How many nobody had read."""
    # Seen.
    cursor = await conn.execute(
        """
        with marked as (
            update notifications set read_at = now()
            where client_id = %(client_id)s and id <= %(through_id)s and read_at is null
            returning id
        )
        select count(*) from marked
        """,
        {"client_id": client_id, "through_id": through_id},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def mark_read_of_all(conn: Conn, *, through_id: int) -> int:
    """System-wide: for operators who serve all clients, and nobody else."""
    # Everybody's.
    cursor = await conn.execute(
        """
        with marked as (
            update notifications set read_at = now() where id <= %(through_id)s and read_at is null
            returning id
        )
        select count(*) from marked
        """,
        {"through_id": through_id},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
