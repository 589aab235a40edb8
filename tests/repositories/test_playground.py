"""What the console's own chats leave: drafts, raw calls of models, use apart from the plan's, turns as read."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from server import ids
from server.errors import NotFound
from server.repositories import answered_turns, console_usage, drafts, model_traffic, turns, usage
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import DRAFT, EXCHANGE, ask, say


async def test_a_draft(pool: Pool, pizza: Shop) -> None:
    """Is read with the number of the turn's question, found by its session, and replaced."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    session_id = ids.session_id()
    async with reading(pool) as conn:
        assert await drafts.of_turn(conn, **where, turn_id=1) is None
        assert await drafts.find_session(conn, session_id=session_id) is None
        await drafts.create(conn, **where, session_id=session_id, **DRAFT)
    numbers = []
    for seq in (1, 2):
        public_id = await ask(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=seq), owner=None)
        async with reading(pool) as conn:
            turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
            assert turn is not None
            draft = await drafts.of_turn(conn, **where, turn_id=turn.id)
        assert draft is not None
        assert {name: getattr(draft, name) for name in DRAFT} == DRAFT
        assert (draft.session_id, draft.record) == (session_id, None)
        numbers.append(draft.question)
    assert numbers == [1, 2]
    async with reading(pool) as conn:
        assert await drafts.replace(conn, **where, system_prompt=None, model_config=None, tools=[])
        found = await drafts.find_session(conn, session_id=session_id)
    assert found is not None
    assert (found.system_prompt, found.model_config, found.tools) == (None, None, [])
    assert (found.public_id, found.locale) == (pizza.conversation.public_id, "en")
    assert draft is not None and found.updated_at > draft.updated_at


async def test_a_test_runs_draft(pool: Pool, pizza: Shop) -> None:
    """Is neither found by the playground nor replaced: its record answers for a case as it was."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    record = {"verified": False, "questions": []}
    async with reading(pool) as conn:
        await drafts.create(conn, **where, session_id="ses_1", **DRAFT, record=record)
        assert await drafts.find_session(conn, session_id="ses_1") is None
        assert not await drafts.replace(conn, **where, **DRAFT)
        draft = await drafts.of_turn(conn, **where, turn_id=1)
    assert draft is not None and draft.record == record


async def test_no_draft_without_its_conversation(pool: Pool, pizza: Shop) -> None:
    """And none for another client's."""
    with pytest.raises(NotFound):
        async with reading(pool) as conn:
            await drafts.create(conn, client_id=pizza.id + 1, conversation_id=pizza.cnv, session_id="ses_1", **DRAFT)


