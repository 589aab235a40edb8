"""Connections, the unit of work, and what becomes of errors."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncCursor

from server import errors, ids
from server.repositories import clients, conversations, events, faults, messages, turns, usage
from server.repositories.conversations import LockedConversation
from server.repositories.pool import Conn, Pool, check, open_pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.wire import wire


async def test_a_message_takes_two_round_trips(database_url: str, tmp_path: Path, pizza: Shop) -> None:
    """BEGIN, the lock and the question travel together; the writes travel with COMMIT."""
    async with wire(database_url, tmp_path) as (counted, url):
        pool = await open_pool(url, max_size=2, application_name="test")
        for n in range(1, 8):  # psycopg prepares a statement it sees often; neither way may cost a round trip more
            before = counted.round_trips
            async with unit_of_work(pool) as conn:
                lock = await conversations.lock(conn, client_id=pizza.id, conversation_id=pizza.cnv)
                asked = await messages.admission(
                    conn,
                    client_id=pizza.id,
                    conversation_id=pizza.cnv,
                    cid=f"c{n}",
                    month_start=datetime.now(UTC).date().replace(day=1),
                )
                locked = await lock.fetchone()
                admission = await asked.fetchone()
                assert locked is not None and admission is not None
                assert (locked.last_seq, admission.month_messages) == (n - 1, n - 1)
                message_id = ids.message_id()
                await messages.create(
                    conn,
                    client_id=pizza.id,
                    conversation_id=pizza.cnv,
                    public_id=message_id,
                    role="user",
                    content="hello",
                    cid=f"c{n}",
                    seq=n,
                    created_at=locked.at,
                )
                await turns.create(
                    conn,
                    client_id=pizza.id,
                    conversation_id=pizza.cnv,
                    public_id=ids.turn_id(),
                    message_public_id=message_id,
                    answer_id=ids.message_id(),
                    owner=None,
                    lease_s=15,
                    deadline_s=120,
                )
                new = events.NewEvent(n, "message.created", b"{}", None, None)
                await events.append(conn, client_id=pizza.id, conversation_id=pizza.cnv, events=[new])
                await conversations.advance(
                    conn, client_id=pizza.id, conversation_id=pizza.cnv, last_seq=n, messages_added=1
                )
                await usage.record(conn, client_id=pizza.id, day=locked.at.astimezone(UTC).date(), messages=1)
            assert counted.round_trips - before == 2
        await pool.close()


async def test_a_block_that_raises_leaves_nothing(pool: Pool, pizza: Shop) -> None:
    """An exception rolls back, and the connection is good for the next caller."""
    with pytest.raises(LookupError):
        async with unit_of_work(pool) as conn:
            await clients.set_status(conn, client_id=pizza.id, status="suspended")
            raise LookupError
    async with reading(pool) as conn:
        client = await clients.find(conn, client_id=pizza.id)
    assert client is not None and client.status == "active"


async def test_an_error_that_nobody_fetched_is_raised_at_the_end(pool: Pool, pizza: Shop) -> None:
    """A write in a pipeline that fails takes the whole unit of work with it, under its own name."""
    with pytest.raises(errors.Invalid, match="owner must be one of") as caught:
        async with unit_of_work(pool) as conn:
            await conversations.set_locale(conn, client_id=pizza.id, conversation_id=pizza.cnv, locale="he")
            await conversations.set_owner(conn, client_id=pizza.id, conversation_id=pizza.cnv, owner="nobody")
            await conversations.set_locale(conn, client_id=pizza.id, conversation_id=pizza.cnv, locale="fr")
    assert caught.value.field == "owner"
    async with reading(pool) as conn:
        conversation = await conversations.find(conn, client_id=pizza.id, conversation_id=pizza.cnv)
    assert conversation is not None and conversation.locale == "en"
    assert pool.get_stats().get("returns_bad", 0) == 0


async def test_an_error_within_surfaces_at_the_next_fetch(pool: Pool, pizza: Shop) -> None:
    """A failed write is told to the one who fetches after it, with the write's own error."""
    with pytest.raises(errors.Invalid, match="owner must be one of"):
        async with unit_of_work(pool) as conn:
            await conversations.set_owner(conn, client_id=pizza.id, conversation_id=pizza.cnv, owner="nobody")
            await conversations.find(conn, client_id=pizza.id, conversation_id=pizza.cnv)


async def test_a_swallowed_error_does_not_pass_for_a_commit(pool: Pool, pizza: Shop) -> None:
    """Postgres turns COMMIT into ROLLBACK after an error; that is noticed."""
    with pytest.raises((RuntimeError, errors.Unavailable)):
        async with unit_of_work(pool) as conn:
            await clients.set_status(conn, client_id=pizza.id, status="suspended")
            try:
                await conn.execute("select 1 / 0")
                async with conn.pipeline():  # a nested pipeline waits for every answer
                    pass
            except psycopg.DataError:
                pass
    async with reading(pool) as conn:
        client = await clients.find(conn, client_id=pizza.id)
    assert client is not None and client.status == "active"


