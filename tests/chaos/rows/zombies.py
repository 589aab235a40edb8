"""SIGSTOP of a lease's owner for three leases, then SIGCONT: what it wants to write then is nobody's any more.

Fifty owners stand still at the same time, on two databases, each stopped somewhere in the middle of two answers: a
short one, or one with a tool, which two others take over and end meanwhile; and a long one, which is still being told
anew when its old owner wakes up with a pipe full of old tokens. Half of the readers are cut at that moment and come
back. Every other owner is `stubborn`: it never learns that it has lost a turn, and tries to write it to the end.
"""

import asyncio
import itertools
from collections.abc import Sequence

import httpx

from server.turns.lease import LEASE_S
from tests.chaos.broken import Broken, figures
from tests.chaos.checkers import check_everything
from tests.chaos.cluster import PATIENCE_S, Cluster, Instance
from tests.chaos.model import question
from tests.chaos.table import Figure, Row
from tests.chaos.visitor import Visitor, first_to
from tests.chaos.webhook import Called
from tests.chaos.world import World
from tests.flows.support import Shop

# Leases that an owner stands still.
LEASES = 3.0
SHORT_TOKENS, PACE_MS = 30, 100
# Seconds after the questions within which owners are stopped, and what the webhook takes: some are stopped in a call.
STOP_WITHIN_S = 2.5
TOOL_S = 1.0
LONGEST_PAUSE_S = 1.0
# Seconds after waking up in which what an owner had to say has been said.
AWAKE_S = 1.0


