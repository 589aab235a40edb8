"""Messages."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from server import errors, ids
from server.repositories import messages, operators, turns, usage
from server.repositories.messages import Admission
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import NOW, ask, say


async def test_a_message_is_read_as_it_was_written(pool: Pool, pizza: Shop) -> None:
    """Every field comes back; money stays decimal to ten places; the turn is named by its public id."""
    question = await say(pool, pizza.id, pizza.cnv, seq=1)
    turn_public_id = await ask(pool, pizza.id, pizza.cnv, question, owner="ins_a")
    public_id = ids.message_id()
    async with unit_of_work(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=turn_public_id)
        assert turn is not None
        await messages.create(
            conn,
            client_id=pizza.id,
            conversation_id=pizza.cnv,
            public_id=public_id,
            role="assistant",
            content="שלום 🍕 'quoted' %s",
            parts=[{"type": "text", "text": "x"}],
            seq=2,
            created_at=NOW,
            turn_id=turn.id,
            model="gpt",
            tokens_input=1200,
            tokens_output=34,
            cost=Decimal("0.0012345678"),
            stopped=True,
            cached=True,
        )
    async with reading(pool) as conn:
        row = await messages.find_by_public_id(conn, client_id=pizza.id, conversation_id=pizza.cnv, public_id=public_id)
    assert row is not None
    assert (row.content, row.parts) == ("שלום 🍕 'quoted' %s", [{"type": "text", "text": "x"}])
    assert (row.turn_id, row.turn_public_id, row.model, row.seq) == (turn.id, turn_public_id, "gpt", 2)
    assert (row.tokens_input, row.tokens_output, row.tokens_used) == (1200, 34, 1234)
    assert isinstance(row.cost, Decimal) and row.cost == Decimal("0.0012345678")
    assert (row.stopped, row.cached, row.rating, row.cid, row.created_at) == (True, True, None, None, NOW)


async def test_a_cid_is_taken_once(pool: Pool, pizza: Shop) -> None:
    """The same cid again is refused within the conversation, and free in any other; no cid never clashes."""
    await say(pool, pizza.id, pizza.cnv, seq=1, cid="c")
    with pytest.raises(errors.Conflict) as caught:
        await say(pool, pizza.id, pizza.cnv, seq=2, cid="c")
    assert (caught.value.code, caught.value.field) == ("cid_reused", "cid")
    await say(pool, pizza.id, pizza.cnv, seq=3)
    await say(pool, pizza.id, pizza.cnv, seq=4)


async def test_admission(pool: Pool, pizza: Shop) -> None:
    """One row says whether the message is stored, whether an answer runs, and what the month has used."""

    async def admission(cid: str) -> Admission | None:
        async with unit_of_work(pool) as conn:
            cursor = await messages.admission(
                conn, client_id=pizza.id, conversation_id=pizza.cnv, cid=cid, month_start=date(2031, 5, 1)
            )
            return await cursor.fetchone()

    assert await admission("c1") == Admission(None, None, None, turn_active=False, month_messages=0)
    public_id = await say(pool, pizza.id, pizza.cnv, seq=1, cid="c1")
    await ask(pool, pizza.id, pizza.cnv, public_id, owner="ins_a")
    async with unit_of_work(pool) as conn:
        for day in (date(2031, 4, 30), date(2031, 5, 1), date(2031, 5, 9)):
            await usage.record(conn, client_id=pizza.id, day=day, messages=2)
    assert await admission("c1") == Admission(public_id, 1, "user 1", turn_active=True, month_messages=4)
    assert await admission("c2") == Admission(None, None, None, turn_active=True, month_messages=4)


async def test_pages_go_backwards(pool: Pool, pizza: Shop) -> None:
    """Every page is oldest first; a mark that is not of this conversation leads nowhere."""
    told = [await say(pool, pizza.id, pizza.cnv, seq=seq) for seq in range(1, 8)]
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        assert [row.public_id for row in await messages.recent(conn, **where, limit=3)] == told[4:]
        assert [row.public_id for row in await messages.recent(conn, **where)] == told
        page = await messages.page(conn, **where, before=told[4], limit=3)
        assert [row.public_id for row in page] == told[1:4]
        assert await messages.page(conn, **where, before="msg_unknown", limit=3) == []
        everything = await messages.all(conn, **where)
        assert [row.public_id for row in everything] == told
        some = await messages.between(conn, **where, after_id=everything[1].id, through_id=everything[4].id)
        assert [row.public_id for row in some] == told[2:5]


async def test_stored_cids(pool: Pool, pizza: Shop) -> None:
    """Of the asked cids the stored ones, with their seq."""
    await say(pool, pizza.id, pizza.cnv, seq=1, cid="a")
    await say(pool, pizza.id, pizza.cnv, seq=2, cid="b")
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        assert await messages.stored_cids(conn, **where, cids=["b", "x"]) == {"b": 2}
        assert await messages.stored_cids(conn, **where, cids=[]) == {}


async def test_only_an_answer_is_rated(pool: Pool, pizza: Shop) -> None:
    """The visitor's own message takes no rating; a later rating replaces an earlier one."""
    question = await say(pool, pizza.id, pizza.cnv, seq=1)
    answer = await say(pool, pizza.id, pizza.cnv, seq=2, role="assistant")
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        assert not await messages.rate(conn, **where, public_id=question, rating="up")
        assert await messages.rate(conn, **where, public_id=answer, rating="up")
        assert await messages.rate(conn, **where, public_id=answer, rating="down")
        assert [row.rating for row in await messages.all(conn, **where)] == [None, "down"]
    with pytest.raises(errors.Invalid, match="up, down"):
        async with unit_of_work(pool) as conn:
            await messages.rate(conn, **where, public_id=answer, rating="meh")


