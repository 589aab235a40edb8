"""Fan-out: one conversation, watched by 1, 10 and 100 operators of two instances while its answer streams.

The visitor is at the first instance, and half of the operators at each; one operator alone is first at the same
instance as the visitor and then at the other. An answer of 300 tokens comes at 100 a second; Frontdesk gathers them for
50 ms, so it is some 60 frames. Everybody has signed in by a link and said hello with a ticket, everybody's socket stays
open throughout, and each answer is of a new conversation; what changes from answer to answer is who watches it.

- Delay: of each delta to each operator, from the moment when that frame reached the first of all its readers, the
  visitor and the operators. All of them are read by one process, so it is one clock. From the visitor's own frame it
  would be less, and often below nothing: an instance serves the readers of a conversation in no order, so the visitor
  is now the first of them and now the last. (The upstream's write is no better start: a frame holds the tokens of 50
  ms, and the gathering would be all that is seen.) The reader of so many sockets takes them one after the other too,
  and that time is in it. Percentiles are of all frames of all rounds; the least and the most are rounds'.
- CPU a frame: what an answer takes of both servers' processes with operators, less what it takes without, over the
  frames that reached operators: the deltas and the durable ones. 0.3 s after the answer count too. Redis' own share is
  not in it.

Every operator's deltas must be the visitor's to the byte, and the completed message the whole answer, or the run
ends. The two instances
share the server's core; the client, the upstream, Redis and PostgreSQL share the others.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from bench import upstream
from bench.operators import DELTA, Office, Operator, open_office
from bench.report import OURS, Curve, Figure, Point, Row, Section, percentile
from bench.rig import Rig
from bench.servers import Process
from bench.tab import Tab, TabSite

# Seconds for what follows an answer, which counts as the servers' work.
_SETTLE_S = 0.3
# Operators that sign in at the same moment.
_AT_ONCE = 10
# Rates of the answer's tokens, a second.
_RATE = 100


class Watch(msgspec.Struct, frozen=True):
    """Who watches: so many operators at the visitor's instance, and so many at the other."""

    same: int
    other: int

    @property
    def all(self) -> int:
        return self.same + self.other


class Plan(msgspec.Struct, frozen=True):
    """`rounds` times an answer of so many tokens for each of the numbers of operators."""

    operators: tuple[int, ...]
    tokens: int
    rounds: int


WHOLE = Plan(operators=(1, 10, 100), tokens=300, rounds=4)
QUICK = Plan(operators=(1, 10), tokens=60, rounds=1)


class Seen(msgspec.Struct, frozen=True):
    """One answer. Delays in ms, of each delta to each reader after the first; CPU in seconds by instance, the visitor's
    first; `frames` that reached operators of each."""

    same: list[float]
    other: list[float]
    visitor: list[float]
    cpu_s: tuple[float, float]
    frames: tuple[int, int]


Round = dict[Watch, Seen]


def section(rig: Rig) -> Section:
    """Delays and CPU by the number of operators. Raises RuntimeError when an operator saw something else."""
    return measured(rig, QUICK if rig.quick else WHOLE)


def measured(rig: Rig, plan: Plan) -> Section:
    """As `section`, of any size."""
    with rig.serving(name="frontdesk-1") as first, rig.serving(name="frontdesk-2") as second:
        rounds = rig.run(_rounds(rig, plan, first, second))
    return _section(plan, rounds)


