"""The last messages in Redis: fast, and never believed when they are behind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
from redis.asyncio import Redis

from server.cache.context import LIFETIME_S, MESSAGES, CachedContext, CachedMessage, ContextCache
from server.services import open_redis

AT = datetime(2031, 5, 20, 12, tzinfo=UTC)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    redis = open_redis(redis_url)
    yield redis
    await redis.aclose()


def said(count: int) -> list[CachedMessage]:
    """So many messages."""
    return [CachedMessage("user" if n % 2 else "assistant", f"message {n} 🍕") for n in range(count)]


async def test_what_was_put_is_got(redis: Redis) -> None:
    """In order, for an hour after the last activity, under the plan's key."""
    cache = ContextCache(redis)
    await cache.put(session_id="ses_1", context=CachedContext(7, 4, said(4), AT))
    assert await cache.get(client_id=7, session_id="ses_1", total=4) == said(4)
    assert LIFETIME_S - 10 < await redis.ttl("conversation:ses_1") <= LIFETIME_S
    value = await redis.get("conversation:ses_1")
    assert value is not None
    raw = msgspec.json.decode(value)
    assert (raw["client_id"], raw["total"], raw["last_activity"]) == (7, 4, "2031-05-20T12:00:00Z")


async def test_the_last_twenty_are_kept(redis: Redis) -> None:
    """Whatever is put; the total still says how many there were."""
    cache = ContextCache(redis)
    await cache.put(session_id="ses_1", context=CachedContext(7, 33, said(33), AT))
    assert await cache.get(client_id=7, session_id="ses_1", total=33) == said(33)[-MESSAGES:]


@pytest.mark.parametrize(
    ("client_id", "session_id", "total"), [(7, "ses_1", 3), (7, "ses_1", 5), (8, "ses_1", 4), (7, "ses_2", 4)]
)
async def test_what_does_not_match_is_unknown(redis: Redis, client_id: int, session_id: str, total: int) -> None:
    """Behind, ahead, another client's, another session's."""
    cache = ContextCache(redis)
    await cache.put(session_id="ses_1", context=CachedContext(7, 4, said(4), AT))
    assert await cache.get(client_id=client_id, session_id=session_id, total=total) is None


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"client_id":7,"total":4}', b"\xff"])
async def test_a_value_that_makes_no_sense_is_unknown(redis: Redis, value: bytes) -> None:
    """Of another version of the program, say: it costs a query and is no error."""
    await redis.set("conversation:ses_1", value)
    assert await ContextCache(redis).get(client_id=7, session_id="ses_1", total=4) is None


async def test_a_key_of_another_kind_is_unknown(redis: Redis) -> None:
    """Somebody else's list under our name neither breaks the reader nor the writer."""
    await redis.lpush("conversation:ses_1", "x")
    cache = ContextCache(redis)
    assert await cache.get(client_id=7, session_id="ses_1", total=4) is None
    await cache.put(session_id="ses_1", context=CachedContext(7, 4, said(4), AT))
    assert await cache.get(client_id=7, session_id="ses_1", total=4) == said(4)


async def test_without_redis_nothing_is_known() -> None:
    """And nothing raises."""
    redis = open_redis("unix:///nowhere/redis.sock")
    cache = ContextCache(redis)
    await cache.put(session_id="ses_1", context=CachedContext(7, 4, said(4), AT))
    assert await cache.get(client_id=7, session_id="ses_1", total=4) is None
    await redis.aclose()


async def test_a_redis_that_is_known_to_be_away_is_not_asked(redis: Redis) -> None:
    """Neither for what it has nor to keep anything; when it is back it is asked again."""
    gone = True
    cache = ContextCache(redis, away=lambda: gone)
    await ContextCache(redis).put(session_id="ses_1", context=CachedContext(7, 4, said(4), AT))
    assert await cache.get(client_id=7, session_id="ses_1", total=4) is None
    await cache.put(session_id="ses_1", context=CachedContext(7, 5, said(5), AT))
    gone = False
    assert await cache.get(client_id=7, session_id="ses_1", total=4) == said(4)
