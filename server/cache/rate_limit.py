"""Counts requests a minute in Redis: per client, per address, per visitor.

When Redis is away, each instance counts for itself with its share of the limit: slower to notice, never off.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import log
from server.errors import RateLimited

logger = log.get("rate_limit")

WINDOW_S = 60
# One command instead of two a limit: a message waits for this before anything else, and it halves the time.
# Keys counted here without Redis. Past it the others share as many counters again: stricter, and never without one.
KEYS_HERE = 50_000
_COUNT = """
local counts = {}
for i, key in ipairs(KEYS) do
    counts[i] = redis.call('INCR', key)
    if counts[i] == 1 then redis.call('EXPIRE', key, ARGV[1]) end
end
return counts
"""


class Limit(msgspec.Struct, frozen=True):
    """At most `most` a minute under `key`. `name` tells the caller which limit it was."""

    name: str
    key: str
    most: int


class RateLimiter:
    """For the time without Redis `instances` says how many share the limits; `away` that Redis need not be asked."""

    def __init__(
        self,
        redis: Redis,
        *,
        clock: Callable[[], float] = time.time,
        instances: Callable[[], int] = lambda: 1,
        away: Callable[[], bool] = lambda: False,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_COUNT)
        self._clock = clock
        self._instances = instances
        self._away = away
        self._local: Counter[str] = Counter()
        self._local_minute = 0

    async def check(self, *limits: Limit) -> None:
        """Counts one request against every limit, in one round trip. Raises RateLimited for the first that is over."""
        now = self._clock()
        minute = int(now // WINDOW_S)
        counts = None if self._away() else await self._count([f"rate_limit:{limit.key}:{minute}" for limit in limits])
        if counts is None:
            counts = self._count_here(minute, limits)
            shares = [max(1, limit.most // max(1, self._instances())) for limit in limits]
        else:
            shares = [limit.most for limit in limits]
        for limit, count, most in zip(limits, counts, shares, strict=True):
            if count > most:
                wait_ms = int((WINDOW_S - now % WINDOW_S) * 1000) + 1
                raise RateLimited(
                    f"more than {limit.most} requests a minute for this {limit.name}; "
                    f"the next minute begins in {-(-wait_ms // 1000)} s",
                    code=f"rate_limited_{limit.name}",
                    retry_after_ms=wait_ms,
                )

    async def used(self, *limits: Limit) -> list[int | None]:
        """How much of each is used in this minute, without counting; None while Redis cannot tell."""
        minute = int(self._clock() // WINDOW_S)
        if self._away():
            return [None for _ in limits]
        try:
            found = await self._redis.mget([f"rate_limit:{limit.key}:{minute}" for limit in limits])
        except (RedisError, OSError) as error:
            logger.warning("not known how much is used", reason=str(error))
            return [None for _ in limits]
        return [int(each or 0) for each in found]

    def resets_at(self) -> datetime:
        """When the next minute begins, and with it every count."""
        return datetime.fromtimestamp((self._clock() // WINDOW_S + 1) * WINDOW_S, UTC)

    async def _count(self, keys: list[str]) -> list[int] | None:
        try:
            counts: list[int] = await self._script(keys=keys, args=[WINDOW_S])
        except (RedisError, OSError) as error:
            logger.warning("counting without redis", reason=str(error))
            return None
        return counts

    def _count_here(self, minute: int, limits: tuple[Limit, ...]) -> list[int]:
        if minute != self._local_minute:
            self._local.clear()
            self._local_minute = minute
        keys = [self._key_here(limit.key) for limit in limits]
        self._local.update(keys)
        return [self._local[key] for key in keys]

    def _key_here(self, key: str) -> str:
        if key in self._local or len(self._local) < KEYS_HERE:
            return key
        return f"shared:{hash(key) % KEYS_HERE}"
