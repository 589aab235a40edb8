"""Idle sockets: what each holds, what it costs to come, and what ten thousand of them cost while nothing is said.

Fresh servers beside each other: the relay, whose sockets are upgraded and nothing else, and Frontdesk, whose sockets
have said hello and have a session, a conversation, their subscription and their snapshot. 20 come at the same moment.

- Memory: growth of resident memory over the sockets that were opened, in a server that has 500 already; these use up
  what its start left free, which would hide growth. What kernel, Redis and PostgreSQL hold for a socket is not in it.
- Connects a second, and the server's CPU for each: from the first of 1,000 sockets to the snapshot of the last
  (Frontdesk), or to the upgrade of the last (the relay). A hello writes a conversation to PostgreSQL.
- Heartbeats: every page pings each `heartbeat_s` of its welcome, as the widget does, from its welcome on, so that pings
  are as spread as the pages came; the server looks up the newest event for each pong, and sends no pings of its own
  (the client would answer them). CPU of the server's process over whole heartbeats. All pongs are counted.

Each visitor has an address of its own, as behind a proxy, so the limit of 100 sockets an address stays as it is. The
limit of 5,000 sockets a client is raised by its own setting, FRONTDESK_SOCKETS_PER_CLIENT, as one website's 10,000
visitors need; 20 hellos at a time are far from the 2,000 that may wait. A socket is a file of both processes and one
of the 28,000 ports of 127.0.0.1 towards a server's port, so ten thousand need no further address.
"""

import asyncio
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from bench.report import OURS, Curve, Figure, Goal, Point, Row, Section
from bench.rig import Rig
from bench.servers import Process
from bench.speakers import Site, Visitor
from bench.tab import Tab, TabSite

RELAY = "aiohttp relay"
# KB that an idle socket may hold.
LIMIT_KB = 35
# Sockets that come in at the same moment.
_AT_ONCE = 20
# Seconds for a server to finish what follows a hello, which counts as its work.
_SETTLE_S = 0.3
# Files of a process besides its sockets.
_OTHER_FILES = 500


class Plan(msgspec.Struct, frozen=True):
    """`rounds` times `few` more sockets at fresh servers that have `warm`, then once up to each of `many` in all. Pages
    ping `beats` times in a heartbeat, for `heartbeats` of them."""

    warm: int
    few: int
    many: tuple[int, ...]
    rounds: int
    beats: float
    heartbeats: float


WHOLE = Plan(warm=500, few=1_000, many=(2_000, 5_000, 10_000), rounds=3, beats=1, heartbeats=1)
# A heartbeat takes longer than a quick run may: its pages ping ten times in one, and are watched for a tenth.
QUICK = Plan(warm=100, few=200, many=(500,), rounds=1, beats=10, heartbeats=0.1)


class Opened(msgspec.Struct, frozen=True):
    """Sockets that came: KB that each holds, how many came in a second, microseconds of the server's CPU for each."""

    kb: float
    a_second: float
    cpu_us: float


class Idled(msgspec.Struct, frozen=True):
    """Sockets that beat: the server's CPU in percent of a core, and in microseconds a ping."""

    percent: float
    cpu_us: float


def section(rig: Rig) -> Section:
    """Memory, connects and heartbeats. Raises RuntimeError where the descriptors do not suffice."""
    return measured(rig, QUICK if rig.quick else WHOLE)


def measured(rig: Rig, plan: Plan) -> Section:
    """As `section`, of any size."""
    _check_files(plan)
    few: dict[str, list[Opened]] = {RELAY: [], OURS: []}
    for number in range(plan.rounds):
        for name, found in few.items():
            rig.say(f"idle: {plan.few} sockets, {name}, round {number + 1} of {plan.rounds}")
            with _site(rig, name, plan) as site:
                found.append(rig.run(open_anew(site, plan.warm, plan.few)))
    many: dict[str, list[float]] = {}
    idled: list[Idled] = []
    for name in few:
        rig.say(f"idle: {plan.many[-1]} sockets, {name}")
        with _site(rig, name, plan, beats=plan.beats) as site:
            many[name], beaten = rig.run(fill(site, plan))
            idled += beaten
    return _section(plan, few, many, idled)


async def open_anew(site: Site, warm: int, sockets: int) -> Opened:
    """Opens sockets at a server that has none yet, and closes them."""
    warmed = await _visit(site, warm)
    await asyncio.sleep(_SETTLE_S)
    held, used, began = site.process.rss(), site.process.cpu_s(), time.perf_counter()
    visitors = await _visit(site, sockets)
    took = time.perf_counter() - began
    await asyncio.sleep(_SETTLE_S)
    opened = Opened(
        kb=(site.process.rss() - held) / sockets / 1024,
        a_second=sockets / took,
        cpu_us=(site.process.cpu_s() - used) / sockets * 1e6,
    )
    await _close([*warmed, *visitors])
    return opened


