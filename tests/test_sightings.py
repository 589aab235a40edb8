"""Where a widget was seen: noted behind the request, once a minute, bounded."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from server import sightings
from server.repositories.clients import Client
from server.repositories.pool import open_pool
from server.services import Services, open_services
from server.settings import Settings
from server.sightings import STRANGERS, Sightings
from tests.flows.support import open_desk
from tests.support import Shop, eventually, new_shop, rows

HERE = "https://pizza.example"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is gathered for longer than the loop's next turn."""
    monkeypatch.setattr(sightings, "GATHER_S", 0.0)


async def seen(services: Services) -> list[tuple[Any, ...]]:
    """Client and origin of each row."""
    return await rows(services, "select client_id, origin from script_sightings order by 1, 2")


@pytest.mark.usefixtures("at_once")
async def test_a_sighting_is_written(services: Services, shop: Shop) -> None:
    """By the origin of the page, whichever header told it; what is none is nothing."""
    bakery = await new_shop(services, "bakery")
    noted = services.sightings
    for page in (HERE, f"{HERE}/menu?x=1", "HTTPS://Pizza.Example:443"):
        noted.note(shop.client, page)
    noted.note(shop.client, None)
    for nowhere in ("", "null", "file:///x", "a" * 10_000, "https://" + "a." * 150 + "example", "\ud800"):
        noted.note(shop.client, nowhere)
    noted.note(bakery.client, "https://bakery.example")
    expected = [(shop.id, HERE), (bakery.id, "https://bakery.example")]

    async def written() -> bool:
        return await seen(services) == expected

    await eventually(written, "both are there")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.usefixtures("at_once")
async def test_once_a_minute(services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look within the minute writes nothing; one after it does."""
    clock = Clock()
    monkeypatch.setattr(sightings, "time", clock)

    async def marks() -> list[tuple[Any, ...]]:
        return await rows(services, "select xmin::text from script_sightings")

    async def there() -> bool:
        return len(await marks()) == 1

    services.sightings.note(shop.client, HERE)
    await eventually(there, "the first")
    first = await marks()
    await rows(services, "update script_sightings set seen_at = seen_at - interval '2 minutes'")
    aged = await marks()
    assert aged != first
    clock.now = 59.9
    services.sightings.note(shop.client, HERE)
    assert services.sightings._waiting == set()
    clock.now = 60.0
    services.sightings.note(shop.client, HERE)

    async def again() -> bool:
        return await marks() != aged

    await eventually(again, "the second")


async def test_it_is_bounded(services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of origins that are not allowed ten a minute; allowed ones always; what is remembered has a limit."""
    clock = Clock()
    monkeypatch.setattr(sightings, "time", clock)
    noted = Sightings(services.pool)
    for no in range(5 * STRANGERS):
        noted.note(shop.client, f"https://evil{no}.example")
    assert len(noted._waiting) == STRANGERS
    noted.note(shop.client, HERE)
    assert (shop.id, HERE) in noted._waiting
    clock.now = 61.0
    noted.note(shop.client, "https://late.example")
    assert (shop.id, "https://late.example") in noted._waiting
    monkeypatch.setattr(sightings, "KEPT", 50)
    many = [f"https://{no}.pizza.example" for no in range(60)]
    big: Client = msgspec.structs.replace(shop.client, allowed_origins=many)
    for origin in many:
        noted.note(big, origin)
    assert len(noted._noted) == 50
    await noted.stop()


@pytest.mark.usefixtures("at_once")
async def test_postgres_away(services: Services, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever noted it hears nothing; the log does."""
    gone = await open_pool(services.settings.database_url, max_size=1, application_name="test")
    await gone.close()
    noted = Sightings(gone)
    noted.note(shop.client, HERE)
    assert noted._writer is not None
    await asyncio.wait_for(noted._writer, 10)
    captured = capsys.readouterr()
    assert "sightings not written" in captured.out + captured.err


async def test_the_request_waits_for_nothing(settings: Settings) -> None:
    """The configuration is answered while nothing at all can be written to the table, and the row comes after."""
    async with open_desk(settings) as desk:
        shop = await desk.shop()
        url = f"{desk.url}/api/v1/config?key={shop.key}"
        async with desk.pool.connection() as conn, conn.transaction():
            await conn.execute("lock table script_sightings in access exclusive mode")
            begun = time.monotonic()
            for headers in ({"origin": shop.origin}, {"referer": f"{shop.origin}/menu"}, {}):
                assert (await desk.http.get(url, headers=headers)).status_code == 200
            waits = "select count(*) from pg_locks where not granted and relation = 'script_sightings'::regclass"

            async def waiting() -> bool:
                return await desk.rows(waits) != [(0,)]

            await eventually(waiting, "the writer waits for the table")
            assert (await desk.http.get(url, headers={"origin": shop.origin})).status_code == 200
            assert time.monotonic() - begun < 9

        async def written() -> bool:
            return await desk.rows("select client_id, origin from script_sightings") == [(shop.id, shop.origin)]

        await eventually(written, "the row")


async def test_the_end_waits_for_nothing(settings: Settings, shop: Shop) -> None:
    """What is not written yet when an instance stops is let go."""
    async with open_services(settings) as other:
        other.sightings.note(shop.client, HERE)
    assert other.sightings._writer is None or other.sightings._writer.done()
