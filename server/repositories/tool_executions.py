"""Tool calls as they happened, kept 90 days."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import args_row, class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class ToolExecution(msgspec.Struct, frozen=True):
    """`success` is None while the call runs, and for good where its outcome is in doubt.

    `attempt` counts how often it went out. `approval` is None where the visitor is not asked, else `asked`, `approved`
    or `declined`; they may answer until `approval_until`, by the database's clock.
    """

    id: int
    client_id: int
    conversation_id: int
    turn_id: int
    call_id: str
    tool_name: str
    parameters: dict[str, Any]
    n8n_response: Any
    success: bool | None
    error: str | None
    execution_time_ms: int | None
    attempt: int
    timestamp: datetime
    approval: str | None
    approval_until: datetime | None


class AnsweredCall(ToolExecution, frozen=True):
    """A call that the visitor has just approved or declined."""

    turn_public_id: str


async def ask(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    turn_id: int,
    call_id: str,
    tool_name: str,
    parameters: dict[str, Any],
    approval_until: datetime,
) -> None:
    """Before the visitor is asked whether the call may go out. Asked again, what they said and the time stay."""
    # Attempt 0: nothing has gone out.
    await conn.execute(
        """
        insert into tool_executions (
            client_id, conversation_id, turn_id, call_id, tool_name, parameters, attempt, approval, approval_until
        ) values (
            %(client_id)s, %(conversation_id)s, %(turn_id)s, %(call_id)s, %(tool_name)s, %(parameters)s, 0, 'asked',
            %(approval_until)s
        )
        on conflict (turn_id, call_id) do nothing
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "turn_id": turn_id,
            "call_id": call_id,
            "tool_name": tool_name,
            "parameters": Jsonb(parameters, dumps=msgspec.json.encode),
            "approval_until": approval_until,
        },
    )


async def answer(
    conn: Conn, *, client_id: int, conversation_id: int, call_id: str, approved: bool
) -> AnsweredCall | None:
    """The visitor's answer. None when it does not count: not asked, answered before, too late, the turn has ended."""
    async with conn.cursor(row_factory=class_row(AnsweredCall)) as cursor:
        # One turn runs at a time, so that the call's id is enough.
        await cursor.execute(
            """
            update tool_executions e set approval = case when %(approved)s then 'approved' else 'declined' end
            from turns t
            where e.client_id = %(client_id)s and e.conversation_id = %(conversation_id)s and e.call_id = %(call_id)s
              and e.approval = 'asked' and e.approval_until > clock_timestamp() and e.success is null
              and e.error is null
              and t.client_id = e.client_id and t.id = e.turn_id and t.status = 'running'
            returning e.id, e.client_id, e.conversation_id, e.turn_id, e.call_id, e.tool_name, e.parameters,
                      e.n8n_response, e.success, e.error, e.execution_time_ms, e.attempt, e.timestamp, e.approval,
                      e.approval_until, t.public_id as turn_public_id
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "call_id": call_id,
                "approved": approved,
            },
        )
        return await cursor.fetchone()


async def decline_open(conn: Conn, *, client_id: int, conversation_id: int) -> list[str]:
    """Declines what the running turn has asked and the visitor has not answered: the calls' ids, oldest first."""
    # They said something else instead.
    cursor = await conn.execute(
        """
        with declined as (
            update tool_executions e set approval = 'declined'
            from turns t
            where e.client_id = %(client_id)s and e.conversation_id = %(conversation_id)s and e.approval = 'asked'
              and e.success is null and e.error is null
              and t.client_id = e.client_id and t.id = e.turn_id and t.status = 'running'
            returning e.id, e.call_id
        )
        select call_id from declined order by id
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    return [row[0] for row in await cursor.fetchall()]


async def decline(conn: Conn, *, client_id: int, turn_id: int, call_id: str) -> bool:
    """Closes one question that nobody answered in time. False when it was answered, or is not asked."""
    # Whoever was quicker counts.
    cursor = await conn.execute(
        """
        update tool_executions set approval = 'declined'
        where client_id = %(client_id)s and turn_id = %(turn_id)s and call_id = %(call_id)s and approval = 'asked'
        returning id
        """,
        {"client_id": client_id, "turn_id": turn_id, "call_id": call_id},
    )
    return await cursor.fetchone() is not None


async def refuse(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    turn_id: int,
    call_id: str,
    tool_name: str,
    parameters: dict[str, Any],
    error: str,
) -> None:
    """A call that never goes out, and why: attempt 0, failed."""
    # What a model wanted is worth knowing, also where it may not have it.
    await conn.execute(
        """
        insert into tool_executions (
            client_id, conversation_id, turn_id, call_id, tool_name, parameters, attempt, success, error,
            execution_time_ms
        ) values (
            %(client_id)s, %(conversation_id)s, %(turn_id)s, %(call_id)s, %(tool_name)s, %(parameters)s, 0, false,
            %(error)s, 0
        )
        on conflict (turn_id, call_id) do nothing
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "turn_id": turn_id,
            "call_id": call_id,
            "tool_name": tool_name,
            "parameters": Jsonb(parameters, dumps=msgspec.json.encode),
            "error": error,
        },
    )


