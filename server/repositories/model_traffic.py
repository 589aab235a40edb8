"""The raw calls of models in the console's own turns."""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class Exchange(msgspec.Struct, frozen=True):
    """One call of a model. `request` and `response` are the beginnings of what went over the wire, `request_bytes` and
    `response_bytes` their whole sizes. Times are milliseconds; `first_ms` None: no byte came back.

    `no` is that of the turn's model step, so that a model and its fallback have the same. `tries` are the HTTP requests
    that it took: `{method, url, status}`.
    """

    turn_id: int
    no: int
    gen: int
    provider: str
    model: str
    started_at: datetime
    first_ms: int | None
    ms: int
    tries: list[dict[str, Any]]
    request: str
    request_bytes: int
    response: str
    response_bytes: int
    tokens_input: int | None
    tokens_output: int | None
    tokens_cached: int | None
    error: str | None


async def record(
    conn: Conn,
    *,
    client_id: int,
    turn_id: int,
    no: int,
    gen: int,
    provider: str,
    model: str,
    first_ms: int | None,
    ms: int,
    tries: list[dict[str, Any]],
    request: str,
    request_bytes: int,
    response: str,
    response_bytes: int,
    tokens_input: int | None,
    tokens_output: int | None,
    tokens_cached: int | None,
    error: str | None,
) -> None:
    """A call that has just ended after `ms`: it began so long ago, by the clock that all of a turn's times are by."""
    # Where its bar in the waterfall begins.
    await conn.execute(
        """
        insert into model_traffic (
            client_id, turn_id, no, gen, provider, model, started_at, first_ms, ms, tries, request, request_bytes,
            response, response_bytes, tokens_input, tokens_output, tokens_cached, error
        ) values (
            %(client_id)s, %(turn_id)s, %(no)s, %(gen)s, %(provider)s, %(model)s,
            clock_timestamp() - make_interval(secs => %(ms)s / 1000.0), %(first_ms)s, %(ms)s, %(tries)s, %(request)s,
            %(request_bytes)s, %(response)s, %(response_bytes)s, %(tokens_input)s, %(tokens_output)s,
            %(tokens_cached)s, %(error)s
        )
        """,
        {
            "client_id": client_id,
            "turn_id": turn_id,
            "no": no,
            "gen": gen,
            "provider": provider,
            "model": model,
            "first_ms": first_ms,
            "ms": ms,
            "tries": Jsonb(tries, dumps=msgspec.json.encode),
            "request": request,
            "request_bytes": request_bytes,
            "response": response,
            "response_bytes": response_bytes,
            "tokens_input": tokens_input,
            "tokens_output": tokens_output,
            "tokens_cached": tokens_cached,
            "error": error,
        },
    )


async def of_turn(conn: Conn, *, client_id: int, turn_id: int) -> list[Exchange]:
    """Oldest first; of all lives of the turn."""
    async with conn.cursor(row_factory=class_row(Exchange)) as cursor:
        # What the model was asked, and said.
        await cursor.execute(
            """
            select turn_id, no, gen, provider, model, started_at, first_ms, ms, tries, request, request_bytes, response,
                   response_bytes, tokens_input, tokens_output, tokens_cached, error
            from model_traffic
            where client_id = %(client_id)s and turn_id = %(turn_id)s
            order by id
            """,
            {"client_id": client_id, "turn_id": turn_id},
        )
        return await cursor.fetchall()
