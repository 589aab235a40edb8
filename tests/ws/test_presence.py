"""Who is there, over two instances: with Redis, without it, and when one of them dies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from server.protocol import operator
from server.protocol.operator import Colleague
from server.services import Services, open_services
from server.settings import Settings
from server.ws import presence
from server.ws.presence import Presence
from tests.support import PATIENCE_S, Cable, cable, eventually

ANA, BEN = Colleague(id=1, name="Ana"), Colleague(id=2, name="Ben")
CNV = "cnv_of_the_test"


class Watcher:
    """An operator's socket; what it was told, in order."""

    def __init__(self, colleague: Colleague) -> None:
        self.colleague = colleague
        self.frames: list[operator.Presence] = []
        self._changed = asyncio.Event()

    def present(self, frame: operator.Presence) -> None:
        self.frames.append(frame)
        self._changed.set()

    @property
    def last(self) -> operator.Presence:
        return self.frames[-1]

    async def until(self, done: Callable[[operator.Presence], bool]) -> None:
        """Until the newest word is like this."""
        async with asyncio.timeout(PATIENCE_S):
            while not done(self.last):
                self._changed.clear()
                await self._changed.wait()

    async def online(self, expected: bool | None) -> None:
        await self.until(lambda frame: frame.visitor_online is expected)


class Pair:
    """Two instances, the line of each to Redis, and their presences."""

    def __init__(self, instances: list[Services], lines: list[Cable]) -> None:
        self.instances = instances
        self.lines = lines
        self.here, self.there = (Presence(each.hub, each.instance) for each in instances)


