"""Whispers: what operators tell the AI about a conversation, unseen by its visitor. Each is told to one turn."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class WhisperRow(msgspec.Struct, frozen=True):
    """The `no`-th of its conversation, from 1. `turn_id` is the turn that was told it; None while it waits for one.

    `operator_name` is None once the operator is gone.
    """

    id: int
    client_id: int
    conversation_id: int
    no: int
    operator_id: int | None
    operator_name: str | None
    operator_avatar_url: str | None
    content: str
    turn_id: int | None
    created_at: datetime


async def create(
    conn: Conn, *, client_id: int, conversation_id: int, operator_id: int, content: str, most_waiting: int
) -> WhisperRow | None:
    """The caller holds the conversation's lock. None when `most_waiting` wait already."""
    async with conn.cursor(row_factory=class_row(WhisperRow)) as cursor:
        # The conversation's flag spares every other turn a look for whispers.
        await cursor.execute(
            """
            with made as (
                insert into whispers (client_id, conversation_id, no, operator_id, content)
                select %(client_id)s, %(conversation_id)s, coalesce(max(w.no), 0) + 1, %(operator_id)s, %(content)s
                from whispers w
                where w.client_id = %(client_id)s and w.conversation_id = %(conversation_id)s
                having count(*) filter (where w.turn_id is null) < %(most_waiting)s
                returning id, client_id, conversation_id, no, operator_id, content, turn_id, created_at
            ), flagged as (
                update conversations c set whispered = true
                from made where c.client_id = made.client_id and c.id = made.conversation_id
            )
            select m.id, m.client_id, m.conversation_id, m.no, m.operator_id, o.name as operator_name,
                   o.avatar_url as operator_avatar_url, m.content, m.turn_id, m.created_at
            from made m left join operators o on o.id = m.operator_id
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "operator_id": operator_id,
                "content": content,
                "most_waiting": most_waiting,
            },
        )
        return await cursor.fetchone()


async def hand_over(conn: Conn, *, client_id: int, conversation_id: int, turn_id: int) -> None:
    """What waits belongs to this turn from now on. The caller holds the conversation's lock and the turn's fence."""
    # No other turn is told it.
    await conn.execute(
        """
        with told as (
            update whispers set turn_id = %(turn_id)s
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and turn_id is null
        )
        update conversations set whispered = false
        where client_id = %(client_id)s and id = %(conversation_id)s and whispered
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "turn_id": turn_id},
    )


async def of_turn(conn: Conn, *, client_id: int, turn_id: int) -> list[str]:
    """What a turn is told, oldest first."""
    # The same for every life of the turn.
    cursor = await conn.execute(
        "select content from whispers where client_id = %(client_id)s and turn_id = %(turn_id)s order by id",
        {"client_id": client_id, "turn_id": turn_id},
    )
    return [row[0] for row in await cursor.fetchall()]


async def recent(conn: Conn, *, client_id: int, conversation_id: int, limit: int) -> list[WhisperRow]:
    """A conversation's last `limit`, oldest first."""
    async with conn.cursor(row_factory=class_row(WhisperRow)) as cursor:
        # For operators alone.
        await cursor.execute(
            """
            select w.id, w.client_id, w.conversation_id, w.no, w.operator_id, o.name as operator_name,
                   o.avatar_url as operator_avatar_url, w.content, w.turn_id, w.created_at
            from whispers w left join operators o on o.id = w.operator_id
            where w.client_id = %(client_id)s and w.conversation_id = %(conversation_id)s
            order by w.no desc
            limit %(limit)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "limit": limit},
        )
        rows = await cursor.fetchall()
        rows.reverse()
        return rows
