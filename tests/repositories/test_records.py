"""One conversation and its turns, as operators read them."""

from decimal import Decimal
from typing import Any

from server import ids
from server.repositories import (
    conversation_records,
    conversations,
    events,
    messages,
    operators,
    tool_executions,
    turn_leases,
    turn_records,
    turn_steps,
    turns,
    visitors,
)
from server.repositories.events import NewEvent
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of
from tests.repositories.world import NOW, ask, say, soon


async def test_a_head(pool: Pool, pizza: Shop) -> None:
    """Whose it is, who the visitor is as long as it holds, and the sums of its messages."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        bare = await conversation_records.find(conn, **where)
        assert bare is not None
        assert (bare.client_name, bare.client_domain, bare.public_id) == (
            "pizza",
            "pizza.example",
            pizza.conversation.public_id,
        )
        assert (bare.visitor_external_id, bare.operator_name, bare.messages, bare.cost) == (None, None, 0, Decimal(0))
        visitor = await visitors.verify(conn, client_id=pizza.id, external_id="v1", name="Ann", email="a@x.example")
        assert await conversations.verify(conn, **where, visitor_id=visitor.id, verified_until=soon())
        operator = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="operator"
        )
        await conversations.set_owner(conn, **where, owner="human", owner_operator_id=operator.id)
    for seq in (1, 2):
        await say(pool, pizza.id, pizza.cnv, seq=seq)
    async with reading(pool) as conn:
        full = await conversation_records.find(conn, **where)
        assert full is not None
        assert (full.visitor_external_id, full.visitor_name, full.visitor_email) == ("v1", "Ann", "a@x.example")
        assert full.verified_until is not None
        assert (full.owner, full.owner_operator_id, full.operator_name) == ("human", operator.id, "Olga")
        assert (full.messages, full.tokens_input, full.tokens_output) == (2, 20, 10)
        assert full.cost == Decimal("0.0000024690")
        # The test's own statement: an hour and more later.
        await conn.execute("update conversations set verified_until = now() - interval '1 s'")
        later = await conversation_records.find(conn, **where)
        assert later is not None and (later.verified_until, later.visitor_name) == (None, "Ann")


async def test_comments_of_ratings(pool: Pool, pizza: Shop) -> None:
    """Those that visitors wrote, of the messages that are asked for."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    said = [await say(pool, pizza.id, pizza.cnv, seq=seq, role="assistant") for seq in (1, 2, 3)]
    async with unit_of_work(pool) as conn:
        await messages.rate(conn, **where, public_id=said[0], rating="down", comment="Wrong size.")
        await messages.rate(conn, **where, public_id=said[1], rating="up")
        await messages.rate(conn, **where, public_id=said[2], rating="up", comment="Thanks!")
    async with reading(pool) as conn:
        found = await conversation_records.rating_comments(conn, **where, message_ids=[*said[:2], "msg_none"])
    assert found == {said[0]: "Wrong size."}


