"""Runs one turn: asks the model, publishes its words as they come, does what it wants done, asks again.

`turn` decides, this acts; `calls` runs the tools, `ending` writes the end.
"""

import asyncio
from decimal import Decimal
from functools import partial

from server import log, metrics
from server.errors import FenceLost, ModelError, Unavailable
from server.fanout.hub import Hub
from server.fanout.live import LiveTexts
from server.llm import tokens
from server.llm.figures import ModelCalls
from server.llm.provider import ChatMessage, ModelRequest, Provider
from server.llm.registry import Registry
from server.protocol.client_config import ModelConfig, read_model
from server.repositories import turn_steps
from server.repositories.pool import Pool, reading
from server.repositories.turn_steps import TurnStep
from server.turns.accounting import Accounting
from server.turns.asking import Asking
from server.turns.budget import Budget
from server.turns.calls import Calls, Scene
from server.turns.clock import Clock
from server.turns.context import ContextBuilder, Prepared
from server.turns.counting import is_console
from server.turns.draft import Drafts
from server.turns.ending import Ending
from server.turns.ends import Ends
from server.turns.job import Job
from server.turns.lease import RETRY_S, Interrupted, patiently
from server.turns.quiet import Quiet
from server.turns.stage import Stage
from server.turns.steps import Asked, Decision, replayed, request_hash
from server.turns.summary import UNCOVERED, Summariser
from server.turns.trace import Trace
from server.turns.traffic import Traffic
from server.turns.transcript import Transcript
from server.turns.turn import Spent, Turn
from server.turns.writing import Writer

logger = log.get("turns")

# Seconds from claim to the end, retries and tools included (reliability: 120). Those in which the turn waits for a
# visitor's yes, or for Postgres, do not count: nobody works on it meanwhile.
DEADLINE_S = 120.0


