"""Runs the calls of one model's step: all at the same time, each recorded before it goes out and when it ends.

    refused                          recorded, told to the model
    asks first --yes--> started      the visitor decides; what they do not approve never goes out
    started --> done | failed | in doubt

After a crash a call that had started goes out again with the same key if that is safe, and is in doubt if it is not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from server.fanout.hub import Hub
from server.llm.provider import ChatMessage
from server.protocol.visitor import ToolConfirmRequest
from server.repositories import tool_executions
from server.repositories.pool import Pool, reading
from server.repositories.tool_executions import ToolExecution
from server.tools.details import details
from server.tools.policy import Refused, admit
from server.tools.result import failure
from server.tools.result import reading as readable
from server.tools.runner import Runner
from server.tools.tool import Call, Caller, Outcome, Tool
from server.tools.toolbox import Toolbox
from server.tools.webhook.callbacks import ToolSaid
from server.turns.approval import Approvals, Verdict
from server.turns.budget import Budget
from server.turns.caller import caller_of
from server.turns.clock import Clock
from server.turns.ends import End, Ends, step_of
from server.turns.job import Job
from server.turns.lease import patiently, waiting
from server.turns.phrases import Phrase
from server.turns.plan import Planned, plan
from server.turns.record import Record
from server.turns.stage import Stage
from server.turns.steps import Asked
from server.turns.trace import Trace
from server.turns.writing import Writer

T = TypeVar("T")

_said = msgspec.json.Decoder(ToolSaid)
_UNAPPROVED: dict[Verdict, tuple[str, Phrase]] = {
    "declined": ("the visitor declined, so it was not done", "declined"),
    "expired": ("the visitor did not answer in time, so it was not done", "not_answered"),
}

_LOST = Outcome(
    False,
    failure("it is not known whether this was done; do not try again, tell the visitor that a person will check"),
    error="cut off by a crash",
    in_doubt=True,
)


class Scene(msgspec.Struct, frozen=True):
    """What all calls of one turn share."""

    job: Job
    stage: Stage
    toolbox: Toolbox
    budget: Budget
    clock: Clock
    ends: Ends
    trace: Trace

    async def ours(self) -> bool:
        """Returns when the turn is surely ours. Whether that took a wait."""
        if self.job.lease.holds:
            return False
        await waiting(self.job.lease, self.clock)
        return True

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work`, once Postgres is there."""
        return await patiently(self.job.lease, work, clock=self.clock)


