"""The end of all that has not ended in a conversation."""

from decimal import Decimal
from typing import Any

import pytest

from server.repositories import turn_records, turn_stops, turns
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, ask, say

PAID = turns.Paid("m1", 500, 50, Decimal("0.25"))


@pytest.mark.parametrize("begun", [True, False])
async def test_all_of_them(pool: Pool, pizza: Shop, begun: bool) -> None:
    """Running, given back and queued ones end with gen + 1 and the reason; or only those that never began."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    other = await another_conversation(pool, pizza.id)
    elsewhere = await ask(pool, pizza.id, other, await say(pool, pizza.id, other, seq=1), owner="ins_a")
    made = [
        await ask(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=seq), owner=owner)
        for seq, owner in ((1, "ins_a"), (2, None), (3, None))
    ]
    async with reading(pool) as conn:
        # The test's own statement: as one that an instance gave back.
        await conn.execute("update turns set gen = 2 where public_id = %s", [made[1]])
        unended = await turn_stops.unended(conn, **where)
        assert [(row.public_id, row.status) for row in unended] == [
            (made[0], "running"),
            (made[1], "queued"),
            (made[2], "queued"),
        ]
    async with unit_of_work(pool) as conn:
        running = unended[0].id
        stopped = await turn_stops.stop_all(conn, **where, error="taken", begun=begun, spoke=running, paid=PAID)
    expected = [(made[0], 2, "ins_a"), (made[1], 3, None), (made[2], 2, None)]
    assert [(row.public_id, row.gen, row.owner) for row in stopped] == (expected if begun else expected[2:])
    assert {(row.status, row.error, row.lease_until) for row in stopped} == {("stopped", "taken", None)}
    async with unit_of_work(pool) as conn:
        used = {each.public_id: each.cost for each in await turn_records.page(conn, **where, before=None, limit=9)}
        assert used == {made[0]: PAID.cost if begun else None, made[1]: None, made[2]: None}, "the one that spoke"
        assert await turn_stops.stop_all(conn, **where, error="taken", begun=begun) == []
        row = await turns.find(conn, client_id=pizza.id, public_id=elsewhere)
        assert row is not None and row.status == "running"
