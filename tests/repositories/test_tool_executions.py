"""Tool calls: what went out, what came back, and what the visitor was asked first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from server import errors
from server.repositories import notifications, tool_executions, tools, turns
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.repositories.tool_executions import ToolExecution
from tests.repositories.conftest import Shop
from tests.repositories.world import ask as begin_turn
from tests.repositories.world import say, soon


class Running(msgspec.Struct, frozen=True):
    """A turn under way, and the arguments that name its calls."""

    pool: Pool
    shop: Shop
    turn: int
    public_id: str

    @property
    def call(self) -> dict[str, Any]:
        return {"client_id": self.shop.id, "turn_id": self.turn, "call_id": "call_1"}

    @property
    def cnv(self) -> dict[str, Any]:
        return {"client_id": self.shop.id, "conversation_id": self.shop.cnv}

    async def ask(self, conn: Conn, call_id: str = "call_1", *, until: datetime | None = None) -> None:
        """Asks the visitor."""
        await tool_executions.ask(
            conn,
            **self.cnv,
            turn_id=self.turn,
            call_id=call_id,
            tool_name="refund",
            parameters={"order": "7"},
            approval_until=until or soon(),
        )

    async def start(self, conn: Conn, call_id: str = "call_1") -> int | None:
        """Sends it out; the number of the attempt."""
        cursor = await tool_executions.start(
            conn, **self.cnv, turn_id=self.turn, call_id=call_id, tool_name="refund", parameters={"order": "7"}
        )
        return await cursor.fetchone()

    async def finish(self, conn: Conn, **how: Any) -> bool:
        """Ends it; whether that was written."""
        cursor = await tool_executions.finish(conn, **self.call, **{"execution_time_ms": 1, **how})
        return await cursor.fetchone() is not None

    async def end_turn(self, conn: Conn) -> None:
        """The turn is done."""
        await turns.finish(conn, client_id=self.shop.id, turn_id=self.turn, gen=1, status="done")

    async def row(self, conn: Conn, call_id: str = "call_1") -> ToolExecution:
        """As it stands."""
        found = await tool_executions.find_call(conn, client_id=self.shop.id, turn_id=self.turn, call_id=call_id)
        assert found is not None
        return found


@pytest.fixture
async def running(pool: Pool, pizza: Shop) -> Running:
    """A turn of the pizza shop."""
    public_id = await begin_turn(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=1), owner="ins_a")
    async with reading(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
    assert turn is not None
    return Running(pool, pizza, turn.id, public_id)


async def test_a_call_and_its_end(running: Running) -> None:
    """A call counts its attempts while it runs; its first known end is final; one in doubt may still be known later."""
    async with unit_of_work(running.pool) as conn:
        assert [await running.start(conn) for _ in range(2)] == [1, 2]
        row = await running.row(conn)
        assert (row.attempt, row.success, row.parameters, row.approval) == (2, None, {"order": "7"}, None)
        assert await running.finish(conn, success=None, execution_time_ms=5_000, error="no answer in time")
        doubt = await running.row(conn)
        assert (doubt.success, doubt.error) == (None, "no answer in time")
        assert await running.finish(conn, success=True, execution_time_ms=80, n8n_response=["ok"])
        assert not await running.finish(conn, success=False)
        assert await running.start(conn) is None
        [ended] = await tool_executions.list_for_conversation(conn, **running.cnv)
        assert (ended.success, ended.n8n_response, ended.execution_time_ms, ended.attempt) == (True, ["ok"], 80, 2)
        assert await tool_executions.list_for_turn(conn, client_id=running.shop.id, turn_id=running.turn) == [ended]
        assert await tool_executions.list_for_turn(conn, client_id=running.shop.id, turn_id=0) == []
        assert await tool_executions.list_for_client(conn, client_id=running.shop.id, limit=5, offset=0) == [ended]
        assert await tool_executions.list_for_client(conn, client_id=running.shop.id, limit=5, offset=1) == []
        assert await tool_executions.find_call(conn, **{**running.call, "call_id": "call_2"}) is None


async def test_whether_it_was_written_can_be_read_after_the_commit(running: Running) -> None:
    """Both statements travel with others of one unit of work; their rows come back with it."""
    async with unit_of_work(running.pool) as conn:
        started = await tool_executions.start(
            conn, **running.cnv, turn_id=running.turn, call_id="call_1", tool_name="t", parameters={}
        )
        finished = await tool_executions.finish(conn, **running.call, success=True, execution_time_ms=1)
        again = await tool_executions.finish(conn, **running.call, success=True, execution_time_ms=1)
    assert await started.fetchone() == 1
    assert await finished.fetchone() is not None
    assert await again.fetchone() is None


@pytest.mark.parametrize("approved", [True, False])
async def test_the_visitor_is_asked_first(running: Running, *, approved: bool) -> None:
    """Nothing goes out before their yes; the first answer counts; asking again changes nothing."""
    async with unit_of_work(running.pool) as conn:
        await running.ask(conn)
        asked = await running.row(conn)
        assert (asked.approval, asked.attempt, asked.success) == ("asked", 0, None)
        assert await running.start(conn) is None
        given = await tool_executions.answer(conn, **running.cnv, call_id="call_1", approved=approved)
        assert given is not None
        assert (given.turn_id, given.turn_public_id, given.tool_name) == (running.turn, running.public_id, "refund")
        assert given.approval == ("approved" if approved else "declined")
        assert await tool_executions.answer(conn, **running.cnv, call_id="call_1", approved=not approved) is None
        await running.ask(conn, until=soon() + timedelta(hours=1))
        row = await running.row(conn)
        assert (row.approval, row.approval_until) == (given.approval, asked.approval_until)
        assert await running.start(conn) == (1 if approved else None)
        assert await running.start(conn) == (2 if approved else None)
        assert await running.finish(conn, success=approved, error=None if approved else "declined")


async def test_an_answer_that_does_not_count(running: Running, bakery: Shop) -> None:
    """Too late, of no call, of a call that was not asked about, of another conversation, after the end."""
    async with unit_of_work(running.pool) as conn:
        await running.ask(conn, "late", until=datetime.now(UTC) - timedelta(milliseconds=1))
        await running.ask(conn, "ended")
        await tool_executions.finish(
            conn, **{**running.call, "call_id": "ended"}, success=False, execution_time_ms=0, error="e"
        )
        await running.start(conn, "not asked")
        await running.ask(conn, "fine")
        for call_id in ("late", "ended", "not asked", "unknown"):
            assert await tool_executions.answer(conn, **running.cnv, call_id=call_id, approved=True) is None, call_id
        theirs: dict[str, Any] = {"client_id": bakery.id, "conversation_id": bakery.cnv}
        assert await tool_executions.answer(conn, **theirs, call_id="fine", approved=True) is None
        await running.end_turn(conn)
        assert await tool_executions.answer(conn, **running.cnv, call_id="fine", approved=True) is None
        assert (await running.row(conn, "fine")).approval == "asked"


async def test_ten_answers_at_once(running: Running) -> None:
    """One counts, whatever the others say."""
    async with unit_of_work(running.pool) as conn:
        await running.ask(conn)

    async def answer(number: int) -> str | None:
        async with unit_of_work(running.pool) as conn:
            row = await tool_executions.answer(conn, **running.cnv, call_id="call_1", approved=number % 2 == 0)
        return row.approval if row else None

    [counted] = [given for given in await asyncio.gather(*map(answer, range(10))) if given]
    async with reading(running.pool) as conn:
        assert (await running.row(conn)).approval == counted


async def test_open_questions_are_declined(running: Running) -> None:
    """All that are open, in the order they were asked, and nothing else; a turn that has ended has none."""
    async with unit_of_work(running.pool) as conn:
        for call_id in ("b", "a", "approved", "ended"):
            await running.ask(conn, call_id)
        await running.start(conn, "not asked")
        await tool_executions.answer(conn, **running.cnv, call_id="approved", approved=True)
        await tool_executions.finish(
            conn, **{**running.call, "call_id": "ended"}, success=False, execution_time_ms=0, error="e"
        )
        assert await tool_executions.decline_open(conn, **running.cnv) == ["b", "a"]
        assert await tool_executions.decline_open(conn, **running.cnv) == []
        found = await tool_executions.list_for_conversation(conn, **running.cnv)
        assert {row.call_id: row.approval for row in found} == {
            "b": "declined",
            "a": "declined",
            "approved": "approved",
            "ended": "asked",
            "not asked": None,
        }
        await running.ask(conn, "c")
        await running.end_turn(conn)
        assert await tool_executions.decline_open(conn, **running.cnv) == []


async def test_a_question_that_ran_out(running: Running) -> None:
    """Only that one is declined, once, and not after an answer."""
    async with unit_of_work(running.pool) as conn:
        for call_id in ("late", "other", "answered"):
            await running.ask(conn, call_id)
        await tool_executions.answer(conn, **running.cnv, call_id="answered", approved=True)
        calls = {call_id: {**running.call, "call_id": call_id} for call_id in ("late", "answered", "unknown")}
        assert [await tool_executions.decline(conn, **call) for call in calls.values()] == [True, False, False]
        assert await tool_executions.decline(conn, **calls["late"]) is False
        assert [(await running.row(conn, each)).approval for each in ("late", "other", "answered")] == [
            "declined",
            "asked",
            "approved",
        ]


async def test_a_refused_call(running: Running) -> None:
    """It never went out, and a repetition changes nothing."""
    async with unit_of_work(running.pool) as conn:
        for error in ("wrong arguments", "again"):
            await tool_executions.refuse(
                conn,
                **running.cnv,
                turn_id=running.turn,
                call_id="call_1",
                tool_name="made_up",
                parameters={"as_written": "{"},
                error=error,
            )
        row = await running.row(conn)
        assert (row.attempt, row.success, row.error, row.execution_time_ms) == (0, False, "wrong arguments", 0)


async def test_a_turn_that_ends_leaves_nothing_open(running: Running) -> None:
    """A call that went out is in doubt, one that never did has failed, an end that is known stays."""
    async with unit_of_work(running.pool) as conn:
        await running.start(conn, "out")
        await running.ask(conn, "asked")
        await running.start(conn, "call_1")
        await running.finish(conn, success=True)
        await running.start(conn, "in doubt")
        await tool_executions.finish(
            conn, **{**running.call, "call_id": "in doubt"}, success=None, execution_time_ms=0, error="no answer"
        )
        await tool_executions.abandon(conn, client_id=running.shop.id, turn_id=running.turn, error="stopped")
        found = await tool_executions.list_for_conversation(conn, **running.cnv)
    assert {row.call_id: (row.success, row.error) for row in found} == {
        "out": (None, "stopped"),
        "asked": (False, "stopped"),
        "call_1": (True, None),
        "in doubt": (None, "no answer"),
    }
    async with reading(running.pool) as conn:
        told = await notifications.list_unread(conn, client_id=running.shop.id, limit=10)
    assert [(each.kind, each.conversation_id, each.details["call_id"]) for each in told] == [
        ("tool_in_doubt", running.cnv["conversation_id"], "out")
    ], "what went out, and was not told before"


async def test_nobody_is_told_of_what_had_no_effect(running: Running) -> None:
    """A look-up that was cut off leaves nothing to check."""
    async with unit_of_work(running.pool) as conn:
        await tools.create(
            conn,
            tool_name="look_up",
            description="d",
            parameters_schema={},
            category="c",
            effect="read_only",
            label={},
            proof="none",
            confirm=False,
            bound={},
        )
        await tool_executions.start(
            conn, **running.cnv, turn_id=running.turn, call_id="looked", tool_name="look_up", parameters={}
        )
    async with unit_of_work(running.pool) as conn:
        await tool_executions.abandon(conn, client_id=running.shop.id, turn_id=running.turn, error="stopped")
        assert await notifications.list_unread(conn, client_id=running.shop.id, limit=10) == []


async def test_a_call_of_no_turn(pool: Pool, pizza: Shop) -> None:
    """There is nothing to record it with."""
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await tool_executions.start(
                conn,
                client_id=pizza.id,
                conversation_id=pizza.cnv,
                turn_id=0,
                call_id="c",
                tool_name="t",
                parameters={},
            )
