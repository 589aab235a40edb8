"""What is written of a tool's call, within a transaction of its turn: the step that is replayed after a crash, the
execution that operators read, the event that visitors see, the count that is billed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncCursor

from server.journal import Entry
from server.protocol.visitor import ToolFinished, ToolStarted
from server.repositories import notifications, tool_executions, turn_steps
from server.tools.result import recordable
from server.tools.tool import Outcome
from server.turns import phrases
from server.turns.approval import APPROVAL_S
from server.turns.counting import count
from server.turns.job import Job
from server.turns.phrases import Phrase
from server.turns.plan import NAME_CHARACTERS, Planned
from server.turns.stage import Stage
from server.turns.steps import Asked, Result, call_hash


class Record:
    """One transaction's."""

    def __init__(self, entry: Entry, job: Job, stage: Stage) -> None:
        self._entry = entry
        self._conn = entry.conn
        self._job = job
        self._stage = stage

    async def decided(self, asked: Asked, request_hash: bytes) -> None:
        """What the model wants done."""
        await turn_steps.create(
            self._conn,
            client_id=self._job.client.id,
            turn_id=self._job.turn.id,
            no=asked.no,
            kind="llm",
            state="done",
            request_hash=request_hash,
            gen=self._job.turn.gen,
            result=recordable(msgspec.to_builtins(asked.decision)),
        )

    async def started(self, call: Planned) -> AsyncCursor[int]:
        """It goes out after the commit. The cursor has the number of the attempt; without a row it must not go out."""
        if call.kept is None:
            await self._step(call, "started")
        cursor = await tool_executions.start(self._conn, **self._execution(call))
        self._stage.tool(call.key, call.label, "running")
        frame = ToolStarted(
            seq=self._entry.next_seq,
            turn_id=self._job.turn.public_id,
            call_id=call.key,
            name=call.made.name,
            label=call.label,
        )
        self._entry.append(frame, turn_id=self._job.turn.id, gen=self._job.turn.gen)
        return cursor

    async def asked(self, call: Planned) -> None:
        """The visitor will be asked."""
        until = datetime.now(UTC) + timedelta(seconds=APPROVAL_S)
        await tool_executions.ask(self._conn, **self._execution(call), approval_until=until)

    async def refused(self, call: Planned) -> None:
        """It never goes out, and visitors see nothing of it: the model may mend it, or say why not."""
        await self._step(call, "failed", call.over)
        await tool_executions.refuse(self._conn, **self._execution(call), error=call.over.content)

    async def ended(self, call: Planned, outcome: Outcome, ms: int, *, phrase: Phrase | None = None) -> None:
        """How it ended; `phrase` says so to the visitor where the outcome alone does not. Its `result` is set."""
        state = "done" if outcome.ok else "unknown" if outcome.in_doubt else "failed"
        if call.went_out or not call.asks:
            await turn_steps.finish(
                self._conn,
                client_id=self._job.client.id,
                turn_id=self._job.turn.id,
                no=call.no,
                gen=self._job.turn.gen,
                state=state,
                result=msgspec.to_builtins(call.over),
            )
        else:
            await self._step(call, state, call.over)
        await tool_executions.finish(
            self._conn,
            client_id=self._job.client.id,
            turn_id=self._job.turn.id,
            call_id=call.key,
            success=None if outcome.in_doubt else outcome.ok,
            execution_time_ms=ms,
            n8n_response=recordable(outcome.response),
            error=outcome.error,
        )
        if outcome.in_doubt:
            await notifications.create(
                self._conn,
                client_id=self._job.client.id,
                conversation_id=self._job.conversation.id,
                kind="tool_in_doubt",
                details={
                    "turn_id": self._job.turn.public_id,
                    "call_id": call.key,
                    "tool_name": recordable(call.made.name[:NAME_CHARACTERS]),
                },
            )
        phrase = phrase or (None if outcome.ok else "in_doubt" if outcome.in_doubt else "failed")
        self._event(call, outcome, ms, phrases.say(phrase, self._job.conversation.locale) if phrase else None)

    async def counted(self, calls: int) -> None:
        """So many went out and have ended. After all else: see `usage.record`."""
        if self._job.played is not None and self._job.played.recording is not None:
            return  # answered from the record
        await count(self._conn, self._job.conversation, day=self._entry.at.date(), tool_calls=calls)

    def _event(self, call: Planned, outcome: Outcome, ms: int, summary: str | None) -> None:
        self._stage.tool(call.key, call.label, "done" if outcome.ok else "failed", summary)
        frame = ToolFinished(
            seq=self._entry.next_seq,
            turn_id=self._job.turn.public_id,
            call_id=call.key,
            ok=outcome.ok,
            ms=ms,
            summary=summary,
        )
        self._entry.append(frame, turn_id=self._job.turn.id, gen=self._job.turn.gen)

    async def _step(self, call: Planned, state: str, result: Result | None = None) -> None:
        await turn_steps.create(
            self._conn,
            client_id=self._job.client.id,
            turn_id=self._job.turn.id,
            no=call.no,
            kind="tool",
            state=state,
            request_hash=call_hash(call.made.name, call.made.arguments),
            gen=self._job.turn.gen,
            result=None if result is None else msgspec.to_builtins(result),
        )

    def _execution(self, call: Planned) -> dict[str, Any]:
        arguments: Any = call.arguments
        if not arguments and call.result is not None:
            # It was refused: what the model wrote is what can be learned from.
            arguments = {"as_written": call.made.arguments}
        return {
            "client_id": self._job.client.id,
            "conversation_id": self._job.conversation.id,
            "turn_id": self._job.turn.id,
            "call_id": call.key,
            "tool_name": recordable(call.made.name[:NAME_CHARACTERS]) or "?",
            "parameters": recordable(arguments),
        }
