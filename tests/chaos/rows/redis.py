"""Redis is restarted again and again, and then stays away, while visitors ask on two instances."""

import asyncio

from server.protocol.visitor import MessageCompleted
from tests.chaos import weather
from tests.chaos.broken import figures
from tests.chaos.checkers import check_everything
from tests.chaos.health import watched
from tests.chaos.load import Habit, Load, frames, heard, load
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.world import World

# Without Redis each instance counts for itself: nobody says more than half of the 20 a minute.
HABIT = Habit(tokens=(10, 40), pause_s=(5.5, 9.0))
# Seconds in which Redis is noticed to be away, and in which it is noticed to be back (server/fanout).
NOTICED_S = 3.0


async def run(world: World) -> list[Figure]:
    storm_s, gone_s, visitors = world.rounds((165.0, 300.0, 80), (6.0, 5.0, 12))
    loop = asyncio.get_running_loop()
    async with (
        world.cluster(own_services=True) as cluster,
        load(cluster, visitors, HABIT) as crowd,
        watched(cluster) as health,
    ):
        assert cluster.redis is not None
        here, there = cluster.instances
        two_tabs = await crowd.arrive(visitors // 4, where=lambda: here.ws_url)
        await asyncio.gather(*(crowd.watch(each, lambda: there.ws_url) for each in two_tabs))
        began = loop.time()
        crowd.begin()
        every_s = weather.EVERY_S if world.size == "full" else (1.0, 2.5)
        await cluster.redis.storm(world.rng, until=began + storm_s, every_s=every_s)
        async with cluster.redis.away() as gone:
            await asyncio.sleep(gone_s)
        await asyncio.sleep(NOTICED_S)
        unanswered = await crowd.enough(within_s=60)
        everybody = [*crowd.visitors, *crowd.watchers.values()]
        broken = await check_everything(cluster, everybody)
        said = heard(everybody)
        not_ready = [pulse for pulse in health.between(began, loop.time()) if (pulse.alive, pulse.ready) != (200, 200)]
    waits = [
        sent.acked_at - sent.sent_at for sent in crowd.sents if sent.acked_at and gone.began < sent.sent_at < gone.ended
    ]
    return [
        *figures(broken),
        Figure("without an answer at the end", unanswered, goal=0, promise=True),
        Figure("refused or failed", said.unkind, goal=0, promise=True),
        Figure("answers of /healthz or /readyz that were not 200", len(not_ready), goal=0, promise=True),
        Figure("turns", crowd.asked),
        Figure("spells without Redis", len(cluster.redis.spells)),
        Figure("ack while it is gone, p99", percentile(waits, 99), "s", goal=1.0),
        Figure(
            "an answer's end on the other instance while it is gone, p99",
            percentile(_lags(crowd, gone), 99),
            "s",
            goal=1.0,
        ),
    ]


def _lags(crowd: Load, gone: weather.Spell) -> list[float]:
    """Seconds between an answer's end in one tab and in the other, which is on the other instance."""
    lags = []
    for visitor in crowd.visitors:
        if visitor.name not in crowd.watchers:
            continue
        watcher = crowd.watchers[visitor.name]
        there = {frame.seq: at for at, frame in frames([watcher]) if isinstance(frame, MessageCompleted)}
        for at, frame in frames([visitor], gone.began, gone.ended):
            if isinstance(frame, MessageCompleted) and frame.seq in there:
                lags.append(abs(there[frame.seq] - at))
    return lags


REDIS = Row(
    name="redis",
    what="Redis restarted every 5 to 40 s, then gone for 5 minutes",
    goal="0 lost, 0 doubled, 0 refused because of Redis",
    run=run,
)
