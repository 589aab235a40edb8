"""Usage and prices: money is decimal, never float."""

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from server import errors
from server.repositories import clients, prices, usage
from server.repositories.clients import ClientChanges
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.prices import PriceRow
from tests.repositories.conftest import Shop

MAY = date(2031, 5, 1)


async def test_records_add_up(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Fifty at once lose nothing; ten thousandths of a millionth of a dollar add up exactly."""

    async def record() -> None:
        async with unit_of_work(pool) as conn:
            await usage.record(
                conn,
                client_id=pizza.id,
                day=date(2031, 5, 9),
                conversations=1,
                messages=2,
                tokens_input=3_000_000_000,
                tokens_output=4,
                tool_calls=5,
                cached_answers=6,
                cost=Decimal("0.0000000001"),
            )

    await asyncio.gather(*(record() for _ in range(50)))
    async with unit_of_work(pool) as conn:
        await usage.record(conn, client_id=pizza.id, day=date(2031, 4, 30), messages=1, cost=Decimal(1))
        await usage.record(conn, client_id=bakery.id, day=date(2031, 5, 9), messages=1, cost=Decimal(2))
    async with reading(pool) as conn:
        [day] = await usage.period(conn, client_id=pizza.id, start=MAY, end=date(2031, 5, 31))
        assert day == usage.UsageDay(date(2031, 5, 9), 50, 100, 150_000_000_000, 200, 250, 300, Decimal("0.0000000050"))
        assert isinstance(day.cost_estimate, Decimal)
        total = await usage.current_period(conn, client_id=pizza.id, today=date(2031, 5, 20))
        assert (total.message_count, total.cost_estimate) == (100, Decimal("0.000000005"))
        unused = await usage.current_period(conn, client_id=pizza.id, today=date(2032, 1, 1))
        assert unused == usage.UsageTotal(pizza.id, 0, 0, 0, 0, 0, 0, Decimal(0))
        cost = await usage.cost_between(conn, client_id=pizza.id, start=date(2031, 4, 30), end=date(2031, 5, 9))
        assert cost == Decimal("1.000000005") and isinstance(cost, Decimal)
        assert await usage.messages_since(conn, client_id=pizza.id, start=MAY) == 100
        assert await usage.messages_since(conn, client_id=pizza.id, start=date(2031, 4, 30)) == 101
        bill = await usage.clients(conn, start=MAY, end=date(2031, 5, 31))
        assert [(row.client_id, row.cost_estimate) for row in bill] == [
            (bakery.id, Decimal(2)),
            (pizza.id, Decimal("0.000000005")),
        ]


async def test_over_limit(pool: Pool, pizza: Shop) -> None:
    """At the plan's number, in the month of the day; never on a plan without one."""

    async def over(today: date) -> bool:
        async with reading(pool) as conn:
            return await usage.over_limit(conn, client_id=pizza.id, today=today)

    async with unit_of_work(pool) as conn:
        await usage.record(conn, client_id=pizza.id, day=MAY, messages=999)
    assert not await over(date(2031, 5, 2))
    async with unit_of_work(pool) as conn:
        await usage.record(conn, client_id=pizza.id, day=date(2031, 5, 2), messages=1)
    assert await over(date(2031, 5, 2))
    assert not await over(MAY)
    assert not await over(date(2031, 6, 1))
    async with unit_of_work(pool) as conn:
        await conn.execute("insert into plans (name, requests_per_minute) values ('endless', 60)")
        await clients.update(conn, client_id=pizza.id, changes=ClientChanges(plan_type="endless"))
    assert not await over(date(2031, 5, 2))


async def test_usage_of_nobody(pool: Pool) -> None:
    """A client that is not there is NotFound."""
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await usage.record(conn, client_id=0, day=MAY, messages=1)


async def test_prices_are_replaced_by_day(pool: Pool) -> None:
    """The same list twice is the same list; a corrected price replaces, a later one is added; no discount is None."""
    old = PriceRow("openai", "m", Decimal("2.5"), Decimal("1.25"), Decimal(10), date(2031, 1, 1))
    bare = PriceRow("ollama", "n", Decimal(0), None, Decimal(0), date(2031, 1, 1))
    new = PriceRow("openai", "m", Decimal("0.1000000001"), None, Decimal(8), date(2031, 6, 1))
    async with unit_of_work(pool) as conn:
        await prices.upsert_all(conn, prices=[PriceRow("openai", "m", Decimal(9), None, Decimal(9), date(2031, 1, 1))])
        await prices.upsert_all(conn, prices=[old, bare])
        await prices.upsert_all(conn, prices=(row for row in [old, bare, new]))
        await prices.upsert_all(conn, prices=[])
        listed = await prices.list_all(conn)
    assert listed == [bare, new, old]
    assert all(isinstance(row.input_per_million, Decimal) for row in listed)
    with pytest.raises(errors.Invalid, match="negative"):
        async with unit_of_work(pool) as conn:
            await prices.upsert_all(conn, prices=[PriceRow("x", "y", Decimal(-1), None, Decimal(0), MAY)])