class Calls:
    """Shared by all turns of an instance; each `run` is one step."""

    def __init__(self, *, pool: Pool, hub: Hub, writer: Writer, runner: Runner, approvals: Approvals) -> None:
        self._stages: dict[str, Stage] = {}
        hub.on_control(self._heard)
        self._pool = pool
        self._writer = writer
        self._runner = runner
        self._approvals = approvals

    async def run(self, scene: Scene, asked: Asked, request_hash: bytes) -> list[ChatMessage]:
        """The results for the model, in the order of its calls. The last one's end may still have to be settled.

        Raises FenceLost.
        """
        caller = await self._caller(scene)
        planned = plan(asked, toolbox=scene.toolbox, caller=caller, budget=scene.budget)

        async def begin() -> bool:
            await self._begin(scene, asked, request_hash, planned)
            return True

        async def begun() -> bool | None:
            if asked.kept is not None or await step_of(self._pool, scene.job, asked.no) is None:
                return None
            for call in planned:
                call.attempt = 0 if call.asks else 1
            return True

        for call in planned:
            if call.ended_before:
                scene.stage.tool(call.key, call.label, "done" if call.over.ok else "failed")
        if not all(call.ended_before for call in planned):
            await self._writer.insist(scene.job, begin, written=begun, clock=scene.clock)
        for call in planned:
            # What never goes out, and what went out before; the rest shows when it does.
            if call.result is not None:
                scene.trace.tool(call)
        tasks = [
            asyncio.create_task(self._one(scene, call, caller, planned)) for call in planned if call.result is None
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [ChatMessage("tool", call.over.content, call_id=call.made.call_id) for call in planned]

    async def _begin(self, scene: Scene, asked: Asked, request_hash: bytes, planned: Sequence[Planned]) -> None:
        """One transaction: the model's decision, what is refused, what goes out now, what the visitor is asked."""
        started = []
        async with self._writer.fenced(scene.job) as entry:
            record = Record(entry, scene.job, scene.stage)
            if asked.kept is None:
                await record.decided(asked, request_hash)
            for call in planned:
                if call.ended_before or call.lost:
                    continue
                if call.result is not None:
                    await record.refused(call)
                elif call.asks:
                    await record.asked(call)
                else:
                    started.append((call, await record.started(call)))
        for call, cursor in started:
            call.attempt = await cursor.fetchone() or 0

    async def _one(self, scene: Scene, call: Planned, caller: Caller, planned: Sequence[Planned]) -> None:
        """One call, from the visitor's yes where it needs one to its end."""
        end = await self._end_of(scene, call, caller)
        scene.ends.add(end, declined=end.phrase in {"declined", "not_answered"})
        scene.trace.tool(call)
        if any(each.result is None for each in planned):
            await scene.ends.settle()

    async def _end_of(self, scene: Scene, call: Planned, caller: Caller) -> End:
        if call.lost:
            return await self._found(scene, call) or End(call, _LOST, 0)
        if call.tool is None:
            raise RuntimeError("a call of no tool is refused")
        if call.asks:
            if (refused := await self._unapproved(scene, call, call.tool)) is not None:
                return refused
            caller = await self._caller(scene)
        if call.attempt == 0:
            if (found := await self._found(scene, call)) is None:
                raise RuntimeError(f"{call.key} may not go out and has not ended")
            return found
        made = Call(
            key=call.key,
            tool=call.tool.name,
            arguments=call.arguments,
            caller=caller,
            budget_s=scene.clock.for_tools(),
            attempt=call.attempt,
        )
        scene.trace.tool(call)
        self._stages[call.key] = scene.stage
        try:
            outcome, ms = await self._runner.run(call.tool, made)
        finally:
            del self._stages[call.key]
        return End(call, outcome, ms)

    async def _unapproved(self, scene: Scene, call: Planned, tool: Tool) -> End | None:
        """Waits for the visitor. What they approve is started, and gives None; anything else is over."""
        job, stage = scene.job, scene.stage
        row = await self._execution(scene, call)
        if row is None or row.approval_until is None:
            raise RuntimeError(f"{call.key} asks first and was not recorded")
        text = details(tool, call.arguments)
        question = ToolConfirmRequest(
            turn_id=job.turn.public_id, call_id=call.key, label=call.label, expires_at=row.approval_until, text=text
        )
        stage.tool(call.key, call.label, "confirm", text)
        with scene.clock.paused():
            verdict = await self._approvals.wait(
                job, call.key, until=row.approval_until, ask=lambda: stage.show(question)
            )
        phrase: Phrase | None = None
        if verdict == "approved":
            words = await self._changed(scene, call, tool)
            if words is None:
                await self._go(scene, call)
                return None
        else:
            words, phrase = _UNAPPROVED[verdict]
            scene.budget.declined.add(tool.name)
        return End(call, Outcome(False, failure(words), error=words), 0, phrase)

    async def _changed(self, scene: Scene, call: Planned, tool: Tool) -> str | None:
        """Why the call may not go out any more: the visitor took their time, and may not be who they were."""
        try:
            now = admit(tool, call.arguments, await self._caller(scene))
        except Refused as error:
            return str(error)
        return None if now == call.arguments else "the visitor has changed since they were asked"

    async def _go(self, scene: Scene, call: Planned) -> None:
        """What the visitor approved is recorded as started before it goes out."""

        async def write() -> int:
            async with self._writer.fenced(scene.job) as entry:
                cursor = await Record(entry, scene.job, scene.stage).started(call)
            return await cursor.fetchone() or 0

        async def written() -> int | None:
            return 1 if await step_of(self._pool, scene.job, call.no) is not None else None

        call.attempt = await self._writer.insist(scene.job, write, written=written, clock=scene.clock)

    # --- what is known

    def _heard(self, payload: bytes) -> None:
        try:
            said = _said.decode(payload)
        except msgspec.DecodeError:
            return  # another kind of control message
        if (stage := self._stages.get(said.key)) is not None:
            stage.said(said.key, said.text)

    async def _caller(self, scene: Scene) -> Caller:
        return await scene.patiently(lambda: caller_of(self._pool, scene.job))

    async def _execution(self, scene: Scene, call: Planned) -> ToolExecution | None:
        client_id, turn_id = scene.job.client.id, scene.job.turn.id

        async def find() -> ToolExecution | None:
            async with reading(self._pool) as conn:
                return await tool_executions.find_call(conn, client_id=client_id, turn_id=turn_id, call_id=call.key)

        return await scene.patiently(find)

    async def _found(self, scene: Scene, call: Planned) -> End | None:
        """Its result, if it was called back while nobody ran the turn."""
        row = await self._execution(scene, call)
        if row is None or row.success is None:
            return None
        content = readable(row.n8n_response) if row.success else failure(row.error or "this did not work")
        return End(call, Outcome(row.success, content), row.execution_time_ms or 0)
