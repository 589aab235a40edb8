"""The inbox: what operators see of conversations in a list."""

import psycopg
import pytest

from server.repositories import conversations, inbox, operators
from server.repositories.inbox import PREVIEW_CHARACTERS, After, InboxEntry
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import another_conversation, say


async def _speak(pool: Pool, client_id: int, conversation_id: int, *, role: str = "user") -> None:
    """A message, and the conversation's head with it."""
    await say(pool, client_id, conversation_id, seq=1, role=role)
    async with unit_of_work(pool) as conn:
        await conversations.advance(
            conn, client_id=client_id, conversation_id=conversation_id, last_seq=1, messages_added=1
        )


async def test_a_row(pool: Pool, pizza: Shop) -> None:
    """The newest message, who has it, since when somebody waits; a conversation without messages is not in it."""
    async with reading(pool) as conn:
        assert await inbox.entry(conn, client_id=pizza.id, conversation_id=pizza.cnv) is None
        assert await inbox.page(conn, client_id=pizza.id, limit=5) == []
        operator = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="operator"
        )
        await conversations.set_owner(
            conn,
            client_id=pizza.id,
            conversation_id=pizza.cnv,
            owner="human",
            owner_operator_id=operator.id,
            waiting=True,
        )
    await say(pool, pizza.id, pizza.cnv, seq=1)
    await say(pool, pizza.id, pizza.cnv, seq=2, role="assistant")
    async with reading(pool) as conn:
        row = await inbox.entry(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        assert row is not None
        assert (row.preview, row.preview_role) == ("assistant 2", "assistant")
        assert (row.owner, row.owner_operator_id, row.operator_name) == ("human", operator.id, "Olga")
        assert row.waiting_since is not None
        assert await inbox.page(conn, client_id=pizza.id, limit=5) == [row]
        assert await inbox.page_of_all(conn, limit=5) == [row]
        # The test's own statement.
        await conn.execute("update messages set content = repeat('x', 5000)")
        long = await inbox.entry(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        assert long is not None and long.preview == "x" * PREVIEW_CHARACTERS
        await conn.execute("update messages set content = null")
        removed = await inbox.entry(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        assert removed is not None and removed.preview is None


async def test_pages(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Most recently active first; pages meet without a gap; one client's has nobody else's; all clients' has all."""
    for number in range(7):
        shop = (pizza, bakery)[number % 2]
        await _speak(pool, shop.id, await another_conversation(pool, shop.id))

    async def walk(client_id: int | None) -> list[InboxEntry]:
        rows: list[InboxEntry] = []
        after: After | None = None
        while True:
            async with reading(pool) as conn:
                if client_id is None:
                    page = await inbox.page_of_all(conn, after=after, limit=2)
                else:
                    page = await inbox.page(conn, client_id=client_id, after=after, limit=2)
            if not page:
                return rows
            rows += page
            after = After(page[-1].last_activity_at, page[-1].id)

    everything = await walk(None)
    assert len(everything) == 7
    assert everything == sorted(everything, key=lambda row: (row.last_activity_at, row.id), reverse=True)
    for shop in (pizza, bakery):
        assert await walk(shop.id) == [row for row in everything if row.client_id == shop.id]


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


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("client_id = 1 and", "conversations_client_id_last_activity_at_idx"),
        ("", "conversations_last_activity_at_idx"),
    ],
)
def test_the_order_has_an_index(database_url: str, where: str, index: str) -> None:
    """Neither inbox sorts what a client has: with sequential scans and sorts off the plan walks the index."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off")
        plan = conn.execute(
            f"explain select id from conversations where {where} (last_activity_at, id) < (now(), 5) "
            "order by last_activity_at desc, id desc limit 5".encode()
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert index in text and "Sort" not in text, text