class _Field:
    """Two instances that go on, and the owners that are stopped."""

    def __init__(self, world: World, cluster: Cluster, shop: Shop, name: str) -> None:
        self.cluster = cluster
        self.owners: list[Instance] = []
        self.rounds = 0
        self.taken_over = 0
        self.accepted = 0
        self.refused = 0
        self.broken: list[Broken] = []
        self._world = world
        self._shop = shop
        self._name = name
        self._marks = itertools.count()
        cluster.webhook.before = self._slowly

    async def batch(self, *, still_s: float, long_tokens: int) -> None:
        """Every owner once."""
        rng = self._world.rng
        visitors = await asyncio.gather(*(self._visitor(owner) for owner in self.owners for _ in range(2)))
        try:
            texts = []
            for at, visitor in enumerate(visitors):
                tool = rng.choice([None, "reserve", "look_up"]) if at % 2 == 0 else None
                tokens = long_tokens if at % 2 else SHORT_TOKENS
                texts.append(question(visitor.name, tokens=tokens, pace_ms=PACE_MS, tool=tool))
            sents = await asyncio.gather(*(each.say(text) for each, text in zip(visitors, texts, strict=True)))
            after_s = [rng.uniform(0, STOP_WITHIN_S) for _ in self.owners]
            await asyncio.gather(*map(self._stop, self.owners, after_s))
            mine = await self._running()
            await asyncio.sleep(still_s)
            self.taken_over += await self._over(mine, within_s=LEASE_S)
            before = await self._written(mine)
            for owner in self.owners:
                owner.cont()
            await asyncio.gather(*map(self._awake, self.owners))
            for visitor in rng.sample(visitors, len(visitors) // 2):
                visitor.cut()
            await asyncio.sleep(AWAKE_S)
            for visitor, sent in zip(visitors, sents, strict=True):
                try:
                    await visitor.answer(sent, within_s=2 * LEASE_S + long_tokens * PACE_MS / 1000)
                except (TimeoutError, ConnectionError) as error:
                    self.broken.append(Broken("lost", visitor.name, f"no answer: {type(error).__name__} {error}"))
            self.rounds += len(self.owners)
            await self._judge(mine, before)
            self.broken += await check_everything(self.cluster, visitors)
        finally:
            for visitor in visitors:
                await visitor.stop()

    async def _visitor(self, owner: Instance) -> Visitor:
        """One that comes to this owner first, and to those who go on after that."""
        visitor = Visitor(
            self._shop,
            first_to(owner, self.cluster.instances[:2], self._world.rng),
            rng=self._world.rng,
            name=f"{self._name}{next(self._marks)}",
            longest_pause_s=LONGEST_PAUSE_S,
        )
        await visitor.start()
        return visitor

    async def _stop(self, owner: Instance, after_s: float) -> None:
        await asyncio.sleep(after_s)
        owner.stop()

    async def _awake(self, owner: Instance) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            await http.get(f"{owner.url}/healthz")

    async def _running(self) -> dict[int, int]:
        """The turns that stand still with their owners: row and gen."""
        return dict(
            await self.cluster.rows(
                "select id, gen from turns where status = 'running' and owner = any(%s)",
                [owner.id for owner in self.owners],
            )
        )

    async def _over(self, mine: dict[int, int], *, within_s: float) -> int:
        """How many of these turns have another owner: all of them, unless the time is over before."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            gens = await self.cluster.rows("select id, gen from turns where id = any(%s)", list(mine))
            over = sum(bool(gen > mine[turn]) for turn, gen in gens)
            if over == len(mine) or asyncio.get_running_loop().time() > deadline:
                return over
            await asyncio.sleep(0.1)

    async def _written(self, mine: dict[int, int]) -> set[tuple[str, str, int]]:
        """Everything that carries a stopped owner's gen: what it is, of which turn, the gen."""
        rows = await self.cluster.rows(
            """
            with old as (select * from unnest(%s::bigint[], %s::int[]) as o (turn_id, gen))
            select 'event ' || e.seq || ' ' || e.type, t.public_id, e.gen
            from events e join old o on o.turn_id = e.turn_id and e.gen <= o.gen join turns t on t.id = e.turn_id
            union all
            select 'step ' || s.no || ' ' || s.state, t.public_id, s.gen
            from turn_steps s join old o on o.turn_id = s.turn_id and s.gen <= o.gen join turns t on t.id = s.turn_id
            """,
            list(mine),
            list(mine.values()),
        )
        return {(what, who, gen) for what, who, gen in rows}

    async def _judge(self, mine: dict[int, int], before: set[tuple[str, str, int]]) -> None:
        """What carries a stopped owner's gen and was not there `before` it woke up. What the new owner goes on with
        gets the new owner's gen."""
        after = await self._written(mine)
        for what, who, gen in after - before:
            self.accepted += 1
            self.broken.append(Broken("stale", who, f"{what} of gen {gen} was written after its owner woke up"))

    async def _slowly(self, _called: Called) -> None:
        await asyncio.sleep(TOOL_S)


async def _run_field(world: World, name: str, *, batches: int, owners: int) -> _Field:
    still_s = world.rounds(LEASES * LEASE_S, LEASE_S + 4)
    # Begun again when the lease has run out, and not over when the old owner wakes up.
    long_tokens = round((still_s - LEASE_S + 2) * 1000 / PACE_MS)
    # So many instances have more connections than two of these databases would take.
    async with world.cluster(2, own_services=world.size == "full") as cluster:
        field = _Field(world, cluster, await cluster.shop(), name)
        for at in range(owners):
            stubborn = ["tests.chaos.stubborn:owner"] if at % 2 else []
            field.owners.append(await cluster.add(install=stubborn))
        for _ in range(batches):
            await field.batch(still_s=still_s, long_tokens=long_tokens)
        field.refused = await _refused(field.owners[1::2])
        return field


async def run(world: World) -> list[Figure]:
    batches, owners = world.rounds(4, 1), world.rounds(25, 4)
    names = ["a", "b"][: world.rounds(2, 1)]
    fields = await asyncio.gather(*(_run_field(world, name, batches=batches, owners=owners) for name in names))
    rounds = sum(field.rounds for field in fields)
    return [
        Figure("rounds", rounds, goal=len(names) * batches * owners, least=True, promise=True),
        Figure(
            "turns taken over from stopped owners",
            sum(field.taken_over for field in fields),
            goal=rounds,
            least=True,
            promise=True,
        ),
        Figure("writes accepted from a zombie", sum(field.accepted for field in fields), goal=0, promise=True),
        Figure(
            "turns that stubborn zombies tried to write, and were refused",
            sum(field.refused for field in fields),
            goal=rounds // 2,
            least=True,
            promise=True,
        ),
        *figures([broken for field in fields for broken in field.broken], world.report),
    ]


async def _refused(owners: Sequence[Instance]) -> int:
    """How often Postgres told an owner that a turn was not its own any more, by its log."""
    logs = await asyncio.gather(*(owner.logged() for owner in owners))
    return sum(log.count("turn left to somebody else") for log in logs)


ZOMBIES = Row(
    "zombies",
    "SIGSTOP of a lease's owner for three leases, then SIGCONT, 200 rounds",
    "0 writes accepted from the zombie",
    run,
)