async def start(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    turn_id: int,
    call_id: str,
    tool_name: str,
    parameters: dict[str, Any],
) -> AsyncCursor[int]:
    """Before the call goes out. A call started again counts one attempt more.

    The cursor is not fetched, so that more can go with the statement; its row, the number of this attempt, may be read
    after the commit. No row: it must not go out, as it has ended, or the visitor was asked and did not approve.
    """
    cursor = conn.cursor(row_factory=args_row(int))
    # The row must be there before the effect can be.
    return await cursor.execute(
        """
        insert into tool_executions as e (client_id, conversation_id, turn_id, call_id, tool_name, parameters)
        values (%(client_id)s, %(conversation_id)s, %(turn_id)s, %(call_id)s, %(tool_name)s, %(parameters)s)
        on conflict (turn_id, call_id) do update set attempt = e.attempt + 1, error = null, execution_time_ms = null
        where e.client_id = excluded.client_id and e.success is null and coalesce(e.approval, 'approved') = 'approved'
        returning attempt
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "turn_id": turn_id,
            "call_id": call_id,
            "tool_name": tool_name,
            "parameters": Jsonb(parameters, dumps=msgspec.json.encode),
        },
    )


async def finish(
    conn: Conn,
    *,
    client_id: int,
    turn_id: int,
    call_id: str,
    success: bool | None,
    execution_time_ms: int,
    n8n_response: Any = None,
    error: str | None = None,
) -> AsyncCursor[int]:
    """How the call ended; `success` None when nobody can know, until somebody does. The first end that is known counts.

    The cursor is not fetched, so that more can go with the statement; it has a row, which may be read after the
    commit, when the end was written: none when the call had ended before.
    """
    cursor = conn.cursor(row_factory=args_row(int))
    # What came back.
    return await cursor.execute(
        """
        update tool_executions set success = %(success)s, n8n_response = %(n8n_response)s, error = %(error)s,
            execution_time_ms = %(execution_time_ms)s
        where client_id = %(client_id)s and turn_id = %(turn_id)s and call_id = %(call_id)s and success is null
        returning id
        """,
        {
            "client_id": client_id,
            "turn_id": turn_id,
            "call_id": call_id,
            "success": success,
            "n8n_response": None if n8n_response is None else Jsonb(n8n_response, dumps=msgspec.json.encode),
            "error": error,
            "execution_time_ms": execution_time_ms,
        },
    )


async def abandon(conn: Conn, *, client_id: int, turn_id: int, error: str) -> None:
    """Closes what a turn that ends leaves open: a call that went out is in doubt, one that did not has failed.

    The client's operators are told of what is in doubt, but not of what can have had no effect.
    """
    # Nobody waits for these any more.
    await conn.execute(
        """
        with closed as (
            update tool_executions set error = %(error)s, success = case when attempt = 0 then false end
            where client_id = %(client_id)s and turn_id = %(turn_id)s and success is null and error is null
            returning client_id, conversation_id, turn_id, call_id, tool_name, attempt
        )
        insert into notifications (client_id, conversation_id, kind, details)
        select c.client_id, c.conversation_id, 'tool_in_doubt',
               jsonb_build_object('turn_id', t.public_id, 'call_id', c.call_id, 'tool_name', c.tool_name)
        from closed c
        join turns t on t.client_id = c.client_id and t.id = c.turn_id
        where c.attempt > 0
          and not exists (select from tools o where o.tool_name = c.tool_name and o.effect = 'read_only')
          and not exists (
              select from integration_endpoints e
              where e.client_id = c.client_id and e.endpoint_name = c.tool_name and e.effect = 'read_only'
          )
        """,
        {"client_id": client_id, "turn_id": turn_id, "error": error},
    )


async def find_call(conn: Conn, *, client_id: int, turn_id: int, call_id: str) -> ToolExecution | None:
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # One call.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp, approval, approval_until
            from tool_executions
            where client_id = %(client_id)s and turn_id = %(turn_id)s and call_id = %(call_id)s
            """,
            {"client_id": client_id, "turn_id": turn_id, "call_id": call_id},
        )
        return await cursor.fetchone()


async def list_for_turn(conn: Conn, *, client_id: int, turn_id: int) -> list[ToolExecution]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # What was done for one answer.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp, approval, approval_until
            from tool_executions
            where client_id = %(client_id)s and turn_id = %(turn_id)s
            order by id
            """,
            {"client_id": client_id, "turn_id": turn_id},
        )
        return await cursor.fetchall()


async def list_for_conversation(conn: Conn, *, client_id: int, conversation_id: int) -> list[ToolExecution]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # What was done in a conversation.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp, approval, approval_until
            from tool_executions
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s
            order by id
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchall()


async def list_for_client(conn: Conn, *, client_id: int, limit: int, offset: int) -> list[ToolExecution]:
    """Newest first."""
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # One page of a client's calls.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp, approval, approval_until
            from tool_executions
            where client_id = %(client_id)s
            order by timestamp desc, id desc
            limit %(limit)s offset %(offset)s
            """,
            {"client_id": client_id, "limit": limit, "offset": offset},
        )
        return await cursor.fetchall()
