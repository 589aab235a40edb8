"""Two instances are restarted one after the other, again and again, as a deployment does, while visitors ask."""

import asyncio
from contextlib import AsyncExitStack

import msgspec

from server.ws.drain import END_S
from tests.chaos.broken import figures
from tests.chaos.checkers import check_everything
from tests.chaos.cluster import Cluster, Instance
from tests.chaos.load import Habit, closes, heard, load
from tests.chaos.model import question
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Sent, Visitor
from tests.chaos.world import World

HABIT = Habit(tokens=(5, 30), pace_ms=(20, 80), pause_s=(2.5, 5.5))
# Answers that take longer than an instance that ends may wait (seconds): they are given back and begun elsewhere.
TOO_LONG_S = 40.0
# Seconds until a balancer has noticed that an instance is not ready.
NOTICED_S = 0.5


class Exit(msgspec.Struct, frozen=True):
    """How one process ended: seconds from the signal, and its exit code."""

    seconds: float
    code: int


async def run(world: World) -> list[Figure]:
    rounds, visitors, with_long = world.rounds((20, 90, 2), (2, 12, 0))
    async with world.cluster() as cluster, AsyncExitStack() as stack:
        balancer = Balancer(cluster)
        crowd = await stack.enter_async_context(load(cluster, visitors, HABIT, where=balancer.url))
        patient = await stack.enter_async_context(load(cluster, 4, HABIT, where=balancer.url))
        crowd.begin()
        exits: list[Exit] = []
        for number in range(rounds):
            # The last rounds have answers that no drain can wait for.
            askers = patient.visitors if number >= rounds - with_long else []
            long = await asyncio.gather(*(_ask_long(each) for each in askers))
            for instance in cluster.instances:
                exits.append(await balancer.restart(instance))
                await asyncio.sleep(world.rng.uniform(0.0, 1.0))
            await asyncio.gather(*(each.answer(sent, 120) for each, sent in zip(askers, long, strict=True)))
        unanswered = await crowd.enough(within_s=60)
        everybody = [*crowd.visitors, *patient.visitors]
        how = closes(everybody)
        broken = await check_everything(cluster, everybody)
    said = heard(everybody)
    waits = [sent.acked_at - sent.sent_at for sent in crowd.sents if sent.acked_at is not None]
    return [
        *figures(broken),
        Figure("without an answer at the end", unanswered, goal=0, promise=True),
        Figure("visible errors (error, nack, turn.failed)", said.unkind, goal=0, promise=True),
        Figure("exit codes other than 0", sum(each.code != 0 for each in exits), goal=0, promise=True),
        Figure("from the signal to the exit, the slowest", max(each.seconds for each in exits), "s", goal=END_S),
        Figure("the same, p50", percentile([each.seconds for each in exits], 50), "s"),
        Figure("restarts", len(exits)),
        Figure("turns", len(crowd.sents) + len(patient.sents)),
        Figure("sockets closed by a drain (4001)", how.count("4001")),
        # 1000 is the visitor's own leaving, which a drain asks for.
        Figure("sockets closed otherwise", len(how) - how.count("4001") - how.count("1000"), goal=0),
        Figure("ack, p99, reconnects included", percentile(waits, 99), "s"),
    ]


class Balancer:
    """Gives sockets to instances that run and are not told to end; a moment late, as one is that asks for readiness."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._leaving: Instance | None = None

    def url(self) -> str:
        there = [each for each in self._cluster.running if each is not self._leaving]
        return self._cluster.rng.choice(there).ws_url

    async def restart(self, instance: Instance) -> Exit:
        """Tells it to end, waits for that, and starts it again."""
        clock = asyncio.get_running_loop().time
        began = clock()
        instance.term()
        asyncio.get_running_loop().call_later(NOTICED_S, self._left, instance)
        code = await instance.ended(within_s=2 * END_S)
        took = clock() - began
        await instance.start()
        self._left(None)
        return Exit(took, code)

    def _left(self, instance: Instance | None) -> None:
        self._leaving = instance


async def _ask_long(visitor: Visitor) -> Sent:
    """A question whose answer takes longer than a drain; returns when it streams."""
    name = f"{visitor.name}-long-{len(visitor.sents)}"
    sent = await visitor.say(question(name, tokens=int(TOO_LONG_S * 10), pace_ms=100))
    await visitor.until(lambda: visitor.state().live)
    return sent


ROLLING = Row(
    name="rolling",
    what="rolling restart of two instances under load, 20 rounds",
    goal="0 lost, no visible error, exit <= 30 s",
    run=run,
)
