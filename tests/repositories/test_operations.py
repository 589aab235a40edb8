"""What runs: instances, open turns, the database itself."""

import asyncio
from datetime import UTC, datetime

import pytest

from server.repositories import database, instances, migrations, turns, workload
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.workload import Load
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of
from tests.repositories.world import another_conversation, ask, say


async def _told(pool: Pool) -> list[tuple[str, object]]:
    async with reading(pool) as conn:
        return [(row.instance, row.figures) for row in await instances.list_all(conn)]


async def test_instances_tell_and_are_forgotten(pool: Pool) -> None:
    """The newest figures stand; the start stays what it was; who ended is gone; who is silent for an hour goes."""
    async with reading(pool) as conn:
        await instances.tell(conn, instance="ins_a", version="1", running_s=100, figures={"n": 1})
        await instances.tell(conn, instance="ins_b", version="2", running_s=1, figures={"n": 2})
        [before, _] = await instances.list_all(conn)
        await instances.tell(conn, instance="ins_a", version="1", running_s=101, figures={"n": 3})
        [after, young] = await instances.list_all(conn)
        assert (after.instance, after.version, after.figures) == ("ins_a", "1", {"n": 3})
        assert after.started_at == before.started_at and after.seen_at > before.seen_at
        assert 99 < (young.started_at - after.started_at).total_seconds() < 105
        await conn.execute("update instances set seen_at = now() - interval '61 minutes' where instance = 'ins_b'")
        await instances.tell(conn, instance="ins_c", version="2", running_s=0, figures={})
    assert [name for name, _ in await _told(pool)] == ["ins_a", "ins_c"]
    async with reading(pool) as conn:
        await instances.forget(conn, instance="ins_a")
    assert await _told(pool) == [("ins_c", {})]


async def test_instances_tell_at_once(pool: Pool) -> None:
    """Nobody waits in a circle, and each has one row."""

    async def tell(name: str) -> None:
        for number in range(10):
            async with reading(pool) as conn:
                await instances.tell(conn, instance=name, version="1", running_s=0, figures={"n": number})

    names = [f"ins_{number}" for number in range(5)]
    async with asyncio.timeout(10):
        await asyncio.gather(*map(tell, names))
    assert sorted(await _told(pool)) == [(name, {"n": 9}) for name in names]


async def test_no_load(pool: Pool) -> None:
    """Zeros, and no ages."""
    async with reading(pool) as conn:
        assert await workload.now(conn) == Load(0, 0, 0, None, None)
        assert await workload.oldest(conn, limit=5) == []


async def test_the_load(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Running and waiting turns of all clients; stuck ones by why, and before the others."""
    places = [pizza.cnv, await another_conversation(pool, pizza.id), await another_conversation(pool, pizza.id)]
    orphan, fine, overdue = [
        await ask(pool, pizza.id, cnv, await say(pool, pizza.id, cnv, seq=1), owner=f"ins_{number}")
        for number, cnv in enumerate(places)
    ]
    waits = await ask(pool, pizza.id, places[1], await say(pool, pizza.id, places[1], seq=2), owner=None)
    alone = await ask(pool, bakery.id, bakery.cnv, await say(pool, bakery.id, bakery.cnv, seq=1), owner=None)
    async with unit_of_work(pool) as conn:
        for query, public_id in (
            ("update turns set lease_until = now() - interval '1 minute' where public_id = %s", orphan),
            ("update turns set deadline = now() - interval '10 minutes' where public_id = %s", overdue),
            ("update turns set created_at = now() - interval '1 hour' where public_id = %s", waits),
            ("update turns set created_at = now() - interval '1 minute' where public_id = %s", alone),
        ):
            await conn.execute(query, [public_id])
    async with reading(pool) as conn:
        load = await workload.now(conn)
        rows = await workload.oldest(conn, limit=10)
        shown = await workload.oldest(conn, limit=2)
        names = [await turns.find(conn, client_id=pizza.id, public_id=each) for each in (orphan, fine)]
    assert (load.running, load.queued, load.stuck) == (3, 2, 3)
    assert load.oldest_running_s is not None and load.oldest_running_s < 60
    assert load.oldest_queued_s is not None and 3600 <= load.oldest_queued_s < 3700
    assert [(row.public_id, row.why) for row in rows] == [
        (alone, "unclaimed"),
        (orphan, "orphaned"),
        (overdue, "overdue"),
        (waits, None),
        (fine, None),
    ]
    assert [row.public_id for row in shown] == [alone, orphan]
    assert (rows[0].client_name, rows[0].owner, rows[0].status) == ("bakery", None, "queued")
    assert rows[0].conversation_public_id == bakery.conversation.public_id
    assert 60 <= rows[0].since_s < 120
    assert [row.owner for row in names if row is not None] == ["ins_0", "ins_1"]


@pytest.mark.parametrize("function", [workload.now, workload.oldest])
def test_open_turns_have_indexes(database_url: str, function: object) -> None:
    """Turns that ended, which are all but a few, are not read."""
    assert callable(function)
    plan = plan_of(database_url, function, late_s=1, overtime_s=1, limit=5)
    assert "Seq Scan on turns" not in plan, plan
    assert "turns_queued_created_at_idx" in plan, plan


async def test_the_migrations(pool: Pool, database_url: str) -> None:
    """All of this version's, as yoyo tells them."""
    async with reading(pool) as conn:
        applied = await database.applied(conn)
    assert applied == migrations.names() == {row.name for row in migrations.status(database_url)}


async def test_the_database(pool: Pool) -> None:
    """Its version, its room, its clock."""
    async with reading(pool) as conn:
        health = await database.health(conn)
    assert health.version_num >= 15_00_00 and str(health.version_num // 10_000) in health.version
    assert 1 <= health.connections <= health.max_connections
    assert health.size_bytes > 1_000_000
    assert abs((health.at - datetime.now(UTC)).total_seconds()) < 5
