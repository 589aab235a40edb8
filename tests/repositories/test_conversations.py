"""Conversations."""

import asyncio
import secrets
from datetime import timedelta
from typing import Any

import pytest

from server import errors, ids
from server.repositories import conversations, operators, visitors
from server.repositories.conversations import Conversation
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, soon


async def _now(pool: Pool, shop: Shop) -> Conversation:
    async with reading(pool) as conn:
        found = await conversations.find(conn, client_id=shop.id, conversation_id=shop.cnv)
    assert found is not None
    return found


async def test_a_conversation_is_found(pool: Pool, pizza: Shop) -> None:
    """By its session, its inner and its public id; it begins empty and the AI's."""
    made = pizza.conversation
    assert (made.owner, made.last_seq, made.total_messages, made.ended_at) == ("ai", 0, 0, None)
    async with reading(pool) as conn:
        assert await conversations.find(conn, client_id=pizza.id, conversation_id=made.id) == made
        assert await conversations.find_by_session(conn, client_id=pizza.id, session_id=made.session_id) == made
        assert await conversations.find_by_public_id(conn, client_id=pizza.id, public_id=made.public_id) == made
        assert await conversations.find_of_any(conn, public_id=made.public_id) == made
        assert await conversations.find_of_any(conn, public_id="cnv_") is None
        assert await conversations.find_by_session(conn, client_id=pizza.id, session_id="ses_") is None
        assert await conversations.find_by_token(conn, session_token_hash=made.session_token_hash) == made
        assert await conversations.find_by_token(conn, session_token_hash=b"") is None


async def test_heads_of_many_at_once(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Each by its client and itself; one of another client, or that is not there, is missing."""
    async with reading(pool) as conn:
        await conversations.advance(conn, client_id=pizza.id, conversation_id=pizza.cnv, last_seq=7, messages_added=1)
        wanted = [(pizza.id, pizza.cnv), (bakery.id, bakery.cnv), (bakery.id, pizza.cnv), (pizza.id, 0)]
        assert await conversations.heads(conn, wanted=wanted) == {
            (pizza.id, pizza.cnv): 7,
            (bakery.id, bakery.cnv): 0,
        }
        assert await conversations.heads(conn, wanted=[]) == {}


async def test_a_session_has_one_conversation(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """A second is refused; the same session id at another client is another session."""

    async def create(client_id: int) -> Conversation:
        async with unit_of_work(pool) as conn:
            return await conversations.create(
                conn,
                client_id=client_id,
                public_id=ids.conversation_id(),
                session_id=pizza.conversation.session_id,
                session_token_hash=secrets.token_bytes(32),
                epoch="e",
                channel="widget",
                locale="en",
                user_identifier="ann@example.com",
            )

    with pytest.raises(errors.Conflict) as caught:
        await create(pizza.id)
    assert caught.value.code == "session_exists"
    assert (await create(bakery.id)).user_identifier == "ann@example.com"


async def test_writers_take_turns(pool: Pool, pizza: Shop) -> None:
    """Twenty writers that each add one: nobody's number is lost, whoever waits sees what was committed."""

    async def write() -> int:
        async with unit_of_work(pool) as conn:
            cursor = await conversations.lock(conn, client_id=pizza.id, conversation_id=pizza.cnv)
            locked = await cursor.fetchone()
            assert locked is not None and locked.at >= locked.started_at
            await conversations.advance(
                conn,
                client_id=pizza.id,
                conversation_id=pizza.cnv,
                last_seq=locked.last_seq + 1,
                messages_added=1,
            )
            return locked.last_seq + 1

    numbers = await asyncio.gather(*(write() for _ in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    now = await _now(pool, pizza)
    assert (now.last_seq, now.total_messages) == (20, 20)
    assert now.last_activity_at > pizza.conversation.last_activity_at


async def test_the_head_never_goes_back(pool: Pool, pizza: Shop) -> None:
    """A lower seq changes nothing."""
    async with unit_of_work(pool) as conn:
        for seq in (5, 3):
            await conversations.advance(
                conn, client_id=pizza.id, conversation_id=pizza.cnv, last_seq=seq, messages_added=1
            )
    now = await _now(pool, pizza)
    assert (now.last_seq, now.total_messages) == (5, 1)


async def test_a_later_summary_stays(pool: Pool, pizza: Shop) -> None:
    """A summary that covers less and arrives late is ignored."""
    async with unit_of_work(pool) as conn:
        for summary, through in (("first", 5), ("second", 9), ("late", 7)):
            await conversations.set_summary(
                conn, client_id=pizza.id, conversation_id=pizza.cnv, summary=summary, summary_through=through
            )
    now = await _now(pool, pizza)
    assert (now.summary, now.summary_through) == ("second", 9)


async def test_owner_person_language_and_verdict(pool: Pool, pizza: Shop) -> None:
    """What can be set on a conversation is read back; ending it twice keeps the first time; it can go on."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with unit_of_work(pool) as conn:
        operator = await operators.create(
            conn, client_id=None, email="o@x.example", name="Olga", password_hash="h", role="owner"
        )
        visitor = await visitors.verify(conn, client_id=pizza.id, external_id="7", name=None, email=None)
        await conversations.set_owner(conn, **where, owner="human", owner_operator_id=operator.id)
        await conversations.set_locale(conn, **where, locale="he")
        await conversations.set_rating(conn, **where, rating="down")
        assert await conversations.verify(conn, **where, visitor_id=visitor.id, verified_until=soon())
    now = await _now(pool, pizza)
    assert (now.owner, now.owner_operator_id, now.locale, now.rating) == ("human", operator.id, "he", "down")
    assert now.visitor_id == visitor.id
    async with unit_of_work(pool) as conn:
        await conversations.end(conn, **where)
    ended = await _now(pool, pizza)
    assert (ended.owner, ended.owner_operator_id) == ("closed", None)
    async with unit_of_work(pool) as conn:
        await conversations.end(conn, **where)
    assert (await _now(pool, pizza)).ended_at == ended.ended_at is not None
    async with unit_of_work(pool) as conn:
        await conversations.set_owner(conn, **where, owner="ai")
    reopened = await _now(pool, pizza)
    assert (reopened.owner, reopened.ended_at) == ("ai", None)


async def test_a_clients_list_is_paged(pool: Pool, pizza: Shop) -> None:
    """The most recently active comes first; pages do not overlap."""
    others = [await another_conversation(pool, pizza.id) for _ in range(4)]
    async with unit_of_work(pool) as conn:
        await conversations.advance(conn, client_id=pizza.id, conversation_id=pizza.cnv, last_seq=1, messages_added=1)
    async with reading(pool) as conn:
        first = await conversations.list_for_client(conn, client_id=pizza.id, limit=3, offset=0)
        second = await conversations.list_for_client(conn, client_id=pizza.id, limit=3, offset=3)
    assert [row.id for row in first + second] == [pizza.cnv, *reversed(others)]
    assert first[0].last_activity_at - first[0].started_at > timedelta(0)
