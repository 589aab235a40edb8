"""Turns as operators read them: what the AI did for each message, when, and what it cost."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn
from server.repositories.turn_steps import TurnStep

# Bytes of a stored response, compressed, that is read whole; of a larger one the first characters.
RESPONSE_BYTES = 65_536
RESPONSE_CHARACTERS = 16_000


class TurnRecord(msgspec.Struct, frozen=True):
    """`message_public_id` is what it answers, `answer_id` its answer. Model, tokens and `cost` (US dollars) are the
    answer's; where there is none, what the turn used by its end: None while it runs, and where nothing was paid.
    `started_at` is when it was first begun."""

    id: int
    public_id: str
    client_id: int
    message_public_id: str
    answer_id: str
    status: str
    attempts: int
    error: str | None
    model: str | None
    tokens_input: int | None
    tokens_output: int | None
    cost: Decimal | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class CallRecord(msgspec.Struct, frozen=True):
    """A tool call. Of a response that is too large `response_begins` has the beginning, as text."""

    turn_id: int
    client_id: int
    call_id: str
    tool_name: str
    parameters: dict[str, Any]
    response: Any
    response_begins: str | None
    success: bool | None
    error: str | None
    execution_time_ms: int | None
    attempt: int
    timestamp: datetime
    approval: str | None
    approval_until: datetime | None


async def page(conn: Conn, *, client_id: int, conversation_id: int, before: str | None, limit: int) -> list[TurnRecord]:
    """The `limit` turns before the one with public id `before` (the newest ones for None), oldest first.

    None before a turn that is not this conversation's.
    """
    async with conn.cursor(row_factory=class_row(TurnRecord)) as cursor:
        # Backwards along turns_conversation_id_id_idx. A turn that began with its message has no event with its id.
        await cursor.execute(
            """
            select t.id, t.public_id, t.client_id, q.public_id as message_public_id, t.answer_id, t.status,
                   t.attempts, t.error, coalesce(a.model, t.model) as model,
                   coalesce(a.tokens_input, t.tokens_input) as tokens_input,
                   coalesce(a.tokens_output, t.tokens_output) as tokens_output,
                   coalesce(a.cost, t.cost) as cost, t.created_at as queued_at,
                   coalesce(s.started_at, case when t.attempts > 0 then t.created_at end) as started_at,
                   t.finished_at
            from turns t
            join messages q on q.client_id = t.client_id and q.id = t.message_id
            left join messages a
                on a.client_id = t.client_id and a.conversation_id = t.conversation_id and a.public_id = t.answer_id
            cross join lateral (
                select min(e.created_at) as started_at from events e
                where e.client_id = t.client_id and e.turn_id = t.id and e.type = 'turn.started'
            ) s
            where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
              and (
                  %(before)s::text is null
                  or t.id < (
                      select b.id from turns b
                      where b.client_id = %(client_id)s and b.conversation_id = %(conversation_id)s
                        and b.public_id = %(before)s
                  )
              )
            order by t.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "before": before, "limit": limit},
        )
        rows = await cursor.fetchall()
        rows.reverse()
        return rows


async def steps(conn: Conn, *, client_id: int, turn_ids: list[int]) -> list[TurnStep]:
    """What was decided in these turns, each turn's in order."""
    async with conn.cursor(row_factory=class_row(TurnStep)) as cursor:
        # By turn_steps_turn_id_no_key.
        await cursor.execute(
            """
            select turn_id, no, kind, state, request_hash, result, gen, created_at, finished_at
            from turn_steps
            where client_id = %(client_id)s and turn_id = any(%(turn_ids)s::bigint[])
            order by turn_id, no
            """,
            {"client_id": client_id, "turn_ids": turn_ids},
        )
        return await cursor.fetchall()


async def calls(conn: Conn, *, client_id: int, turn_ids: list[int]) -> list[CallRecord]:
    """The tool calls of these turns, each turn's oldest first."""
    async with conn.cursor(row_factory=class_row(CallRecord)) as cursor:
        # By tool_executions_turn_id_call_id_key.
        await cursor.execute(
            """
            select e.turn_id, e.client_id, e.call_id, e.tool_name, e.parameters,
                   case when not l.large then e.n8n_response end as response,
                   case when l.large then left(e.n8n_response::text, %(characters)s) end as response_begins,
                   e.success, e.error, e.execution_time_ms, e.attempt, e.timestamp, e.approval, e.approval_until
            from tool_executions e
            cross join lateral (select coalesce(pg_column_size(e.n8n_response), 0) > %(bytes)s as large) l
            where e.client_id = %(client_id)s and e.turn_id = any(%(turn_ids)s::bigint[])
            order by e.turn_id, e.id
            """,
            {
                "client_id": client_id,
                "turn_ids": turn_ids,
                "bytes": RESPONSE_BYTES,
                "characters": RESPONSE_CHARACTERS,
            },
        )
        return await cursor.fetchall()
