"""`/usage.csv`: the same figures for a spreadsheet, as a stream."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from unicodedata import normalize

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server.admin.gate import Caller, guarded
from server.admin.usage import check_period, known, scope
from server.protocol.admin.usage import UsageQuery
from server.repositories import usage
from server.repositories.pool import Pool, reading
from server.repositories.usage import UsageRow
from server.services import Services
from server.web.responses import query

COLUMNS = (
    "date",
    "client_id",
    "client",
    "conversations",
    "messages",
    "tokens_input",
    "tokens_output",
    "tool_calls",
    "cached_answers",
    "cost_usd",
)
# Days read at once: a row for each and every client.
DAYS = 14
# What makes a spreadsheet take a cell for a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


async def export(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, UsageQuery)
    check_period(asked.from_, asked.to)
    client_id = scope(caller, asked.client_id)
    async with reading(services.pool) as conn:
        if client_id is not None:
            await known(conn, client_id)
        # The first days before the first byte: what fails here is still an answer.
        first = await usage.rows(conn, client_id=client_id, start=asked.from_, end=_last(asked.from_, asked.to))
    whose = "" if client_id is None else f"-{client_id}"
    return StreamingResponse(
        _lines(services.pool, client_id, asked, first),
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="usage{whose}-{asked.from_}-{asked.to}.csv"',
            "cache-control": "no-store",
        },
    )


async def _lines(pool: Pool, client_id: int | None, asked: UsageQuery, rows: list[UsageRow]) -> AsyncIterator[str]:
    """Some days after the others; no connection is held while the reader takes its time."""
    yield _csv([COLUMNS])
    start = asked.from_
    while True:
        yield _csv([_cells(row) for row in rows])
        start += timedelta(days=DAYS)
        if start > asked.to:
            return
        async with reading(pool) as conn:
            rows = await usage.rows(conn, client_id=client_id, start=start, end=_last(start, asked.to))


def _last(start: date, end: date) -> date:
    """The last of the days that are read at once from `start` on."""
    return min(end, start + timedelta(days=DAYS - 1))


def _cells(row: UsageRow) -> tuple[object, ...]:
    return (
        row.date,
        row.client_id,
        plain(row.client_name),
        row.conversation_count,
        row.message_count,
        row.tokens_input,
        row.tokens_output,
        row.tool_calls_count,
        row.cached_answers,
        f"{row.cost_estimate:f}",
    )


def plain(text: str) -> str:
    """Text that no spreadsheet runs: what looks like a formula, in whatever width, begins with an apostrophe."""
    return f"'{text}" if normalize("NFKC", text).lstrip(" ").startswith(_FORMULA) else text


def _csv(rows: Sequence[tuple[object, ...]]) -> str:
    """As RFC 4180 has it: commas, CRLF, quotes where they are needed."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


ENDPOINTS = (
    guarded(
        "GET",
        "/usage.csv",
        export,
        "What was used, by day and client, as CSV",
        None,
        needs="admin",
        asks=UsageQuery,
        refuses=(404,),
        media_type="text/csv",
        about="Days without use are left out. Names that look like formulas begin with an apostrophe.",
    ),
)
