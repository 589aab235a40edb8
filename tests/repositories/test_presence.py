"""Locks that show which instances live."""

import asyncio

import pytest

from server.errors import Unavailable
from server.repositories import presence
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.presence import Look
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, ask, say
from tests.support import PATIENCE_S


async def _look(pool: Pool) -> Look:
    async with reading(pool) as conn:
        return await presence.look(conn)


async def test_an_instance_is_seen_for_as_long_as_it_holds_its_lock(pool: Pool) -> None:
    """It comes with the connection and goes with it; two of one key, as while it reconnects, do not wait."""
    assert await _look(pool) == Look(living=frozenset(), owners=[])
    async with presence.held(pool, instance="ins_a"):
        async with asyncio.timeout(PATIENCE_S), presence.held(pool, instance="ins_a"):
            assert (await _look(pool)).living == {presence.key("ins_a")}
        async with presence.held(pool, instance="ins_b"):
            assert (await _look(pool)).living == {presence.key("ins_a"), presence.key("ins_b")}
        async with asyncio.timeout(PATIENCE_S):
            while presence.key("ins_b") in (await _look(pool)).living:
                pass
        assert (await _look(pool)).living == {presence.key("ins_a")}


async def test_other_locks_are_nobodys(pool: Pool) -> None:
    """Of another space, or with one number instead of two, or held by a transaction that migrates."""
    async with unit_of_work(pool) as conn:
        await conn.execute("select pg_advisory_xact_lock(1, 2), pg_advisory_xact_lock(%s::bigint)", [presence.SPACE])
        assert (await _look(pool)).living == frozenset()


def test_keys_have_no_sign() -> None:
    """About half of all keys are negative to Postgres' lock functions and none is in `pg_locks`."""
    keys = [presence.key(f"ins_{n}") for n in range(1_000)]
    assert len(set(keys)) == 1_000
    assert min(keys) >= 0 and any(key >= 1 << 31 for key in keys)


async def test_a_negative_key_is_found_again(pool: Pool) -> None:
    """The lock's number as Postgres takes it and as Postgres shows it."""
    instance = next(name for name in (f"ins_{n}" for n in range(100)) if presence.key(name) >= 1 << 31)
    async with presence.held(pool, instance=instance):
        assert (await _look(pool)).living == {presence.key(instance)}


async def test_a_lost_connection_is_noticed(pool: Pool) -> None:
    """At once, not at the next question."""
    async with presence.held(pool, instance="ins_a") as conn:
        watching = asyncio.create_task(presence.watch(conn))
        async with reading(pool) as other:
            await other.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(Unavailable):
            await asyncio.wait_for(watching, 2)


async def test_owners_of_running_turns(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Each once, of any client; not those of turns that wait."""
    conversations = [pizza.cnv, await another_conversation(pool, pizza.id), await another_conversation(pool, pizza.id)]
    for cnv, owner in zip(conversations, ("ins_a", "ins_a", None), strict=True):
        await ask(pool, pizza.id, cnv, await say(pool, pizza.id, cnv, seq=1), owner=owner)
    await ask(pool, bakery.id, bakery.cnv, await say(pool, bakery.id, bakery.cnv, seq=1), owner="ins_b")
    assert sorted((await _look(pool)).owners) == ["ins_a", "ins_b"]
