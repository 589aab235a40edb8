"""`/usage`: what clients used, by day, by client and by tool, and what their limits leave them.

Days are those of `api_usage`: midnight to midnight UTC.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.errors import Invalid, NotFound
from server.llm.figures import percentile_ms
from server.protocol.admin.usage import (
    ClientLimits,
    TopToolsQuery,
    UsageByClient,
    UsageByTool,
    UsageOfClient,
    UsageOfDay,
    UsageOfTool,
    UsagePeriod,
    UsageQuery,
    UsageReport,
    UsageSums,
)
from server.repositories import clients, tool_usage, usage
from server.repositories.clients import Client
from server.repositories.pool import Conn, reading
from server.repositories.retention import TOOL_DAYS
from server.repositories.tool_usage import ToolUsage
from server.repositories.usage import UsageDay, UsageTotal
from server.services import Services
from server.turns.limits import limits_now
from server.web.responses import json, query

MOST_DAYS = 366


async def read_usage(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, UsageQuery)
    check_period(asked.from_, asked.to)
    client_id = scope(caller, asked.client_id)
    async with reading(services.pool) as conn:
        if client_id is None:
            rows = await usage.period_of_all(conn, start=asked.from_, end=asked.to)
        else:
            await known(conn, client_id)
            rows = await usage.period(conn, client_id=client_id, start=asked.from_, end=asked.to)
    return json(
        UsageReport(
            client_id=client_id,
            from_=asked.from_,
            to=asked.to,
            timezone="UTC",
            days=_every_day(rows, asked.from_, asked.to),
            totals=_sums(rows),
        )
    )


async def read_by_client(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, UsagePeriod)
    check_period(asked.from_, asked.to)
    client_id = caller.operator.client_id
    async with reading(services.pool) as conn:
        if client_id is None:
            everybody = await clients.list_all(conn)
            totals = {row.client_id: row for row in await usage.clients(conn, start=asked.from_, end=asked.to)}
        else:
            everybody = [await known(conn, client_id)]
            own = await usage.total(conn, client_id=client_id, start=asked.from_, end=asked.to)
            totals = {client_id: own}
    rows = [_of_client(each, totals.get(each.id)) for each in everybody]
    rows.sort(key=lambda row: (-row.used.cost, -row.used.messages, row.client_id))
    return json(UsageByClient(from_=asked.from_, to=asked.to, timezone="UTC", rows=rows))


async def read_by_tool(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, TopToolsQuery)
    check_period(asked.from_, asked.to)
    client_id = scope(caller, asked.client_id)
    start, end = _midnight(asked.from_), _midnight(asked.to + timedelta(days=1))
    async with reading(services.pool) as conn:
        if client_id is None:
            rows = await tool_usage.top_of_all(conn, start=start, end=end, limit=asked.limit)
        else:
            await known(conn, client_id)
            rows = await tool_usage.top(conn, client_id=client_id, start=start, end=end, limit=asked.limit)
    return json(
        UsageByTool(
            client_id=client_id,
            from_=asked.from_,
            to=asked.to,
            timezone="UTC",
            kept_days=TOOL_DAYS,
            rows=[_of_tool(row) for row in rows],
        )
    )


async def read_limits(request: Request, services: Services, _caller: Caller) -> Response:
    async with reading(services.pool) as conn:
        client = await known(conn, path_id(request, "client_id"))
    rows = await limits_now(client, pool=services.pool, limiter=services.limiter, settings=services.settings)
    return json(ClientLimits(client_id=client.id, plan=client.plan_type, rows=rows))


def scope(caller: Caller, client_id: int | None) -> int | None:
    """Whose figures: None for all clients. Without a client named, who serves one gets that one's. Raises NotFound."""
    if client_id is None:
        return caller.operator.client_id
    caller.check_serves(client_id)
    return client_id


async def known(conn: Conn, client_id: int) -> Client:
    """Raises NotFound, as for one whom the operator does not serve."""
    client = await clients.find(conn, client_id=client_id)
    if client is None:
        raise NotFound("there is no such client")
    return client


def check_period(start: date, end: date) -> None:
    """Raises Invalid that names the parameter."""
    if start > end:
        raise Invalid("`from` is later than `to`; it takes a day no later", field="from")
    if (end - start).days >= MOST_DAYS:
        raise Invalid(f"`from` is more than {MOST_DAYS} days before the end of `to`", field="from")
    if end.year > 9000:
        raise Invalid("`to` is too far away; it takes a day before the year 9001", field="to")


def _every_day(rows: list[UsageDay], start: date, end: date) -> list[UsageOfDay]:
    used = {row.date: row for row in rows}
    days = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    return [_of_day(used.get(day) or UsageDay(day, 0, 0, 0, 0, 0, 0, Decimal(0))) for day in days]


def _of_day(row: UsageDay) -> UsageOfDay:
    return UsageOfDay(
        date=row.date,
        conversations=row.conversation_count,
        messages=row.message_count,
        tokens_input=row.tokens_input,
        tokens_output=row.tokens_output,
        tool_calls=row.tool_calls_count,
        cached_answers=row.cached_answers,
        cost=row.cost_estimate,
    )


def _sums(rows: list[UsageDay] | list[UsageTotal]) -> UsageSums:
    return UsageSums(
        conversations=sum(row.conversation_count for row in rows),
        messages=sum(row.message_count for row in rows),
        tokens_input=sum(row.tokens_input for row in rows),
        tokens_output=sum(row.tokens_output for row in rows),
        tool_calls=sum(row.tool_calls_count for row in rows),
        cached_answers=sum(row.cached_answers for row in rows),
        cost=sum((row.cost_estimate for row in rows), Decimal(0)),
    )


def _of_client(client: Client, total: UsageTotal | None) -> UsageOfClient:
    return UsageOfClient(
        client_id=client.id,
        name=client.name,
        status="active" if client.status == "active" else "suspended",
        plan=client.plan_type,
        monthly_messages=client.monthly_messages,
        used=_sums([total] if total else []),
    )


def _of_tool(row: ToolUsage) -> UsageOfTool:
    ended = row.succeeded + row.failed
    return UsageOfTool(
        name=row.tool_name,
        calls=row.calls,
        succeeded=row.succeeded,
        failed=row.failed,
        refused=row.refused,
        unknown=row.unknown,
        failure_rate=row.failed / ended if ended else None,
        p50_ms=percentile_ms(row.classes, 0.5),
        p95_ms=percentile_ms(row.classes, 0.95),
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


ENDPOINTS = (
    guarded(
        "GET",
        "/usage",
        read_usage,
        "What was used, by day",
        UsageReport,
        needs="admin",
        asks=UsageQuery,
        refuses=(404,),
        about="Days are UTC's. Without a client: of all whom the operator serves.",
    ),
    guarded(
        "GET",
        "/usage/clients",
        read_by_client,
        "What each client used",
        UsageByClient,
        needs="admin",
        asks=UsagePeriod,
    ),
    guarded(
        "GET",
        "/usage/tools",
        read_by_tool,
        "Which tools were called, and how it went",
        UsageByTool,
        needs="admin",
        asks=TopToolsQuery,
        refuses=(404,),
        about="Calls are kept 90 days.",
    ),
    guarded(
        "GET",
        "/clients/{client_id}/limits",
        read_limits,
        "A client's limits, and what is left of them",
        ClientLimits,
        needs="admin",
    ),
)
