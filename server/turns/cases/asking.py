"""Asks the questions of one case anew: a chat of the console's own, by the same engine as every other, whose tools are
answered from the record."""

import asyncio
import time
from contextlib import suppress
from decimal import Decimal

import msgspec

from server import ids
from server.access import Session
from server.errors import RateLimited, Unavailable
from server.fanout import channels
from server.fanout.hub import Hub
from server.repositories import messages, tool_executions, turns
from server.repositories.cases import CaseRecord
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.tool_executions import ToolExecution
from server.repositories.turns import Turn as TurnRow
from server.tools.recorded import UNMATCHED, Recording
from server.turns.cases.case import NewAnswer, NewCall, Question
from server.turns.engine import DEADLINE_S
from server.turns.intake import Intake
from server.turns.playground import DraftSettings, Playground

# Seconds until a question must be answered: its turn's, and as much for a takeover.
PATIENCE_S = 2 * DEADLINE_S
# Seconds between two looks at a turn, for the case that its end was not heard of.
LOOK_S = 2.0
# What the runs' requests count under: they come from no address.
ADDRESS = "cases"
_ENDED = {"done", "failed", "stopped"}


class Used(msgspec.Struct, frozen=True):
    """What answers used. `cost` is US dollars."""

    tokens_input: int = 0
    tokens_output: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.tokens_input + other.tokens_input, self.tokens_output + other.tokens_output, self.cost + other.cost
        )


class Asked(msgspec.Struct, frozen=True):
    """The answers of a case, what they used, and the milliseconds that they took."""

    answers: list[NewAnswer]
    used: Used
    ms: int


class _Ear:
    """Hears that something durable has happened in a conversation."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def deliver(self, seq: int, payload: bytes) -> None:
        if seq:
            self.heard.set()

    def resync(self) -> None:
        self.heard.set()


class Asker:
    """Of one instance."""

    def __init__(self, *, pool: Pool, hub: Hub, intake: Intake, playground: Playground) -> None:
        self._pool = pool
        self._hub = hub
        self._intake = intake
        self._playground = playground

    async def ask(self, case: CaseRecord, settings: DraftSettings) -> Asked:
        """All questions of a case, one after the other. Raises Unavailable, NotFound."""
        began = time.monotonic()
        questions = msgspec.convert(case.questions, list[Question])
        recording = Recording(case.verified, [question.calls for question in questions])
        async with unit_of_work(self._pool) as conn:
            session = await self._playground.open(
                conn,
                client_id=case.client_id,
                settings=settings,
                locale=case.locale,
                record=msgspec.to_builtins(recording),
            )
        ear, channel = _Ear(), channels.conversation(session.conversation.public_id)
        answers: list[NewAnswer] = []
        used = Used()
        try:
            await self._hub.join(channel, ear)
            for question in questions:
                answer, more = await self._one(session, question, ear)
                answers.append(answer)
                used += more
        finally:
            await self._hub.leave(channel, ear)
        return Asked(answers, used, ms=round((time.monotonic() - began) * 1000))

    async def _one(self, session: Session, question: Question, ear: _Ear) -> tuple[NewAnswer, Used]:
        turn_id = await self._say(session, question.text)
        try:
            async with asyncio.timeout(PATIENCE_S):
                turn = await self._ended(session, turn_id, ear)
        except TimeoutError:
            return NewAnswer(question.text, question.answer, None, [], turn_id, "not within its time"), Used()
        client_id, conversation_id = session.client.id, session.conversation.id
        async with reading(self._pool) as conn:
            said = await messages.find_by_public_id(
                conn, client_id=client_id, conversation_id=conversation_id, public_id=turn.answer_id
            )
            calls = await tool_executions.list_for_turn(conn, client_id=client_id, turn_id=turn.id)
        answer = NewAnswer(
            question=question.text,
            former=question.answer,
            answer=said.content if said is not None and turn.status == "done" else None,
            calls=[_call(row) for row in calls],
            turn_id=turn_id,
            error=None if turn.status == "done" else turn.error or turn.status,
        )
        return answer, Used() if said is None else Used(said.tokens_input, said.tokens_output, said.cost)

    async def _say(self, session: Session, text: str) -> str:
        """The turn that answers it. Waits where the minute's limit is used up: a run has time."""
        while True:
            try:
                accepted = await self._intake.accept(
                    session, cid=ids.cid(), text=text, address=ADDRESS, channel=session.conversation.channel
                )
            except RateLimited as error:
                await asyncio.sleep((error.retry_after_ms or 1_000) / 1_000)
                continue
            if accepted.turn_id is None:
                raise Unavailable("turn", "nobody answers in this conversation")
            return accepted.turn_id

    async def _ended(self, session: Session, turn_id: str, ear: _Ear) -> TurnRow:
        while True:
            ear.heard.clear()
            async with reading(self._pool) as conn:
                row = await turns.find(conn, client_id=session.client.id, public_id=turn_id)
            if row is not None and row.status in _ENDED:
                return row
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await ear.heard.wait()


def _call(row: ToolExecution) -> NewCall:
    return NewCall(
        tool=row.tool_name,
        arguments=row.parameters,
        matched=not (row.error or "").startswith(UNMATCHED),
        ok=row.success is True,
    )
