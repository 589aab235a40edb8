"""Internal notes over HTTP."""

import httpx
import pytest

from server.turns.notes import MOST
from tests.admin.console import BASE, Console
from tests.admin.talking import audited, get, refusal, refused, signed_in, talk
from tests.flows.support import Desk
from tests.wire_servers import Answer, WireServer

NEEDS = {
    f"GET {BASE}/conversations/{{conversation_id}}/notes": "operator",
    f"POST {BASE}/conversations/{{conversation_id}}/notes": "operator",
    f"DELETE {BASE}/notes/{{note_id}}": "operator",
}


async def test_the_way_through(desk: Desk) -> None:
    """Written, read by a colleague, deleted by its author; the log has who and when, not what."""
    shop = await desk.shop()
    made = await talk(desk, shop, "Hello")
    path = f"/conversations/{made.public_id}/notes"
    async with signed_in(desk, shop, name="Ana") as ana, signed_in(desk, shop, name="Ben") as ben:
        first = await ana.post(path, {"text": "  A <b>regular</b>. "})
        second = await ben.post(path, {"text": "Likes olives."})
        assert (first.status_code, second.status_code) == (201, 201)
        assert (first.json()["text"], first.json()["conversation_id"]) == ("A <b>regular</b>.", made.public_id)
        listed = (await get(ben, path))["rows"]
        assert listed == [first.json(), second.json()]
        assert [row["operator"]["name"] for row in listed] == ["Ana", "Ben"]
        note = f"/notes/{first.json()['id']}"
        assert refusal(await delete(ben, note))[:2] == (403, "not_yours")
        assert (await delete(ana, note)).status_code == 204
        assert refusal(await delete(ana, note))[:2] == (404, "not_found")
        async with signed_in(desk, shop, "admin") as chief:
            assert (await delete(chief, f"/notes/{second.json()['id']}")).status_code == 204
        assert (await get(ben, path))["rows"] == []
    log = await audited(desk, "note.")
    assert [action for action, _, _ in log] == ["note.create", "note.create", "note.delete", "note.delete"]
    assert {target for _, target, _ in log} == {made.public_id}
    assert "regular" not in str(log)


async def delete(console: Console, path: str) -> httpx.Response:
    """A DELETE as the page sends it."""
    return await console.http.request("DELETE", BASE + path, headers=console.headers)


async def test_neither_the_visitor_nor_the_ai_sees_it(desk: Desk, console: Console, model: WireServer) -> None:
    """It is in no frame, and in nothing that the model reads."""
    shop = await desk.shop()
    model.script(Answer("Hello."))
    async with desk.visit(shop) as (tab, welcome):
        made = await console.post(f"/conversations/{welcome.conversation_id}/notes", {"text": "Difficult customer"})
        assert made.status_code == 201
        await tab.say("Hi")
        await tab.end()
        await tab.settle()
        assert b"Difficult" not in b"".join(tab.payloads)
    assert "Difficult" not in str([request.body for request in model.requests])


async def test_another_clients(desk: Desk) -> None:
    """Neither read, nor written, nor deleted: the answers of what is not there."""
    pizza, bakery = await desk.shop(), await desk.shop()
    made = await talk(desk, pizza, "Hello")
    path = f"/conversations/{made.public_id}/notes"
    async with signed_in(desk, pizza) as theirs, signed_in(desk, bakery, "admin") as console:
        note = (await theirs.post(path, {"text": "A regular."})).json()["id"]
        before = await desk.fingerprint()
        assert await refused(console, path) == (404, "not_found", "conversation_id")
        assert refusal(await console.post(path, {"text": "x"})) == (404, "not_found", "conversation_id")
        for note_id in (note, 999_999, "x", "0", "-1", 10**18):
            assert refusal(await delete(console, f"/notes/{note_id}"))[:2] == (404, "not_found")
        assert await desk.fingerprint() == before


@pytest.mark.parametrize("text", ["", "  ", "x" * 5001, "a\0b", 7, None])
async def test_bad_texts(desk: Desk, console: Console, text: object) -> None:
    """Each is refused, and names the field."""
    made = await talk(desk, await desk.shop(), "Hello")
    answer = await console.post(f"/conversations/{made.public_id}/notes", {"text": text})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "text")


async def test_so_many_and_no_more(desk: Desk, console: Console) -> None:
    """409, once a conversation has all the notes that it may have."""
    made = await talk(desk, await desk.shop(), "Hello")
    await desk.rows(
        "insert into notes (client_id, conversation_id, content) select %s, %s, n::text from generate_series(1, %s) n",
        made.client_id,
        made.id,
        MOST,
    )
    path = f"/conversations/{made.public_id}/notes"
    assert refusal(await console.post(path, {"text": "x"}))[:2] == (409, "too_many_notes")
    rows = (await get(console, path))["rows"]
    assert len(rows) == MOST and rows[0]["operator"] is None
