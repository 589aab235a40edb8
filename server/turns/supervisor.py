"""Decides which turns this instance runs, and keeps its right to run them.

A running turn is leased: the row says whose it is and until when, by the database's clock. One statement extends the
leases of all turns of an instance; a turn that is not among the extended ones is no longer ours and stops at once.
A sweep takes over what a dead instance left behind. An instance that is about to end claims nothing any more, tells
the others what waits, and gives back at last what it could not finish.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime

import msgspec

from server import log, metrics
from server.errors import FenceLost, FrontdeskError, NotFound, Unavailable
from server.fanout import channels
from server.fanout.hub import Hub
from server.journal import Journal
from server.protocol import codec
from server.protocol.visitor import TurnFailed, TurnReset, TurnStarted
from server.repositories import clients, conversations, messages, presence, turns
from server.repositories.pool import Pool, reading
from server.repositories.turns import Turn as TurnRow
from server.turns import phrases
from server.turns.engine import DEADLINE_S, Engine
from server.turns.job import Job
from server.turns.presence import Presence

logger = log.get("turns")

# Seconds a lease lasts, and between two extensions: two may fail before it runs out (reliability).
LEASE_S = 15.0
EXTEND_S = 5.0
# Seconds between two looks for turns nobody runs: a death is noticed at the second look without its lock.
SWEEP_S = 1.0
SWEEP_MOST = 20
# Seconds that an instance which ends spends on giving its turns back.
RELEASE_S = 2.0
# A turn that was begun this often and never ended takes its instance down; it is not begun again.
ATTEMPTS = 3


class Fenced(msgspec.Struct, frozen=True, tag_field="type", tag="turn.fenced"):
    """Said on the control channel: whoever runs this turn with an older gen must stop."""

    turn_id: str
    gen: int


class Waiting(msgspec.Struct, frozen=True, tag_field="type", tag="turn.waiting"):
    """Said on the control channel by an instance that ends: somebody else should begin the conversation's next turn."""

    client_id: int
    conversation_id: int


_decoder: msgspec.json.Decoder[Fenced | Waiting] = msgspec.json.Decoder(Fenced | Waiting)


