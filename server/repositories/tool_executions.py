"""Tool calls as they happened, kept 90 days."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class ToolExecution(msgspec.Struct, frozen=True):
    """`success` is None while the call runs, and for good where its outcome is in doubt."""

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


async def start(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    turn_id: int,
    call_id: str,
    tool_name: str,
    parameters: dict[str, Any],
) -> None:
    """Before the call goes out. A call started again counts one attempt more, unless it has ended."""
    # The row must be there before the effect can be.
    await conn.execute(
        """
        insert into tool_executions as e (client_id, conversation_id, turn_id, call_id, tool_name, parameters)
        values (%(client_id)s, %(conversation_id)s, %(turn_id)s, %(call_id)s, %(tool_name)s, %(parameters)s)
        on conflict (turn_id, call_id) do update set attempt = e.attempt + 1
        where e.client_id = excluded.client_id and e.success is null
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
) -> None:
    """How the call ended; `success` None when nobody can know. The first end counts."""
    # What came back.
    await conn.execute(
        """
        update tool_executions set success = %(success)s, n8n_response = %(n8n_response)s, error = %(error)s,
            execution_time_ms = %(execution_time_ms)s
        where client_id = %(client_id)s and turn_id = %(turn_id)s and call_id = %(call_id)s and success is null
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


async def find(conn: Conn, *, client_id: int, turn_id: int, call_id: str) -> ToolExecution | None:
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # One call.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp
            from tool_executions
            where client_id = %(client_id)s and turn_id = %(turn_id)s and call_id = %(call_id)s
            """,
            {"client_id": client_id, "turn_id": turn_id, "call_id": call_id},
        )
        return await cursor.fetchone()


async def list_for_conversation(conn: Conn, *, client_id: int, conversation_id: int) -> list[ToolExecution]:
    """Oldest first."""
    async with conn.cursor(row_factory=class_row(ToolExecution)) as cursor:
        # What was done in a conversation.
        await cursor.execute(
            """
            select id, client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success,
                   error, execution_time_ms, attempt, timestamp
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
                   error, execution_time_ms, attempt, timestamp
            from tool_executions
            where client_id = %(client_id)s
            order by timestamp desc, id desc
            limit %(limit)s offset %(offset)s
            """,
            {"client_id": client_id, "limit": limit, "offset": offset},
        )
        return await cursor.fetchall()
