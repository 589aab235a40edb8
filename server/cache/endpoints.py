"""Responses of live data: `endpoint:{client_id}:{endpoint_id}:{hash}`. Redis away means asking again."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import log

logger = log.get("cache")

# Bytes of one response that are kept. A model reads 16 KB of it.
MAX_BYTES = 256 * 1024


class KeptResponse(msgspec.Struct, frozen=True):
    """What was picked of a response, and its HTTP status (None of a database's)."""

    value: Any
    status: int | None = None


_decoder = msgspec.json.Decoder(KeptResponse)


def response_key(client_id: int, endpoint_id: int, *parts: bytes | str | None) -> str:
    """The key of one question. `parts` are all that an answer depends on; each is told apart from its neighbour.

    The hash is SHA-256, so no part can be read back; a short secret is still no part of it (it could be guessed).
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"-" if raw is None else b"%d:" % len(raw))
        digest.update(raw or b"")
    return f"endpoint:{client_id}:{endpoint_id}:{digest.hexdigest()}"


class EndpointCache:
    """Shared by all instances. `away` says that Redis need not be asked: a visitor would wait for that."""

    def __init__(self, redis: Redis, *, away: Callable[[], bool] = lambda: False) -> None:
        self._redis = redis
        self._away = away

    async def get(self, key: str) -> KeptResponse | None:
        """What was kept, if it still is."""
        if self._away():
            return None
        try:
            raw = await self._redis.get(key)
        except (RedisError, OSError) as error:
            logger.warning("response not read", reason=str(error))
            return None
        if raw is None:
            return None
        try:
            return _decoder.decode(raw)
        except msgspec.DecodeError as error:
            # Of another version of this program, while instances are replaced one by one.
            logger.warning("response not understood", reason=str(error))
            return None

    async def put(self, key: str, response: KeptResponse, *, ttl_s: int) -> None:
        """Keeps it for `ttl_s` seconds, unless it is large or `ttl_s` is 0. `value` is plain JSON."""
        if ttl_s <= 0 or self._away():
            return
        raw = msgspec.json.encode(response)
        if len(raw) > MAX_BYTES:
            return
        try:
            await self._redis.set(key, raw, ex=ttl_s)
        except (RedisError, OSError) as error:
            logger.warning("response not kept", reason=str(error))
