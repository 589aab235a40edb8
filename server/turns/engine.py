"""Runs one turn: asks the model, publishes its words as they come, writes the end of it. `turn` decides, this acts."""

import asyncio
from collections.abc import Callable

import msgspec

from server import log, metrics
from server.cache.context import CachedContext, CachedMessage, ContextCache
from server.errors import FenceLost, ModelError, Unavailable
from server.fanout import channels
from server.fanout.hub import Hub
from server.fanout.live import LiveText, LiveTexts
from server.journal import Entry, Journal
from server.llm.provider import Provider
from server.llm.registry import ModelConfig, Registry
from server.protocol import codec
from server.protocol.parts import Message, TokenUsage
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed
from server.repositories import messages, turns, usage
from server.turns import phrases
from server.turns.accounting import Accounting, Bill
from server.turns.context import ContextBuilder, Prepared
from server.turns.job import Job
from server.turns.summary import UNCOVERED, Summariser
from server.turns.turn import Completed, Delta, Failed, Outcome, Turn

logger = log.get("turns")

# Seconds from claim to the end, retries and tools included (reliability: 120).
DEADLINE_S = 120.0
# Seconds between tries to write the end of a turn while Postgres is away; the lease decides when to give up.
COMMIT_RETRY_S = 0.5
COMMIT_TRIES = 60
# Characters of a reason kept on the turn; the log has it whole.
REASON_CHARACTERS = 500


