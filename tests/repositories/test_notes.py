"""Notes of operators."""

from typing import Any

import pytest

from server import errors
from server.repositories import notes, operators
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of


async def test_notes(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Oldest first, so many and no more; one is found by its number, and gone once deleted."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        olga = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="operator"
        )
        first = await notes.create(conn, **where, operator_id=olga.id, content="A regular.", most=2)
        second = await notes.create(conn, **where, operator_id=olga.id, content="Likes olives.", most=2)
        assert first is not None and second is not None
        assert await notes.create(conn, **where, operator_id=olga.id, content="Too many.", most=2) is None
    assert (first.content, first.operator_name, first.conversation_public_id) == (
        "A regular.",
        "Olga",
        pizza.conversation.public_id,
    )
    async with reading(pool) as conn:
        assert await notes.of_conversation(conn, **where) == [first, second]
        assert await notes.find_of_any(conn, note_id=first.id) == first
        assert not await notes.delete(conn, client_id=bakery.id, note_id=first.id)
        assert await notes.delete(conn, client_id=pizza.id, note_id=first.id)
        assert not await notes.delete(conn, client_id=pizza.id, note_id=first.id)
        assert await notes.find_of_any(conn, note_id=first.id) is None
        # The test's own statement: the author leaves.
        await conn.execute("delete from operators")
        [left] = await notes.of_conversation(conn, **where)
    assert (left.id, left.operator_id, left.operator_name) == (second.id, None, None)


async def test_somebody_who_is_not_there(pool: Pool, pizza: Shop) -> None:
    """No operator, no note."""
    with pytest.raises(errors.NotFound):
        async with unit_of_work(pool) as conn:
            await notes.create(
                conn, client_id=pizza.id, conversation_id=pizza.cnv, operator_id=999, content="x", most=5
            )


def test_they_have_indexes(database_url: str) -> None:
    """A conversation's notes are walked in their order, and counted by the same index."""
    plan = plan_of(database_url, notes.of_conversation, client_id=1, conversation_id=1)
    assert "notes_conversation_id_id_idx" in plan, plan
    made = plan_of(database_url, notes.create, client_id=1, conversation_id=1, operator_id=1, content="x", most=5)
    assert "notes_conversation_id_id_idx" in made, made
