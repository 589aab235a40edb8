"""The inbox by words: whichever way they are looked for, the same conversations in the same order."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from server import ids
from server.repositories import conversations, inbox, inbox_search, messages, visitors
from server.repositories.inbox import After, Filter, InboxEntry
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.plans import crowd, plan_of
from tests.repositories.world import NOW, another_conversation, soon


async def say(pool: Pool, client_id: int, conversation_id: int, text: str) -> None:
    """One message more, and the conversation's head with it."""
    async with unit_of_work(pool) as conn:
        await messages.create(
            conn,
            client_id=client_id,
            conversation_id=conversation_id,
            public_id=ids.message_id(),
            role="user",
            content=text,
            seq=1,
            created_at=NOW,
        )
        await conversations.advance(
            conn, client_id=client_id, conversation_id=conversation_id, last_seq=1, messages_added=1
        )


async def find(pool: Pool, client_id: int | None, text: str, *, wanted: Filter | None = None) -> list[int]:
    """The conversations that have the words, by both ways, which must agree."""
    wanted = wanted or Filter()
    async with reading(pool) as conn:
        words = await inbox_search.words(conn, text=text)
        assert words is not None
        if client_id is None:
            rows = await inbox_search.page_of_all(conn, words=words, wanted=wanted, limit=50)
            named = await inbox_search.hits_of_all(conn, words=words, wanted=wanted, limit=50)
        else:
            rows = await inbox_search.page(conn, client_id=client_id, words=words, wanted=wanted, limit=50)
            named = await inbox_search.hits(conn, client_id=client_id, words=words, wanted=wanted, limit=50)
    assert [row.id for row in rows] == [place.id for place in named]
    return [row.id for row in rows]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("Where is order A-4711?", "4711"),
        ("Where is order A-4711?", "a-4711"),
        ("Where is order A-4711?", "#4711 (order)"),
        ("Where is order A-4711?", "ORD whe"),
        ("mail me at ann.smith@example.com", "smith"),
        ("mail me at ann.smith@example.com", "Ann.Smith@example"),
        ("see https://shop.example/p/olives?x=1", "olives"),
        ("see https://shop.example/p/olives?x=1", "shop.example/p"),
        ("it costs 12.50, or -3", "12.50"),
        ("it costs 12.50, or -3", "3"),
        ("<b>bold</b> & 'quoted' \\ back", "bold quoted back"),
        ("איפה ההזמנה שלי?", "ההזמנה"),
        ("ÄRGER im Café", "ärger caf"),
        ("Привет, мир", "при"),
        ("多谢 你们", "你们"),
        ("it's @12 o'clock", "12"),
    ],
)
async def test_words(pool: Pool, pizza: Shop, said: str, asked: str) -> None:
    """Each word as the beginning of one, in any case and order; punctuation only parts words."""
    await say(pool, pizza.id, pizza.cnv, "Hello")
    await say(pool, pizza.id, pizza.cnv, said)
    assert await find(pool, pizza.id, asked) == [pizza.cnv]
    assert await find(pool, pizza.id, asked + " nowhere") == []


@pytest.mark.parametrize("text", ["", "   ", "?!", "'\\' & | ! :* <->", "🙂"])
async def test_no_words(pool: Pool, text: str) -> None:
    """What people type and Postgres would take for operators is punctuation."""
    async with reading(pool) as conn:
        assert await inbox_search.words(conn, text=text) is None