class Engine:
    """Shared by all turns of an instance; each `run` is one turn."""

    def __init__(
        self,
        *,
        journal: Journal,
        hub: Hub,
        live: LiveTexts,
        registry: Registry,
        context: ContextBuilder,
        cache: ContextCache,
        accounting: Accounting,
        summariser: Summariser,
    ) -> None:
        self._journal = journal
        self._hub = hub
        self._live = live
        self._registry = registry
        self._context = context
        self._cache = cache
        self._accounting = accounting
        self._summariser = summariser

    async def run(self, job: Job) -> None:
        """From the claimed turn to its committed end. Raises FenceLost when somebody else took it over."""
        config = _model_config(job)
        provider, model = self._registry.choose(config)
        logger.debug("turn runs", turn=job.turn.public_id, gen=job.turn.gen, provider=provider.name, model=model)
        turn = Turn()
        prepared: Prepared | None = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                prepared = await self._context.build(
                    job, provider=provider.name, model=model, temperature=config.temperature, deadline_s=DEADLINE_S
                )
                await self._stream(job, turn, provider, prepared)
        except TimeoutError:
            turn.out_of_time()
        except ModelError as error:
            turn.failed(error)
        except Unavailable as error:
            turn.broke(f"{error.dependency}: {error.message}")
        except Exception as error:
            # Whatever else broke, the visitor must hear of it; the traceback goes to the log.
            logger.exception("turn broke", turn=job.turn.public_id)
            turn.broke(type(error).__name__)
        await self._end(job, turn, provider.name, prepared)

    def forget(self, job: Job) -> None:
        """Lets go of what is kept here of a turn that this instance does not run any more."""
        self._live.forget(job.turn.public_id)

    async def tidy(self, job: Job) -> None:
        """What may come after a turn, when nobody waits."""
        if job.total >= UNCOVERED:
            await self._summariser.cover(job.conversation, _model_config(job))

    async def _stream(self, job: Job, turn: Turn, provider: Provider, prepared: Prepared) -> None:
        """Reads the model's stream to its end. Nothing here waits for anything but the model."""
        loop = asyncio.get_running_loop()
        publish = self._publisher(job, turn, provider.name, prepared)
        timer: asyncio.TimerHandle | None = None

        def flush() -> None:
            nonlocal timer
            timer = None
            if delta := turn.flush(loop.time()):
                publish(delta)

        asked_at = loop.time()
        try:
            async with provider.stream(prepared.request) as stream:
                async for batch in stream:
                    delta = turn.said(batch, loop.time())
                    if delta is not None:
                        if delta.n == 1:
                            metrics.FIRST_TOKEN.labels(provider.name).observe(loop.time() - asked_at)
                        publish(delta)
                    elif timer is None and (due := turn.due()) is not None:
                        timer = loop.call_at(due, flush)
                    if turn.phase == "ended":
                        break
            turn.ended()
        finally:
            if timer is not None:
                timer.cancel()

    def _publisher(self, job: Job, turn: Turn, provider: str, prepared: Prepared) -> Callable[[Delta], None]:
        row = job.turn
        channel = channels.conversation(job.conversation.public_id)
        hub, live = self._hub, self._live

        def publish(delta: Delta) -> None:
            live.put(
                LiveText(
                    row.public_id,
                    row.answer_id,
                    row.gen,
                    delta.n,
                    turn.text,
                    provider,
                    prepared.request.model,
                    prepared.tokens_input,
                )
            )
            frame = MessageDelta(
                turn_id=row.public_id, message_id=row.answer_id, gen=row.gen, n=delta.n, text=delta.text
            )
            hub.publish(channel, 0, codec.encode(frame))

        return publish

    async def _end(self, job: Job, turn: Turn, provider: str, prepared: Prepared | None) -> None:
        """Writes the outcome, trying again while Postgres is away. Raises FenceLost."""
        outcome = turn.outcome
        if outcome is None:
            raise RuntimeError("a turn ended without an outcome")
        for attempt in range(COMMIT_TRIES):
            try:
                total = await self._commit(job, outcome, provider, prepared)
                break
            except Unavailable as error:
                logger.warning("turn's end not written yet", turn=job.turn.public_id, reason=error.message)
                await asyncio.sleep(COMMIT_RETRY_S)
            except FenceLost:
                if attempt:
                    # The commit that seemed to fail may have gone through, unpublished.
                    await self._journal.republish(job.client.id, job.conversation)
                raise
        else:
            raise FenceLost("postgres stayed away longer than the lease")
        self._live.drop(job.turn.public_id)
        metrics.TURNS.labels("done" if isinstance(outcome, Completed) else "failed").inc()
        # Only if it is all there is: no question came meanwhile, or the next reader would take the context for whole.
        if isinstance(outcome, Completed) and prepared is not None and job.newest and total == job.total + 1:
            said = [*prepared.history, CachedMessage("assistant", outcome.text)]
            context = CachedContext(job.client.id, total, said, job.at)
            await self._cache.put(session_id=job.conversation.session_id, context=context)

    async def _commit(self, job: Job, outcome: Outcome, provider: str, prepared: Prepared | None) -> int:
        """One transaction: the answer, its cost, the event, the turn's end. The number of messages after it."""
        row, model = job.turn, prepared.request.model if prepared else ""
        bill = Bill.nothing()
        if prepared is not None and (outcome.usage is not None or outcome.text):
            bill = await self._accounting.bill(
                provider=provider,
                model=model,
                usage=outcome.usage,
                tokens_input=prepared.tokens_input,
                text=outcome.text,
                day=job.at.date(),
                whole=isinstance(outcome, Completed),
            )
        async with self._journal.write(client_id=job.client.id, conversation_id=job.conversation.id) as entry:
            fenced = await turns.fence(
                entry.conn, client_id=job.client.id, turn_id=row.id, gen=row.gen, owner=row.owner or ""
            )
            await entry.locked()
            if not fenced:
                raise FenceLost(f"turn {row.public_id} is no longer ours")
            if isinstance(outcome, Completed):
                await self._complete(entry, job, outcome, model, bill)
            else:
                await self._fail(entry, job, outcome)
            await usage.record(
                entry.conn,
                client_id=job.client.id,
                day=entry.at.date(),
                messages=1 if isinstance(outcome, Completed) else 0,
                tokens_input=bill.usage.input,
                tokens_output=bill.usage.output,
                cost=bill.cost,
            )
            return entry.total_messages

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
        await turns.finish(entry.conn, client_id=job.client.id, turn_id=row.id, gen=row.gen, status="done")
        frame = MessageCompleted(seq=seq, turn_id=row.public_id, message=message)
        entry.append(frame, turn_id=row.id, gen=row.gen, message=True)

    async def _fail(self, entry: Entry, job: Job, outcome: Failed) -> None:
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
        )
        frame = TurnFailed(
            seq=entry.next_seq,
            turn_id=row.public_id,
            code=outcome.code,
            message=phrases.for_failure(outcome.code, job.conversation.locale),
            retryable=outcome.retryable,
        )
        entry.append(frame, turn_id=row.id, gen=row.gen)


def _model_config(job: Job) -> ModelConfig:
    """What the client chose; a row that makes no sense must not silence the client's website."""
    try:
        return msgspec.convert(job.client.model_config, ModelConfig)
    except msgspec.ValidationError as error:
        logger.warning("model_config is wrong, so the default answers", client=job.client.id, reason=str(error))
        return ModelConfig()
