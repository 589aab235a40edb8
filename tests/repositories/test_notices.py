"""Notices through Postgres, and what a reader missed."""

import asyncio

import pytest

from server.errors import Unavailable
from server.repositories import conversations, events, notices
from server.repositories.events import NewEvent
from server.repositories.notices import LISTENER, Missed, Noticeboard
from server.repositories.pool import Pool, open_pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import populate
from tests.support import PATIENCE_S, eventually


async def write(pool: Pool, shop: Shop, first: int, last: int) -> None:
    """So many small events."""
    new = [NewEvent(seq, "x", b'{"seq": %d}' % seq, None, None) for seq in range(first, last + 1)]
    async with unit_of_work(pool) as conn:
        await events.append(conn, client_id=shop.id, conversation_id=shop.cnv, events=new)
        await conversations.advance(conn, client_id=shop.id, conversation_id=shop.cnv, last_seq=last, messages_added=0)


async def test_a_notice_comes_with_the_commit(pool: Pool, database_url: str) -> None:
    """In order, to who listens; of a transaction that rolled back nothing comes, and no statement's result is due."""
    ears = await open_pool(database_url, max_size=1, application_name=f"{LISTENER}ins_a")
    heard: asyncio.Queue[str] = asyncio.Queue()
    begun = asyncio.Event()
    listening = asyncio.create_task(Noticeboard(pool, ears).listen(begun.set, heard.put_nowait))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
            with pytest.raises(ZeroDivisionError):
                async with unit_of_work(pool) as conn:
                    await notices.post(conn, notices=["never"])
                    _ = 1 / 0
            async with unit_of_work(pool) as conn:
                await notices.post(conn, notices=["one", 'two "שלום"'])
            async with reading(pool) as conn:
                await notices.post(conn, notices=["three"])
            assert [await heard.get() for _ in range(3)] == ["one", 'two "שלום"', "three"]
        async with reading(pool) as conn:
            await conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
                [f"{LISTENER}ins_a"],
            )
        with pytest.raises(Unavailable):
            await asyncio.wait_for(listening, PATIENCE_S)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await ears.close()


async def test_instances_are_counted(pool: Pool, database_url: str) -> None:
    """By their listeners, each once; whoever is gone is not counted any more."""
    async with reading(pool) as conn:
        assert await notices.instances(conn) == 0
        ears = [
            await open_pool(database_url, max_size=1, application_name=f"{LISTENER}{name}")
            for name in ("ins_a", "ins_b", "ins_b")
        ]
        assert await notices.instances(conn) == 2
        for each in ears:
            await each.close()

        async def nobody() -> bool:
            return await notices.instances(conn) == 0

        await eventually(nobody, "closed connections are not counted")
        await notices.listen(conn)


async def test_what_was_missed(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """In order, after the head that was known; nothing of who is up to date, or was not asked for."""
    await write(pool, pizza, 1, 5)
    await write(pool, bakery, 1, 2)
    name, other = pizza.conversation.public_id, bakery.conversation.public_id
    async with reading(pool) as conn:

        async def missed(heads: dict[str, int], most: int = 100) -> list[Missed]:
            return await notices.missed(conn, heads=heads, recent_s=30, most=most)

        assert await missed({}) == []
        assert await missed({name: 5, "cnv_none": 0}) == []
        assert await missed({name: 3, other: 2}) == [Missed(name, 4, b'{"seq": 4}'), Missed(name, 5, b'{"seq": 5}')]
        assert [each.seq for each in await missed({name: 1}, most=2)] == [2, 3]
        assert [each.seq for each in await missed({name: 0})] == [1, 2, 3, 4, 5], "a head that is not known"
        assert len(await missed({name: 0, other: 0})) == 7


async def test_of_an_unknown_head_only_recent_events_are_given(pool: Pool, pizza: Shop) -> None:
    """A conversation that rests tells its number alone, and a busy one no more than 50."""
    name = pizza.conversation.public_id
    await write(pool, pizza, 1, 60)
    async with reading(pool) as conn:
        found = await notices.missed(conn, heads={name: 0}, recent_s=30, most=100)
        assert [each.seq for each in found] == list(range(11, 61))
        found = await notices.missed(conn, heads={name: 2}, recent_s=30, most=100)
        assert [each.seq for each in found] == list(range(3, 53)), "the next look brings the others"
        await conn.execute("update events set created_at = now() - interval '31 s'")
        assert await notices.missed(conn, heads={name: 0}, recent_s=30, most=100) == [Missed(name, 60, None)]
        found = await notices.missed(conn, heads={name: 58}, recent_s=30, most=100)
        assert [each.seq for each in found] == [59, 60]


async def test_running_answers_are_named(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Of those asked for, the ones with a running turn."""
    await populate(pool, pizza)
    async with reading(pool) as conn:
        await conn.execute("update turns set status = 'running' where conversation_id = %s", [pizza.cnv])
        asked = [pizza.conversation.public_id, bakery.conversation.public_id]
        assert await notices.answering(conn, public_ids=asked) == [pizza.conversation.public_id]
        assert await notices.answering(conn, public_ids=asked[1:]) == []
