"""What a token costs, and how much later it comes: Frontdesk beside bare relays and, with `--peers`, beside the peers.

So many visitors at once, whose questions are spread evenly over the time that an answer takes: as many answers are
being written at any moment. Paced answers have 300 tokens at 100 a second, each a write of its own; unpaced ones come
as fast as the server reads. The servers take turns within each round, on one core, with the same upstream.

- CPU: user and system time of the server's process over the tokens that it forwarded. All of a turn is in it (the
  transactions before and after the answer, the call of the model, 0.3 s for what follows), opening sockets is not. What
  PostgreSQL and Redis used for Frontdesk meanwhile stands apart.
- Tokens a second: unpaced, by the wall's clock.
- Added to the first token: from sending the question to the first piece of text, less the median of the same without a
  server between. A question comes while `streams - 1` answers are being written.
- Added to a token: from the moment at which the upstream's clock has it written to the piece that brings its last
  character, less the same median. Frontdesk gathers text for up to 50 ms, so half of that is its choice.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate, count
from statistics import median

import msgspec

from bench import upstream
from bench.direct import StreamSite
from bench.peers.servers import CHAINLIT, LITELLM, chainlit, installed, litellm
from bench.report import OURS, Curve, Figure, Goal, Point, Row, Section, percentile
from bench.rig import Rig
from bench.servers import Process
from bench.speakers import FrontdeskSite, Site, Visitor

RELAY, OPENAI_RELAY, DIRECT = "aiohttp relay", "openai relay", "upstream alone"
# Tokens a second of a paced answer, and tokens of an answer.
_RATE, _TOKENS = 100, 300
# Seconds for a server to finish what follows an answer (its journal, its caches), which counts as its work.
_SETTLE_S = 0.3
_numbers = count(1)


class Load(msgspec.Struct, frozen=True):
    """`streams` visitors at once, each with `answers` answers one after the other; rate 0 is unpaced."""

    streams: int
    answers: int
    tokens: int
    rate: int

    @property
    def total(self) -> int:
        """Tokens of all answers."""
        return self.streams * self.answers * self.tokens


class Sample(msgspec.Struct, frozen=True):
    """One load on one server. CPU in microseconds a token, `rate` in tokens a second, waits in seconds."""

    cpu: float
    postgres: float
    redis: float
    rate: float
    firsts: list[float]
    delays: list[float]


class Case(msgspec.Struct, frozen=True):
    """A load, how often it is measured, and of which servers."""

    load: Load
    rounds: int
    slow_rounds: int


def _cases(rig: Rig) -> list[Case]:
    if rig.quick:
        return [Case(Load(streams, 1, 100, rate), 2, 1) for streams in (1, 20) for rate in (_RATE, 0)]
    return [
        Case(Load(1, 2, _TOKENS, _RATE), 3, 1),
        Case(Load(20, 2, _TOKENS, _RATE), 5, 2),
        Case(Load(200, 1, _TOKENS, _RATE), 3, 1),
        Case(Load(1, 20, _TOKENS, 0), 3, 1),
        Case(Load(20, 3, _TOKENS, 0), 5, 1),
        Case(Load(200, 1, _TOKENS, 0), 3, 1),
    ]


Found = dict[tuple[str, int, int], list[Sample]]


def section(rig: Rig) -> Section:
    """Raises RuntimeError when an answer is not word for word what the model said."""
    found: Found = {}

    def once(site: Site, load: Load) -> Sample:
        world = rig.frontdesk
        return rig.run(measure(site, load, upstream_port=rig.upstream, postgres=world.postgres, redis=world.redis))

    with _sites(rig) as sites:
        for site in sites.values():
            # LiteLLM's first 500 tokens cost three times as much as those after them.
            once(site, Load(10, 1, 100, 0))
        for case in _cases(rig):
            load = case.load
            for number in range(case.rounds):
                rig.say(f"{load.streams} streams, {load.rate or 'unpaced'}: round {number + 1} of {case.rounds}")
                for name, site in sites.items():
                    if number < (case.rounds if name in (OURS, RELAY, DIRECT) else case.slow_rounds):
                        found.setdefault((name, load.streams, load.rate), []).append(once(site, load))
    notes = [f"The peers are {', '.join(f'{name} {version}' for name, version in installed().items())}."]
    title = "What a token costs, and how much later it comes"
    return Section(title, _rows(found), _curves(found), notes if rig.peers else [])


@contextmanager
def _sites(rig: Rig) -> Iterator[dict[str, Site]]:
    with ExitStack() as opened:
        sites: dict[str, Site] = {
            DIRECT: StreamSite(rig.model),
            RELAY: opened.enter_context(rig.relay()),
            OPENAI_RELAY: opened.enter_context(rig.relay("bench.relay_openai")),
            OURS: FrontdeskSite(opened.enter_context(rig.serving()), rig.frontdesk.public_key),
        }
        if rig.peers:
            sites[CHAINLIT] = opened.enter_context(chainlit(rig))
            sites[LITELLM] = opened.enter_context(litellm(rig))
        yield sites


async def measure(site: Site, load: Load, *, upstream_port: int, postgres: Process, redis: Process) -> Sample:
    """One load on one server. Raises RuntimeError when an answer is not word for word what the model said."""
    visitors = [await site.visit() for _ in range(load.streams)]
    clocks = (site.process.cpu_s, postgres.cpu_s, redis.cpu_s)
    # Paced, one answer begins after the other all the time; unpaced, as many as there are streams wait for the server.
    gap = load.tokens / load.rate / load.streams if load.rate else 0.0
    try:
        await asyncio.sleep(_SETTLE_S)
        before = [clock() for clock in clocks]
        began = time.perf_counter()  # uvloop's own clock stands still between two polls
        heard = await asyncio.gather(*(_ask(visitor, load, at * gap) for at, visitor in enumerate(visitors)))
        wall = time.perf_counter() - began
        await asyncio.sleep(_SETTLE_S)
        used = [(clock() - was) / load.total * 1e6 for clock, was in zip(clocks, before, strict=True)]
    finally:
        for visitor in visitors:
            visitor.close()
    written = upstream.begun(upstream_port)
    firsts = [first for answers in heard for first, _, _ in answers]
    delays = [
        delay
        for answers in heard
        for _, number, pieces in answers
        for delay in (_delays(pieces, written[number], load) if load.rate else ())
    ]
    cpu, of_postgres, of_redis = used
    return Sample(cpu, of_postgres, of_redis, load.total / wall, firsts, delays)


Heard = tuple[float, int, "list[tuple[float, int]]"]


async def _ask(visitor: Visitor, load: Load, after_s: float) -> list[Heard]:
    """Of each answer: the seconds to its first piece, its number, and its pieces."""
    await asyncio.sleep(after_s)
    expected = "".join(upstream.answer(load.tokens))
    heard: list[Heard] = []
    for _ in range(load.answers):
        number = next(_numbers)
        answered = await visitor.ask(upstream.question(load.tokens, load.rate, number))
        if answered.text != expected:
            raise RuntimeError(f"an answer of {len(expected)} characters arrived with {len(answered.text)}")
        heard.append((answered.first_s, number, list(answered.pieces)))
    return heard


def _delays(pieces: list[tuple[float, int]], written: float, load: Load) -> Iterator[float]:
    """Seconds from the moment at which each token is due at the upstream to the piece that brings all of it."""
    arrivals = iter(pieces)
    at, size = next(arrivals)
    for number, end in enumerate(accumulate(map(len, upstream.answer(load.tokens)))):
        while size < end:
            at, size = next(arrivals)
        yield at - written - number / load.rate


# --- the table


def _figures(found: Found, streams: int, rate: int, value: Callable[[Sample], float]) -> dict[str, Figure]:
    return {
        name: Figure.of([value(sample) for sample in samples])
        for (name, of_streams, of_rate), samples in found.items()
        if (of_streams, of_rate) == (streams, rate) and name != DIRECT
    }


def _added(found: Found, streams: int, field: str, percent: int) -> dict[str, Figure]:
    """Milliseconds beyond the median of the upstream alone; over all samples, least and most are rounds'."""
    # Alone, an answer is waited for before the next is asked for: unpaced ones are as many in less time.
    rate = 0 if (streams, field) == (1, "firsts") else _RATE
    own = median(value for sample in found[DIRECT, streams, rate] for value in getattr(sample, field))
    added: dict[str, Figure] = {}
    for (name, of_streams, of_rate), samples in found.items():
        if (of_streams, of_rate) == (streams, rate) and name != DIRECT:
            rounds = [[(value - own) * 1e3 for value in getattr(sample, field)] for sample in samples]
            whole = percentile([value for each in rounds for value in each], percent)
            added[name] = Figure.over([percentile(each, percent) for each in rounds], whole)
    return added


