"""Messages: what was said, what it cost."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class MessageRow(msgspec.Struct, frozen=True):
    """`content` is None once retention removed it; `cost` is US dollars; `seq` is the event that reported it.

    The author is the operator who wrote it; the name is None for anybody else, and once the operator is gone.
    """

    id: int
    public_id: str
    conversation_id: int
    client_id: int
    role: str
    content: str | None
    parts: list[dict[str, Any]] | None
    cid: str | None
    turn_id: int | None
    turn_public_id: str | None
    model: str | None
    tokens_input: int
    tokens_output: int
    tokens_used: int
    cost: Decimal
    seq: int
    stopped: bool
    cached: bool
    rating: str | None
    created_at: datetime
    author_operator_id: int | None
    author_name: str | None
    author_avatar_url: str | None


class Admission(msgspec.Struct, frozen=True):
    """What decides whether a visitor's message is taken: stored already, an answer running, the month's use."""

    duplicate_id: str | None
    duplicate_seq: int | None
    duplicate_content: str | None
    turn_active: bool
    month_messages: int


async def create(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    public_id: str,
    role: str,
    content: str,
    seq: int,
    created_at: datetime,
    parts: list[dict[str, Any]] | None = None,
    cid: str | None = None,
    turn_id: int | None = None,
    author_operator_id: int | None = None,
    model: str | None = None,
    tokens_input: int = 0,
    tokens_output: int = 0,
    cost: Decimal = Decimal(0),
    stopped: bool = False,
    cached: bool = False,
) -> None:
    """A cid used before in this conversation raises Conflict `cid_reused` at the end of the unit of work."""
    # What somebody said.
    await conn.execute(
        """
        insert into messages (
            client_id, conversation_id, public_id, role, content, parts, cid, turn_id, author_operator_id, model,
            tokens_input, tokens_output, cost, seq, stopped, cached, created_at
        ) values (
            %(client_id)s, %(conversation_id)s, %(public_id)s, %(role)s, %(content)s, %(parts)s, %(cid)s, %(turn_id)s,
            %(author_operator_id)s, %(model)s, %(tokens_input)s, %(tokens_output)s, %(cost)s, %(seq)s, %(stopped)s,
            %(cached)s, %(created_at)s
        )
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "public_id": public_id,
            "role": role,
            "content": content,
            "parts": None if parts is None else Jsonb(parts, dumps=msgspec.json.encode),
            "cid": cid,
            "turn_id": turn_id,
            "author_operator_id": author_operator_id,
            "model": model,
            "tokens_input": tokens_input,
            "tokens_output": tokens_output,
            "cost": cost,
            "seq": seq,
            "stopped": stopped,
            "cached": cached,
            "created_at": created_at,
        },
    )


