"""The text of running answers, so that a browser that comes back mid-answer gets a snapshot.

Kept here for answers this instance runs, and in Redis, in order with the published deltas, for everybody else.
"""

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import log
from server.fanout.bus import Bus

logger = log.get("fanout")

# Seconds a partial text outlives its last delta: five turns' deadlines.
LIFETIME_S = 600


class LiveTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool step as visitors see it; `state` is running, done, failed or confirm."""

    call_id: str
    label: str
    state: str
    text: str | None = None


class LiveText(msgspec.Struct, gc=False, omit_defaults=True):
    """A running answer: everything up to delta `n` of `gen`, and what stopping it would be accounted as."""

    turn_id: str
    message_id: str
    gen: int
    n: int
    text: str
    provider: str
    model: str
    tokens_input: int
    tools: list[LiveTool] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LiveText)


class LiveTexts:
    """Partial texts by turn (public id) and gen: whoever ran a turn before, and still does not know better, writes
    beside its new owner and never over it. Readers know the gen from the turn's row."""

    def __init__(self, redis: Redis, bus: Bus) -> None:
        self._redis = redis
        self._bus = bus
        self._here: dict[str, LiveText] = {}

    def put(self, live: LiveText) -> None:
        """Keeps the newest state. Goes to Redis before the delta it belongs to, so a snapshot is never behind."""
        self._here[live.turn_id] = live
        self._bus.command("SET", _key(live.turn_id, live.gen), _encoder.encode(live), "EX", LIFETIME_S)

    def drop(self, turn_id: str, gen: int) -> None:
        """The turn ended in this gen, whoever ran it: nobody wants its text, nor that of the gens just before."""
        self._here.pop(turn_id, None)
        self._bus.command("DEL", *(_key(turn_id, each) for each in range(max(1, gen - 2), gen + 1)))

    def forget(self, turn_id: str) -> None:
        """This instance no longer runs the turn; what Redis has is its new owner's."""
        self._here.pop(turn_id, None)

    async def get(self, turn_id: str, gen: int) -> LiveText | None:
        """The newest known state of this gen; None when nothing was said in it yet, or Redis lost it."""
        if (live := self._here.get(turn_id)) is not None and live.gen == gen:
            return live
        if self._bus.away:
            # Asking would cost a visitor the time until Redis does not answer.
            return None
        try:
            raw = await self._redis.get(_key(turn_id, gen))
        except (RedisError, OSError) as error:
            logger.warning("live text not read", turn=turn_id, reason=str(error))
            return None
        try:
            return _decoder.decode(raw) if raw else None
        except msgspec.DecodeError as error:
            # Of another version of this program, while instances are replaced one by one.
            logger.warning("live text not understood", turn=turn_id, reason=str(error))
            return None


def _key(turn_id: str, gen: int) -> str:
    return f"live:{turn_id}:{gen}"
