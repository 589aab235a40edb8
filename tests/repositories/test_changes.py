"""Who changed a thing last: of this client and this thing alone, by an index."""

import psycopg

from server.repositories import audit, changes, operators
from server.repositories.pool import Conn, Pool, unit_of_work
from tests.repositories.conftest import Shop


async def _changed(conn: Conn, client_id: int | None, target: str, *, by: int | None = None, action: str = "a") -> None:
    await audit.record(
        conn, client_id=client_id, operator_id=by, action=action, target_type="tool", target_id=target, details={}
    )


async def test_the_newest_change_of_a_thing(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """With the name of who did it; neither another client's nor the installation's nor another thing's."""
    async with unit_of_work(pool) as conn:
        ann = await operators.create(
            conn, client_id=None, email="ann@desk.example", name="Ann", password_hash="p", role="owner"
        )
        for client_id in (pizza.id, bakery.id, None):
            assert await changes.find_last(conn, client_id=client_id, target_type="tool", target_id="t") is None
        await _changed(conn, pizza.id, "t")
        await _changed(conn, pizza.id, "t", by=ann.id, action="b")
        await _changed(conn, bakery.id, "t")
        await _changed(conn, None, "other")
        mine = await changes.find_last(conn, client_id=pizza.id, target_type="tool", target_id="t")
        theirs = await changes.find_last(conn, client_id=bakery.id, target_type="tool", target_id="t")
        older = await changes.find_last(conn, client_id=pizza.id, target_type="tool", target_id="t", actions=("a",))
        assert mine is not None and mine.operator_name == "Ann"
        assert theirs is not None and theirs.operator_name is None
        assert older is not None and older.operator_name is None
        assert await changes.find_last(conn, client_id=None, target_type="tool", target_id="t") is None
        assert await changes.find_last(conn, client_id=pizza.id, target_type="client", target_id="t") is None
    told = changes.changed_meanwhile("the tool t", mine)
    assert told.code == "changed_meanwhile" and "by Ann at " in told.message


def test_it_is_found_by_an_index(database_url: str) -> None:
    """However long the log is: with sequential scans off the plan walks the index of targets."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off; set enable_sort = off")
        plan = conn.execute(
            "explain select a.created_at from audit_log a where a.target_type = 'tool' and a.target_id = 't' "
            "and coalesce(a.client_id, 0) = coalesce(7::bigint, 0) order by a.id desc limit 1"
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "audit_log_target_idx" in text and "Sort" not in text
