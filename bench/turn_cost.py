"""CPU and time of turns whose answers are next to nothing: one token, which the model gives at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bench import upstream
from bench.speakers import Site, Visitor

# Seconds for a server to finish what follows an answer (its journal, its caches), which counts as its work.
_SETTLE_S = 0.3
# Seconds for what follows a hello, which does not.
_COME_S = 0.1
_TOKENS = 1
# Seconds of CPU so far.
Clock = Callable[[], float]


def _nothing() -> float:
    return 0.0


class Meter(msgspec.Struct, frozen=True):
    """The clocks of a server and of what works for it."""

    server: Clock
    postgres: Clock
    redis: Clock = _nothing

    def read(self) -> tuple[float, float, float]:
        """All three, in this order."""
        return self.server(), self.postgres(), self.redis()


class Sample(msgspec.Struct, frozen=True):
    """Some turns. CPU in microseconds a turn; `firsts` are the seconds to the first tokens."""

    server: float
    postgres: float
    redis: float
    per_s: float
    firsts: list[float]

    @property
    def whole(self) -> float:
        """Of server and PostgreSQL."""
        return self.server + self.postgres


async def crowd(lanes: Sequence[Sequence[Site]], questions: int, meter: Meter) -> Sample:
    """So many questions of a visitor to each site, one after the other in each lane, and all lanes at once.

    Raises RuntimeError when an answer is not word for word what the model said.
    """
    visitors = await asyncio.gather(*map(_come, lanes))

    async def work() -> list[list[float]]:
        lanes = await asyncio.gather(*(ask(lane, questions) for lane in visitors))
        return [[first for lane in lanes for first in lane]]

    (sample,) = await _metered([meter], work())
    _leave(visitors)
    return sample


async def by_turns(sides: Sequence[Sequence[Site]], questions: int, meters: Sequence[Meter]) -> list[Sample]:
    """So many questions of a visitor to each site, one at a time, and one to each side in turn: what the machine does
    meanwhile hits all of them. Each side has its own meter. Raises as `crowd`."""
    visitors = await asyncio.gather(*map(_come, sides))

    async def work() -> list[list[float]]:
        firsts: list[list[float]] = [[] for _ in sides]
        for number, each in enumerate(zip(*visitors, strict=True)):
            order = [(number + place) % len(sides) for place in range(len(sides))]
            for _ in range(questions):
                for side in order:
                    firsts[side] += await ask([each[side]], 1)
        return firsts

    samples = await _metered(meters, work())
    _leave(visitors)
    return samples


async def ask(visitors: Sequence[Visitor], questions: int) -> list[float]:
    """Seconds to each first token. Raises as `crowd`."""
    expected = "".join(upstream.answer(_TOKENS))
    firsts: list[float] = []
    for visitor in visitors:
        for _ in range(questions):
            answered = await visitor.ask(upstream.question(_TOKENS, 0))
            if answered.text != expected:
                raise RuntimeError(f"an answer of {len(expected)} characters arrived with {len(answered.text)}")
            firsts.append(answered.first_s)
    return firsts


async def _metered(meters: Sequence[Meter], work: Awaitable[list[list[float]]]) -> list[Sample]:
    """The work gives the seconds to the first tokens, by meter."""
    await asyncio.sleep(_COME_S)
    before = [meter.read() for meter in meters]
    began = time.perf_counter()
    firsts = await work
    wall = time.perf_counter() - began
    await asyncio.sleep(_SETTLE_S)
    samples: list[Sample] = []
    for meter, was, mine in zip(meters, before, firsts, strict=True):
        server, postgres, redis = ((now - then) / len(mine) * 1e6 for now, then in zip(meter.read(), was, strict=True))
        samples.append(Sample(server, postgres, redis, len(mine) / wall, mine))
    return samples


async def _come(sites: Sequence[Site]) -> list[Visitor]:
    return [await site.visit() for site in sites]


def _leave(visitors: Sequence[Sequence[Visitor]]) -> None:
    for lane in visitors:
        for visitor in lane:
            visitor.close()