@pytest.fixture
async def pair(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Quicker than in life by five to ten times, and no less patient in proportion."""
    monkeypatch.setattr(presence, "REFRESH_S", 0.5)
    monkeypatch.setattr(presence, "LIFETIME_S", 1.25)
    monkeypatch.setattr(presence, "ANSWER_S", 0.2)
    monkeypatch.setattr(presence, "AWAY_S", 0.2)
    path = urlsplit(settings.redis_url).path
    paths = [tmp_path / "here", tmp_path / "there"]
    urls = [settings.redis_url.replace(path, str(each)) for each in paths]
    one, two = (msgspec.structs.replace(settings, redis_url=url) for url in urls)
    async with (
        cable(Path(path), paths[0]) as first,
        cable(Path(path), paths[1]) as second,
        open_services(one) as here,
        open_services(two) as there,
    ):
        yield Pair([here, there], [first, second])


async def test_a_visitor_on_another_instance_is_seen(pair: Pair) -> None:
    """Not known at first, then there, then away; two tabs are one visitor."""
    pair.there.came(CNV)
    ana = Watcher(ANA)
    pair.here.watch(CNV, ana)
    assert ana.frames == [operator.Presence(conversation_id=CNV, operators=[ANA])], "nothing is said that is not known"
    await ana.online(True)
    pair.there.came(CNV)
    pair.there.left(CNV)
    pair.there.left(CNV)
    await ana.online(False)
    pair.there.came(CNV)
    await ana.online(True)
    assert [frame.visitor_online for frame in ana.frames] == [None, True, False, True]
    pair.here.unwatch(CNV, ana)


async def test_nobody_is_away_only_after_all_had_time_to_answer(pair: Pair) -> None:
    """A conversation without a visitor is said to be one, a moment later."""
    ana = Watcher(ANA)
    pair.here.watch(CNV, ana)
    await ana.online(False)
    assert [frame.visitor_online for frame in ana.frames] == [None, False]
    pair.here.unwatch(CNV, ana)


async def test_a_page_that_loads_anew_is_not_away(pair: Pair) -> None:
    """A visitor who goes from one page to the next does not flicker."""
    ana = Watcher(ANA)
    pair.here.came(CNV)
    pair.here.watch(CNV, ana)
    await ana.online(True)
    for _ in range(3):
        pair.here.left(CNV)
        pair.here.came(CNV)
    ben = Watcher(BEN)
    pair.there.watch(CNV, ben)
    await ben.online(True)
    await ana.until(lambda frame: frame.operators == [ANA, BEN])
    assert {frame.visitor_online for frame in ana.frames} == {True}
    pair.here.unwatch(CNV, ana)
    pair.there.unwatch(CNV, ben)


async def test_operators_see_each_other(pair: Pair) -> None:
    """Whoever watches is there, once however many windows they have, until they stop."""
    ana, again, ben = Watcher(ANA), Watcher(ANA), Watcher(BEN)
    pair.here.watch(CNV, ana)
    pair.there.watch(CNV, ben)
    pair.there.watch(CNV, again)
    await ana.until(lambda frame: frame.operators == [ANA, BEN])
    await ben.until(lambda frame: frame.operators == [ANA, BEN])
    pair.there.unwatch(CNV, ben)
    await ana.until(lambda frame: frame.operators == [ANA])
    pair.there.unwatch(CNV, again)
    pair.here.unwatch(CNV, ana)


async def test_who_was_on_a_dead_instance_is_away(pair: Pair) -> None:
    """It says goodbye to nobody; what it had told holds for a moment and no longer."""
    ana, ben = Watcher(ANA), Watcher(BEN)
    pair.there.came(CNV)
    pair.there.watch(CNV, ben)
    pair.here.watch(CNV, ana)
    await ana.until(lambda frame: frame.visitor_online is True and frame.operators == [ANA, BEN])
    await pair.instances[1].hub.stop()
    await ana.until(lambda frame: frame.visitor_online is False and frame.operators == [ANA])
    pair.here.unwatch(CNV, ana)
    pair.there.unwatch(CNV, ben)


async def _degraded(pair: Pair, expected: bool) -> None:
    async def so() -> bool:
        return all(each.hub.degraded is expected for each in pair.instances)

    await eventually(so, "both know")


@pytest.mark.parametrize("whose", [(0, 1), (0,), (1,)], ids=["both", "the watcher", "the visitor"])
async def test_without_redis_nothing_wrong_is_said(pair: Pair, whose: tuple[int, ...]) -> None:
    """Whoever lost it: who is there stays there, who comes and goes is seen, through Postgres."""
    ana = Watcher(ANA)
    pair.there.came(CNV)
    pair.here.watch(CNV, ana)
    await ana.online(True)
    for each in whose:
        await pair.lines[each].cut()
    await _degraded(pair, expected=True)
    pair.there.left(CNV)
    await ana.online(False)
    pair.there.came(CNV)
    await ana.online(True)
    before = len(ana.frames)
    for each in whose:
        await pair.lines[each].mend()
    await _degraded(pair, expected=False)
    pair.there.left(CNV)
    await ana.online(False)
    assert False not in [frame.visitor_online for frame in ana.frames[before:-1]]
    pair.here.unwatch(CNV, ana)


async def test_without_any_way_it_is_not_known(pair: Pair) -> None:
    """No Redis and no notice: a visitor who was there is neither said to be there nor to be away."""
    ana = Watcher(ANA)
    pair.there.came(CNV)
    pair.here.watch(CNV, ana)
    await ana.online(True)
    await pair.lines[0].cut()

    async def away() -> bool:
        return pair.instances[0].hub.bus.away

    await eventually(away, "it knows that Redis is gone")
    await pair.instances[1].hub.stop()  # it can be heard no more, whether it lives or not
    await ana.online(None)
    pair.here.unwatch(CNV, ana)


async def test_nobody_watches_and_nothing_is_said(pair: Pair) -> None:
    """Visitors of conversations without an operator cost no message."""
    said: list[bytes] = []
    pair.instances[1].hub.on_control(said.append)
    for number in range(50):
        pair.here.came(f"cnv_{number}")
    ana = Watcher(ANA)
    pair.here.watch(CNV, ana)
    await ana.online(False)

    async def heard() -> bool:
        return bool(said)

    await eventually(heard, "the ask has come")
    pair.here.unwatch(CNV, ana)
    assert all(CNV.encode() in each and b"cnv_1" not in each for each in said)
