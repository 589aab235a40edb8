"""Round trips of a turn to PostgreSQL and to Redis: counted at taps between Frontdesk and each of them, not timed.

A round trip is a burst of the client's bytes and the server's answer to it, on one connection: statements that travel
together are one. A third tap stands before the model and tells what came before it was called. What the server says
when nobody asks it anything (its sweeps, its vitals, its pings) is told apart by its statements, which are listened to
first. BEGIN and COMMIT never count as such, so what is in doubt is the turn's.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from psycopg.conninfo import conninfo_to_dict

from bench import tool_step, upstream
from bench.rig import Rig
from bench.servers import Process
from bench.speakers import FrontdeskSite, Visitor
from bench.wiretap import PREPARES, Postgres, Redis, Tap, Target, Trip, tapping, trips
from server.access import CLIENT_AGE_S
from server.tools.catalogue import KEEP_S

# Seconds without a word after which a turn is over.
_QUIET_S = 0.1
# Seconds of listening to what is said unasked: every job of an instance runs each 5 s or more often.
_IDLE_S = 6.0
# Seconds after which a client's row and its tools are read anew.
_PAUSE_S = max(CLIENT_AGE_S, KEEP_S) + 0.2
_ENDS = {"begin", "commit", "rollback"}


class Plan(msgspec.Struct, frozen=True):
    """How much is counted: visitors of each kind, `questions` of each, below the length at which a conversation is
    summarised and below a minute's limit; `pauses`; seconds `idle`, which is a pause too."""

    visitors: int
    tool_visitors: int
    questions: int
    pauses: int
    idle: float


WHOLE = Plan(visitors=3, tool_visitors=2, questions=8, pauses=2, idle=_IDLE_S)
QUICK = Plan(visitors=1, tool_visitors=1, questions=3, pauses=1, idle=_PAUSE_S)


class Window(msgspec.Struct, frozen=True):
    """From when to when something was listened to (`time.perf_counter`)."""

    began: float
    ended: float


class Turn(msgspec.Struct, frozen=True):
    """One turn's round trips, by time: before its first request to the model, until the last byte of the model's last
    answer, and from there on."""

    asked_at: float
    told_at: float
    postgres: list[Trip]
    redis: list[Trip]

    def phases(self, made: Sequence[Trip]) -> tuple[list[Trip], list[Trip], list[Trip]]:
        """Some of its round trips, before, during and after the answer."""
        before = [trip for trip in made if trip.at < self.asked_at]
        during = [trip for trip in made if self.asked_at <= trip.at < self.told_at]
        return before, during, [trip for trip in made if trip.at >= self.told_at]


class Counted(msgspec.Struct, frozen=True):
    """Turns without a tool; the same after a pause in which nobody asked this client's AI; turns with one tool."""

    plain: list[Turn]
    paused: list[Turn]
    tool: list[Turn]


def count(rig: Rig) -> Counted:
    """A visitor at a time, one question at a time, on a server of their own."""
    plan = QUICK if rig.quick else WHOLE
    with _tapped(rig) as (taps, server):
        plain = FrontdeskSite(server, rig.frontdesk.public_key)
        tools = FrontdeskSite(server, rig.frontdesk.tools_key)
        windows, idle = rig.run(_ask_all(plan, taps, plain, tools))
    postgres = _asked(trips(taps["postgres"], Postgres), idle)
    redis = _asked(trips(taps["redis"], Redis), idle)
    model = sorted((piece.at, piece.up) for wire in taps["model"].wires for piece in wire)

    def turn(window: Window) -> Turn:
        asked = [at for at, up in model if up and window.began <= at < window.ended]
        told = [at for at, up in model if not up and window.began <= at < window.ended]
        if not asked:
            raise RuntimeError("a question was answered and the model was not asked")
        return Turn(min(asked), max(told), *(list(_within(made, window)) for made in (postgres, redis)))

    return Counted(*([turn(window) for window in kind] for kind in windows))


