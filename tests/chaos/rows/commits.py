"""The connection to Postgres is cut around COMMIT, so that nobody knows what became of it."""

import asyncio
import tempfile
from pathlib import Path

import msgspec

from tests.chaos.broken import figures
from tests.chaos.checkers import check_everything
from tests.chaos.commit_cutter import AFTER, CommitCutter, cutting
from tests.chaos.load import Habit, heard, load
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.world import World

# Short answers, and many tools: each of their steps is a commit.
HABIT = Habit(tokens=(3, 8), pace_ms=(0, 20), pause_s=(0.5, 4.0), tool_one_in=3)
# Of all commits so many are cut.
SHARE = 0.4


async def run(world: World) -> list[Figure]:
    cuts, visitors, within_s = world.rounds((10_000, 400, 270.0), (150, 40, 10.0))
    cutter = CommitCutter(world.rng, share=0.0)
    async with world.cluster(0) as cluster:
        with tempfile.TemporaryDirectory(prefix="frontdesk-cut-") as place:
            async with cutting(cluster.settings.database_url, Path(place), cutter) as url:
                settings = msgspec.structs.replace(cluster.settings, database_url=url)
                await asyncio.gather(*(cluster.add(settings=settings) for _ in range(2)))
                async with load(cluster, visitors, HABIT) as crowd:
                    cutter.share, cutter.most = SHARE, cuts
                    crowd.begin()
                    await crowd.until(lambda: cutter.after >= cuts, within_s)
                    # What was cut last must be found out by whole connections.
                    cutter.share = 0.0
                    unanswered = await crowd.enough(within_s=60)
                    broken = await check_everything(cluster, crowd.visitors)
                    failed = heard(crowd.visitors).failed
    waits = [sent.acked_at - sent.sent_at for sent in crowd.sents if sent.acked_at is not None]
    return [
        *figures(broken),
        Figure("without an answer at the end", unanswered, goal=0, promise=True),
        Figure("refused for good", sum(sent.refused is not None for sent in crowd.sents), goal=0, promise=True),
        Figure("connections cut after COMMIT", cutter.after, goal=cuts, least=True),
        *(Figure(f"of these: {kind}", cutter.cuts[kind]) for kind in AFTER),
        Figure("cut before it", cutter.cuts["before"]),
        Figure("commits in all", cutter.commits),
        Figure("turns", crowd.asked),
        Figure("turns that visibly failed", len(failed)),
        Figure("ack, p99", percentile(waits, 99), "s"),
    ]


COMMITS = Row(
    name="commits",
    what="connection to Postgres cut exactly after COMMIT, 10,000 times",
    goal="0 doubled, 0 lost",
    run=run,
)
