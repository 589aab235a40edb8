"""Counting requests a minute, in a real Redis and without one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from server.cache import rate_limit
from server.cache.rate_limit import WINDOW_S, Limit, RateLimiter
from server.errors import RateLimited
from server.services import open_redis

MINUTE = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = MINUTE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At the begin of a minute."""
    return Clock()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    redis = open_redis(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def nowhere() -> AsyncIterator[Redis]:
    """A client of a Redis that is not there."""
    redis = open_redis("unix:///nowhere/redis.sock")
    yield redis
    await redis.aclose()


async def passes(limiter: RateLimiter, limit: Limit, tries: int) -> int:
    """How many of so many requests at once are let through."""
    answers = await asyncio.gather(*(limiter.check(limit) for _ in range(tries)), return_exceptions=True)
    refused = [answer for answer in answers if answer is not None]
    assert all(isinstance(answer, RateLimited) for answer in refused)
    return tries - len(refused)


@pytest.mark.parametrize("most", [1, 7, 40])
async def test_the_limit_is_exact(redis: Redis, clock: Clock, most: int) -> None:
    """Two instances that count at the same time let exactly so many through."""
    here, there = RateLimiter(redis, clock=clock), RateLimiter(redis, clock=clock)
    limit = Limit("client", "1", most)
    let = await asyncio.gather(passes(here, limit, most), passes(there, limit, most))
    assert sum(let) == most


async def test_a_crowd_is_counted_in_redis_too(redis: Redis, clock: Clock) -> None:
    """150 requests in the same instant are no reason to count as if Redis were away."""
    here, there = RateLimiter(redis, clock=clock), RateLimiter(redis, clock=clock)
    limit = Limit("client", "1", 100)
    let = await asyncio.gather(passes(here, limit, 75), passes(there, limit, 75))
    assert sum(let) == 100


async def test_the_next_minute_is_new(redis: Redis, clock: Clock) -> None:
    """The refusal names the limit, and says when to come back; then it is right."""
    limiter, limit = RateLimiter(redis, clock=clock), Limit("visitor", "1:visitor:ses_1", 2)
    clock.now = MINUTE + 17.25
    assert await passes(limiter, limit, 5) == 2
    with pytest.raises(RateLimited) as refusal:
        await limiter.check(limit)
    assert refusal.value.code == "rate_limited_visitor"
    assert refusal.value.retry_after_ms == 42_751
    assert refusal.value.message == ("more than 2 requests a minute for this visitor; the next minute begins in 43 s")
    clock.now += refusal.value.retry_after_ms / 1000
    assert await passes(limiter, limit, 5) == 2


async def test_the_first_limit_that_is_over_is_named(redis: Redis, clock: Clock) -> None:
    """All count in one go; other keys are not touched."""
    limiter = RateLimiter(redis, clock=clock)
    client, address = Limit("client", "1", 10), Limit("address", "1:ip:192.0.2.1", 2)
    await limiter.check(client, address)
    await limiter.check(client, address)
    with pytest.raises(RateLimited) as refusal:
        await limiter.check(client, address)
    assert refusal.value.code == "rate_limited_address"
    await limiter.check(client, Limit("address", "1:ip:192.0.2.2", 2))
    await limiter.check(Limit("client", "2", 1))


async def test_the_keys_are_short_lived(redis: Redis, clock: Clock) -> None:
    """Named as the plan says, gone a minute after their last count."""
    await RateLimiter(redis, clock=clock).check(Limit("client", "1", 10))
    [key] = [key async for key in redis.scan_iter()]
    assert key == b"rate_limit:1:%d" % (MINUTE // WINDOW_S)
    assert 0 < await redis.ttl(key) <= WINDOW_S


@pytest.mark.parametrize(("instances", "share"), [(1, 60), (2, 30), (7, 8), (1000, 1)])
async def test_without_redis_each_instance_has_its_share(
    nowhere: Redis, clock: Clock, instances: int, share: int
) -> None:
    """Never none and never nothing: at least one request a minute, at most the limit over all."""
    limiter, limit = RateLimiter(nowhere, clock=clock, instances=lambda: instances), Limit("client", "1", 60)
    assert await passes(limiter, limit, 80) == share
    clock.now += WINDOW_S
    assert await passes(limiter, limit, 80) == share


async def test_without_redis_limits_are_told_apart(nowhere: Redis, clock: Clock) -> None:
    """By their keys, as with it."""
    limiter = RateLimiter(nowhere, clock=clock)
    assert await passes(limiter, Limit("client", "1", 3), 5) == 3
    assert await passes(limiter, Limit("client", "2", 3), 5) == 3


async def test_redis_known_to_be_away_is_not_asked(redis: Redis, clock: Clock) -> None:
    """Nobody waits for its silence, and its counts are not touched; from its return on it counts for all again."""
    away = True
    limiter = RateLimiter(redis, clock=clock, instances=lambda: 2, away=lambda: away)
    limit = Limit("client", "1", 10)
    assert await passes(limiter, limit, 20) == 5
    assert [key async for key in redis.scan_iter()] == []
    away = False
    assert await passes(limiter, limit, 20) == 10


async def test_without_redis_memory_is_bounded(nowhere: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood from everywhere shares the last counters: each is still limited, and those known before are unharmed."""
    monkeypatch.setattr(rate_limit, "KEYS_HERE", 100)
    limiter = RateLimiter(nowhere, clock=clock, away=lambda: True)
    known = Limit("client", "known", 3)
    await limiter.check(known)
    for number in range(1_000):
        try:
            await limiter.check(Limit("address", f"ip:{number}", 5))
        except RateLimited as refusal:
            assert refusal.code == "rate_limited_address"
    assert len(limiter._local) <= 200
    assert await passes(limiter, Limit("address", "ip:late", 5), 10) <= 5
    assert await passes(limiter, known, 5) == 2
    clock.now += WINDOW_S
    assert await passes(limiter, Limit("address", "ip:late", 5), 10) == 5
    assert len(limiter._local) == 1


async def test_how_much_is_used(redis: Redis, nowhere: Redis, clock: Clock) -> None:
    """As counted by all, without counting itself; until the minute ends; not known without Redis."""
    here, there = RateLimiter(redis, clock=clock), RateLimiter(redis, clock=clock)
    busy, idle = Limit("client", "busy", 5), Limit("client", "idle", 5)
    for limiter in (here, there, here):
        await limiter.check(busy)
    assert await there.used(busy, idle) == [3, 0]
    assert await here.used(busy) == [3]
    assert here.resets_at().timestamp() == MINUTE + WINDOW_S
    clock.now += WINDOW_S
    assert await here.used(busy) == [0]
    assert await RateLimiter(nowhere, clock=clock).used(busy, idle) == [None, None]
    assert await RateLimiter(redis, clock=clock, away=lambda: True).used(busy) == [None]