class Supervisor:
    """The turns of one instance. `owner` is its id. `draining`: it is about to end, and claims no more turns."""

    def __init__(self, *, pool: Pool, journal: Journal, hub: Hub, engine: Engine, owner: str) -> None:
        self.owner = owner
        self._pool = pool
        self._journal = journal
        self._hub = hub
        self._engine = engine
        self._running: dict[str, tuple[TurnRow, asyncio.Task[None]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._presence = Presence(pool, owner)
        self.draining = False
        hub.on_control(self._heard)

    async def start(self) -> None:
        await self._presence.start()
        self._keepers = [
            asyncio.create_task(self._every(EXTEND_S, self._extend), name="lease keeper"),
            asyncio.create_task(self._every(SWEEP_S, self._sweep), name="turn sweeper"),
        ]

    @property
    def running(self) -> int:
        """How many turns run here."""
        return len(self._running)

    @property
    def answering(self) -> set[int]:
        """The conversations whose turns run here."""
        return {row.conversation_id for row, _ in self._running.values()}

    def drain(self) -> None:
        """From here on no turn is claimed. What runs goes on; `stop` ends it."""
        self.draining = True

    async def stop(self, *, grace_s: float = 0.0) -> None:
        """Lets running turns end within `grace_s`, then gives the others back and tells the other instances."""
        self.drain()
        if self._running and grace_s > 0:
            await asyncio.wait([task for _, task in self._running.values()], timeout=grace_s)
        # First what could begin another turn.
        await _cancel([*self._keepers, *self._background])
        await _cancel([task for _, task in self._running.values()])
        await self._release()
        await self._presence.stop()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_S), reading(self._pool) as conn:
                released = await turns.release(conn, owner=self.owner)
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
            # Its lease ran out unnoticed, and the sweep gave the turn to us again.
            before[1].cancel()
        task = asyncio.create_task(self._run(job), name=f"turn {job.turn.public_id}")
        self._running[job.turn.public_id] = (job.turn, task)
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
        try:
            await self._engine.run(job)
        except FenceLost as error:
            logger.info("turn left to somebody else", turn=job.turn.public_id, reason=error.message)
        except FrontdeskError as error:
            logger.warning("turn not ended; its lease will run out", turn=job.turn.public_id, reason=error.message)
        except Exception:
            # A bug; the sweep gives the turn another attempt, and after the last one fails it in sight of the visitor.
            logger.exception("turn broke", turn=job.turn.public_id)
        finally:
            running = self._running.get(job.turn.public_id)
            if running is not None and running[1] is asyncio.current_task():
                del self._running[job.turn.public_id]
                self._engine.forget(job)
            metrics.TURNS_RUNNING.set(len(self._running))
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
        if running is not None and running[0].gen < said.gen:
            running[1].cancel()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except FrontdeskError as error:
                # A database that is away, or somebody else who was quicker.
                logger.warning("supervisor waits", code=error.code, reason=error.message)
            except Exception:
                # The next round must come whatever this one met.
                logger.exception("supervisor broke")

    async def _extend(self) -> None:
        ours = {row.id: (row, task) for row, task in self._running.values()}
        if not ours:
            return
        async with reading(self._pool) as conn:
            extended = await turns.extend(conn, owner=self.owner, turn_ids=list(ours), lease_s=LEASE_S)
            missing = list(ours.keys() - set(extended))
            # The statement waits for a turn that is just ending, and finds it ended: that one still has to publish.
            ended = await turns.ended_by(conn, owner=self.owner, turn_ids=missing) if missing else []
        for turn_id in set(missing) - set(ended):
            row, task = ours[turn_id]
            # It may have ended by itself while the statement ran.
            if row.public_id in self._running:
                logger.warning("lease lost", turn=row.public_id)
                task.cancel()

    async def _sweep(self) -> None:
        if self.draining:
            return
        try:
            async with reading(self._pool) as conn:
                dead = self._presence.dead(await presence.look(conn))
                orphans = await turns.claim_orphans(
                    conn, owner=self.owner, dead=dead, lease_s=LEASE_S, deadline_s=DEADLINE_S, limit=SWEEP_MOST
                )
        except Unavailable:
            self._presence.blind()
            raise
        for row in orphans:
            logger.info("turn taken over", turn=row.public_id, gen=row.gen, attempt=row.attempts)
            try:
                await self._take_over(row)
            except FrontdeskError as error:
                # The others are ours too; this one's lease runs out.
                logger.warning("turn not taken over", turn=row.public_id, reason=error.message)

    async def _take_over(self, row: TurnRow) -> None:
        job = await self._load(row)
        if row.attempts > ATTEMPTS:
            await self._give_up(job)
            return
        if row.gen == 1:
            async with self._journal.write(client_id=row.client_id, conversation_id=row.conversation_id) as entry:
                await entry.locked()
                entry.append(_started(entry.next_seq, row), turn_id=row.id, gen=row.gen)
        else:
            self._reset(job)
        self.run(job)

    def _reset(self, job: Job) -> None:
        """It had been started under an older gen: whoever watches drops that text."""
        frame = TurnReset(turn_id=job.turn.public_id, gen=job.turn.gen)
        self._hub.publish(channels.conversation(job.conversation.public_id), 0, codec.encode(frame))

    async def _give_up(self, job: Job) -> None:
        row = job.turn
        logger.error("turn given up", turn=row.public_id, attempts=row.attempts)
        async with self._journal.write(client_id=row.client_id, conversation_id=row.conversation_id) as entry:
            await entry.locked()
            await turns.finish(
                entry.conn, client_id=row.client_id, turn_id=row.id, gen=row.gen, status="failed", error="attempts"
            )
            frame = TurnFailed(
                seq=entry.next_seq,
                turn_id=row.public_id,
                code="attempts",
                message=phrases.for_failure("attempts", job.conversation.locale),
                retryable=True,
            )
            entry.append(frame, turn_id=row.id, gen=row.gen)
        metrics.TURNS.labels("failed").inc()
        self.next(client_id=row.client_id, conversation_id=row.conversation_id)

    async def _begin_next(self, client_id: int, conversation_id: int) -> None:
        try:
            async with self._journal.write(client_id=client_id, conversation_id=conversation_id) as entry:
                await entry.locked()
                row = await turns.claim_next(
                    entry.conn,
                    client_id=client_id,
                    conversation_id=conversation_id,
                    owner=self.owner,
                    lease_s=LEASE_S,
                    deadline_s=DEADLINE_S,
                )
                if row is not None and row.gen == 1:
                    entry.append(_started(entry.next_seq, row), turn_id=row.id, gen=row.gen)
            if row is not None:
                job = await self._load(row)
                if row.gen > 1:
                    self._reset(job)
                self.run(job)
        except FrontdeskError as error:
            # The sweep finds the turn again.
            logger.warning("next turn not begun", conversation=conversation_id, reason=error.message)

    async def _load(self, row: TurnRow) -> Job:
        """What a turn needs that did not come straight from its message."""
        async with reading(self._pool) as conn:
            client = await clients.find(conn, client_id=row.client_id)
            conversation = await conversations.find(conn, client_id=row.client_id, conversation_id=row.conversation_id)
            said = await messages.between(
                conn,
                client_id=row.client_id,
                conversation_id=row.conversation_id,
                after_id=row.message_id - 1,
                through_id=row.message_id,
            )
        if client is None or conversation is None or not said:
            raise NotFound(f"what turn {row.public_id} belongs to is gone")
        return Job(
            turn=row,
            client=client,
            conversation=conversation,
            text=said[0].content or "",
            total=conversation.total_messages,
            newest=False,
            at=datetime.now(UTC),
        )


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _started(seq: int, row: TurnRow) -> TurnStarted:
    return TurnStarted(seq=seq, turn_id=row.public_id, message_id=row.answer_id, gen=row.gen)
