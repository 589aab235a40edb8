"""Prices of models, US dollars per million tokens. No client's: system-wide."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class PriceRow(msgspec.Struct, frozen=True):
    """`cached_input_per_million` is None where the provider gives no discount. Valid until a later `valid_from`."""

    provider: str
    model: str
    input_per_million: Decimal
    cached_input_per_million: Decimal | None
    output_per_million: Decimal
    valid_from: date


async def upsert_all(conn: Conn, *, prices: Iterable[PriceRow]) -> None:
    """Takes over a list of prices; one for the same model and day replaces the one before."""
    rows = list(prices)
    # Arrays side by side become rows. Other models and days stay as they are.
    await conn.execute(
        """
        insert into model_prices (
            provider, model, input_per_million, cached_input_per_million, output_per_million, valid_from
        )
        select p.provider, p.model, p.input, p.cached_input, p.output, p.valid_from
        from unnest(
            %(providers)s::text[], %(models)s::text[], %(inputs)s::numeric[], %(cached_inputs)s::numeric[],
            %(outputs)s::numeric[], %(valid_froms)s::date[]
        ) as p (provider, model, input, cached_input, output, valid_from)
        on conflict (provider, model, valid_from) do update set
            input_per_million = excluded.input_per_million,
            cached_input_per_million = excluded.cached_input_per_million,
            output_per_million = excluded.output_per_million
        """,
        {
            "providers": [row.provider for row in rows],
            "models": [row.model for row in rows],
            "inputs": [row.input_per_million for row in rows],
            "cached_inputs": [row.cached_input_per_million for row in rows],
            "outputs": [row.output_per_million for row in rows],
            "valid_froms": [row.valid_from for row in rows],
        },
    )


async def list_all(conn: Conn) -> list[PriceRow]:
    """Every price, newest first within a model."""
    async with conn.cursor(row_factory=class_row(PriceRow)) as cursor:
        # The whole list: it is short, and pricing looks it up in memory.
        await cursor.execute(
            """
            select provider, model, input_per_million, cached_input_per_million, output_per_million, valid_from
            from model_prices
            order by provider, model, valid_from desc
            """
        )
        return await cursor.fetchall()