async def admission(
    conn: Conn, *, client_id: int, conversation_id: int, cid: str, month_start: date
) -> AsyncCursor[Admission]:
    """Issues the question and leaves the row unfetched, so that it travels with the lock. Always one row."""
    cursor = conn.cursor(row_factory=class_row(Admission))
    # Everything that admits or refuses a message, in one look.
    await cursor.execute(
        """
        select m.public_id as duplicate_id,
               m.seq as duplicate_seq,
               m.content as duplicate_content,
               exists (
                   select from turns t
                   where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
                     and t.status in ('queued', 'running')
               ) as turn_active,
               (
                   select coalesce(sum(u.message_count), 0)::bigint from api_usage u
                   where u.client_id = %(client_id)s and u.date >= %(month_start)s
               ) as month_messages
        from (select) always
        left join messages m
            on m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s and m.cid = %(cid)s
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "cid": cid, "month_start": month_start},
    )
    return cursor


async def recent(conn: Conn, *, client_id: int, conversation_id: int, limit: int = 20) -> list[MessageRow]:
    """The last `limit` messages, oldest first."""
    return await page(conn, client_id=client_id, conversation_id=conversation_id, before=None, limit=limit)


async def page(
    conn: Conn, *, client_id: int, conversation_id: int, before: str | None, limit: int, room: int | None = None
) -> list[MessageRow]:
    """The `limit` messages before the one with public id `before` (the newest ones for None), oldest first.

    None before a message that is not this conversation's. With `room` only as many as have so many bytes of text, but
    for the last one that begins within it; there is always one.
    """
    async with conn.cursor(row_factory=class_row(MessageRow)) as cursor:
        # Backwards from the mark. What has no room is not even read: the length of a long text is known without it.
        await cursor.execute(
            """
            with near as (
                select m.id, sum(coalesce(octet_length(m.content), 0)) over (order by m.id desc)
                    - coalesce(octet_length(m.content), 0) as newer_bytes
                from messages m
                where m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s
                  and (
                      %(before)s::text is null
                      or m.id < (
                          select b.id from messages b
                          where b.client_id = %(client_id)s and b.conversation_id = %(conversation_id)s
                            and b.public_id = %(before)s
                      )
                  )
                order by m.id desc
                limit %(limit)s
            )
            select m.id, m.public_id, m.conversation_id, m.client_id, m.role, m.content, m.parts, m.cid, m.turn_id,
                   t.public_id as turn_public_id, m.model, m.tokens_input, m.tokens_output, m.tokens_used, m.cost,
                   m.seq, m.stopped, m.cached, m.rating, m.created_at, o.name as author_name,
                   o.avatar_url as author_avatar_url, m.author_operator_id
            from near
            join messages m on m.client_id = %(client_id)s and m.id = near.id
            left join turns t on t.client_id = m.client_id and t.id = m.turn_id
            left join operators o on o.id = m.author_operator_id
            where %(room)s::bigint is null or near.newer_bytes < %(room)s
            order by m.id desc
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "before": before,
                "limit": limit,
                "room": room,
            },
        )
        rows = await cursor.fetchall()
        rows.reverse()
        return rows


async def all(conn: Conn, *, client_id: int, conversation_id: int) -> list[MessageRow]:
    """The whole conversation, oldest first."""
    return await between(conn, client_id=client_id, conversation_id=conversation_id, after_id=0, through_id=2**63 - 1)


async def between(
    conn: Conn, *, client_id: int, conversation_id: int, after_id: int, through_id: int
) -> list[MessageRow]:
    """Messages with after_id < id <= through_id, oldest first."""
    async with conn.cursor(row_factory=class_row(MessageRow)) as cursor:
        # A stretch, for a summary.
        await cursor.execute(
            """
            select m.id, m.public_id, m.conversation_id, m.client_id, m.role, m.content, m.parts, m.cid, m.turn_id,
                   t.public_id as turn_public_id, m.model, m.tokens_input, m.tokens_output, m.tokens_used, m.cost,
                   m.seq, m.stopped, m.cached, m.rating, m.created_at, o.name as author_name,
                   o.avatar_url as author_avatar_url, m.author_operator_id
            from messages m
            left join turns t on t.client_id = m.client_id and t.id = m.turn_id
            left join operators o on o.id = m.author_operator_id
            where m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s
              and m.id > %(after_id)s and m.id <= %(through_id)s
            order by m.id
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "after_id": after_id,
                "through_id": through_id,
            },
        )
        return await cursor.fetchall()


async def find_by_public_id(conn: Conn, *, client_id: int, conversation_id: int, public_id: str) -> MessageRow | None:
    async with conn.cursor(row_factory=class_row(MessageRow)) as cursor:
        # One message of one conversation.
        await cursor.execute(
            """
            select m.id, m.public_id, m.conversation_id, m.client_id, m.role, m.content, m.parts, m.cid, m.turn_id,
                   t.public_id as turn_public_id, m.model, m.tokens_input, m.tokens_output, m.tokens_used, m.cost,
                   m.seq, m.stopped, m.cached, m.rating, m.created_at, o.name as author_name,
                   o.avatar_url as author_avatar_url, m.author_operator_id
            from messages m
            left join turns t on t.client_id = m.client_id and t.id = m.turn_id
            left join operators o on o.id = m.author_operator_id
            where m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s
              and m.public_id = %(public_id)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "public_id": public_id},
        )
        return await cursor.fetchone()


