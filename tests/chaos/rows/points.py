"""kill -9 at each named point of a message's way, with every class of tool.

For each case an instance is started that ends itself at its point (`tests/chaos/points.py`), or that the webhook kills
around its effect; a visitor asks it, and reads on at one of two others.
"""

import asyncio
import itertools
from collections.abc import Sequence

import msgspec

from server.protocol.visitor import TurnFailed, TurnStopped
from server.turns.supervisor import SWEEP_S
from tests.chaos import points
from tests.chaos.broken import Broken, figures
from tests.chaos.checkers import check_everything
from tests.chaos.cluster import TOOLS, Cluster, Instance
from tests.chaos.model import question
from tests.chaos.table import Figure, Row
from tests.chaos.visitor import Sent, Visitor, first_to
from tests.chaos.webhook import Called
from tests.chaos.world import World

# Points at which the webhook kills whoever called it: the call has arrived, the effect has happened.
AT_EFFECT = ("before_effect", "after_effect")
TOKENS, PACE_MS = 12, 60
# What comes while an instance is held up goes out in one piece: an answer this long has a middle all the same.
LONG_TOKENS = 40
# Instances that are armed at the same time.
AT_ONCE = 11
# Seconds for an instance to get to its point, and for its visitor to be answered elsewhere.
POINT_MOST_S = 30.0
ANSWER_MOST_S = 60.0
LONGEST_PAUSE_S = 1.0


class Case(msgspec.Struct, frozen=True):
    """A point, and the tool that the answer needs."""

    point: str
    tool: str | None

    @property
    def name(self) -> str:
        """Without a colon: it is part of a mark."""
        return f"{self.point}-{self.tool or 'plain'}".replace(":", "-")


class _Trial(msgspec.Struct):
    """One case as it is tried."""

    case: Case
    instance: Instance
    visitor: Visitor
    mark: str
    sent: Sent | None = None


def cases() -> list[Case]:
    """Every point with every tool it can be passed with."""
    return [
        *(Case(point, tool) for point in points.PLAIN for tool in (None, *TOOLS)),
        *(Case(point, tool) for point in (*points.OF_TOOLS, *AT_EFFECT) for tool in TOOLS),
    ]


class _Bench:
    """Where cases are tried. `missed` are points that their instances never got to."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self.cluster = cluster
        self.visitors: list[Visitor] = []
        self.missed = 0
        self.failed = 0
        self.broken: list[Broken] = []
        self._world = world
        self._numbers = itertools.count()
        # Items that kill whoever calls the webhook for them, and when.
        self._fatal: dict[str, tuple[str, Instance]] = {}
        cluster.webhook.before = self._before
        cluster.webhook.after = self._after

    async def try_all(self, batch: Sequence[Case]) -> None:
        """Some cases at the same time."""
        shop = await self.cluster.shop()
        trials = []
        for case in batch:
            install = [] if case.point in AT_EFFECT else [f"tests.chaos.points:at={case.point}"]
            instance = await self.cluster.add(install=install)
            mark = f"{case.name}.{next(self._numbers)}"
            visitor = Visitor(
                shop,
                first_to(instance, self.cluster.instances[:2], self._world.rng),
                rng=self._world.rng,
                name=mark,
                longest_pause_s=LONGEST_PAUSE_S,
            )
            await visitor.start()
            trials.append(_Trial(case, instance, visitor, mark))
        self.visitors += [trial.visitor for trial in trials]
        # The others must have seen these live, or only the lease tells that they died.
        await asyncio.sleep(1.5 * SWEEP_S)
        await asyncio.gather(*map(self._try, trials))

    async def _try(self, trial: _Trial) -> None:
        case, mark = trial.case, trial.mark
        if case.point in AT_EFFECT:
            self._fatal[mark] = case.point, trial.instance
        tokens = LONG_TOKENS if case.point == "mid_answer" else TOKENS
        text = question(mark, tokens=tokens, pace_ms=PACE_MS, tool=case.tool)
        trial.sent = await trial.visitor.send(text)
        try:
            assert await trial.instance.ended(POINT_MOST_S) == -9, f"{mark} ended by itself"
        except TimeoutError:
            self.missed += 1
            self._world.report(f"{mark}: the point was never reached")
        try:
            end = await trial.visitor.answer(trial.sent, within_s=ANSWER_MOST_S)
        except (TimeoutError, ConnectionError) as error:
            self.broken.append(Broken("lost", mark, f"no answer: {type(error).__name__} {error}"))
            return
        if isinstance(end, TurnFailed | TurnStopped):
            self.failed += 1
            self._world.report(f"{mark}: {end}")
        elif case.tool not in {None, "pay"} and not self.cluster.webhook.items[mark]:
            self.broken.append(Broken("lost", mark, f"answered, and {case.tool} never happened"))

    async def check(self) -> None:
        """Once all cases were tried."""
        self.broken += await check_everything(self.cluster, self.visitors)
        for call_id, state, success in await self.cluster.rows(
            """
            select x.call_id, s.state, x.success
            from tool_executions x
            join turn_steps s on s.client_id = x.client_id and s.turn_id = x.turn_id
              and s.no = split_part(x.call_id, ':', 2)::int
            where (s.state, x.success) not in (('done', true), ('failed', false))
              and not (x.tool_name = 'pay' and s.state = 'unknown' and x.success is null)
            """
        ):
            self.broken.append(Broken("differs", call_id, f"the step is {state}, and its success on record {success}"))

    async def unknown(self) -> int:
        """How many unsafe calls are on record as in doubt."""
        [(count,)] = await self.cluster.rows("select count(*) from turn_steps where state = 'unknown'")
        return int(count)

    async def _before(self, called: Called) -> None:
        self._strike(called, "before_effect")

    async def _after(self, called: Called) -> None:
        self._strike(called, "after_effect")

    def _strike(self, called: Called, when: str) -> None:
        point, instance = self._fatal.get(called.item, ("", None))
        if instance is not None and point == when:
            instance.kill()


async def run(world: World) -> list[Figure]:
    every = cases()
    if world.size == "small":
        # Each point once, with a tool by chance.
        world.rng.shuffle(every)
        every = list({case.point: case for case in every}.values())
    tried = [case for _ in range(world.rounds(2, 1)) for case in world.rng.sample(every, len(every))]
    async with world.cluster(2) as cluster:
        bench = _Bench(world, cluster)
        try:
            for at in range(0, len(tried), AT_ONCE):
                await bench.try_all(tried[at : at + AT_ONCE])
            await bench.check()
            unknown = await bench.unknown()
        finally:
            for visitor in bench.visitors:
                await visitor.stop()
    return [
        Figure("cases", len(tried), goal=len(every), least=True, promise=True),
        Figure("points never reached", bench.missed, goal=0, promise=True),
        Figure("failed in sight", bench.failed, goal=0),
        Figure("unsafe calls shown as unknown", unknown),
        *figures(bench.broken, world.report),
    ]


POINTS = Row(
    "points",
    "kill -9 at each named point (before and after ack, step, tool start, effect, commit, publish, final)",
    "all green",
    run,
)
