"""Clients as the console lists them, and two who edit the same one."""

from datetime import date
from decimal import Decimal
from typing import Any

from server.repositories import client_list, clients, sightings, usage
from server.repositories.client_list import ListedClient
from server.repositories.clients import ClientChanges
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from tests.repositories.conftest import Shop, new_client
from tests.repositories.plans import plan_of

TODAY = date(2031, 5, 20)


async def page(conn: Conn, **given: Any) -> list[ListedClient]:
    """All of it unless told."""
    asked = {"client_id": None, "query": None, "status": None, "before": None, "limit": 50, "today": TODAY}
    return await client_list.page(conn, **{**asked, **given})


async def test_pages(pool: Pool) -> None:
    """Newest first; they meet without a gap; one client's admin has that one, whatever they ask for."""
    async with unit_of_work(pool) as conn:
        made = [await new_client(conn, f"shop{no}") for no in range(5)]
        newest = [client.id for client in reversed(made)]
        assert [row.id for row in await page(conn)] == newest
        first = await page(conn, limit=2)
        rest = await page(conn, before=first[-1].id)
        assert [row.id for row in [*first, *rest]] == newest
        assert await page(conn, before=newest[-1]) == []
        assert [row.id for row in await page(conn, client_id=made[1].id)] == [made[1].id]
        assert await page(conn, client_id=made[1].id, query="shop2") == []


async def test_what_is_looked_for(pool: Pool) -> None:
    """A part of name or domain in any case of its letters; nothing in it is a wildcard."""
    async with unit_of_work(pool) as conn:
        bob = await new_client(conn, "Bobs")
        odd = await new_client(conn, "50%_off\\")
        await clients.set_status(conn, client_id=odd.id, status="suspended")
        for query, found in (
            ("bobs", [bob.id]),
            ("OBS.EX", [bob.id]),
            ("%", [odd.id]),
            ("_", [odd.id]),
            ("\\", [odd.id]),
            (".example", [odd.id, bob.id]),
            ("nobody", []),
        ):
            assert [row.id for row in await page(conn, query=query)] == found, query
        assert [row.id for row in await page(conn, status="suspended")] == [odd.id]
        assert [row.id for row in await page(conn, status="active")] == [bob.id]


async def test_the_month_and_the_widget(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """This month's use alone, each client's own; seen on an allowed origin alone."""
    async with unit_of_work(pool) as conn:
        for day, messages in ((date(2031, 4, 30), 1), (date(2031, 5, 1), 10), (TODAY, 100), (date(2031, 5, 21), 1000)):
            await usage.record(conn, client_id=pizza.id, day=day, messages=messages, cost=Decimal("0.5"), tool_calls=2)
        await sightings.record(conn, seen=[(pizza.id, "https://pizza.example"), (bakery.id, "https://evil.example")])
        other, mine = await page(conn)
    assert (mine.id, mine.messages, mine.cost, mine.tool_calls, mine.monthly_messages) == (
        pizza.id,
        110,
        Decimal(1),
        4,
        1000,
    )
    assert mine.seen_at is not None
    assert (other.id, other.messages, other.cost, other.seen_at) == (bakery.id, 0, Decimal(0), None)


async def test_two_who_edit_the_same_client(pool: Pool, pizza: Shop) -> None:
    """Each edit is a version more; one that saw an older version changes nothing."""
    seen = pizza.client.version
    async with unit_of_work(pool) as conn:
        locked = await clients.find_to_change(conn, client_id=pizza.id)
        assert locked == pizza.client
        assert await clients.find_to_change(conn, client_id=0) is None
        changed = await clients.update(conn, client_id=pizza.id, changes=ClientChanges(name="first"), seen=seen)
        assert changed is not None and (changed.name, changed.version) == ("first", seen + 1)
        late = await clients.update(conn, client_id=pizza.id, changes=ClientChanges(name="second"), seen=seen)
        assert late is None
        blind = await clients.update(conn, client_id=pizza.id, changes=ClientChanges(locale="de"))
        assert blind is not None and (blind.name, blind.locale, blind.version) == ("first", "de", seen + 2)
    async with reading(pool) as conn:
        assert await clients.find(conn, client_id=pizza.id) == blind


def test_its_plan(database_url: str) -> None:
    """The page comes from the end of the key, usage and sightings by their client."""
    asked = {"query": "a", "status": None, "before": 9, "limit": 5, "month": TODAY.replace(day=1), "today": TODAY}
    plan = plan_of(database_url, client_list.page, client_id=None, **asked)
    assert "Index Scan Backward using clients_pkey" in plan
    assert "api_usage_client_id_date_key" in plan and "script_sightings_client_id_origin_key" in plan
    assert "Seq Scan on api_usage" not in plan and "Seq Scan on script_sightings" not in plan
