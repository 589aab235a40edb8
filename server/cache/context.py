"""The last 20 messages of active conversations, so that a turn need not read them from Postgres.

The value says how many messages its conversation had. A reader that knows the true number from Postgres refuses a value
that is behind, so a lost or late write costs a query and never an answer without a message.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import log

logger = log.get("cache")

# Seconds after the last activity, from the owner's plan.
LIFETIME_S = 3600
MESSAGES = 20


class CachedMessage(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant", "operator", "system"]
    text: str


class CachedContext(msgspec.Struct, frozen=True):
    """`total` is the number of messages the conversation had when this was written."""

    client_id: int
    total: int
    messages: list[CachedMessage]
    last_activity: datetime


_decoder = msgspec.json.Decoder(CachedContext)


class ContextCache:
    """`conversation:{session_id}` in Redis. `away` says that Redis need not be asked: a visitor would wait for that."""

    def __init__(self, redis: Redis, *, away: Callable[[], bool] = lambda: False) -> None:
        self._redis = redis
        self._away = away

    async def get(self, *, client_id: int, session_id: str, total: int) -> list[CachedMessage] | None:
        """The last messages, oldest first, if the cache knows all `total` of them; else None."""
        if self._away():
            return None
        try:
            raw = await self._redis.get(f"conversation:{session_id}")
        except (RedisError, OSError) as error:
            logger.warning("context not read", reason=str(error))
            return None
        if raw is None:
            return None
        try:
            context = _decoder.decode(raw)
        except msgspec.DecodeError as error:
            # Of another version of this program, while instances are replaced one by one.
            logger.warning("context not understood", reason=str(error))
            return None
        return context.messages if (context.client_id, context.total) == (client_id, total) else None

    async def put(self, *, session_id: str, context: CachedContext) -> None:
        """Replaces what was known."""
        if self._away():
            return
        value = msgspec.json.encode(msgspec.structs.replace(context, messages=context.messages[-MESSAGES:]))
        try:
            await self._redis.set(f"conversation:{session_id}", value, ex=LIFETIME_S)
        except (RedisError, OSError) as error:
            logger.warning("context not kept", reason=str(error))
