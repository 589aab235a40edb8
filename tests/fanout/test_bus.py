"""Pub/sub over one real Redis, which is taken away and brought back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from server.fanout import bus
from server.fanout.bus import Bus
from server.services import open_redis
from tests.support import PATIENCE_S, Cable, cable, eventually


class Ear:
    """What a bus heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.returns = 0
        self._changed = asyncio.Event()

    def message(self, channel: str, payload: bytes) -> None:
        if payload == b"boom":
            raise ZeroDivisionError
        self.heard.append((channel, payload))
        self._changed.set()

    def returned(self) -> None:
        self.returns += 1
        self._changed.set()

    async def until(self, *, heard: int = 0, returns: int = 0) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < heard or self.returns < returns:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def open_bus(url: str) -> AsyncIterator[tuple[Bus, Ear, Redis]]:
    """A running bus and what it hears."""
    redis, ear = open_redis(url), Ear()
    bus = Bus(redis, ear.message, ear.returned)
    await bus.start()
    try:
        yield bus, ear, redis
    finally:
        await bus.stop()
        await redis.aclose()


@pytest.fixture
async def line(redis_url: str, tmp_path: Path) -> AsyncIterator[tuple[Cable, str]]:
    """A line to Redis that can be cut, and the URL that goes through it."""
    async with cable(Path(urlsplit(redis_url).path), tmp_path / "redis.sock") as line:
        yield line, f"unix://{line.path}?db=0"


async def subscribers(redis: Redis, channel: str) -> int:
    """How many Redis knows of."""
    [(_, count)] = await redis.pubsub_numsub(channel)
    return int(count)


async def test_a_subscription_is_confirmed(redis_url: str) -> None:
    """When `subscribe` says yes, Redis delivers: nothing published afterwards is missed."""
    async with open_bus(redis_url) as (here, ear, redis), open_bus(redis_url) as (there, *_):
        assert await here.subscribe("c:1")
        assert await subscribers(redis, "c:1") == 1
        there.publish("c:1", b"hello")
        await ear.until(heard=1)
        assert ear.heard == [("c:1", b"hello")]
        assert await here.subscribe("c:1"), "again is at once"


async def test_order_is_kept(redis_url: str) -> None:
    """A thousand messages over two channels come as they were sent, commands in between included."""
    async with open_bus(redis_url) as (here, ear, redis), open_bus(redis_url) as (there, *_):
        await here.subscribe("c:1")
        await here.subscribe("c:2")
        for number in range(1000):
            there.command("SET", "last", number)
            there.publish(f"c:{number % 2 + 1}", b"%d" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await ear.until(heard=1000)
        assert ear.heard == [(f"c:{number % 2 + 1}", b"%d" % number) for number in range(1000)]
        assert await redis.get("last") == b"999"


async def test_after_unsubscribing_nothing_is_heard(redis_url: str) -> None:
    """Redis no longer sends, and other channels go on."""
    async with open_bus(redis_url) as (here, ear, redis), open_bus(redis_url) as (there, *_):
        await here.subscribe("c:1")
        await here.subscribe("c:2")
        await here.unsubscribe("c:1")
        await eventually(lambda: _is(redis, "c:1", 0), "unsubscribed")
        there.publish("c:1", b"no")
        there.publish("c:2", b"yes")
        await ear.until(heard=1)
        assert ear.heard == [("c:2", b"yes")]
        assert await here.subscribe("c:1"), "and again"
        there.publish("c:1", b"now")
        await ear.until(heard=2)


async def _is(redis: Redis, channel: str, count: int) -> bool:
    return await subscribers(redis, channel) == count


async def test_killed_connections_come_back_with_their_subscriptions(redis_url: str) -> None:
    """Redis kills both; the bus says that it returned once it hears again, and sends again."""
    async with open_bus(redis_url) as (here, ear, redis), open_bus(redis_url) as (there, *_):
        for channel in ("c:1", "c:2", "c:3"):
            await here.subscribe(channel)
        assert ear.returns == 1, "the first connection counts"
        await redis.client_kill_filter(_type="pubsub")
        await ear.until(returns=2)
        # Before it says so, Redis has every subscription back: what is published now is heard.
        assert [await subscribers(redis, f"c:{number}") for number in (1, 2, 3)] == [1, 1, 1]
        await redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: _arrives(there, ear), "the sender is back")


async def _arrives(there: Bus, ear: Ear) -> bool:
    there.publish("c:3", b"again")
    try:
        async with asyncio.timeout(0.05):
            await ear.until(heard=1)
    except TimeoutError:
        return False
    return True