class Engine:
    """Shared by all turns of an instance; each `run` is one turn."""

    def __init__(
        self,
        *,
        pool: Pool,
        hub: Hub,
        live: LiveTexts,
        quiet: Quiet,
        registry: Registry,
        context: ContextBuilder,
        drafts: Drafts,
        calls: Calls,
        writer: Writer,
        ending: Ending,
        accounting: Accounting,
        summariser: Summariser,
        models: ModelCalls,
        traffic: Traffic,
    ) -> None:
        self._pool = pool
        self._hub = hub
        self._live = live
        self._quiet = quiet
        self._registry = registry
        self._context = context
        self._drafts = drafts
        self._calls = calls
        self._writer = writer
        self._ending = ending
        self._accounting = accounting
        self._summariser = summariser
        self._models = models
        self._traffic = traffic

    async def run(self, job: Job) -> bool:
        """From the claimed turn to its committed end. Whether another turn of the conversation may wait.

        Raises FenceLost when somebody else took it over, Interrupted when it must be begun again.
        """
        if is_console(job.conversation):
            job = await patiently(job.lease, partial(self._drafts.applied, job))
        config = _model_config(job)
        asking = Asking(self._registry, config)
        provider, model = asking.provider, asking.model
        logger.debug("turn runs", turn=job.turn.public_id, gen=job.turn.gen, provider=provider.name, model=model)
        turn = Turn()
        stage = Stage(job, turn, hub=self._hub, live=self._live, provider=provider.name, model=model)
        self._quiet.speaks(job.turn, stage)
        prepared: Prepared | None = None
        try:
            async with asyncio.timeout(DEADLINE_S) as timeout:
                clock = Clock(timeout)
                toolbox = await patiently(job.lease, partial(self._drafts.toolbox, job), clock=clock)
                build = partial(
                    self._context.build,
                    job,
                    provider=provider.name,
                    model=model,
                    temperature=asking.temperature,
                    deadline_s=DEADLINE_S,
                    tools=toolbox.specs(),
                )
                prepared = await patiently(job.lease, build, clock=clock)
                ends = Ends(self._pool, self._writer, job, stage, clock)
                trace = Trace(job, hub=self._hub)
                scene = Scene(job, stage, toolbox, Budget(), clock, ends, trace)
                try:
                    await self._converse(scene, turn, asking, prepared)
                finally:
                    # Whatever ended it: what a tool did is on record before the turn's own end is.
                    await ends.close()
        except TimeoutError:
            turn.out_of_time()
        except ModelError as error:
            turn.failed(error)
        except Unavailable as error:
            turn.broke(f"{error.dependency}: {error.message}")
        except (FenceLost, Interrupted):
            raise
        except Exception as error:
            # Whatever else broke, the visitor must hear of it; the traceback goes to the log.
            logger.exception("turn broke", turn=job.turn.public_id)
            turn.broke(type(error).__name__)
        history = prepared.history if prepared else None
        model = asking.model if prepared else ""
        return await self._ending.write(job, turn, provider=asking.provider.name, model=model, history=history)

    def forget(self, job: Job) -> None:
        """Lets go of what is kept here of a turn that this instance does not run any more."""
        self._live.forget(job.turn.public_id)
        self._quiet.forget(job.turn.public_id)

    async def tidy(self, job: Job) -> None:
        """What may come after a turn, when nobody waits."""
        if job.total >= UNCOVERED:
            await self._summariser.cover(job.conversation, _model_config(job))

    async def _converse(self, scene: Scene, turn: Turn, asking: Asking, prepared: Prepared) -> None:
        """The model's words and calls, step after step, until it has answered."""
        window = tokens.context_window(asking.model, provider=asking.provider.name)
        transcript = Transcript(prepared, window=window)
        no = await self._replay(scene, turn, transcript) if scene.job.turn.gen > 1 else 1
        budget, stage = scene.budget, scene.stage
        while True:
            may_call = budget.may_call()
            request = transcript.request(
                tools=scene.toolbox.specs(budget.withheld()), may_call=may_call, deadline_s=scene.clock.left()
            )
            stage.tokens_input = sum(each.tokens_input for each in turn.spent) + transcript.tokens_input
            turn.asked(transcript.tokens_input, offered=may_call and bool(request.tools))
            cost = await self._cost(scene.job, turn.spent, asking.provider, request.model)
            scene.trace.asked(request, tokens_input=transcript.tokens_input, cost=cost)
            try:
                await self._stream(scene, turn, asking.provider, request)
            except ModelError as error:
                if not asking.fall_back(error, turn, stage, transcript):
                    raise
                continue
            if turn.phase != "calling":
                return
            await scene.ours()
            if delta := turn.flush(asyncio.get_running_loop().time()):
                stage.say(delta)
            spent = turn.spent[-1]
            budget.steps += 1
            budget.tokens += spent.usage.input + spent.usage.output if spent.usage else spent.tokens_input
            decision = Decision(turn.said_last, turn.calls, spent.tokens_input, spent.usage, asking.instead)
            asked = Asked(no, decision)
            await self._step(scene, asked, transcript, request_hash(request))
            no = asked.number(len(turn.calls))

    async def _step(self, scene: Scene, asked: Asked, transcript: Transcript, hashed: bytes) -> None:
        """Does what the model wants done, and tells it what came of it."""
        results = await self._calls.run(scene, asked, hashed)
        decision = asked.decision
        transcript.add([ChatMessage("assistant", decision.text, tool_calls=decision.calls), *results])

    async def _replay(self, scene: Scene, turn: Turn, transcript: Transcript) -> int:
        """Goes through what earlier lives of the turn committed: nothing of it is asked or done again that must not
        be. The number of the next step."""
        row, no = scene.job.turn, 1

        async def committed() -> list[TurnStep]:
            async with reading(self._pool) as conn:
                return await turn_steps.of_turn(conn, client_id=row.client_id, turn_id=row.id)

        for asked in replayed(await scene.patiently(committed)):
            decision = asked.decision
            called = "".join(f"{call.name}{call.arguments}" for call in decision.calls)
            spent = Spent(decision.tokens_input, decision.text + called, decision.usage, by=decision.by)
            turn.replayed(decision.text, spent)
            if delta := turn.flush(asyncio.get_running_loop().time()):
                scene.stage.say(delta)
            scene.budget.steps += 1
            scene.budget.tokens += decision.tokens_input
            await self._step(scene, asked, transcript, b"")
            no = asked.number(len(decision.calls))
        return no

    async def _cost(self, job: Job, spent: list[Spent], provider: Provider, model: str) -> Decimal:
        """US dollars so far. The first call of the model waits for nothing here."""
        if not spent:
            return Decimal(0)
        try:
            bill = await self._accounting.total(spent, provider=provider.name, model=model, day=job.at.date())
        except Unavailable:
            # Only operators who watch see it, and the whole is on the bill.
            return Decimal(0)
        return bill.cost

    async def _stream(self, scene: Scene, turn: Turn, provider: Provider, request: ModelRequest) -> None:
        """One call of the model, kept where it is the console's."""
        async with self._traffic.kept(scene.job, turn, provider.name, request) as asked:
            await self._read(scene, turn, provider, asked)

    async def _read(self, scene: Scene, turn: Turn, provider: Provider, request: ModelRequest) -> None:
        """Reads the model's stream to its end. Nothing here waits for anything but the model, and for a lease in doubt:
        then nothing is read and nothing shown, so that the provider waits too."""
        loop = asyncio.get_running_loop()
        publish, lease = scene.stage.say, scene.job.lease
        timer: asyncio.TimerHandle | None = None
        waited = False

        def flush() -> None:
            nonlocal timer
            timer = None
            if not lease.holds:
                timer = loop.call_later(RETRY_S, flush)
            elif delta := turn.flush(loop.time()):
                publish(delta)

        await scene.ours()
        asked_at = loop.time()
        # Once the request is on its way, the end of the last tool is written beside it.
        settle_soon = loop.call_soon(scene.ends.begin)
        try:
            with self._models.call(provider.name, request.model) as call:
                async with provider.stream(request) as stream:
                    await scene.ends.settled()
                    async for batch in stream:
                        if call.first_s is None:
                            call.heard()
                        if not lease.holds:
                            waited = call.excused = await scene.ours()
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
        except ModelError as error:
            if waited:
                raise Interrupted(f"the model did not wait for postgres: {error.message}") from error
            raise
        finally:
            if timer is not None:
                timer.cancel()
            settle_soon.cancel()


def _model_config(job: Job) -> ModelConfig:
    """What the client chose; a row that makes no sense must not silence the client's website."""
    config, ignored = read_model(job.client.model_config)
    if ignored:
        logger.warning("model_config is wrong, so defaults stand", client=job.client.id, ignored=ignored)
    return config
