"""Who is here: local subscribers, and those of other instances through Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from server.fanout import bus
from server.fanout.hub import Hub
from server.services import open_redis
from tests.support import PATIENCE_S, eventually


class Reader:
    """A subscriber that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.resyncs = 0
        self._changed = asyncio.Event()

    def deliver(self, seq: int, payload: bytes) -> None:
        self.got.append((seq, payload))
        self._changed.set()

    def resync(self) -> None:
        self.resyncs += 1
        self._changed.set()

    async def until(self, *, got: int = 0, resyncs: int = 0) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.got) < got or self.resyncs < resyncs:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def open_hub(redis: Redis, name: str) -> AsyncIterator[Hub]:
    """A running hub."""
    hub = Hub(redis, name)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    redis = open_redis(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def here(redis: Redis) -> AsyncIterator[Hub]:
    """One instance's hub."""
    async with open_hub(redis, "ins_here") as hub:
        yield hub


@pytest.fixture
async def there(redis: Redis) -> AsyncIterator[Hub]:
    """Another instance's."""
    async with open_hub(redis, "ins_there") as hub:
        yield hub


async def test_everybody_gets_a_frame_once(here: Hub, there: Hub) -> None:
    """Local readers at once, without Redis; the others through it; nobody twice, and no other channel."""
    mine, second, far, elsewhere = Reader(), Reader(), Reader(), Reader()
    await here.join("c:1", mine)
    await here.join("c:1", second)
    await there.join("c:1", far)
    await there.join("c:2", elsewhere)
    here.publish("c:1", 7, b'{"a b": "c d"}')
    assert mine.got == second.got == [(7, b'{"a b": "c d"}')]
    await far.until(got=1)
    there.publish("c:1", 0, b"live")
    await mine.until(got=2)
    here.publish("c:1", 8, b"last")
    await far.until(got=3)
    # By now whatever came back from Redis has come.
    assert mine.got == far.got == [(7, b'{"a b": "c d"}'), (0, b"live"), (8, b"last")]
    assert elsewhere.got == []
    assert (here.subscribers(), there.subscribers()) == (2, 2)


async def test_control_reaches_every_instance_once(here: Hub, there: Hub) -> None:
    """The one that says it included."""
    heard_here: list[bytes] = []
    heard_there: list[bytes] = []
    here.on_control(heard_here.append)
    there.on_control(heard_there.append)
    here.control(b"one")
    assert heard_here == [b"one"]
    await eventually(lambda: _same(heard_there, [b"one"]), "the other instance hears it")
    there.control(b"two")
    await eventually(lambda: _same(heard_here, [b"one", b"two"]), "and back")
    here.control(b"three")
    await eventually(lambda: _same(heard_there, [b"one", b"two", b"three"]), "in order")
    assert heard_here == [b"one", b"two", b"three"]


async def _same(heard: list[bytes], wanted: list[bytes]) -> bool:
    return heard == wanted


async def test_who_left_gets_nothing(here: Hub, there: Hub, redis: Redis) -> None:
    """The last to leave ends the subscription; leaving twice, or from where one never was, changes nothing."""
    first, second = Reader(), Reader()
    await here.join("c:1", first)
    await here.join("c:1", second)
    await here.leave("c:1", first)
    await here.leave("c:1", first)
    await here.leave("c:none", first)
    there.publish("c:1", 1, b"x")
    await second.until(got=1)
    assert first.got == []
    await here.leave("c:1", second)

    async def gone() -> bool:
        [(_, count)] = await redis.pubsub_numsub("c:1")
        return int(count) == 0

    await eventually(gone, "nobody subscribes")
    assert here.subscribers() == 0


async def test_joining_and_leaving_at_once(here: Hub, there: Hub) -> None:
    """However joins and leaves of one channel cross, who is in at the end hears everything published from then on."""
    for _ in range(20):
        stays, goes, later = Reader(), Reader(), Reader()
        await here.join("c:1", goes)
        await asyncio.gather(here.leave("c:1", goes), here.join("c:1", stays))
        await asyncio.gather(here.join("c:1", later), here.leave("c:1", later))
        there.publish("c:1", 1, b"x")
        await stays.until(got=1)
        assert goes.got == later.got == []
        await here.leave("c:1", stays)


async def test_a_hundred_join_at_once(here: Hub, there: Hub) -> None:
    """All are in when their join returned."""
    readers = [Reader() for _ in range(100)]
    await asyncio.gather(*(here.join(f"c:{number % 10}", reader) for number, reader in enumerate(readers)))
    for number in range(10):
        there.publish(f"c:{number}", 1, b"x")
    for reader in readers:
        await reader.until(got=1)


async def test_readers_are_told_when_the_bus_returns(here: Hub, there: Hub, redis: Redis) -> None:
    """Frames may have been missed, so each reads the journal; then it hears again."""
    readers = [Reader(), Reader()]
    for number, reader in enumerate(readers):
        await here.join(f"c:{number}", reader)
    await redis.client_kill_filter(_type="pubsub")
    for reader in readers:
        await reader.until(resyncs=1)
    there.publish("c:0", 5, b"again")
    await readers[0].until(got=1)


async def test_what_is_no_message_of_ours_is_dropped(here: Hub, there: Hub, redis: Redis) -> None:
    """Anybody with the Redis password can publish anything; the next real message is heard all the same."""
    reader = Reader()
    await here.join("c:1", reader)
    for junk in (b"", b"x", b"ins_x notanumber {}", b"ins_x 1", b"\xff\xfe\x00"):
        await redis.publish("c:1", junk)
        await redis.publish("control", junk)
    there.publish("c:1", 1, b"real")
    await reader.until(got=1)
    assert (reader.got, reader.resyncs) == ([(1, b"real")], 0)


async def test_what_an_instance_says_last_is_sent(redis: Redis, there: Hub) -> None:
    """It ends right after a burst, and all of it arrives, the last word too."""
    far = Reader()
    heard: list[bytes] = []
    await there.join("c:1", far)
    there.on_control(heard.append)
    async with open_hub(redis, "ins_ending") as ending:
        for number in range(500):
            ending.publish("c:1", number + 1, b"{}")
        ending.control(b"next, please")
    await far.until(got=500)
    assert [seq for seq, _ in far.got] == list(range(1, 501))

    async def told() -> bool:
        return heard == [b"next, please"]

    await eventually(told, "the last word")


async def test_an_end_does_not_wait_for_a_redis_that_is_away(redis_url: str) -> None:
    """What it has to say is lost then, and known to be."""
    nowhere = open_redis("unix:///nowhere/redis.sock")
    hub = Hub(nowhere, "ins_alone")
    await hub.start()

    async def noticed() -> bool:
        return hub.bus.away

    await eventually(noticed, "redis is away")
    hub.control(b"next, please")
    began = asyncio.get_running_loop().time()
    await hub.stop()
    assert asyncio.get_running_loop().time() - began < bus.FLUSH_S / 2
    await nowhere.aclose()
