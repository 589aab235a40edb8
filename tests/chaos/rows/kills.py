"""kill -9 of one of two instances in the middle of answers.

A wave is a hundred visitors who ask at about the same time. While they read, the busier of the two instances is killed
and started again; once the other one has taken its answers over, that one is killed too, in the middle of all hundred.
So every answer is cut twice at most, and a turn may be begun three times: none has to fail in sight of its visitor.
Some answers need a tool. At full size two pairs do this side by side, each on a database of its own.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from server.protocol.visitor import TurnFailed, TurnStopped
from server.turns.supervisor import SWEEP_S
from tests.chaos.broken import Broken, figures
from tests.chaos.checkers import check_everything
from tests.chaos.cluster import Cluster, Instance
from tests.chaos.model import question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Visitor, visiting
from tests.chaos.world import World

# Seconds within which a wave's questions come, and what an answer is made of: 3 s of tokens.
SPREAD_S = 0.5
TOKENS, PACE_MS = 15, 200
# Seconds after a wave's last question, or after a takeover, at which somebody is killed: within the answers, and not
# before each of the two has seen the other one live.
KILL_AFTER_S = (0.3, 1.5)
# Of so many questions one needs a tool that honours its key, and another one that is unsafe.
TOOLS_IN = 10
# Seconds: what a takeover may take here before it is counted as it stands. A lease and a sweep are less.
TAKEOVER_MOST_S = 25.0
ANSWER_MOST_S = 90.0
# The widget's longest pause is 20 s, for servers that stay away. These come back at once, hundreds of times.
LONGEST_PAUSE_S = 1.0


class _Pair:
    """Two instances and their visitors."""

    def __init__(
        self, cluster: Cluster, visitors: Sequence[Visitor], rng: random.Random, report: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.visitors = visitors
        self.kills = 0
        # Of each kill: answers that ran, answers of the killed one.
        self.running: list[int] = []
        self.cut: list[int] = []
        # Seconds from a kill to each cut answer being asked for anew.
        self.takeovers: list[float] = []
        self.answers = 0
        self.failed = 0
        self.broken: list[Broken] = []
        self._rng = rng
        self._report = report
        # When the younger of the two began.
        self._complete_at = 0.0

    async def wave(self, number: int) -> None:
        """One wave, two kills."""
        asking = []
        for visitor in self.visitors:
            tool = {0: "reserve", 1: "pay"}.get(self._rng.randrange(TOOLS_IN))
            text = question(f"{visitor.name}.{number}", tokens=TOKENS, pace_ms=PACE_MS, tool=tool)
            asking.append(asyncio.create_task(self._ask(visitor, text, after_s=self._rng.uniform(0, SPREAD_S))))
        await asyncio.sleep(SPREAD_S)
        for _ in range(2):
            known_s = self._complete_at + 1.5 * SWEEP_S - asyncio.get_running_loop().time()
            await asyncio.sleep(max(known_s, self._rng.uniform(*KILL_AFTER_S)))
            await self._kill(await self._busiest())
        await asyncio.gather(*asking)

    async def _ask(self, visitor: Visitor, text: str, *, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            sent = await visitor.say(text)
            end = await visitor.answer(sent, within_s=ANSWER_MOST_S)
        except (TimeoutError, ConnectionError) as error:
            self.broken.append(Broken("lost", visitor.name, f"{text}: {type(error).__name__} {error}"))
            return
        self.answers += 1
        if isinstance(end, TurnFailed | TurnStopped):
            self.failed += 1
            self._report(f"{text}: {end}")

    async def _kill(self, victim: Instance) -> None:
        """Kills, starts again, and returns when all that was cut is asked for again."""
        running = await self._running()
        asked = {mark: len(self.cluster.model.of(mark)) for mark in running}
        killed = asyncio.get_running_loop().time()
        victim.kill()
        assert await victim.ended() == -9, f"{victim.name} ended by itself: {(await victim.logged())[-2000:]}"
        cut = [mark for mark, owner in (await self._running()).items() if owner == victim.id and mark in asked]
        self.kills += 1
        self.running.append(len(running))
        self.cut.append(len(cut))
        await victim.start()
        self._complete_at = asyncio.get_running_loop().time()
        await asyncio.gather(*(self._taken_over(mark, asked[mark], killed) for mark in cut))

    async def _taken_over(self, mark: str, asked: int, killed: float) -> None:
        try:
            async with asyncio.timeout(TAKEOVER_MOST_S):
                ask = await self.cluster.model.asked(mark, asked + 1)
            self.takeovers.append(ask.at - killed)
        except TimeoutError:
            self.takeovers.append(TAKEOVER_MOST_S)

    async def _busiest(self) -> Instance:
        """The one with more answers: the second time the one that has taken over the first one's."""
        running = Counter((await self._running()).values())
        return max(self.cluster.instances, key=lambda each: running[each.id])

    async def _running(self) -> dict[str, str]:
        """The marks of the questions that are being answered, and by whom."""
        return dict(
            await self.cluster.rows(
                """
                select split_part(split_part(m.content, ' ', 1), '=', 2), t.owner
                from turns t join messages m on m.client_id = t.client_id and m.id = t.message_id
                where t.status = 'running'
                """
            )
        )


async def _run_pair(world: World, rng: random.Random, *, kills: int, visitors: int, name: str) -> _Pair:
    async with world.cluster(2) as cluster, AsyncExitStack() as tabs:
        shop = await cluster.shop()
        there = [
            await tabs.enter_async_context(
                visiting(shop, cluster.some_url, rng=rng, name=f"{name}v{number}", longest_pause_s=LONGEST_PAUSE_S)
            )
            for number in range(visitors)
        ]
        pair = _Pair(cluster, there, rng, world.report)
        wave = 0
        while pair.kills < kills:
            await pair.wave(wave)
            wave += 1
        pair.broken += await check_everything(cluster, there)
        return pair


async def run(world: World) -> list[Figure]:
    kills, pairs = world.rounds(500, 4), world.rounds(2, 1)
    visitors = world.rounds(100, 20)
    done = await asyncio.gather(
        *(
            _run_pair(
                world, random.Random(world.rng.random()), kills=-(-kills // pairs), visitors=visitors, name=f"p{number}"
            )
            for number in range(pairs)
        )
    )
    takeovers = [seconds for pair in done for seconds in pair.takeovers]
    running = [count for pair in done for count in pair.running]
    return [
        Figure("kills", sum(pair.kills for pair in done), goal=kills, least=True, promise=True),
        Figure("answers running at a kill, median", percentile(running, 50)),
        Figure("answers cut", sum(sum(pair.cut) for pair in done)),
        Figure("answers whole", sum(pair.answers - pair.failed for pair in done)),
        Figure("failed in sight", sum(pair.failed for pair in done)),
        *figures([broken for pair in done for broken in pair.broken], world.report),
        Figure("takeover p50", percentile(takeovers, 50), "s"),
        Figure("takeover p95", percentile(takeovers, 95), "s", goal=3.0),
        Figure("takeover most", max(takeovers, default=0.0), "s"),
    ]


KILLS = Row(
    "kills",
    "kill -9 of one of two instances mid-answer, 500 kills, 100 answers running",
    "0 answers lost, 0 mixed, 0 doubled effects; takeover p95 <= 3 s",
    run,
)
