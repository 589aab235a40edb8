"""Where a client's widget was seen."""

from datetime import datetime

from server.repositories import clients, sightings
from server.repositories.clients import ClientChanges
from server.repositories.pool import Conn, Pool, unit_of_work
from server.repositories.sightings import STRANGERS_KEPT
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of

HERE = "https://pizza.example"


async def age(conn: Conn, seconds: float) -> None:
    """As if so many seconds had passed."""
    # The test's own statement.
    await conn.execute("update script_sightings set seen_at = seen_at - make_interval(secs => %s)", [seconds])


async def seen(conn: Conn, client_id: int) -> dict[str, datetime]:
    """When each origin was seen last."""
    return {row.origin: row.seen_at for row in await sightings.list_for_client(conn, client_id=client_id)}


async def test_once_a_minute(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """The first time stays; the last is marked again after a minute; a client's rows are its own."""
    async with unit_of_work(pool) as conn:
        await sightings.record(conn, seen=[(pizza.id, HERE), (bakery.id, "https://bakery.example"), (0, HERE)])
    async with unit_of_work(pool) as conn:
        await age(conn, 59)
        before = await seen(conn, pizza.id)
        assert list(before) == [HERE]
        await sightings.record(conn, seen=[(pizza.id, HERE)])
        assert await seen(conn, pizza.id) == before
        await age(conn, 1)
        await sightings.record(conn, seen=[(pizza.id, HERE)])
        [row] = await sightings.list_for_client(conn, client_id=pizza.id)
        assert row.seen_at > before[HERE] and row.created_at < row.seen_at
        assert list(await seen(conn, bakery.id)) == ["https://bakery.example"]
        await sightings.record(conn, seen=[])


async def test_strangers_are_bounded(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Of origins that a client does not allow the newest stay; allowed ones always do, and other clients' rows too."""
    allowed = [f"https://{no}.pizza.example" for no in range(30)]
    async with unit_of_work(pool) as conn:
        await clients.update(conn, client_id=pizza.id, changes=ClientChanges(allowed_origins=allowed))
        await sightings.record(conn, seen=[(pizza.id, each) for each in allowed])
        await sightings.record(conn, seen=[(bakery.id, f"https://evil{no}.example") for no in range(30)])
        await sightings.record(conn, seen=[(pizza.id, "https://old.example")])
        await age(conn, 100)
        await sightings.record(conn, seen=[(pizza.id, f"https://evil{no}.example") for no in range(STRANGERS_KEPT)])
        assert await sightings.prune(conn, client_ids=[pizza.id]) == 1
        left = await seen(conn, pizza.id)
        assert set(allowed) <= set(left) and len(left) == len(allowed) + STRANGERS_KEPT
        assert "https://old.example" not in left
        assert len(await seen(conn, bakery.id)) == 30
        assert await sightings.prune(conn, client_ids=[pizza.id, bakery.id]) == 10


def test_its_plan(database_url: str) -> None:
    """By the client."""
    plan = plan_of(database_url, sightings.list_for_client, client_id=1)
    assert "script_sightings_client_id_origin_key" in plan and "Seq Scan" not in plan