async def find_by_cid(conn: Conn, *, client_id: int, conversation_id: int, cid: str) -> MessageRow | None:
    async with conn.cursor(row_factory=class_row(MessageRow)) as cursor:
        # One at most: a cid is used once in a conversation.
        await cursor.execute(
            """
            select m.id, m.public_id, m.conversation_id, m.client_id, m.role, m.content, m.parts, m.cid, m.turn_id,
                   t.public_id as turn_public_id, m.model, m.tokens_input, m.tokens_output, m.tokens_used, m.cost,
                   m.seq, m.stopped, m.cached, m.rating, m.created_at, o.name as author_name,
                   o.avatar_url as author_avatar_url, m.author_operator_id
            from messages m
            left join turns t on t.client_id = m.client_id and t.id = m.turn_id
            left join operators o on o.id = m.author_operator_id
            where m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s and m.cid = %(cid)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "cid": cid},
        )
        return await cursor.fetchone()


async def unanswered(conn: Conn, *, client_id: int, conversation_id: int) -> str | None:
    """The public id of the visitor's last message, if nobody has answered it and nobody is about to.

    A person answered it if one wrote after it; the AI if its turn is done. A turn that failed, or that a person ended
    by taking the conversation, is no answer; one that the visitor stopped themselves wants none.
    """
    # Whatever the visitor wrote before is read with it.
    cursor = await conn.execute(
        """
        select m.public_id
        from (
            select l.id, l.public_id from messages l
            where l.client_id = %(client_id)s and l.conversation_id = %(conversation_id)s and l.role = 'user'
            order by l.id desc
            limit 1
        ) m
        where not exists (
            select from messages r
            where r.client_id = %(client_id)s and r.conversation_id = %(conversation_id)s and r.id > m.id
              and r.role = 'operator'
        ) and not exists (
            select from turns t
            where t.client_id = %(client_id)s and t.message_id = m.id
              and (t.status in ('queued', 'running', 'done') or (t.status = 'stopped' and t.error is null))
        )
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def stored_cids(conn: Conn, *, client_id: int, conversation_id: int, cids: list[str]) -> dict[str, int]:
    """Of these cids the stored ones, each with the seq that reported it."""
    # What a widget asks after a reconnect.
    cursor = await conn.execute(
        """
        select cid, seq from messages
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s and cid = any(%(cids)s::text[])
        """,
        {"client_id": client_id, "conversation_id": conversation_id, "cids": cids},
    )
    return dict(await cursor.fetchall())


async def rate(
    conn: Conn, *, client_id: int, conversation_id: int, public_id: str, rating: str, comment: str | None = None
) -> bool:
    """`up` or `down` for an assistant's message; a later rating replaces an earlier one. False for any other."""
    # The visitor's verdict on one answer.
    cursor = await conn.execute(
        """
        update messages set rating = %(rating)s, rating_comment = %(comment)s
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s and public_id = %(public_id)s
          and role = 'assistant'
        returning id
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "public_id": public_id,
            "rating": rating,
            "comment": comment,
        },
    )
    return await cursor.fetchone() is not None


async def total_tokens(conn: Conn, *, client_id: int, conversation_id: int) -> int:
    """Tokens in and out, of all messages."""
    # The conversation's whole use.
    cursor = await conn.execute(
        """
        select coalesce(sum(tokens_used), 0)::bigint from messages
        where client_id = %(client_id)s and conversation_id = %(conversation_id)s
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