_AGAINST = (Goal(1.0, RELAY), Goal(1 / 8, CHAINLIT), Goal(1 / 12, LITELLM))


def _rows(found: Found) -> list[Row]:
    sizes = sorted({streams for _, streams, _ in found})
    rows: list[Row] = []
    for rate, pace in ((_RATE, f"{_RATE} tokens/s each"), (0, "unpaced")):
        for streams in sizes:
            cpu = _figures(found, streams, rate, lambda sample: sample.cpu)
            rows.append(Row(f"CPU a token, {_streams(streams)}, {pace}", "us", cpu, _AGAINST if streams == 20 else ()))
    for part in ("postgres", "redis"):
        share = _figures(found, 20, _RATE, lambda sample, part=part: getattr(sample, part))  # type: ignore[misc]
        name = {"postgres": "PostgreSQL", "redis": "Redis"}[part]
        rows.append(Row(f"of {name} besides, a token, 20 streams, {_RATE} tokens/s each", "us", {OURS: share[OURS]}))
    for streams in sizes:
        rate_of = _figures(found, streams, 0, lambda sample: sample.rate)
        rows.append(Row(f"tokens a second of one core, {_streams(streams)}", "1/s", rate_of, decimals=0))
    for field, what, goals in (("firsts", "first token", {50: 3.0, 99: 15.0}), ("delays", "token", {})):
        for streams in sizes:
            for percent in (50, 99):
                goal = (Goal(goals[percent]),) if streams == 20 and percent in goals else ()
                name = f"added to {'the' if field == 'firsts' else 'a'} {what}, p{percent}, {_streams(streams)}"
                rows.append(Row(name, "ms", _added(found, streams, field, percent), goal))
    return rows


