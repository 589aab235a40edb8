"""Decides which turns this instance runs, and keeps its right to run them.

A running turn is leased: the row says whose it is and until when, by the database's clock. One statement extends the
leases of all turns of an instance; a turn that is not among the extended ones is no longer ours and stops at once.
While Postgres is away the turns wait (`lease`), and go on when it is back and nobody took them. A sweep takes over what
a dead instance left behind. An instance that is about to end claims nothing any more, tells the others what waits, and
gives back at last what it could not finish.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

import msgspec

from server import log, metrics
from server.errors import FenceLost, FrontdeskError, Unavailable
from server.fanout.hub import Hub
from server.journal import Journal
from server.protocol import codec
from server.repositories import presence, turn_leases
from server.repositories.pool import Pool, reading
from server.repositories.turn_leases import Orphan
from server.turns.claims import Claims
from server.turns.engine import Engine
from server.turns.job import Job
from server.turns.lease import LEASE_S, RETRY_S, Interrupted
from server.turns.presence import Presence
from server.turns.quiet import Fenced

logger = log.get("turns")

# Seconds between two extensions of the leases: two may fail before one runs out (reliability).
EXTEND_S = 5.0
# Seconds between two looks for turns nobody runs: a death is noticed at the second look without its lock.
SWEEP_S = 1.0
# Orphans that one look gives, and that are taken at the same time. After a full look comes the next at once.
SWEEP_MOST = 20
TAKE_MOST = 4
# Seconds between two cancellations of what should have ended.
CANCEL_S = 0.2
# Seconds that an instance which ends spends on giving its turns back.
RELEASE_S = 2.0


class Waiting(msgspec.Struct, frozen=True, tag_field="type", tag="turn.waiting"):
    """Said on the control channel by an instance that ends: somebody else should begin the conversation's next turn."""

    client_id: int
    conversation_id: int


class _Running(msgspec.Struct, frozen=True):
    """A turn that runs here."""

    job: Job
    task: asyncio.Task[None]


_decoder: msgspec.json.Decoder[Fenced | Waiting] = msgspec.json.Decoder(Fenced | Waiting)


