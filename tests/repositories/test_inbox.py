"""The inbox: what operators see of conversations in a list."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from server.repositories import conversations, inbox, operators, visitors
from server.repositories.inbox import PREVIEW_CHARACTERS, After, Filter, InboxEntry
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import crowd, plan_of
from tests.repositories.world import another_conversation, say, soon


async def speak(pool: Pool, client_id: int, conversation_id: int, *, role: str = "user") -> None:
    """A message, and the conversation's head with it."""
    await say(pool, client_id, conversation_id, seq=1, role=role)
    async with unit_of_work(pool) as conn:
        await conversations.advance(
            conn, client_id=client_id, conversation_id=conversation_id, last_seq=1, messages_added=1
        )


async def test_a_row(pool: Pool, pizza: Shop) -> None:
    """The newest message, who has it, since when somebody waits, who they are, what it cost; a conversation without
    messages is not in it."""
    where: dict[str, Any] = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    async with reading(pool) as conn:
        assert await inbox.entry(conn, **where) is None
        assert await inbox.page(conn, client_id=pizza.id, limit=5) == []
        operator = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="operator"
        )
        await conversations.set_owner(conn, **where, owner="human", owner_operator_id=operator.id, waiting=True)
        await conversations.set_rating(conn, **where, rating="down")
        visitor = await visitors.verify(conn, client_id=pizza.id, external_id="v1", name="Ann", email=None)
        assert await conversations.verify(conn, **where, visitor_id=visitor.id, verified_until=soon())
    for role in ("user", "assistant"):
        await speak(pool, pizza.id, pizza.cnv, role=role)
    async with reading(pool) as conn:
        row = await inbox.entry(conn, **where)
        assert row is not None
        assert (row.preview, row.preview_role) == ("assistant 1", "assistant")
        assert (row.owner, row.owner_operator_id, row.operator_name) == ("human", operator.id, "Olga")
        assert (row.visitor_name, row.channel, row.rating, row.total_messages) == ("Ann", "widget", "down", 2)
        assert row.cost == Decimal("0.0000024690")
        assert row.waiting_since is not None
        assert await inbox.page(conn, client_id=pizza.id, limit=5) == [row]
        assert await inbox.page_of_all(conn, limit=5) == [row]
        # The test's own statement.
        await conn.execute("update messages set content = repeat('x', 5000)")
        long = await inbox.entry(conn, **where)
        assert long is not None and long.preview == "x" * PREVIEW_CHARACTERS
        await conn.execute("update messages set content = null")
        removed = await inbox.entry(conn, **where)
        assert removed is not None and removed.preview is None


async def test_the_consoles_own_chats_are_no_visitors(pool: Pool, pizza: Shop) -> None:
    """A playground's chat and a test run's are in no list, whatever is asked for."""
    await speak(pool, pizza.id, pizza.cnv)
    async with reading(pool) as conn:
        # The test's own statement.
        await conn.execute("update conversations set channel = 'console'")
    for wanted in (Filter(), Filter(owner="ai")):
        assert await walk(pool, pizza.id, wanted) == await walk(pool, None, wanted) == []


