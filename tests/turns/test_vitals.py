"""What instances tell of themselves."""

from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from server import __version__
from server.protocol.visitor import MessageCompleted, TurnFailed
from server.repositories import instances
from server.repositories.instances import InstanceRow
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import Settings
from server.turns import vitals
from server.turns.vitals import Figures, SocketCount
from tests.support import Shop, ask, cable, eventually, visit
from tests.wire_servers import Failure, WireServer


async def _rows(services: Services) -> dict[str, InstanceRow]:
    async with reading(services.pool) as conn:
        return {row.instance: row for row in await instances.list_all(conn)}


async def _figures(services: Services, instance: str) -> Figures:
    return msgspec.convert((await _rows(services))[instance].figures, Figures, str_keys=True)


async def test_an_instance_is_there_from_its_start_to_its_end(services: Services, settings: Settings) -> None:
    """Each has a row as soon as it runs, and none after it has ended."""
    async with open_services(settings) as other:
        rows = await _rows(services)
        assert set(rows) == {services.instance, other.instance}
        assert {row.version for row in rows.values()} == {__version__}
        assert rows[services.instance].started_at <= rows[other.instance].started_at
    assert set(await _rows(services)) == {services.instance}


async def test_it_tells_again_and_again(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets as they are counted, by itself, without anybody asking."""
    monkeypatch.setattr(vitals, "TELL_S", 0.01)
    async with open_services(settings) as other:
        other.vitals.count_sockets(lambda: SocketCount(visitors=7, operators=2))

        async def told() -> bool:
            return (await _figures(services, other.instance)).sockets == SocketCount(visitors=7, operators=2)

        await eventually(told, "the sockets are told")
        figures = await _figures(services, other.instance)
        assert (figures.running_turns, figures.draining, figures.redis_away) == (0, False, False)
        assert figures.memory_bytes is None or figures.memory_bytes > 10_000_000
        other.supervisor.drain()

        async def drains() -> bool:
            return (await _figures(services, other.instance)).draining

        await eventually(drains, "it drains")


async def test_models_are_told(services: Services, shop: Shop, model: WireServer) -> None:
    """Calls of models by turns: one that answered, one that was refused."""
    assert isinstance(await ask(services, await visit(services, shop), "Hello"), MessageCompleted)
    model.script(Failure(status=401))
    assert isinstance(await ask(services, await visit(services, shop), "Hello"), TurnFailed)
    await services.vitals.tell()
    [count] = (await _figures(services, services.instance)).models
    assert (count.provider, count.calls, sum(count.errors.values())) == ("openai", 2, 1)
    assert sum(count.first.values()) == sum(count.whole.values()) == 1


async def test_without_redis(settings: Settings, tmp_path: Path, services: Services) -> None:
    """Who has lost Redis says so all the same."""
    line = tmp_path / "redis.sock"
    async with cable(Path(urlsplit(settings.redis_url).path), line) as redis:
        there = msgspec.structs.replace(settings, redis_url=f"unix://{line}")
        async with open_services(there) as other:
            await redis.cut()

            async def away() -> bool:
                await other.vitals.tell()
                return (await _figures(services, other.instance)).redis_away

            await eventually(away, "redis is away")


async def test_a_database_that_is_away_breaks_nothing(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is missing is logged, and told again once it is there."""
    monkeypatch.setattr(vitals, "TELL_S", 0.01)
    async with reading(services.pool) as conn:
        await conn.execute("alter table instances rename to hidden")
    async with open_services(settings) as other:
        async with reading(services.pool) as conn:
            await conn.execute("alter table hidden rename to instances")

        async def back() -> bool:
            return other.instance in await _rows(services)

        await eventually(back, "it tells again")
