"""Responses of live data in a real Redis, and without one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from server.cache.endpoints import MAX_BYTES, EndpointCache, KeptResponse, response_key
from server.services import open_redis

PIZZA = KeptResponse([{"title": "Pizza", "price": "9.50"}], 200)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    redis = open_redis(redis_url)
    yield redis
    await redis.aclose()


async def test_what_was_put_is_got(redis: Redis) -> None:
    """By any instance, until its time is over."""
    key = response_key(1, 2, "a")
    await EndpointCache(redis).put(key, PIZZA, ttl_s=300)
    assert await EndpointCache(redis).get(key) == PIZZA
    assert 0 < await redis.ttl(key) <= 300
    assert await EndpointCache(redis).get(response_key(1, 2, "b")) is None


def test_keys() -> None:
    """Named after client and endpoint; what is asked is only a hash; no two questions share one."""
    questions = [
        response_key(1, 2),
        response_key(2, 2),
        response_key(1, 3),
        response_key(1, 2, None),
        response_key(1, 2, ""),
        response_key(1, 2, None, ""),
        response_key(1, 2, "", None),
        response_key(1, 2, "ab", "c"),
        response_key(1, 2, "a", "bc"),
        response_key(1, 2, "ab-c"),
        response_key(1, 2, "ab", None, "c"),
        response_key(1, 2, "2:ab"),
        response_key(1, 2, "\ud800"),
    ]
    assert len(set(questions)) == len(questions)
    assert response_key(1, 2, "a") == response_key(1, 2, b"a")
    assert response_key(12, 345, "s3cret").startswith("endpoint:12:345:")
    assert "s3cret" not in response_key(12, 345, "s3cret")


@pytest.mark.parametrize(("response", "ttl_s"), [(PIZZA, 0), (PIZZA, -1), (KeptResponse("x" * MAX_BYTES, 200), 300)])
async def test_what_is_not_kept(redis: Redis, response: KeptResponse, ttl_s: int) -> None:
    """Never means never, and one answer does not fill Redis."""
    await EndpointCache(redis).put("endpoint:1:1:x", response, ttl_s=ttl_s)
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"status": 200}', b"\xff"])
async def test_what_is_not_understood_is_not_there(redis: Redis, raw: bytes) -> None:
    """Of another version of this program."""
    await redis.set("endpoint:1:1:x", raw)
    assert await EndpointCache(redis).get("endpoint:1:1:x") is None


async def test_without_redis() -> None:
    """Nothing is known and nothing breaks."""
    nowhere = open_redis("unix:///nowhere/redis.sock")
    cache = EndpointCache(nowhere)
    await cache.put("endpoint:1:1:x", PIZZA, ttl_s=300)
    assert await cache.get("endpoint:1:1:x") is None
    await nowhere.aclose()


async def test_a_cancelled_read_gives_nobody_another_answer(redis: Redis) -> None:
    """A turn that is stopped in the middle of a read leaves no reply behind for the next reader."""
    cache = EndpointCache(redis)
    keys = [f"endpoint:1:{number}:x" for number in range(20)]
    for number, key in enumerate(keys):
        await cache.put(key, KeptResponse(number), ttl_s=300)
    for round_ in range(100):
        cancelled = [asyncio.ensure_future(cache.get(key)) for key in keys]
        for _ in range(round_ % 7):
            await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        kept = await asyncio.gather(*(cache.get(key) for key in keys))
        assert [each and each.value for each in kept] == list(range(20))


async def test_a_redis_that_is_known_to_be_away_is_not_asked(redis: Redis) -> None:
    """Neither for what it has nor to keep anything; when it is back it is asked again."""
    gone = True
    cache, key, other = EndpointCache(redis, away=lambda: gone), response_key(1, 2, "a"), response_key(1, 2, "b")
    await EndpointCache(redis).put(key, PIZZA, ttl_s=300)
    assert await cache.get(key) is None
    await cache.put(other, PIZZA, ttl_s=300)
    gone = False
    assert await cache.get(key) == PIZZA
    assert await cache.get(other) is None