async def test_text_with_a_nul_is_the_callers_fault(pool: Pool, pizza: Shop) -> None:
    """U+0000, which Postgres cannot store, is an Invalid in text and in JSON."""
    for name, config in (("a\0b", {}), ("ok", {"title": "a\0b"})):
        with pytest.raises(errors.Invalid, match=r"U\+0000"):
            async with unit_of_work(pool) as conn:
                changes = clients.ClientChanges(name=name, widget_config=config)
                await clients.update(conn, client_id=pizza.id, changes=changes)


async def test_no_server_is_unavailable_and_says_why() -> None:
    """Opening a pool where nothing listens names the reason, for the person at the terminal."""
    with pytest.raises(errors.Unavailable, match=r"PostgreSQL cannot be reached: .*No such file") as caught:
        await open_pool("postgresql:///x?host=/nowhere", max_size=2, application_name="test")
    assert caught.value.dependency == "postgres"


async def test_a_pool_without_a_free_connection_is_unavailable(database_url: str) -> None:
    """Whoever waits too long for a connection hears so."""
    pool = await open_pool(database_url, max_size=1, application_name="test")
    pool.timeout = 0.05
    async with reading(pool):
        with pytest.raises(errors.Unavailable):
            await check(pool)
    await check(pool)
    await pool.close()


async def test_connections_cut_while_idle_are_not_handed_out(database_url: str, tmp_path: Path) -> None:
    """After the server restarted, the first caller gets a connection that works."""
    async with wire(database_url, tmp_path) as (cut, url):
        pool = await open_pool(url, max_size=4, application_name="test")
        async with reading(pool), reading(pool), reading(pool), reading(pool):
            pass
        await cut.cut()
        await check(pool)
        await check(pool)
        await pool.close()


async def test_a_connection_cut_within_a_unit_of_work_is_unavailable(
    database_url: str, tmp_path: Path, pizza: Shop
) -> None:
    """The caller gets Unavailable, nothing is stored, and the pool recovers."""
    async with wire(database_url, tmp_path) as (cut, url):
        pool = await open_pool(url, max_size=2, application_name="test")
        with pytest.raises(errors.Unavailable):
            async with unit_of_work(pool) as conn:
                assert await clients.set_status(conn, client_id=pizza.id, status="suspended")
                await cut.cut()
                await clients.find(conn, client_id=pizza.id)
        async with reading(pool) as conn:
            client = await clients.find(conn, client_id=pizza.id)
        assert client is not None and client.status == "active"
        await pool.close()


async def test_a_cancelled_caller_gives_its_connection_back(pool: Pool, pizza: Shop) -> None:
    """Cancelling while a lock is waited for neither commits nor loses a connection."""
    waiting = asyncio.Event()

    async def second() -> None:
        async with unit_of_work(pool) as conn:
            cursor = await conversations.lock(conn, client_id=pizza.id, conversation_id=pizza.cnv)
            waiting.set()
            await cursor.fetchone()

    async with unit_of_work(pool) as conn:
        await (await conversations.lock(conn, client_id=pizza.id, conversation_id=pizza.cnv)).fetchone()
        task = asyncio.create_task(second())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(8):
        await check(pool)


async def test_the_server_ends_what_hangs(pool: Pool) -> None:
    """Statements and idle transactions have their limits in the session itself."""
    async with reading(pool) as conn:
        rows = await (
            await conn.execute(
                "select name, setting from pg_settings "
                "where name like '%_timeout' and setting <> '0' and source = 'session' or name = 'application_name'"
            )
        ).fetchall()
    assert dict(rows) == {
        "statement_timeout": "10000",
        "idle_in_transaction_session_timeout": "5000",
        "transaction_timeout": "10000",
        "application_name": "test",
    }


async def test_a_process_frozen_within_its_pipeline_gives_up_its_locks(
    pool: Pool, database_url: str, pizza: Shop
) -> None:
    """It holds the conversation and says nothing more: the next one gets it, and what the first writes is refused."""
    frozen = await open_pool(database_url, max_size=1, application_name="frozen")
    try:
        async with reading(frozen) as conn:
            await conn.execute("set transaction_timeout = '200ms'")
        with pytest.raises(errors.Unavailable):
            async with unit_of_work(frozen) as conn:
                assert await (await _lock(conn, pizza)).fetchone() is not None
                async with unit_of_work(pool) as other:
                    assert await (await _lock(other, pizza)).fetchone() is not None
                await conversations.advance(
                    conn, client_id=pizza.id, conversation_id=pizza.cnv, last_seq=9, messages_added=1
                )
    finally:
        await frozen.close()
    async with reading(pool) as conn:
        found = await (await _lock(conn, pizza)).fetchone()
    assert found is not None and found.last_seq == 0


async def _lock(conn: Conn, shop: Shop) -> AsyncCursor[LockedConversation]:
    return await conversations.lock(conn, client_id=shop.id, conversation_id=shop.cnv)


def test_an_unknown_error_stays_what_it_was() -> None:
    """A bug in a statement is not dressed up as the caller's fault."""
    with pytest.raises(psycopg.errors.SyntaxError), faults.translated():
        raise psycopg.errors.SyntaxError