async def test_nobody_finds_by_a_clients_own_word(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """The word that stands for a client cannot be asked for, and cannot be said."""
    await say(pool, pizza.id, pizza.cnv, f"mine is @{bakery.id}")
    async with reading(pool) as conn:
        words = await inbox_search.words(conn, text=f"@{pizza.id}")
        assert words is not None and words.startswith(f"'{pizza.id}'")
        assert await inbox_search.hits(conn, client_id=bakery.id, words="'mine':*", limit=5) == []
        [found] = await inbox_search.hits_of_all(conn, words="'mine':*", limit=5)
        assert (found.id, found.client_id) == (pizza.cnv, pizza.id)


async def test_a_letter_alone(pool: Pool, pizza: Shop) -> None:
    """Is a whole word, and no beginning; two letters are a beginning."""
    await say(pool, pizza.id, pizza.cnv, "plan b, 7 days, olives")
    for asked, found in (("b", True), ("7", True), ("o", False), ("ol", True), ("d", False), ("B days", True)):
        assert await find(pool, pizza.id, asked) == ([pizza.cnv] if found else []), asked


async def test_all_words_in_one_message(pool: Pool, pizza: Shop) -> None:
    """Two words that stand in two messages are not found together."""
    await say(pool, pizza.id, pizza.cnv, "olives")
    await say(pool, pizza.id, pizza.cnv, "capers")
    assert await find(pool, pizza.id, "olives") == await find(pool, pizza.id, "capers") == [pizza.cnv]
    assert await find(pool, pizza.id, "olives capers") == []


async def test_the_visitors_name_and_address(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Of the client's own visitors alone."""
    async with reading(pool) as conn:
        visitor = await visitors.verify(
            conn, client_id=pizza.id, external_id="v1", name="Ann Smith", email="ann@mail.example"
        )
        assert await conversations.verify(
            conn, client_id=pizza.id, conversation_id=pizza.cnv, visitor_id=visitor.id, verified_until=soon()
        )
    for shop in (pizza, bakery):
        await say(pool, shop.id, shop.cnv, "Hello")
    for asked in ("smith", "ann@mail", "ann smith mail"):
        assert await find(pool, pizza.id, asked) == await find(pool, None, asked) == [pizza.cnv]
        assert await find(pool, bakery.id, asked) == []
    async with reading(pool) as conn:
        assert await visitors.erase(conn, client_id=pizza.id, visitor_id=visitor.id)
    assert await find(pool, pizza.id, "smith") == []


async def test_what_retention_removes_is_not_found(pool: Pool, pizza: Shop) -> None:
    """The words go with the text."""
    await say(pool, pizza.id, pizza.cnv, "olives")
    assert await find(pool, pizza.id, "olives") == [pizza.cnv]
    async with reading(pool) as conn:
        # The test's own statement, as retention does it.
        await conn.execute("update messages set content = null")
    assert await find(pool, pizza.id, "olives") == []


async def test_a_place_of_another_client_does_not_match(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """A conversation is looked through with its own client alone."""
    await say(pool, pizza.id, pizza.cnv, "olives")
    async with reading(pool) as conn:
        for client_id, found in ((bakery.id, set()), (pizza.id, {pizza.cnv})):
            places = [After(NOW, pizza.cnv, client_id)]
            assert await inbox_search.matching(conn, places=places, words="'olives':*") == found


WORDS = ("olives", "capers", "bread", "wine", "order", "refund")


@pytest.mark.parametrize("seed", range(4))
async def test_every_way_gives_the_same(
    pool: Pool, pizza: Shop, bakery: Shop, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random conversations, words, filters and page lengths, with a sample so small that all ways are taken: what a
    naive look finds."""
    monkeypatch.setattr(inbox_search, "SAMPLE", 3)
    monkeypatch.setattr(inbox_search, "MOST", 9)
    chance = random.Random(seed)
    said: dict[int, list[set[str]]] = {}
    for _ in range(40):
        shop = chance.choice((pizza, bakery))
        made = await another_conversation(pool, shop.id)
        # A few words are everywhere, the others hardly anywhere.
        texts = [set(chance.choices(WORDS, weights=(40, 20, 5, 2, 2, 1), k=3)) for _ in range(chance.randint(1, 3))]
        for text in texts:
            await say(pool, shop.id, made, " ".join(text))
        said[made] = texts
        async with reading(pool) as conn:
            # The test's own statement.
            await conn.execute(
                "update conversations set owner = %s, last_activity_at = %s where id = %s",
                [chance.choice(("ai", "closed")), datetime(2031, 1, chance.randint(1, 20), tzinfo=UTC), made],
            )
            everything = await inbox.page_of_all(conn, limit=100)
    for _ in range(40):
        asked = set(chance.sample(WORDS, chance.choice((1, 1, 2))))
        client_id = chance.choice((None, pizza.id, bakery.id))
        wanted = Filter(owner=chance.choice((None, "ai", "closed")))
        expected = [
            row.id
            for row in everything
            if client_id in {None, row.client_id}
            and wanted.owner in {None, row.owner}
            and any(asked <= text for text in said[row.id])
        ]
        assert await _walk(pool, client_id, asked, wanted, limit=chance.randint(1, 6)) == expected


async def _walk(pool: Pool, client_id: int | None, asked: set[str], wanted: Filter, *, limit: int) -> list[int]:
    """All pages."""
    found: list[int] = []
    given: dict[str, Any] = {"words": " & ".join(f"'{word}':*" for word in asked), "wanted": wanted, "limit": limit}
    after: After | None = None
    while True:
        page: list[InboxEntry]
        async with reading(pool) as conn:
            if client_id is None:
                page = await inbox_search.page_of_all(conn, **given, after=after)
            else:
                page = await inbox_search.page(conn, client_id=client_id, **given, after=after)
        found += [row.id for row in page]
        if len(page) < limit:
            return found
        after = After(page[-1].last_activity_at, page[-1].id)


_GIVEN: dict[str, Any] = {
    "words": "'word17':*",
    "states": ["ai unrated"],
    "last_activity_at": datetime(2031, 1, 1, tzinfo=UTC),
    "id": 5,
    "limit": 51,
}


@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.usefixtures("pizza")
def test_the_words_have_an_index(database_url: str, bakery: Shop, of_all: bool) -> None:
    """The messages and the visitors that have the words are found by their indexes on words."""
    crowd(database_url)
    if of_all:
        plan = plan_of(database_url, inbox_search.hits_of_all, **_GIVEN)
    else:
        plan = plan_of(database_url, inbox_search.hits, **_GIVEN, client_id=bakery.id)
    assert "messages_search_idx" in plan and "visitors_search_idx" in plan, plan
    assert "Seq Scan" not in plan, plan


@pytest.mark.usefixtures("bakery")
def test_a_look_through_goes_message_by_message(database_url: str, pizza: Shop) -> None:
    """By the conversation's own messages: the index on words would be read once for every conversation."""
    crowd(database_url)
    places = {"client_ids": [pizza.id] * 3, "ids": [pizza.cnv] * 3}
    plan = plan_of(database_url, inbox_search.matching, **places, words="'word17':*")
    assert "messages_conversation_id_id_idx" in plan, plan
    assert "search_idx" not in plan and "Seq Scan" not in plan, plan