async def test_a_place_of_another_client_leads_nowhere(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """A conversation is found with its own client alone."""
    await speak(pool, pizza.id, pizza.cnv)
    at = datetime.now(UTC)
    async with reading(pool) as conn:
        assert await inbox.rows(conn, places=[After(at, pizza.cnv, bakery.id)]) == []
        assert [row.id for row in await inbox.rows(conn, places=[After(at, pizza.cnv, pizza.id)])] == [pizza.cnv]
        assert await inbox.rows(conn, places=[]) == []


async def walk(pool: Pool, client_id: int | None, wanted: Filter, *, limit: int = 2) -> list[InboxEntry]:
    """All pages."""
    rows: list[InboxEntry] = []
    after: After | None = None
    while True:
        async with reading(pool) as conn:
            if client_id is None:
                page = await inbox.page_of_all(conn, wanted=wanted, after=after, limit=limit)
            else:
                page = await inbox.page(conn, client_id=client_id, wanted=wanted, after=after, limit=limit)
        if not page:
            return rows
        rows += page
        after = After(page[-1].last_activity_at, page[-1].id)


async def test_pages(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Most recently active first; pages meet without a gap; one client's has nobody else's; all clients' has all."""
    for number in range(7):
        shop = (pizza, bakery)[number % 2]
        await speak(pool, shop.id, await another_conversation(pool, shop.id))
    everything = await walk(pool, None, Filter())
    assert len(everything) == 7
    assert everything == sorted(everything, key=lambda row: (row.last_activity_at, row.id), reverse=True)
    for shop in (pizza, bakery):
        assert await walk(pool, shop.id, Filter()) == [row for row in everything if row.client_id == shop.id]


async def test_every_filter(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Each combination gives what is so and nothing else, in the same order, over pages that cut anywhere."""
    states = list(itertools.product(("ai", "queued", "human", "closed"), (None, "up", "down"), (False, True)))
    for number, (owner, rating, waiting) in enumerate(states):
        shop = (pizza, bakery)[number % 3 == 0]
        made = await another_conversation(pool, shop.id)
        await speak(pool, shop.id, made)
        async with reading(pool) as conn:
            # The test's own statement: states of all kinds, two of them active at the very same moment.
            await conn.execute(
                "update conversations set owner = %s, rating = %s, waiting_since = case when %s then now() end, "
                "last_activity_at = %s where id = %s",
                [owner, rating, waiting, datetime(2031, 1, 1 + number // 2, tzinfo=UTC), made],
            )
    everything = await walk(pool, None, Filter(), limit=5)
    assert len(everything) == len(states) == 24
    owners, ratings, waits = (None, "ai", "queued", "human", "closed"), (None, "up", "down"), (None, False, True)
    for wanted in itertools.starmap(Filter, itertools.product(owners, ratings, waits)):
        expected = [
            row
            for row in everything
            if wanted.owner in {None, row.owner}
            and wanted.rating in {None, row.rating}
            and wanted.waiting in {None, row.waiting_since is not None}
        ]
        assert await walk(pool, None, wanted, limit=3) == expected
        for shop in (pizza, bakery):
            assert await walk(pool, shop.id, wanted, limit=3) == [row for row in expected if row.client_id == shop.id]


async def test_a_wait_begins_once(pool: Pool, pizza: Shop) -> None:
    """Since when a visitor waits stays until somebody answers."""
    where = {"client_id": pizza.id, "conversation_id": pizza.cnv}
    seen = []
    for waiting in (True, True, False, True):
        async with unit_of_work(pool) as conn:
            await conversations.set_waiting(conn, **where, waiting=waiting)
        async with reading(pool) as conn:
            row = await conversations.find(conn, **where)
        assert row is not None
        seen.append(row.waiting_since)
    assert seen[0] == seen[1] is not None
    assert seen[2] is None
    assert seen[3] is not None and seen[0] is not None and seen[3] > seen[0]


_WALK: dict[str, Any] = {
    "states": ["ai unrated", "closed down waiting"],
    "last_activity_at": datetime(2031, 1, 1, tzinfo=UTC),
    "id": 5,
    "limit": 51,
}


@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.usefixtures("bakery")
def test_a_page_walks_its_index(database_url: str, pizza: Shop, of_all: bool) -> None:
    """Every filter and the place in the order are conditions of the index, in its own order: the one sort is of what
    the short walks give."""
    crowd(database_url)
    if of_all:
        plan = plan_of(database_url, inbox.near_of_all, **_WALK)
    else:
        plan = plan_of(database_url, inbox.near, **_WALK, client_id=pizza.id)
    index = "conversations_inbox_of_all_idx" if of_all else "conversations_inbox_idx"
    assert f"Index Scan using {index}" in plan or f"Index Only Scan using {index}" in plan, plan
    [condition] = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "inbox_state = " in condition and "ROW(last_activity_at, id)" in condition, plan
    assert of_all or "client_id = " in condition
    assert "Filter" not in plan and plan.count("Sort Key") == 1, plan


def test_rows_are_read_by_their_keys(database_url: str) -> None:
    """The conversations by their keys, the newest message and the sum along the conversation's own messages."""
    plan = plan_of(database_url, inbox.rows, client_ids=[1], ids=[1], characters=200)
    assert "Seq Scan" not in plan, plan
    assert plan.count("messages_conversation_id_id_idx") == 2, plan


async def test_places(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Where the next ones stand, with their clients."""
    for shop in (pizza, bakery):
        await speak(pool, shop.id, shop.cnv)
    async with reading(pool) as conn:
        first, second = await inbox.near_of_all(conn, limit=5)
        assert (first.id, first.client_id, second.id, second.client_id) == (bakery.cnv, bakery.id, pizza.cnv, pizza.id)
        assert await inbox.near(conn, client_id=pizza.id, limit=5) == [second]
        assert await inbox.near_of_all(conn, after=first, limit=5) == [second]
        assert await inbox.near(conn, client_id=pizza.id, after=second, limit=5) == []
