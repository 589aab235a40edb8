"""Notes of operators about a conversation. Neither its visitor nor the AI ever sees them."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class NoteRow(msgspec.Struct, frozen=True):
    """`operator_id` and the name are None once the operator is gone."""

    id: int
    client_id: int
    conversation_id: int
    conversation_public_id: str
    operator_id: int | None
    operator_name: str | None
    operator_avatar_url: str | None
    content: str
    created_at: datetime


async def create(
    conn: Conn, *, client_id: int, conversation_id: int, operator_id: int, content: str, most: int
) -> NoteRow | None:
    """None when the conversation has `most` already, or there is no such conversation."""
    async with conn.cursor(row_factory=class_row(NoteRow)) as cursor:
        # Two at the same moment may both be the last one that fits: nothing depends on the exact number.
        await cursor.execute(
            """
            with made as (
                insert into notes (client_id, conversation_id, operator_id, content)
                select c.client_id, c.id, %(operator_id)s, %(content)s from conversations c
                where c.client_id = %(client_id)s and c.id = %(conversation_id)s
                  and (
                      select count(*) from notes n
                      where n.client_id = %(client_id)s and n.conversation_id = %(conversation_id)s
                  ) < %(most)s
                returning id, client_id, conversation_id, operator_id, content, created_at
            )
            select m.id, m.client_id, m.conversation_id, c.public_id as conversation_public_id, m.operator_id,
                   o.name as operator_name, o.avatar_url as operator_avatar_url, m.content, m.created_at
            from made m
            join conversations c on c.client_id = m.client_id and c.id = m.conversation_id
            left join operators o on o.id = m.operator_id
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "operator_id": operator_id,
                "content": content,
                "most": most,
            },
        )
        return await cursor.fetchone()


async def of_conversation(conn: Conn, *, client_id: int, conversation_id: int) -> list[NoteRow]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(NoteRow)) as cursor:
        # Along notes_conversation_id_id_idx.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.operator_id,
                   o.name as operator_name, o.avatar_url as operator_avatar_url, n.content, n.created_at
            from notes n
            join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            left join operators o on o.id = n.operator_id
            where n.client_id = %(client_id)s and n.conversation_id = %(conversation_id)s
            order by n.id
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchall()


async def find_of_any(conn: Conn, *, note_id: int) -> NoteRow | None:
    """System-wide: by its number alone, before it is known whether the caller serves its client."""
    async with conn.cursor(row_factory=class_row(NoteRow)) as cursor:
        # One note, whosever it is.
        await cursor.execute(
            """
            select n.id, n.client_id, n.conversation_id, c.public_id as conversation_public_id, n.operator_id,
                   o.name as operator_name, o.avatar_url as operator_avatar_url, n.content, n.created_at
            from notes n
            join conversations c on c.client_id = n.client_id and c.id = n.conversation_id
            left join operators o on o.id = n.operator_id
            where n.id = %(note_id)s
            """,
            {"note_id": note_id},
        )
        return await cursor.fetchone()


async def delete(conn: Conn, *, client_id: int, note_id: int) -> bool:
    """False when there is no such note."""
    # For good.
    cursor = await conn.execute(
        "delete from notes where client_id = %(client_id)s and id = %(note_id)s returning id",
        {"client_id": client_id, "note_id": note_id},
    )
    return await cursor.fetchone() is not None