async def fill(site: Site, plan: Plan) -> tuple[list[float], list[Idled]]:
    """KB of each socket after the warm ones, with each of `plan.many` open; and what heartbeats cost, where the
    visitors are pages."""
    visitors = await _visit(site, plan.warm)
    await asyncio.sleep(_SETTLE_S)
    before, held = site.process.rss(), []
    for sockets in plan.many:
        visitors += await _visit(site, sockets - len(visitors))
        await asyncio.sleep(_SETTLE_S)
        held.append((site.process.rss() - before) / (sockets - plan.warm) / 1024)
    tabs = [visitor for visitor in visitors if isinstance(visitor, Tab)]
    idled = [await idle(site.process, tabs, plan)] if tabs else []
    await _close(visitors)
    return held, idled


async def idle(process: Process, tabs: Sequence[Tab], plan: Plan) -> Idled:
    """Lets pages that beat do nothing else. Raises RuntimeError when they did not all do so."""
    window_s = tabs[0].welcome.heartbeat_s * plan.heartbeats
    used, began, sent = process.cpu_s(), time.perf_counter(), sum(tab.pings for tab in tabs)
    # It is the time that is measured.
    await asyncio.sleep(window_s)
    cpu_s, took = process.cpu_s() - used, time.perf_counter() - began
    pings = sum(tab.pings for tab in tabs) - sent
    expected = len(tabs) * plan.heartbeats * plan.beats
    if abs(pings - expected) > 0.05 * expected:
        raise RuntimeError(f"{len(tabs)} idle pages were to ping {expected:.0f} times and pinged {pings} times")
    # Of each: all answered, none lost.
    await asyncio.gather(*(tab.hush() for tab in tabs))
    return Idled(percent=cpu_s / took * 100, cpu_us=cpu_s / pings * 1e6)


@contextmanager
def _site(rig: Rig, name: str, plan: Plan, beats: float | None = None) -> Iterator[Site]:
    """A fresh server."""
    if name == RELAY:
        with rig.relay() as site:
            yield site
    else:
        environ = {"FRONTDESK_SOCKETS_PER_CLIENT": str(_most(plan))}
        with rig.serving(environ=environ) as running:
            yield TabSite(running, rig.frontdesk.public_key, beats=beats)


async def _visit(site: Site, count: int) -> list[Visitor]:
    """So many, `_AT_ONCE` of them on their way at any moment."""
    visitors: list[Visitor] = []
    numbers = iter(range(count))

    async def come() -> None:
        visitors.extend([await site.visit() for _ in numbers])

    await asyncio.gather(*(come() for _ in range(_AT_ONCE)))
    return visitors


async def _close(visitors: Sequence[Visitor]) -> None:
    for visitor in visitors:
        visitor.close()
    # The loop has to turn for them to leave.
    await asyncio.sleep(0)


def _most(plan: Plan) -> int:
    """Sockets that are open at the same time."""
    return max(plan.warm + plan.few, *plan.many)


def _check_files(plan: Plan) -> None:
    needed, allowed = (
        plan.warm + max(plan.few, *plan.many) + _OTHER_FILES,
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
    if needed > allowed:
        raise RuntimeError(f"{needed} open files are needed and {allowed} allowed: see `ulimit -Hn`")


def _section(plan: Plan, few: dict[str, list[Opened]], many: dict[str, list[float]], idled: list[Idled]) -> Section:
    memory = {name: Figure.of([each.kb for each in found]) for name, found in few.items()}
    curve = {
        name: [
            Point(plan.few, memory[name]),
            *(Point(sockets, Figure.of([kb])) for sockets, kb in zip(plan.many, held, strict=True)),
        ]
        for name, held in many.items()
    }
    beat = Figure.of([each.cpu_us for each in idled])
    most = f"{plan.many[-1]:,}"
    often = "once" if plan.beats == 1 else f"{plan.beats:g} times"
    rows = [
        Row(f"memory of an idle socket, of {plan.few:,}", "KB", memory, (Goal(LIMIT_KB),)),
        Row(
            f"memory of an idle socket, of {most}", "KB", {n: c[-1].figure for n, c in curve.items()}, (Goal(LIMIT_KB),)
        ),
        Row("connects", "a second", {n: Figure.of([each.a_second for each in f]) for n, f in few.items()}, decimals=0),
        Row("CPU a connect", "us", {n: Figure.of([each.cpu_us for each in f]) for n, f in few.items()}, decimals=0),
        Row(f"CPU of {most} idle sockets", "% of a core", {OURS: Figure.of([each.percent for each in idled])}),
    ]
    notes = [
        f"An idle socket pings {often} in a heartbeat; a ping and its pong take {beat.median:.0f} us of CPU.",
        "A connect is TCP and upgrade for the relay, and hello to snapshot besides for Frontdesk, with the session's "
        "and the conversation's row committed.",
    ]
    title = "Idle sockets"
    shape = Curve("idle-memory", "Memory of an idle socket", "open sockets", "KB a socket", curve)
    return Section(title, rows, [shape], notes)
