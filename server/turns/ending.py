"""Writes how a turn ended: the answer and what it cost, or that it failed, in one transaction."""

from server import log, metrics
from server.cache.context import CachedContext, CachedMessage, ContextCache
from server.fanout.live import LiveTexts
from server.journal import Entry
from server.protocol.parts import Message, TokenUsage
from server.protocol.visitor import MessageCompleted, TurnFailed
from server.repositories import messages, tool_executions, turns
from server.repositories.pool import Pool, reading
from server.turns import phrases
from server.turns.accounting import Accounting, Bill
from server.turns.counting import count
from server.turns.job import Job
from server.turns.turn import Completed, Failed, Turn
from server.turns.writing import Writer

logger = log.get("turns")

# Characters of a reason kept on the turn; the log has it whole.
REASON_CHARACTERS = 500
# Stands for the number of messages after an end whose answer was lost: no such number.
_UNHEARD = -1


class Ending:
    """The ends of turns of one instance."""

    def __init__(
        self, *, pool: Pool, writer: Writer, live: LiveTexts, cache: ContextCache, accounting: Accounting
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._live = live
        self._cache = cache
        self._accounting = accounting

    async def write(
        self, job: Job, turn: Turn, *, provider: str, model: str, history: list[CachedMessage] | None
    ) -> bool:
        """Writes the outcome, once Postgres is there. `history` is what the model read, if it was asked.

        Whether another turn of the conversation may wait. Raises FenceLost.
        """
        outcome = turn.outcome
        if outcome is None:
            raise RuntimeError("a turn ended without an outcome")

        async def commit() -> tuple[int, bool]:
            bill = await self._accounting.total(turn.spent, provider=provider, model=model, day=job.at.date())
            return await self._commit(job, outcome, bill, model)

        async def committed() -> tuple[int, bool] | None:
            return (_UNHEARD, True) if await self._ended(job) else None

        total, waits = await self._writer.insist(job, commit, written=committed)
        self._live.drop(job.turn.public_id, job.turn.gen)
        metrics.TURNS.labels("done" if isinstance(outcome, Completed) else "failed").inc()
        # Only if it is all there is: no question came meanwhile, or the next reader would take the context for whole.
        if isinstance(outcome, Completed) and history is not None and job.newest and total == job.total + 1:
            said = [*history, CachedMessage("assistant", outcome.text)]
            context = CachedContext(job.client.id, total, said, job.at)
            await self._cache.put(session_id=job.conversation.session_id, context=context)
        return waits

    async def _ended(self, job: Job) -> bool:
        """Whether this gen wrote an end. A stop and a takeover raise it."""
        async with reading(self._pool) as conn:
            row = await turns.find(conn, client_id=job.client.id, public_id=job.turn.public_id)
        return row is not None and row.gen == job.turn.gen and row.status in {"done", "failed"}

    async def _commit(self, job: Job, outcome: Completed | Failed, bill: Bill, model: str) -> tuple[int, bool]:
        """One transaction: the answer, its cost, the event, the turn's end. The number of messages after it, and
        whether another turn waits."""
        async with self._writer.fenced(job) as entry:
            if isinstance(outcome, Completed):
                await self._complete(entry, job, outcome, model, bill)
            else:
                await self._fail(entry, job, outcome, model, bill)
            await count(
                entry.conn,
                job.conversation,
                day=entry.at.date(),
                messages=1 if isinstance(outcome, Completed) else 0,
                tokens_input=bill.usage.input,
                tokens_output=bill.usage.output,
                cost=bill.cost,
            )
            asked = await turns.waiting(entry.conn, client_id=job.client.id, conversation_id=job.conversation.id)
            total = entry.total_messages
        told = await asked.fetchone()
        return total, told is None or told.waits

    async def _complete(self, entry: Entry, job: Job, outcome: Completed, model: str, bill: Bill) -> None:
        row, seq = job.turn, entry.next_seq
        message = Message(
            id=row.answer_id,
            role="assistant",
            text=outcome.text,
            created_at=entry.at,
            turn_id=row.public_id,
            usage=TokenUsage(input_tokens=bill.usage.input, output_tokens=bill.usage.output),
            model=model,
        )
        await messages.create(
            entry.conn,
            client_id=job.client.id,
            conversation_id=job.conversation.id,
            public_id=row.answer_id,
            role="assistant",
            content=outcome.text,
            seq=seq,
            created_at=entry.at,
            turn_id=row.id,
            model=model,
            tokens_input=bill.usage.input,
            tokens_output=bill.usage.output,
            cost=bill.cost,
        )
        await turns.finish(
            entry.conn,
            client_id=job.client.id,
            turn_id=row.id,
            gen=row.gen,
            status="done",
            paid=bill.paid(model),
        )
        frame = MessageCompleted(seq=seq, turn_id=row.public_id, message=message)
        entry.append(frame, turn_id=row.id, gen=row.gen, message=True)

    async def _fail(self, entry: Entry, job: Job, outcome: Failed, model: str, bill: Bill) -> None:
        row = job.turn
        logger.warning(
            "turn failed", turn=row.public_id, client=job.client.id, code=outcome.code, reason=outcome.reason
        )
        await turns.finish(
            entry.conn,
            client_id=job.client.id,
            turn_id=row.id,
            gen=row.gen,
            status="failed",
            error=f"{outcome.code}: {outcome.reason}"[:REASON_CHARACTERS],
            paid=bill.paid(model),
        )
        # Tools that were cut off by the turn's end.
        await tool_executions.abandon(entry.conn, client_id=job.client.id, turn_id=row.id, error=outcome.code)
        frame = TurnFailed(
            seq=entry.next_seq,
            turn_id=row.public_id,
            code=outcome.code,
            message=phrases.for_failure(outcome.code, job.conversation.locale),
            retryable=outcome.retryable,
        )
        entry.append(frame, turn_id=row.id, gen=row.gen)