def describe(turn: Turn) -> str:
    """What went in which round trip, in words."""
    lines: list[str] = []
    for service, made in (("PostgreSQL", turn.postgres), ("Redis", turn.redis)):
        phases = zip(("before the model", "during the answer", "after it"), turn.phases(made), strict=True)
        for phase, among in phases:
            for number, trip in enumerate(among, 1):
                lines.append(f"{service}, {phase}, {number} ({trip.asks} x asked for an answer)")
                lines += [f"    {statement}" for statement in trip.statements]
    return "\n".join(lines)


# --- the taps


@contextmanager
def _tapped(rig: Rig) -> Iterator[tuple[dict[str, Tap], Process]]:
    environ = rig.frontdesk.environ
    named = conninfo_to_dict(environ["DATABASE_URL"])
    with tapping(
        postgres=_postgres(str(named["host"]), int(named.get("port") or 5432)),
        redis=_redis(environ["REDIS_URL"]),
        model=("127.0.0.1", rig.upstream),
    ) as taps:
        database = f"postgresql://{named['user']}@127.0.0.1:{taps['postgres'].port}/{named['dbname']}"
        through = {
            "DATABASE_URL": f"{database}?sslmode=disable&gssencmode=disable",
            "REDIS_URL": f"redis://127.0.0.1:{taps['redis'].port}/0",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{taps['model'].port}/v1",
        }
        with rig.serving(name="frontdesk-tapped", environ=through) as server:
            yield taps, server


def _postgres(host: str, port: int) -> Target:
    return Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, port)


def _redis(url: str) -> Target:
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "unix" else (parts.hostname or "127.0.0.1", parts.port or 6379)


# --- the questions


async def _ask_all(
    plan: Plan, taps: dict[str, Tap], plain: FrontdeskSite, tools: FrontdeskSite
) -> tuple[tuple[list[Window], list[Window], list[Window]], Window]:
    """When each kind of turn ran, and when nothing was asked."""
    asks = upstream.question(20, 0), "".join(upstream.answer(20))
    uses = tool_step.question([5]), "".join(upstream.answer(upstream.AFTER_TOOLS))
    for site, question in ((plain, asks), (tools, uses)):  # warm
        await _visit(taps, site, question, 1, plan.questions)
    waiting = await plain.visit()
    idle_from = await _quiet(taps)
    await asyncio.sleep(plan.idle)
    idle = Window(idle_from, time.perf_counter())
    paused = [await _turn(taps, waiting, asks)]
    for _ in range(plan.pauses - 1):
        await asyncio.sleep(_PAUSE_S)
        paused.append(await _turn(taps, waiting, asks))
    waiting.close()
    without = await _visit(taps, plain, asks, plan.visitors, plan.questions)
    return (without, paused, await _visit(taps, tools, uses, plan.tool_visitors, plan.questions)), idle


async def _visit(
    taps: dict[str, Tap], site: FrontdeskSite, question: tuple[str, str], visitors: int, questions: int
) -> list[Window]:
    windows: list[Window] = []
    for _ in range(visitors):
        visitor = await site.visit()
        windows += [await _turn(taps, visitor, question) for _ in range(questions)]
        visitor.close()
    return windows


async def _turn(taps: dict[str, Tap], visitor: Visitor, question: tuple[str, str]) -> Window:
    """A question and its whole answer, once nothing is said any more and until nothing is."""
    words, expected = question
    began = await _quiet(taps)
    answered = await visitor.ask(words)
    if answered.text != expected:
        raise RuntimeError(f"an answer of {len(expected)} characters arrived with {len(answered.text)}")
    return Window(began, await _quiet(taps))


async def _quiet(taps: dict[str, Tap]) -> float:
    """Waits until nothing was said for a moment. The time then."""
    while True:
        now = time.perf_counter()
        left = max(tap.heard_at for tap in taps.values()) + _QUIET_S - now
        if left <= 0:
            return now
        await asyncio.sleep(left)


# --- what was a turn's


def _asked(made: Sequence[Trip], idle: Window) -> list[Trip]:
    """All but those that are made unasked."""
    unasked = {statement for trip in _within(made, idle) for statement in trip.statements} - _ENDS
    return [trip for trip in made if not unasked.issuperset(each.removeprefix(PREPARES) for each in trip.statements)]


def _within(made: Sequence[Trip], window: Window) -> Iterator[Trip]:
    return (trip for trip in made if window.began <= trip.at < window.ended)