async def test_a_models_call(pool: Pool, pizza: Shop) -> None:
    """Is kept as it was, with when it began by the database's clock, and goes with its turn."""
    public_id = await ask(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=1), owner=None)
    async with reading(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
        assert turn is not None
        await model_traffic.record(conn, client_id=pizza.id, turn_id=turn.id, **EXCHANGE)
        await model_traffic.record(
            conn, client_id=pizza.id, turn_id=turn.id, **{**EXCHANGE, "no": 2, "tokens_input": None, "error": "cut off"}
        )
        first, second = await model_traffic.of_turn(conn, client_id=pizza.id, turn_id=turn.id)
        assert {name: getattr(first, name) for name in EXCHANGE} == EXCHANGE
        assert (second.no, second.tokens_input, second.error) == (2, None, "cut off")
        assert timedelta(milliseconds=90) <= datetime.now(UTC) - first.started_at < timedelta(seconds=30)
        # The test's own statement.
        await conn.execute("delete from conversations")
        assert await model_traffic.of_turn(conn, client_id=pizza.id, turn_id=turn.id) == []


async def test_use_apart(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Adds up by day, from a day on; the plan's month knows nothing of it."""
    may = date(2031, 5, 20)
    async with reading(pool) as conn:
        await console_usage.record(conn, client_id=pizza.id, day=date(2031, 4, 30), messages=100)
        for _ in range(2):
            await console_usage.record(
                conn,
                client_id=pizza.id,
                day=may,
                conversations=1,
                messages=2,
                tokens_input=30,
                tokens_output=4,
                tool_calls=5,
                cost=Decimal("0.25"),
            )
        used = await console_usage.since(conn, client_id=pizza.id, start=date(2031, 5, 1))
        assert (used.conversation_count, used.message_count, used.tool_calls_count) == (2, 4, 10)
        assert (used.tokens_input, used.tokens_output, used.cost_estimate) == (60, 8, Decimal("0.5"))
        nobody = await console_usage.since(conn, client_id=bakery.id, start=date(2031, 5, 1))
        assert (nobody.message_count, nobody.cost_estimate) == (0, Decimal(0))
        assert await usage.messages_since(conn, client_id=pizza.id, start=date(2031, 1, 1)) == 0


async def test_no_use_of_nobody(pool: Pool) -> None:
    """A client that is not there is said as such."""
    with pytest.raises(NotFound):
        async with reading(pool) as conn:
            await console_usage.record(conn, client_id=0, day=date(2031, 5, 1), messages=1)


async def test_turns_as_question_and_answer(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Newest first, page by page; with what was said and kept; whosever it is for who checks whom they serve."""
    made = []
    for seq in range(1, 6):
        question = await say(pool, pizza.id, pizza.cnv, seq=seq)
        made.append(await ask(pool, pizza.id, pizza.cnv, question, owner=None))
    async with unit_of_work(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=made[0])
        assert turn is not None
        await model_traffic.record(conn, client_id=pizza.id, turn_id=turn.id, **EXCHANGE)
        # The answer of the first, as the end of a turn writes it.
        await conn.execute(
            "insert into messages (client_id, conversation_id, public_id, role, content, seq, turn_id, model, cost, "
            "tokens_input, tokens_output) values (%s, %s, %s, 'assistant', 'Hello!', 9, %s, 'm', 0.5, 7, 3)",
            [pizza.id, pizza.cnv, turn.answer_id, turn.id],
        )
    seen: list[str] = []
    async with reading(pool) as conn:
        while True:
            page = await answered_turns.page(
                conn, client_id=pizza.id, conversation_id=pizza.cnv, before=seen[-1] if seen else None, limit=2
            )
            if not page:
                break
            seen += [row.public_id for row in page]
        assert seen == made[::-1]
        row = await answered_turns.of_any(conn, public_id=made[0])
        assert row is not None
        assert (row.client_id, row.question, row.answer, row.model) == (pizza.id, "user 1", "Hello!", "m")
        assert (row.tokens_input, row.tokens_output, row.cost) == (7, 3, Decimal("0.5"))
        assert (row.model_calls, row.tool_calls, row.channel, row.status) == (1, 0, "widget", "queued")
        unanswered = await answered_turns.of_any(conn, public_id=made[1])
        assert unanswered is not None and unanswered.answer is None and unanswered.cost == 0
        assert await answered_turns.of_any(conn, public_id="trn_nobody") is None
        asked = await answered_turns.of_conversation(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        assert [turn.public_id for turn in asked] == made
        assert await answered_turns.of_conversation(conn, client_id=bakery.id, conversation_id=pizza.cnv) == []


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "select id from model_traffic where client_id = 1 and turn_id = 2 order by id",
            "model_traffic_turn_id_id_idx",
        ),
        ("select id from console_drafts where session_id = 'x'", "console_drafts_session_id_key"),
        (
            "select id from console_drafts where client_id = 1 and conversation_id = 2",
            "console_drafts_conversation_id_key",
        ),
        ("select id from turns where client_id = 1 and conversation_id = 2 order by id desc limit 5", "turns_conv"),
    ],
)
def test_the_reads_have_indexes(database_url: str, query: str, index: str) -> None:
    """With sequential scans and sorts off each plan walks its index."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off")
        text = "\n".join(line for (line,) in conn.execute(f"explain {query}".encode()).fetchall())
    assert index in text and "Sort" not in text, text
