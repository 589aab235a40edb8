"""The ends of a turn's calls, on their way into Postgres.

One write at a time: ten calls that end together are two transactions, not ten that wait for the same row. The end of a
step's last call may be written while the model is asked already; it is awaited before anything that the model says is
shown.
"""

import asyncio

import msgspec

from server.repositories import turn_steps
from server.repositories.pool import Pool, reading
from server.repositories.turn_steps import TurnStep
from server.tools.tool import Outcome
from server.turns.clock import Clock
from server.turns.job import Job
from server.turns.phrases import Phrase
from server.turns.plan import Planned
from server.turns.record import Record
from server.turns.stage import Stage
from server.turns.steps import Result
from server.turns.writing import Writer

# Seconds that a turn which is over gives a write that is under way: with Postgres there it takes one of 500.
LAST_WRITE_S = 1.0


class End(msgspec.Struct, frozen=True):
    """How one call ended; `phrase` says so to the visitor where the outcome alone does not."""

    call: Planned
    outcome: Outcome
    ms: int
    phrase: Phrase | None = None


class Ends:
    """One turn's."""

    def __init__(self, pool: Pool, writer: Writer, job: Job, stage: Stage, clock: Clock) -> None:
        self._pool = pool
        self._writer = writer
        self._job = job
        self._stage = stage
        self._clock = clock
        self._waiting: list[End] = []
        self._lock = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None

    def add(self, end: End, *, declined: bool = False) -> None:
        """From here on the call is over for the turn."""
        end.call.result = Result(end.outcome.content, end.outcome.ok, declined=declined)
        self._waiting.append(end)

    async def settle(self) -> None:
        """Returns when every end that was added before is committed. Raises FenceLost."""
        async with self._lock:
            ends, self._waiting = self._waiting, []
            if not ends:
                return

            async def write() -> bool:
                await self._write(ends)
                return True

            async def written() -> bool | None:
                step = await step_of(self._pool, self._job, ends[0].call.no)
                # All of them, or none: they are one transaction.
                return (step is not None and step.state != "started") or None

            try:
                await self._writer.insist(self._job, write, written=written, clock=self._clock)
            except asyncio.CancelledError:
                self._waiting = [*ends, *self._waiting]
                raise

    def begin(self) -> None:
        """Settles in the background, if there is anything to."""
        if self._waiting and self._settling is None:
            self._settling = asyncio.create_task(self.settle(), name=f"ends {self._job.turn.public_id}")

    async def settled(self) -> None:
        """Returns when all that was added is committed, in the background or now. Raises FenceLost.

        A cancelled turn leaves the write under way alone: `close` gives it a moment.
        """
        if self._settling is not None:
            await asyncio.shield(self._settling)
            self._settling = None
        if self._waiting:
            await self.settle()

    async def close(self) -> None:
        """The turn is over here: what is known and not written yet gets a moment, and no more."""
        self.begin()
        if self._settling is not None:
            await asyncio.wait([self._settling], timeout=LAST_WRITE_S)
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)

    async def _write(self, ends: list[End]) -> None:
        async with self._writer.fenced(self._job) as entry:
            record = Record(entry, self._job, self._stage)
            for end in ends:
                await record.ended(end.call, end.outcome, end.ms, phrase=end.phrase)
            if went_out := sum(end.call.went_out for end in ends):
                await record.counted(went_out)


async def step_of(pool: Pool, job: Job, no: int) -> TurnStep | None:
    """What is committed of a step."""
    async with reading(pool) as conn:
        rows = await turn_steps.of_turn(conn, client_id=job.client.id, turn_id=job.turn.id)
    return next((row for row in rows if row.no == no), None)