async def test_redis_away_blocks_nobody(line: tuple[Cable, str], redis_url: str) -> None:
    """Publishing returns at once and raises nothing; afterwards new messages go out, and the listener is told."""
    redis_line, url = line
    clock = asyncio.get_running_loop().time
    async with open_bus(url) as (bus, ear, _), open_bus(redis_url) as (other, other_ear, _):
        await bus.subscribe("c:1")
        await other.subscribe("c:9")
        await redis_line.cut()
        await eventually(lambda: _connected(bus, False), "the cut is noticed")
        began = clock()
        for number in range(20_000):
            bus.publish("c:9", b"%d" % number)
        assert clock() - began < 1
        assert not await bus.subscribe("c:2", within_s=0.01), "not confirmed, and not an error"
        await bus.unsubscribe("c:1")
        await redis_line.mend()
        await ear.until(returns=2)
        bus.publish("c:9", b"back")
        await eventually(lambda: _heard(other_ear, b"back"), "what is sent after the return")
        other.publish("c:1", b"left")
        other.publish("c:2", b"joined")
        await ear.until(heard=1)
        assert ear.heard == [("c:2", b"joined")], "subscribed on return, and what was left was not"


async def _connected(bus: Bus, wanted: bool) -> bool:
    return bus.connected is wanted


async def _heard(ear: Ear, payload: bytes) -> bool:
    return any(heard == payload for _, heard in ear.heard)


async def test_the_outbox_is_bounded(line: tuple[Cable, str], redis_url: str) -> None:
    """What cannot be sent is dropped from the oldest on: memory does not grow while Redis is away."""
    redis_line, url = line
    async with open_bus(redis_url) as (other, ear, _):
        await other.subscribe("c:9")
        await redis_line.cut()
        async with open_bus(url) as (bus_, own, _):
            for number in range(bus.OUTBOX + 500):
                bus_.publish("c:9", b"%d" % number)
            await redis_line.mend()
            await own.until(returns=1)
            await ear.until(heard=bus.OUTBOX)
            assert ear.heard[0] == ("c:9", b"500")
            assert ear.heard[-1] == ("c:9", b"%d" % (bus.OUTBOX + 499))


async def test_the_outbox_is_bounded_in_bytes(line: tuple[Cable, str], redis_url: str) -> None:
    """Large texts are dropped sooner than small ones."""
    redis_line, url = line
    async with open_bus(redis_url) as (other, ear, _):
        await other.subscribe("c:9")
        await redis_line.cut()
        async with open_bus(url) as (bus_, own, _):
            size = bus.OUTBOX_BYTES // 10
            for number in range(15):
                bus_.publish("c:9", b"%d " % number + b"x" * size)
            bus_.publish("c:9", b"last")
            await redis_line.mend()
            await own.until(returns=1)
            await eventually(lambda: _heard(ear, b"last"), "the last one")
            numbers = [int(payload.split()[0]) for _, payload in ear.heard[:-1]]
            assert numbers == list(range(15 - len(numbers), 15))
            assert 8 <= len(numbers) <= 10


async def test_a_listener_that_breaks_does_not_deafen_the_instance(redis_url: str) -> None:
    """A bug in whoever hears a message costs that message and a reconnection, and is told to the readers."""
    async with open_bus(redis_url) as (here, ear, redis):
        await here.subscribe("c:1")
        await redis.publish("c:1", b"boom")
        await ear.until(returns=2)
        await redis.publish("c:1", b"fine")
        await ear.until(heard=1)
        assert ear.heard == [("c:1", b"fine")]


async def test_stop_ends_both_connections(redis_url: str) -> None:
    """Nothing of a stopped bus is left in Redis."""
    redis = open_redis(redis_url)
    async with open_bus(redis_url) as (here, *_):
        await here.subscribe("c:1")
        assert await subscribers(redis, "c:1") == 1
    await eventually(lambda: _is(redis, "c:1", 0), "the listening connection is gone")
    await redis.aclose()


async def test_a_redis_that_falls_silent_is_noticed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes nothing and answers nothing: without a message of ours the bus knows, and later that it is back."""
    monkeypatch.setattr(bus, "PING_S", 0.1)
    async with open_bus(redis_url) as (here, ear, redis):
        await here.subscribe("c:1")
        await ear.until(returns=1)
        losses = []
        here._on_loss = lambda: losses.append(here.away)
        await redis.client_pause(3_000)
        await eventually(lambda: _away(here, True), "the silence is noticed")
        assert losses and all(losses)
        await ear.until(returns=2)
        await eventually(lambda: _away(here, False), "both connections are back")
        here.publish("c:1", b"again")
        await ear.until(heard=1)


async def _away(bus: Bus, wanted: bool) -> bool:
    return bus.away is wanted
