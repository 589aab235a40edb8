"""Turns as question and answer: what was asked, what was said, what it took."""

from datetime import datetime
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class AnsweredTurn(msgspec.Struct, frozen=True):
    """`question` and `answer` are None once retention removed them, `answer` also where there is none.

    Model, tokens and `cost` (US dollars) are the answer's, or what a turn without one used. `model_calls` counts the
    raw calls that were kept, `tool_calls` those that a model made.
    """

    id: int
    public_id: str
    client_id: int
    conversation_id: int
    conversation_public_id: str
    channel: str
    status: str
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    question: str | None
    answer: str | None
    model: str | None
    tokens_input: int
    tokens_output: int
    cost: Decimal
    model_calls: int
    tool_calls: int


class AskedTurn(msgspec.Struct, frozen=True):
    """A turn and the message that it answers."""

    id: int
    public_id: str
    message_id: int


async def page(
    conn: Conn, *, client_id: int, conversation_id: int, before: str | None, limit: int
) -> list[AnsweredTurn]:
    """The `limit` turns before the one with public id `before` (the newest ones for None), newest first."""
    async with conn.cursor(row_factory=class_row(AnsweredTurn)) as cursor:
        # Along turns_conversation_id_id_idx.
        await cursor.execute(
            """
            select t.id, t.public_id, t.client_id, t.conversation_id, c.public_id as conversation_public_id, c.channel,
                   t.status, t.error, t.created_at, t.finished_at, q.content as question, a.content as answer,
                   coalesce(a.model, t.model) as model,
                   coalesce(a.tokens_input, t.tokens_input, 0) as tokens_input,
                   coalesce(a.tokens_output, t.tokens_output, 0) as tokens_output,
                   coalesce(a.cost, t.cost, 0) as cost,
                   (
                       select count(*) from model_traffic x where x.client_id = t.client_id and x.turn_id = t.id
                   ) as model_calls,
                   (
                       select count(*) from tool_executions e where e.client_id = t.client_id and e.turn_id = t.id
                   ) as tool_calls
            from turns t
            join conversations c on c.client_id = t.client_id and c.id = t.conversation_id
            left join messages q on q.client_id = t.client_id and q.id = t.message_id
            left join messages a on a.client_id = t.client_id and a.turn_id = t.id and a.public_id = t.answer_id
            where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
              and (
                  %(before)s::text is null
                  or t.id < (select b.id from turns b where b.client_id = %(client_id)s and b.public_id = %(before)s)
              )
            order by t.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


async def of_any(conn: Conn, *, public_id: str) -> AnsweredTurn | None:
    """System-wide: for the console, which checks whom its operator serves."""
    async with conn.cursor(row_factory=class_row(AnsweredTurn)) as cursor:
        # One turn, whosever it is.
        await cursor.execute(
            """
            select t.id, t.public_id, t.client_id, t.conversation_id, c.public_id as conversation_public_id, c.channel,
                   t.status, t.error, t.created_at, t.finished_at, q.content as question, a.content as answer,
                   coalesce(a.model, t.model) as model,
                   coalesce(a.tokens_input, t.tokens_input, 0) as tokens_input,
                   coalesce(a.tokens_output, t.tokens_output, 0) as tokens_output,
                   coalesce(a.cost, t.cost, 0) as cost,
                   (
                       select count(*) from model_traffic x where x.client_id = t.client_id and x.turn_id = t.id
                   ) as model_calls,
                   (
                       select count(*) from tool_executions e where e.client_id = t.client_id and e.turn_id = t.id
                   ) as tool_calls
            from turns t
            join conversations c on c.client_id = t.client_id and c.id = t.conversation_id
            left join messages q on q.client_id = t.client_id and q.id = t.message_id
            left join messages a on a.client_id = t.client_id and a.turn_id = t.id and a.public_id = t.answer_id
            where t.public_id = %(public_id)s
            """,
            {"public_id": public_id},
        )
        return await cursor.fetchone()


async def of_conversation(conn: Conn, *, client_id: int, conversation_id: int) -> list[AskedTurn]:
    """All turns of a conversation, oldest first."""
    async with conn.cursor(row_factory=class_row(AskedTurn)) as cursor:
        # Which answer belongs to which question.
        await cursor.execute(
            """
            select id, public_id, message_id from turns
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s
            order by id
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchall()
