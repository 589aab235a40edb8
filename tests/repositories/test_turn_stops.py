"""The end of all that has not ended in a conversation."""

from typing import Any

import pytest

from server.repositories import turn_stops, turns
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, ask, say


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
        stopped = await turn_stops.stop_all(conn, **where, error="taken", begun=begun)
    expected = [(made[0], 2, "ins_a"), (made[1], 3, None), (made[2], 2, None)]
    assert [(row.public_id, row.gen, row.owner) for row in stopped] == (expected if begun else expected[2:])
    assert {(row.status, row.error, row.lease_until) for row in stopped} == {("stopped", "taken", None)}
    async with unit_of_work(pool) as conn:
        assert await turn_stops.stop_all(conn, **where, error="taken", begun=begun) == []
        row = await turns.find(conn, client_id=pizza.id, public_id=elsewhere)
        assert row is not None and row.status == "running"
