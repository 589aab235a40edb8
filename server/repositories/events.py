"""Events: a conversation's durable facts, to the byte as they were sent."""

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class NewEvent(msgspec.Struct, frozen=True):
    """An event to store. `payload` is the frame, UTF-8 JSON."""

    seq: int
    type: str
    payload: bytes
    turn_id: int | None
    gen: int | None


class Event(msgspec.Struct, frozen=True):
    """A stored event. `payload` is the very bytes that were appended."""

    seq: int
    type: str
    payload: bytes


async def append(conn: Conn, *, client_id: int, conversation_id: int, events: list[NewEvent]) -> None:
    """The caller holds the conversation's lock, which is what keeps seq without gaps."""
    # One statement for any number: arrays side by side become rows. Bytes travel as bytes, unescaped.
    await conn.execute(
        """
        insert into events (conversation_id, seq, client_id, turn_id, gen, type, payload)
        select %(conversation_id)s, e.seq, %(client_id)s, e.turn_id, e.gen, e.type,
               convert_from(e.payload, 'UTF8')::json
        from unnest(
            %(seqs)s::bigint[], %(turn_ids)s::bigint[], %(gens)s::integer[], %(types)s::text[], %(payloads)s::bytea[]
        ) as e (seq, turn_id, gen, type, payload)
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "seqs": [event.seq for event in events],
            "turn_ids": [event.turn_id for event in events],
            "gens": [event.gen for event in events],
            "types": [event.type for event in events],
            "payloads": [event.payload for event in events],
        },
    )


async def after(conn: Conn, *, client_id: int, conversation_id: int, seq: int, limit: int) -> list[Event]:
    """Events with a greater seq, in order, `limit` at most."""
    async with conn.cursor(row_factory=class_row(Event), binary=True) as cursor:
        # What a reader missed.
        await cursor.execute(
            """
            select seq, type, convert_to(payload::text, 'UTF8') as payload from events
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and seq > %(seq)s
            order by seq
            limit %(limit)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "seq": seq, "limit": limit},
        )
        return await cursor.fetchall()


async def head(conn: Conn, *, client_id: int, conversation_id: int) -> int:
    """The seq of the newest event, 0 when there is none."""
    # Backwards along the primary key.
    cursor = await conn.execute(
        """
        select seq from events
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s
        order by seq desc
        limit 1
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
