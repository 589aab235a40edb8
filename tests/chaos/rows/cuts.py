"""The network breaks in the middle of a byte stream, thousands of times, while answers come.

A fault proxy before each instance ends every connection after a number of bytes that chance decides: within a
handshake, a frame's head, a character. One in ten ends on the way up; half of all are resets; some come in slices of a
few bytes. The visitors come back at once, to either instance.
"""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.chaos.checkers import check_everything, figures
from tests.chaos.load import Habit, load
from tests.chaos.proxy import Plan, proxying
from tests.chaos.table import Figure, Row, percentile
from tests.chaos.visitor import Visitor
from tests.chaos.world import World

# Bytes that a connection carries on the average: a resumption is 1 to 2 KB, a second of an answer about 2 KB. With as
# many visitors none of them says hello more than 120 times a minute, which is refused.
BYTES = 4_000
HABIT = Habit(tokens=(20, 60), pace_ms=(40, 120), pause_s=(0.0, 1.0), tool_one_in=20)
# Resumptions that were not themselves cut come within this time (reliability).
RESUME_S = 0.5


def spoiling(rng: random.Random, cutting: Callable[[], bool]) -> Callable[[int], Plan]:
    """A proxy's plan for each connection, while there is `cutting`."""

    def plan(_number: int) -> Plan:
        if not cutting():
            return Plan()
        at = int(rng.expovariate(1 / BYTES)) + 1
        sliced = rng.choice([None, None, None, None, None, rng.randint(20, 400)])
        if rng.randrange(10) == 0:
            # A handshake is about 400 bytes up, what is said after it some hundreds.
            return Plan(cut_up_at=rng.randint(1, 900), cut_down_at=4 * at, reset=rng.random() < 0.5)
        return Plan(cut_down_at=at, slice_bytes=sliced, reset=rng.random() < 0.5)

    return plan


async def run(world: World) -> list[Figure]:
    cuts, visitors, within_s = world.rounds((10_000, 120, 270.0), (250, 20, 12.0))
    async with world.cluster(2) as cluster, AsyncExitStack() as stack:
        cutting = False
        proxies = [
            await stack.enter_async_context(
                proxying(("127.0.0.1", instance.port), spoiling(world.rng, lambda: cutting))
            )
            for instance in cluster.instances
        ]

        def where() -> str:
            return world.rng.choice(proxies).ws_url

        def done() -> int:
            return sum(proxy.cuts for proxy in proxies)

        # They wait for nothing before they come back, so that what is timed is the resumption.
        async with load(cluster, visitors, HABIT, where=where, longest_pause_s=0.0) as crowd:
            cutting = True
            for proxy in proxies:
                proxy.cut()  # these were made with a plan that spares them
            crowd.begin()
            await crowd.until(lambda: done() >= cuts, within_s)
            cutting = False
            for proxy in proxies:
                proxy.cut()
            unanswered = await crowd.enough(within_s=60)
            broken = await check_everything(cluster, crowd.visitors)
            resumed = [seconds for visitor in crowd.visitors for seconds in resumptions(visitor)]
    return [
        *figures(broken, world.report),
        Figure("without an answer at the end", unanswered, goal=0, promise=True),
        Figure("refused for good", sum(sent.refused is not None for sent in crowd.sents), goal=0, promise=True),
        Figure("cuts", done(), goal=cuts, least=True),
        Figure("questions", crowd.asked),
        Figure("resumptions", len(resumed)),
        Figure("resume, p50", 1_000 * percentile(resumed, 50), "ms"),
        Figure("resume, p99", 1_000 * percentile(resumed, 99), "ms", goal=1_000 * RESUME_S),
        Figure("resume, most", 1_000 * max(resumed, default=0.0), "ms"),
    ]


def resumptions(visitor: Visitor) -> list[float]:
    """Seconds from each loss of a socket to the welcome of the next one, cut handshakes in between included."""
    found: list[float] = []
    lost: float | None = None
    for line in visitor.recording.lines:
        if line.what == "closed":
            lost = line.at
        elif line.what == "got" and lost is not None and line.raw.startswith(b'{"type":"welcome"'):
            found.append(line.at - lost)
            lost = None
    return found


CUTS = Row(
    "cuts",
    "10,000 random cuts of the socket mid-byte while answers stream",
    "text equal to the byte every time; resume p99 <= 500 ms",
    run,
)