def _streams(number: int) -> str:
    return f"{number} stream{'s' if number > 1 else ''}"


def _curves(found: Found) -> list[Curve]:
    sizes = sorted({streams for _, streams, _ in found})

    def series(at: Callable[[int], dict[str, Figure]]) -> dict[str, list[Point]]:
        lines: dict[str, list[Point]] = {}
        for streams in sizes:
            for name, figure in at(streams).items():
                lines.setdefault(name, []).append(Point(streams, figure))
        return lines

    def cpu(rate: int) -> dict[str, list[Point]]:
        return series(lambda streams: _figures(found, streams, rate, lambda sample: sample.cpu))

    streams, us = "streams at once", "CPU a token, microseconds"
    return [
        Curve("cpu-paced", f"CPU a token, {_RATE} tokens a second a stream", streams, us, cpu(_RATE), log_y=True),
        Curve("cpu-unpaced", "CPU a token, unpaced", streams, us, cpu(0), log_y=True),
        Curve(
            "first-token",
            "Added to the first token, p50",
            streams,
            "milliseconds",
            series(lambda n: _added(found, n, "firsts", 50)),
            log_y=True,
        ),
        Curve(
            "token",
            "Added to a token, p50",
            streams,
            "milliseconds",
            series(lambda n: _added(found, n, "delays", 50)),
            log_y=True,
        ),
    ]
