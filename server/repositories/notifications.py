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


async def list_unread(conn: Conn, *, client_id: int, limit: int) -> list[Notification]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(Notification)) as cursor:
        # What waits for a client's operators.
        await cursor.execute(
            """
            select id, client_id, conversation_id, kind, details, created_at, read_at from notifications
            where client_id = %(client_id)s and read_at is null
            order by id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "limit": limit},
        )
        return await cursor.fetchall()


async def mark_read(conn: Conn, *, client_id: int, through_id: int) -> None:
    """Up to and including `through_id`, so that one that arrived meanwhile stays unread."""
    # Seen.
    await conn.execute(
        """
        update notifications set read_at = now()
        where client_id = %(client_id)s and id <= %(through_id)s and read_at is null
        """,
        {"client_id": client_id, "through_id": through_id},
    )