async def _rounds(rig: Rig, plan: Plan, first: Process, second: Process) -> list[Round]:
    most = max(plan.operators)
    rounds: list[Round] = []
    async with open_office(rig.frontdesk.environ, rig.frontdesk.public_key) as office:
        rig.say(f"fan-out: {most} operators sign in")
        async with _staff(office, first, most - most // 2) as same, _staff(office, second, most // 2 or 1) as other:
            fan = Fan(TabSite(first, rig.frontdesk.public_key), second, same, other)
            # Both instances have served everything once.
            await fan.answer(Watch(len(same), len(other)), plan.tokens)
            for number in range(plan.rounds):
                rig.say(f"fan-out: round {number + 1} of {plan.rounds}")
                rounds.append({watch: await fan.answer(watch, plan.tokens) for watch in watches(plan.operators)})
    return rounds


def watches(operators: Sequence[int]) -> list[Watch]:
    """Nobody, then each number of operators by halves; one alone at either instance."""
    halves = [Watch(1, 0), Watch(0, 1)] if 1 in operators else []
    return [Watch(0, 0), *halves, *(Watch(each - each // 2, each // 2) for each in operators if each > 1)]


class Fan:
    """A visitor at the first instance, and operators at both."""

    def __init__(self, site: TabSite, second: Process, same: Sequence[Operator], other: Sequence[Operator]) -> None:
        self._site = site
        self._second = second
        self._same = same
        self._other = other

    async def answer(self, watch: Watch, tokens: int) -> Seen:
        """One answer of a new conversation. Raises RuntimeError when somebody did not see all of it."""
        tab = await self._site.visit()
        same, other = self._same[: watch.same], self._other[: watch.other]
        watching, name = [*same, *other], tab.welcome.conversation_id
        await asyncio.gather(*(each.watch(name) for each in watching))
        await asyncio.gather(*(each.together(watch.all) for each in watching))
        await asyncio.sleep(_SETTLE_S)
        before = self._cpu_s()
        answered = await tab.ask(upstream.question(tokens, _RATE))
        await asyncio.gather(*(each.answered() for each in watching))
        await asyncio.sleep(_SETTLE_S)
        after = self._cpu_s()
        expected = "".join(upstream.answer(tokens))
        if answered.text != expected:
            raise RuntimeError(f"an answer of {len(expected)} characters came with {len(answered.text)}")
        for each in watching:
            check(each.frames, expected)
        await asyncio.gather(*(each.unwatch(name) for each in watching))
        tab.close()
        at_visitor, at_same, at_other = delays(tab, same, other)
        return Seen(
            same=at_same,
            other=at_other,
            visitor=at_visitor,
            cpu_s=(after[0] - before[0], after[1] - before[1]),
            frames=(sum(len(each.frames) for each in same), sum(len(each.frames) for each in other)),
        )

    def _cpu_s(self) -> tuple[float, float]:
        return self._site.process.cpu_s(), self._second.cpu_s()


def check(frames: Sequence[tuple[float, bytes]], expected: str) -> None:
    """Raises RuntimeError when these are not the frames of that answer."""
    told = "".join(msgspec.json.decode(frame, type=_Delta).text for _, frame in frames if frame.startswith(DELTA))
    ends = [msgspec.json.decode(frame, type=_End).message.text for _, frame in frames if frame.startswith(_END)]
    # The end has what the last window gathered, and all before it.
    if not told or not expected.startswith(told) or ends != [expected]:
        sizes = ", ".join(str(len(end)) for end in ends) or "none"
        raise RuntimeError(
            f"an operator saw {len(told)} characters of an answer of {len(expected)}; its end had {sizes}"
        )


def delays(
    tab: Tab, same: Sequence[Operator], other: Sequence[Operator]
) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of each delta to the visitor, to each operator of the same instance and to each of the other, after
    the first of them all. Raises RuntimeError for a frame that the visitor did not get."""
    visitor = _deltas(tab.frames)
    first = dict(visitor)
    read = [[_deltas(each.frames) for each in group] for group in (same, other)]
    for each in (*read[0], *read[1]):
        if each.keys() != visitor.keys():
            raise RuntimeError("an operator saw other frames than the visitor")
        for frame, at in each.items():
            first[frame] = min(first[frame], at)

    def late(readers: Sequence[dict[bytes, float]]) -> list[float]:
        return [(at - first[frame]) * 1e3 for each in readers for frame, at in each.items()]

    return late([visitor]), late(read[0]), late(read[1])


def _deltas(frames: Sequence[tuple[float, bytes]]) -> dict[bytes, float]:
    """When each came. No two are equal: they are numbered."""
    return {frame: at for at, frame in frames if frame.startswith(DELTA)}


@asynccontextmanager
async def _staff(office: Office, process: Process, count: int) -> AsyncIterator[list[Operator]]:
    """Operators of an instance, for as long as the block runs."""
    staff: list[Operator] = []
    try:
        while len(staff) < count:
            batch = min(_AT_ONCE, count - len(staff))
            staff += await asyncio.gather(*(office.operator(process) for _ in range(batch)))
        yield staff
    finally:
        for each in staff:
            each.close()


def _section(plan: Plan, rounds: Sequence[Round]) -> Section:
    rows: list[Row] = []
    series: dict[str, list[Point]] = {}
    cpu: dict[str, list[Point]] = {}
    for operators in plan.operators:
        of = [watch for watch in rounds[0] if watch.all == operators]
        who = f"{operators} operator{'' if operators == 1 else 's'}"
        for where in ("same", "other"):
            samples = [[delay for watch in of for delay in getattr(each[watch], where)] for each in rounds]
            for percent in (50, 99):
                figure = Figure.over(
                    [percentile(each, percent) for each in samples],
                    percentile([delay for each in samples for delay in each], percent),
                )
                rows.append(Row(f"{who}, {where} instance, p{percent}", "ms", {OURS: figure}, decimals=2))
                series.setdefault(f"{where} instance, p{percent}", []).append(Point(operators, figure))
        figure = Figure.of([_cpu_us(each, of) for each in rounds])
        rows.append(Row(f"{who}, CPU a delivered frame", "us", {OURS: figure}))
        cpu.setdefault("both instances", []).append(Point(operators, figure))
        for at, where in enumerate(("same instance", "other instance")):
            cpu.setdefault(where, []).append(Point(operators, Figure.of([_cpu_us(each, of, at) for each in rounds])))
    most = max(plan.operators)
    late = [delay for each in rounds for watch in each if watch.all == most for delay in each[watch].visitor]
    notes = [
        f"With {most} operators the visitor's own frame came {percentile(late, 50):.2f} ms (p50) and "
        f"{percentile(late, 99):.2f} ms (p99) after the first of all its readers.",
        "Both instances share one core.",
    ]
    return Section(
        "Fan-out to operators",
        rows,
        [
            Curve("fanout-delay", "Delay of a frame to operators", "operators", "ms", series),
            Curve("fanout-cpu", "CPU of a frame to an operator", "operators", "us a delivered frame", cpu),
        ],
        notes,
    )


def _cpu_us(each: Round, of: Sequence[Watch], instance: int | None = None) -> float:
    """Microseconds a frame, of one instance (0 the visitor's, 1 the other) or of both."""
    instances = (0, 1) if instance is None else (instance,)
    nobody = each[Watch(0, 0)]
    # An instance without operators delivers nothing, and what it does for those of the other is in the sum alone.
    watched = [each[watch] for watch in of if any(each[watch].frames[at] for at in instances)]
    used = sum(seen.cpu_s[at] - nobody.cpu_s[at] for seen in watched for at in instances)
    return used / sum(seen.frames[at] for seen in watched for at in instances) * 1e6


class _Delta(msgspec.Struct):
    text: str


class _Said(msgspec.Struct):
    text: str


class _End(msgspec.Struct):
    message: _Said


_END = b'{"type":"message.completed"'