async def test_turns(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Oldest first, by pages, with what the answer cost and when each began; another's turn is no mark."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    questions = [await say(pool, pizza.id, pizza.cnv, seq=seq) for seq in (1, 2, 3)]
    made = [await ask(pool, pizza.id, pizza.cnv, questions[0], owner="ins_a")]
    async with unit_of_work(pool) as conn:
        row = await turns.find(conn, client_id=pizza.id, public_id=made[0])
        assert row is not None
        await messages.create(
            conn,
            **where,
            public_id=row.answer_id,
            role="assistant",
            content="Here.",
            seq=4,
            created_at=NOW,
            turn_id=row.id,
            model="m1",
            tokens_input=100,
            tokens_output=20,
            cost=Decimal("0.5"),
        )
        await turns.finish(conn, client_id=pizza.id, turn_id=row.id, gen=1, status="done")
    made += [await ask(pool, pizza.id, pizza.cnv, question, owner=None) for question in questions[1:]]
    async with unit_of_work(pool) as conn:
        claimed = await turn_leases.claim_next(conn, **where, owner="ins_a", lease_s=15, deadline_s=120)
        assert claimed is not None and claimed.public_id == made[1]
        started = NewEvent(1, "turn.started", b"{}", claimed.id, 1)
        await events.append(conn, **where, events=[started])
    elsewhere = await ask(pool, bakery.id, bakery.cnv, await say(pool, bakery.id, bakery.cnv, seq=1), owner=None)
    async with reading(pool) as conn:
        everything = await turn_records.page(conn, **where, before=None, limit=5)
        assert [(each.public_id, each.status) for each in everything] == [
            (made[0], "done"),
            (made[1], "running"),
            (made[2], "queued"),
        ]
        done, running, queued = everything
        assert (done.message_public_id, done.answer_id) == (questions[0], row.answer_id)
        assert (done.model, done.tokens_input, done.tokens_output, done.cost) == ("m1", 100, 20, Decimal("0.5"))
        assert done.started_at == done.queued_at and done.finished_at is not None
        assert running.started_at is not None and running.started_at > running.queued_at
        assert (running.cost, running.finished_at, queued.started_at, queued.attempts) == (None, None, None, 0)
        assert await turn_records.page(conn, **where, before=None, limit=2) == [running, queued]
        assert await turn_records.page(conn, **where, before=made[1], limit=2) == [done]
        assert await turn_records.page(conn, **where, before=elsewhere, limit=2) == []


async def test_steps_and_calls(pool: Pool, pizza: Shop) -> None:
    """Of the turns that are asked for, each turn's in order; a huge response begins and is not read whole."""
    question = await say(pool, pizza.id, pizza.cnv, seq=1)
    rows = []
    for number in range(2):
        public_id = await ask(pool, pizza.id, pizza.cnv, question, owner=None)
        async with unit_of_work(pool) as conn:
            row = await turns.find(conn, client_id=pizza.id, public_id=public_id)
            assert row is not None
            rows.append(row)
            for no in (1, 2):
                await turn_steps.create(
                    conn,
                    client_id=pizza.id,
                    turn_id=row.id,
                    no=no,
                    kind="llm" if no == 1 else "tool",
                    state="done",
                    request_hash=b"h",
                    gen=1,
                    result={"number": number, "no": no},
                )
            call: dict[str, Any] = {"client_id": pizza.id, "turn_id": row.id, "call_id": f"{public_id}:2"}
            await tool_executions.start(
                conn, **call, conversation_id=pizza.cnv, tool_name="look_up", parameters={"n": number}
            )
            # Not to be squeezed: compressed it is as large.
            response = {"found": number} if number == 0 else {"found": [ids.session_token() for _ in range(4_000)]}
            await tool_executions.finish(conn, **call, success=True, execution_time_ms=7, n8n_response=response)
    async with reading(pool) as conn:
        steps = await turn_records.steps(conn, client_id=pizza.id, turn_ids=[row.id for row in rows])
        assert [(step.turn_id, step.no) for step in steps] == [(row.id, no) for row in rows for no in (1, 2)]
        assert await turn_records.steps(conn, client_id=pizza.id, turn_ids=[rows[1].id]) == steps[2:]
        small, large = await turn_records.calls(conn, client_id=pizza.id, turn_ids=[row.id for row in rows])
        assert (small.tool_name, small.parameters, small.response, small.response_begins) == (
            "look_up",
            {"n": 0},
            {"found": 0},
            None,
        )
        assert (small.success, small.execution_time_ms, small.attempt) == (True, 7, 1)
        assert large.response is None and large.response_begins is not None
        assert len(large.response_begins) == turn_records.RESPONSE_CHARACTERS
        assert large.response_begins.startswith('{"found": ["st_')


def test_they_have_indexes(database_url: str) -> None:
    """No table is read whole for any of them."""
    where: dict[str, Any] = {"client_id": 1, "conversation_id": 1}
    head = plan_of(database_url, conversation_records.find, **where)
    assert "messages_conversation_id_id_idx" in head and "Seq Scan" not in head, head
    comments = plan_of(database_url, conversation_records.rating_comments, **where, message_ids=["msg_1"])
    assert "Seq Scan" not in comments, comments
    page = plan_of(database_url, turn_records.page, **where, before="trn_1", limit=5)
    assert "turns_conversation_id_id_idx" in page and "Seq Scan" not in page, page
    steps = plan_of(database_url, turn_records.steps, client_id=1, turn_ids=[1])
    assert "turn_steps_turn_id_no_key" in steps, steps
    calls = plan_of(database_url, turn_records.calls, client_id=1, turn_ids=[1], bytes=1, characters=1)
    assert "tool_executions_turn_id_call_id_key" in calls, calls
