"""Whispers: told once, to one turn."""

from typing import Any

from server.repositories import conversations, operators, turns, whispers
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.repositories.whispers import WhisperRow
from tests.repositories.conftest import Shop
from tests.repositories.world import ask, say


async def _operator(conn: Conn) -> int:
    operator = await operators.create(
        conn, client_id=None, email="olga@x.example", name="Olga", password_hash="h", role="owner"
    )
    return operator.id


async def _whisper(pool: Pool, shop: Shop, operator_id: int, content: str, *, most: int = 10) -> WhisperRow | None:
    async with unit_of_work(pool) as conn:
        await conversations.lock(conn, client_id=shop.id, conversation_id=shop.cnv)
        return await whispers.create(
            conn,
            client_id=shop.id,
            conversation_id=shop.cnv,
            operator_id=operator_id,
            content=content,
            most_waiting=most,
        )


async def test_a_whisper_is_told_to_one_turn(pool: Pool, pizza: Shop) -> None:
    """What waits is handed over together; a later turn is told only what came later; the conversation knows."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        operator_id = await _operator(conn)
    first, second = [await _whisper(pool, pizza, operator_id, text) for text in ("Offer 10 %", "Be brief")]
    assert first is not None and second is not None
    assert (first.no, first.operator_name, first.turn_id, second.no) == (1, "Olga", None, 2)
    told: list[list[str]] = []
    for seq in (1, 2):
        public_id = await ask(
            pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=seq), owner=None if told else "ins_a"
        )
        async with unit_of_work(pool) as conn:
            before = await conversations.find(conn, **where)
            turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
            assert turn is not None and before is not None and before.whispered
            await whispers.hand_over(conn, **where, turn_id=turn.id)
            after = await conversations.find(conn, **where)
            assert after is not None and not after.whispered
            told.append(await whispers.of_turn(conn, client_id=pizza.id, turn_id=turn.id))
        third = await _whisper(pool, pizza, operator_id, f"Later {seq}")
        assert third is not None
    assert told == [["Offer 10 %", "Be brief"], ["Later 1"]]
    async with reading(pool) as conn:
        rows = await whispers.recent(conn, **where, limit=2)
    assert [(row.no, row.content, row.turn_id is None) for row in rows] == [(3, "Later 1", False), (4, "Later 2", True)]


async def test_so_many_may_wait(pool: Pool, pizza: Shop) -> None:
    """Past it a whisper is not taken; what has been told does not count."""
    async with reading(pool) as conn:
        operator_id = await _operator(conn)
    assert [await _whisper(pool, pizza, operator_id, "x", most=2) is None for _ in range(3)] == [False, False, True]
    question = await say(pool, pizza.id, pizza.cnv, seq=1)
    public_id = await ask(pool, pizza.id, pizza.cnv, question, owner="ins_a")
    async with unit_of_work(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
        assert turn is not None
        await whispers.hand_over(conn, client_id=pizza.id, conversation_id=pizza.cnv, turn_id=turn.id)
    row = await _whisper(pool, pizza, operator_id, "x", most=2)
    assert row is not None and row.no == 3
