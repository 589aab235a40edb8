"""The text of running answers, where they run and elsewhere."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from server.fanout.hub import Hub
from server.fanout.live import LIFETIME_S, LiveText, LiveTexts
from server.services import open_redis
from tests.support import eventually


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    redis = open_redis(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def here(redis: Redis) -> AsyncIterator[LiveTexts]:
    """The instance that runs the answer."""
    hub = Hub(redis, "ins_here")
    await hub.start()
    yield LiveTexts(redis, hub.bus)
    await hub.stop()


@pytest.fixture
async def there(redis: Redis) -> AsyncIterator[LiveTexts]:
    """Another instance."""
    hub = Hub(redis, "ins_there")
    await hub.start()
    yield LiveTexts(redis, hub.bus)
    await hub.stop()


def text(n: int, gen: int = 1) -> LiveText:
    """The answer up to its `n`-th delta."""
    return LiveText("trn_1", "msg_1", gen, n, "word " * n, "openai", "gpt-4o", 12)


async def test_it_is_known_here_and_there(here: LiveTexts, there: LiveTexts, redis: Redis) -> None:
    """At once where it runs; through Redis elsewhere, for a while, even if its instance dies."""
    assert await here.get("trn_1", 1) is None
    here.put(text(1))
    assert await here.get("trn_1", 1) == text(1)
    here.put(text(2))
    assert await here.get("trn_1", 1) == text(2)

    async def arrived() -> bool:
        return await there.get("trn_1", 1) == text(2)

    await eventually(arrived, "the other instance knows the newest")
    assert LIFETIME_S - 10 < await redis.ttl("live:trn_1:1") <= LIFETIME_S


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_dropped_it_is_nowhere(here: LiveTexts, there: LiveTexts, redis: Redis, elsewhere: bool) -> None:
    """Whoever drops it: an answer may be stopped on another instance than its own."""
    here.put(text(1))

    async def arrived() -> bool:
        return await there.get("trn_1", 1) is not None

    await eventually(arrived, "the other instance knows")
    (there if elsewhere else here).drop("trn_1", 1)

    async def gone() -> bool:
        return await there.get("trn_1", 1) is None

    await eventually(gone, "the other instance forgot")
    here.forget("trn_1")
    assert await here.get("trn_1", 1) is None


async def test_forgotten_here_it_is_still_the_new_owners(here: LiveTexts, there: LiveTexts) -> None:
    """After a takeover the old instance reads what the new one says."""
    here.put(text(9))

    async def arrived() -> bool:
        return await there.get("trn_1", 1) == text(9)

    await eventually(arrived, "the first one's text")
    there.put(text(1, gen=2))
    here.forget("trn_1")

    async def newest() -> bool:
        return await here.get("trn_1", 2) == text(1, gen=2)

    await eventually(newest, "the new owner's text")
    here.forget("trn_never")


@pytest.mark.parametrize("value", [b"{", b'{"turn_id": 1}', b"\xff", b""])
async def test_a_value_that_makes_no_sense_is_none(there: LiveTexts, redis: Redis, value: bytes) -> None:
    """Of another version of the program, say: a snapshot without it is right, an error is not."""
    await redis.set("live:trn_1:1", value)
    assert await there.get("trn_1", 1) is None


async def test_without_redis_there_is_no_text(redis_url: str) -> None:
    """Not elsewhere, and no error; where it runs it is still known."""
    redis = open_redis("unix:///nowhere/redis.sock")
    hub = Hub(redis, "ins_here")
    live = LiveTexts(redis, hub.bus)
    assert await live.get("trn_1", 1) is None
    live.put(text(3))
    assert await live.get("trn_1", 1) == text(3)
    await redis.aclose()


async def test_a_late_write_of_an_older_owner_hides_nothing(here: LiveTexts, there: LiveTexts, redis: Redis) -> None:
    """A zombie that goes on talking, wherever it is and however often, is never what a reader of the row's gen gets."""
    reader = LiveTexts(redis, here._bus)
    there.put(text(3, gen=2))
    for n in range(1, 20):
        here.put(text(n, gen=1))

    async def all_written() -> bool:
        return await reader.get("trn_1", 1) == text(19) and await reader.get("trn_1", 2) == text(3, gen=2)

    await eventually(all_written, "both have written")
    assert await here.get("trn_1", 2) == text(3, gen=2), "also where the zombie is"
    assert await there.get("trn_1", 3) is None
    there.drop("trn_1", 2)

    async def gone() -> bool:
        return await redis.keys("live:*") == []

    await eventually(gone, "the end takes both")
