"""Documents and passages, found by words and by meaning."""

from typing import Any

import pytest

from server import errors
from server.repositories import knowledge
from server.repositories.knowledge import Document
from server.repositories.pool import Conn, Pool, unit_of_work
from tests.repositories.conftest import Shop


async def _document(conn: Conn, shop: Shop, title: str, contents: list[str]) -> Document:
    made = await knowledge.create_document(
        conn,
        client_id=shop.id,
        title=title,
        source_type="file",
        source_url=f"https://x.example/{title}",
        content_hash=title.encode(),
    )
    await knowledge.replace_chunks(conn, client_id=shop.id, document_id=made.id, contents=contents, tokens=12)
    return made


async def test_a_documents_life(pool: Pool, pizza: Shop) -> None:
    """Pending, ready, failed, ready as a new version, deleted with its passages."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        made = await _document(conn, pizza, "menu", ["margherita with basil", "calzone"])
        assert (made.status, made.version) == ("pending", 1)
        ready = await knowledge.find_document(conn, **where, document_id=made.id)
        assert ready is not None and (ready.status, ready.version, ready.tokens) == ("ready", 1, 12)
        await knowledge.fail_document(conn, **where, document_id=made.id, error="The page is empty.")
        [failed] = await knowledge.list_documents(conn, **where)
        assert (failed.status, failed.error) == ("failed", "The page is empty.")
        assert await knowledge.search_words(conn, **where, query="basil", limit=5)
        await knowledge.replace_chunks(conn, **where, document_id=made.id, contents=["quattro stagioni"], tokens=3)
        again = await knowledge.find_document(conn, **where, document_id=made.id)
        assert again is not None and (again.status, again.version, again.error) == ("ready", 2, None)
        assert await knowledge.search_words(conn, **where, query="basil", limit=5) == []
        assert await knowledge.delete_document(conn, **where, document_id=made.id)
        assert not await knowledge.delete_document(conn, **where, document_id=made.id)
        assert await knowledge.search_words(conn, **where, query="quattro", limit=5) == []


async def test_words(pool: Pool, pizza: Shop) -> None:
    """Any of the words finds, more of them rank higher; hostile text is only text."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        await _document(conn, pizza, "faq", ["we deliver to Eilat", "we deliver to Eilat on Friday", "משלוחים לאילת"])
        found = await knowledge.search_words(conn, **where, query="Do you deliver to Eilat on friday?", limit=5)
        assert [passage.position for passage in found] == [2, 1]
        assert (found[0].title, found[0].source_url) == ("faq", "https://x.example/faq")
        assert found[0].score > found[1].score > 0
        [hebrew] = await knowledge.search_words(conn, **where, query="לאילת", limit=5)
        assert hebrew.position == 3
        for hostile in ("", " ", "'; drop table clients; --", "a & | !( <-> :*", "\\", "'" * 50):
            assert await knowledge.search_words(conn, **where, query=hostile, limit=5) == []


async def test_meaning(pool: Pool, pizza: Shop) -> None:
    """The nearest first; passages without an embedding, or of another width, are left out."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        assert await knowledge.has_embeddings(conn)
        near = await _document(conn, pizza, "near", ["one", "two", "three"])
        wide = await _document(conn, pizza, "wide", ["four"])
        await knowledge.set_embeddings(conn, **where, document_id=near.id, embeddings=[[0.0, 1.0], [0.9, 0.1]])
        await knowledge.set_embeddings(conn, **where, document_id=wide.id, embeddings=[[1.0, 0.0, 0.0]])
        found = await knowledge.search_meaning(conn, **where, embedding=[1.0, 0.0], limit=5)
        assert [passage.content for passage in found] == ["two", "one"]
        assert found[0].score == pytest.approx(0.9939, abs=1e-4)
        assert found[1].score == pytest.approx(0)
        assert len(await knowledge.search_meaning(conn, **where, embedding=[1.0, 0.0], limit=1)) == 1


async def test_the_same_source_twice(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Refused for one client, fine for two."""
    async with unit_of_work(pool) as conn:
        await _document(conn, pizza, "faq", [])
        await _document(conn, bakery, "faq", [])
    with pytest.raises(errors.Conflict) as caught:
        async with unit_of_work(pool) as conn:
            await _document(conn, pizza, "faq", [])
    assert caught.value.code == "document_exists"
