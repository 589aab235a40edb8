"""How often tools were called for visitors, how it went and how long it took. Chats of the console do not count."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class ToolUsage(msgspec.Struct, frozen=True):
    """One tool over a period. `refused` never went out; `unknown` went out and has no outcome.

    `classes` counts calls with an outcome by how long they took: class n is from 1.1^n to 1.1^(n + 1) ms.
    """

    tool_name: str
    calls: int
    succeeded: int
    failed: int
    refused: int
    unknown: int
    classes: dict[int, int]


class _Class(msgspec.Struct, frozen=True):
    """The calls of a tool that took about as long; `class_ms` is None for those without an outcome."""

    tool_name: str
    class_ms: int | None
    calls: int
    succeeded: int
    refused: int


async def top(conn: Conn, *, client_id: int, start: datetime, end: datetime, limit: int) -> list[ToolUsage]:
    """One client's, from `start` until before `end`, the most called first."""
    async with conn.cursor(row_factory=class_row(_Class)) as cursor:
        # Along tool_executions_client_id_timestamp_idx. Classes are counted without sorting the calls.
        await cursor.execute(
            """
            select e.tool_name, e.class_ms, count(*) as calls,
                   count(*) filter (where e.success and e.attempt > 0) as succeeded,
                   count(*) filter (where e.attempt = 0) as refused
            from (
                select tool_name, success, attempt,
                       case when success is not null and attempt > 0
                            then floor(ln(greatest(execution_time_ms, 1)::float8) / ln(1.1::float8))::integer
                       end as class_ms
                from tool_executions t
                where client_id = %(client_id)s and timestamp >= %(start)s and timestamp < %(end)s
                  and not exists (
                      select from console_drafts d
                      where d.client_id = t.client_id and d.conversation_id = t.conversation_id
                  )
            ) e
            group by e.tool_name, e.class_ms
            """,
            {"client_id": client_id, "start": start, "end": end},
        )
        return _most_called(await cursor.fetchall(), limit)


async def top_of_all(conn: Conn, *, start: datetime, end: datetime, limit: int) -> list[ToolUsage]:
    """System-wide: over all clients, for those who serve all."""
    async with conn.cursor(row_factory=class_row(_Class)) as cursor:
        # The same along tool_executions_timestamp_idx.
        await cursor.execute(
            """
            select e.tool_name, e.class_ms, count(*) as calls,
                   count(*) filter (where e.success and e.attempt > 0) as succeeded,
                   count(*) filter (where e.attempt = 0) as refused
            from (
                select tool_name, success, attempt,
                       case when success is not null and attempt > 0
                            then floor(ln(greatest(execution_time_ms, 1)::float8) / ln(1.1::float8))::integer
                       end as class_ms
                from tool_executions t
                where timestamp >= %(start)s and timestamp < %(end)s
                  and not exists (
                      select from console_drafts d
                      where d.client_id = t.client_id and d.conversation_id = t.conversation_id
                  )
            ) e
            group by e.tool_name, e.class_ms
            """,
            {"start": start, "end": end},
        )
        return _most_called(await cursor.fetchall(), limit)


def _most_called(rows: list[_Class], limit: int) -> list[ToolUsage]:
    by_tool: dict[str, list[_Class]] = {}
    for row in rows:
        by_tool.setdefault(row.tool_name, []).append(row)
    found = [_tool(name, parts) for name, parts in by_tool.items()]
    return sorted(found, key=lambda tool: (-tool.calls, tool.tool_name))[:limit]


def _tool(name: str, parts: list[_Class]) -> ToolUsage:
    calls, succeeded = sum(part.calls for part in parts), sum(part.succeeded for part in parts)
    refused = sum(part.refused for part in parts)
    classes = {part.class_ms: part.calls for part in parts if part.class_ms is not None}
    ended = sum(classes.values())
    return ToolUsage(
        tool_name=name,
        calls=calls,
        succeeded=succeeded,
        failed=ended - succeeded,
        refused=refused,
        unknown=calls - ended - refused,
        classes=classes,
    )