async def test_total_tokens(pool: Pool, pizza: Shop) -> None:
    """Tokens in and out of all messages; none at first."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        assert await messages.total_tokens(conn, **where) == 0
    await say(pool, pizza.id, pizza.cnv, seq=1)
    await say(pool, pizza.id, pizza.cnv, seq=2)
    async with reading(pool) as conn:
        assert await messages.total_tokens(conn, **where) == 30


async def test_an_operators_message_names_its_author(pool: Pool, pizza: Shop) -> None:
    """By name and picture while the operator is there; the message outlives them."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        operator = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="operator"
        )
        await messages.create(
            conn,
            **where,
            public_id="msg_o",
            role="operator",
            content="Hi, Olga here",
            seq=1,
            created_at=NOW,
            cid="c9",
            author_operator_id=operator.id,
        )
        # The test's own statement.
        await conn.execute("update operators set avatar_url = 'https://x.example/o.png'")
    async with reading(pool) as conn:
        row = await messages.find_by_cid(conn, **where, cid="c9")
        assert row is not None
        assert (row.author_operator_id, row.author_name) == (operator.id, "Olga")
        assert row.author_avatar_url == "https://x.example/o.png"
        assert await messages.page(conn, **where, before=None, limit=5) == [row]
        assert await messages.all(conn, **where) == [row]
        assert await messages.find_by_public_id(conn, **where, public_id="msg_o") == row
        assert await messages.find_by_cid(conn, **where, cid="c8") is None
        await conn.execute("delete from operators")
        left = await messages.find_by_cid(conn, **where, cid="c9")
    assert left is not None
    assert (left.content, left.author_operator_id, left.author_name) == ("Hi, Olga here", None, None)


@pytest.mark.parametrize(
    ("status", "error", "unanswered"),
    [
        (None, None, True),
        ("queued", None, False),
        ("running", None, False),
        ("done", None, False),
        ("failed", "model_busy", True),
        ("stopped", "taken", True),
        # The visitor pressed stop.
        ("stopped", None, False),
    ],
)
async def test_what_nobody_has_answered(
    pool: Pool, pizza: Shop, status: str | None, error: str | None, unanswered: bool
) -> None:
    """The visitor's last message, by what became of its turn; an operator's word after it answers it."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        assert await messages.unanswered(conn, **where) is None
    answered = await ask(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=1), owner="ins_a")
    last = await say(pool, pizza.id, pizza.cnv, seq=2)
    async with reading(pool) as conn:
        # The test's own statements. An answer to the first message comes after the second one.
        await conn.execute("update turns set status = 'done' where public_id = %s", [answered])
    await say(pool, pizza.id, pizza.cnv, seq=3, role="assistant")
    if status is not None:
        turn = await ask(pool, pizza.id, pizza.cnv, last, owner="ins_a")
        async with reading(pool) as conn:
            await conn.execute("update turns set status = %s, error = %s where public_id = %s", [status, error, turn])
    async with reading(pool) as conn:
        assert await messages.unanswered(conn, **where) == (last if unanswered else None)
    await say(pool, pizza.id, pizza.cnv, seq=4, role="operator")
    async with reading(pool) as conn:
        assert await messages.unanswered(conn, **where) is None