class Supervisor:
    """The turns of one instance. `owner` is its id. `draining`: it is about to end, and claims no more turns."""

    def __init__(self, *, pool: Pool, journal: Journal, hub: Hub, engine: Engine, owner: str) -> None:
        self.owner = owner
        self._pool = pool
        self._hub = hub
        self._engine = engine
        self._claims = Claims(pool=pool, journal=journal, hub=hub, owner=owner)
        self._taking = asyncio.Semaphore(TAKE_MOST)
        # By public id.
        self._running: dict[str, _Running] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._presence = Presence(pool, owner)
        self.draining = False
        hub.on_control(self._heard)

    async def start(self) -> None:
        await self._presence.start()
        self._keepers = [
            asyncio.create_task(self._every(self._until_extension, self._extend), name="lease keeper"),
            asyncio.create_task(self._every(lambda: SWEEP_S, self._sweep), name="turn sweeper"),
        ]

    @property
    def running(self) -> int:
        """How many turns run here."""
        return len(self._running)

    @property
    def answering(self) -> set[int]:
        """The conversations whose turns run here."""
        return {each.job.conversation.id for each in self._running.values()}

    def drain(self) -> None:
        """From here on no turn is claimed. What runs goes on; `stop` ends it."""
        self.draining = True

    async def stop(self, *, grace_s: float = 0.0) -> None:
        """Lets running turns end within `grace_s`, then gives the others back and tells the other instances."""
        self.drain()
        if self._running and grace_s > 0:
            await asyncio.wait([each.task for each in self._running.values()], timeout=grace_s)
        # First what could begin another turn.
        await _cancel([*self._keepers, *self._background])
        await _cancel([each.task for each in self._running.values()])
        await self._release()
        await self._presence.stop()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_S), reading(self._pool) as conn:
                released = await turn_leases.release(conn, owner=self.owner)
        except (Unavailable, TimeoutError) as error:
            logger.warning("leases not released; they run out by themselves", reason=str(error))
            return
        for row in released:
            self._pass_on(row.client_id, row.conversation_id)
        if released:
            logger.info("turns released", count=len(released))

    def run(self, job: Job) -> None:
        """Runs a turn that this instance owns."""
        if before := self._running.get(job.turn.public_id):
            if before.job.turn.gen >= job.turn.gen:
                # Its commit was heard of so late that a sweep of ours has taken it since.
                return
            before.task.cancel()
        task = asyncio.create_task(self._run(job), name=f"turn {job.turn.public_id}")
        self._running[job.turn.public_id] = _Running(job, task)
        metrics.TURNS_RUNNING.set(len(self._running))

    def fence(self, turn_id: str, gen: int) -> None:
        """Tells every instance that a turn's older gens are over."""
        self._hub.control(codec.encode(Fenced(turn_id, gen)))

    def next(self, *, client_id: int, conversation_id: int) -> None:
        """Begins the conversation's oldest waiting turn, if any, in the background; elsewhere when this one ends."""
        if self.draining:
            self._pass_on(client_id, conversation_id)
        else:
            self._later(self._begin_next(client_id, conversation_id))

    def _pass_on(self, client_id: int, conversation_id: int) -> None:
        """Whoever hears it tries to claim, and one gets it; if nobody does, a sweep finds the turn."""
        self._hub.control(codec.encode(Waiting(client_id, conversation_id)))

    def _later(self, work: Coroutine[None, None, None]) -> None:
        if self.draining:
            work.close()
            return
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _run(self, job: Job) -> None:
        waits = True
        try:
            waits = await self._engine.run(job)
        except FenceLost as error:
            logger.info("turn left to somebody else", turn=job.turn.public_id, reason=error.message)
        except Interrupted as error:
            logger.info("turn begins again", turn=job.turn.public_id, reason=error.message)
            await self._give_back(job)
        except FrontdeskError as error:
            logger.warning("turn not ended; a sweep finds it", turn=job.turn.public_id, reason=error.message)
        except Exception:
            # A bug; the sweep gives the turn another attempt, and after the last one fails it in sight of the visitor.
            logger.exception("turn broke", turn=job.turn.public_id)
        finally:
            running = self._running.get(job.turn.public_id)
            if running is not None and running.task is asyncio.current_task():
                del self._running[job.turn.public_id]
                self._engine.forget(job)
            metrics.TURNS_RUNNING.set(len(self._running))
        if waits:
            self.next(client_id=job.client.id, conversation_id=job.conversation.id)
        self._later(self._tidy(job))

    async def _tidy(self, job: Job) -> None:
        try:
            await self._engine.tidy(job)
        except FrontdeskError as error:
            logger.warning("not tidied", conversation=job.conversation.public_id, reason=error.message)

    def _heard(self, payload: bytes) -> None:
        try:
            said = _decoder.decode(payload)
        except msgspec.DecodeError:
            return  # another kind of control message
        if isinstance(said, Waiting):
            # An instance that ends hears itself too.
            self._later(self._begin_next(said.client_id, said.conversation_id))
            return
        running = self._running.get(said.turn_id)
        if running is not None and running.job.turn.gen < said.gen:
            running.task.cancel()

    async def _every(self, seconds: Callable[[], float], work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds())
            try:
                await work()
            except FrontdeskError as error:
                # A database that is away, or somebody else who was quicker.
                logger.warning("supervisor waits", code=error.code, reason=error.message)
            except Exception:
                # The next round must come whatever this one met.
                logger.exception("supervisor broke")

    def _until_extension(self) -> float:
        return EXTEND_S if all(each.job.lease.holds for each in self._running.values()) else RETRY_S

    async def _extend(self) -> None:
        ours = {each.job.turn.id: each for each in self._running.values()}
        if not ours:
            return
        asked_at = time.monotonic()
        try:
            async with reading(self._pool) as conn:
                gens = {turn_id: each.job.turn.gen for turn_id, each in ours.items()}
                extended = await turn_leases.extend(conn, owner=self.owner, gens=gens, lease_s=LEASE_S)
                missing = list(ours.keys() - set(extended))
                # The statement waits for a turn that is just ending, and finds it ended: that one still has to publish.
                ended = await turn_leases.ended_by(conn, owner=self.owner, turn_ids=missing) if missing else []
        except FrontdeskError:
            for each in ours.values():
                each.job.lease.doubt()
            raise
        for turn_id in extended:
            ours[turn_id].job.lease.renew(asked_at)
        for turn_id in set(missing) - set(ended):
            # It may have ended by itself while the statement ran.
            if not ours[turn_id].task.done():
                logger.warning("lease lost", turn=ours[turn_id].job.turn.public_id)
                ours[turn_id].task.cancel()

    async def _sweep(self) -> None:
        found = taken = SWEEP_MOST
        while found == SWEEP_MOST and taken and not self.draining:
            orphans = await self._orphans()
            found, taken = len(orphans), sum(await asyncio.gather(*(self._take(each) for each in orphans)))

    async def _orphans(self) -> list[Orphan]:
        try:
            async with reading(self._pool) as conn:
                look = await presence.look(conn)
                return await turn_leases.orphans(
                    conn,
                    # Of our own those that do not run: their commit was not heard of, or their task broke.
                    dead=[*self._presence.dead(look), self.owner],
                    spared=self._presence.spared(look),
                    held=[each.job.turn.id for each in self._running.values()],
                    lease_s=LEASE_S,
                    limit=SWEEP_MOST,
                )
        except Unavailable:
            self._presence.blind()
            raise

    async def _take(self, orphan: Orphan) -> bool:
        """Whether it is ours now."""
        async with self._taking:
            try:
                job = await self._claims.orphan(orphan)
            except FrontdeskError as error:
                # The others are to be had all the same; the next sweep finds this one again.
                logger.warning("turn not taken over", turn=orphan.id, reason=error.message)
                return False
        if job is not None:
            self._begin(job)
        return job is not None

    def _begin(self, job: Job) -> None:
        """Runs a turn that was claimed just now."""
        if job.turn.gen > 1:
            logger.info("turn taken over", turn=job.turn.public_id, gen=job.turn.gen, attempt=job.turn.attempts)
            # Whoever ran it may be alive, only away from Postgres.
            self.fence(job.turn.public_id, job.turn.gen)
        self.run(job)

    async def _begin_next(self, client_id: int, conversation_id: int) -> None:
        try:
            job = await self._claims.next_of(client_id=client_id, conversation_id=conversation_id)
        except FrontdeskError as error:
            # The sweep finds the turn again.
            logger.warning("next turn not begun", conversation=conversation_id, reason=error.message)
            return
        if job is not None:
            self._begin(job)

    async def _give_back(self, job: Job) -> None:
        """Back to the queue, where it is the conversation's first."""
        row = job.turn
        try:
            async with reading(self._pool) as conn:
                await turn_leases.give_back(
                    conn, client_id=row.client_id, turn_id=row.id, gen=row.gen, owner=row.owner or ""
                )
        except FrontdeskError as error:
            # It stays ours and does not run: a sweep finds it.
            logger.warning("turn not given back", turn=row.public_id, reason=error.message)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Until all have ended. Once is not enough: before Python 3.12 `asyncio.wait_for`, with which the pool waits for a
    connection, lets a cancellation go that comes together with its result."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_S)
