"""The playground over HTTP and the visitors' socket, as the console's page uses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server.protocol import VERSION
from server.protocol.visitor import Error, Hello, MessageCompleted, SessionProof, Snapshot, Welcome
from server.settings import Settings
from tests.admin.console import BASE, Console
from tests.admin.setting_up import audited, done, refused
from tests.flows.support import Desk, Shop, Tab, open_desk
from tests.flows.tooling import add_tool, use
from tests.staffing import hire
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import webhook
from tests.wire_servers import Answer, Failure, WireServer

__all__ = ["webhook"]

NEEDS = {
    f"POST {BASE}/clients/{{client_id}}/playground": "admin",
    f"GET {BASE}/clients/{{client_id}}/playground/usage": "admin",
    f"GET {BASE}/playground/{{session_id}}": "admin",
    f"PUT {BASE}/playground/{{session_id}}": "admin",
    f"GET {BASE}/playground/{{session_id}}/turns": "admin",
    f"GET {BASE}/turns/{{turn_id}}": "admin",
}
DRAFT: dict[str, Any] = {"system_prompt": "You sell boats.", "model": {"temperature": 0.5}, "tools": []}
EMPTY: dict[str, Any] = {"system_prompt": None, "model": None, "tools": None}


@pytest.fixture
async def local(settings: Settings) -> AsyncIterator[Desk]:
    """An installation that may call webhooks on this machine."""
    async with open_desk(msgspec.structs.replace(settings, allow_private_egress=("127.0.0.1/32",))) as desk:
        yield desk


async def begin(console: Console, shop: Shop, **body: Any) -> dict[str, Any]:
    """A chat of the playground."""
    answer = await console.send("POST", f"/clients/{shop.id}/playground", body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


@asynccontextmanager
async def chatting(desk: Desk, shop: Shop, begun: dict[str, Any]) -> AsyncIterator[tuple[Tab, Welcome]]:
    """The page's socket, of the console's own origin."""
    async with desk.tab(shop, origin=desk.url) as tab:
        yield tab, await tab.hello(SessionProof(id=begun["session_id"], token=begun["session_token"]))


async def ask(desk: Desk, shop: Shop, begun: dict[str, Any], text: str) -> str:
    """Says something and waits for the end; the turn's id."""
    async with chatting(desk, shop, begun) as (tab, _):
        await tab.say(text)
        return (await tab.end()).turn_id


async def test_the_whole_way(desk: Desk, console: Console, model: WireServer) -> None:
    """Begun with a draft, talked over the visitors' socket, another draft, read back: turns with what they cost."""
    shop = await desk.shop()
    begun = await begin(console, shop, draft=DRAFT, locale="he")
    assert (begun["public_key"], begun["client_id"], begun["locale"]) == (shop.key, shop.id, "he")
    assert begun["draft"] == DRAFT
    async with chatting(desk, shop, begun) as (tab, welcome):
        assert (welcome.conversation_id, welcome.session.id) == (begun["conversation_id"], begun["session_id"])
        await tab.say("First")
        assert isinstance(await tab.end(), MessageCompleted)
        changed = await done(console, f"PUT /playground/{begun['session_id']}", {**EMPTY, "system_prompt": "Planes."})
        assert changed["draft"] == {**EMPTY, "system_prompt": "Planes."}
        await tab.say("Second")
        assert isinstance(await tab.end(), MessageCompleted)
        # The same frames as a visitor's tab gets.
        assert list(tab.view.texts.values()) == ["First", "You said: First", "Second", "You said: Second"]
    prompts = [request.body["messages"][0]["content"].split("\n")[0] for request in model.requests]
    assert prompts == ["You sell boats.", "Planes."] and model.requests[0].body["temperature"] == 0.5
    state = await done(console, f"GET /playground/{begun['session_id']}")
    assert state == changed and datetime.fromisoformat(state["updated_at"])
    [second, first] = (page := await done(console, f"GET /playground/{begun['session_id']}/turns"))["rows"]
    assert page["before"] is None
    assert (first["question"], first["answer"], first["status"]) == ("First", "You said: First", "done")
    assert (first["tokens_input"], first["tokens_output"], first["model_calls"], first["tool_calls"]) == (27, 9, 1, 0)
    assert float(first["cost"]) > 0 and first["ms"] >= 0 and first["error"] is None
    one = await done(console, f"GET /playground/{begun['session_id']}/turns?limit=1")
    assert [row["turn_id"] for row in one["rows"]] == [second["turn_id"]] == [one["before"]]
    rest = await done(console, f"GET /playground/{begun['session_id']}/turns?limit=1&before={one['before']}")
    assert (rest["rows"], rest["before"]) == ([first], None)
    assert [row[0] for row in await audited(desk)] == ["playground.begin", "playground.draft"]
    used = await done(console, f"GET /clients/{shop.id}/playground/usage")
    assert (used["conversations"], used["messages"], used["tokens_input"]) == (1, 4, 54)
    assert float(used["cost"]) == pytest.approx(2 * float(first["cost"])) and used["since"].endswith("-01")
    assert await desk.rows("select count(*) from api_usage") == [(0,)]


async def test_the_whole_truth(local: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """Raw request and response of each call, the tool's arguments and result, and where the time went."""
    shop = await local.shop()
    await add_tool(local, shop, webhook.url, "look_up")
    webhook.script(says({"stock": 3}))
    model.script(Answer("One moment.", tools=(use("look_up", item="tea"),)), Answer("There are three."))
    async with Console.of(local.url) as console:
        await console.sign_in(await hire(local.pool, local.keyring))
        begun = await begin(console, shop)
        turn_id = await ask(local, shop, begun, "Is there tea?")
        truth = await done(console, f"GET /turns/{turn_id}")
    assert (truth["turn_id"], truth["client_id"], truth["channel"]) == (turn_id, shop.id, "console")
    assert (truth["question"], truth["answer"]) == ("Is there tea?", "One moment.\n\nThere are three.")
    first, second = truth["model_calls"]
    for call, request in zip((first, second), model.requests, strict=True):
        assert msgspec.json.decode(call["request"]) == request.body
        assert call["request_bytes"] == len(call["request"].encode())
        assert call["tries"] == [{"method": "POST", "url": f"{model.url}/chat/completions", "status": 200}]
        assert (call["tokens_input"], call["tokens_output"], call["error"]) == (27, 9, None)
    assert "look_up" in first["response"] and "data: [DONE]" in second["response"]
    [tool] = truth["tool_calls"]
    assert (tool["call_id"], tool["no"], tool["name"]) == (f"{turn_id}:2", 2, "look_up")
    assert (tool["arguments"], tool["response"], tool["result"]) == ({"item": "tea"}, {"stock": 3}, '{"stock":3}')
    assert (tool["ok"], tool["attempt"], tool["approval"], tool["error"]) == (True, 1, None, None)
    kinds = [span["kind"] for span in truth["spans"]]
    assert kinds == ["preparing", "model", "first", "tool", "model", "first", "writing"]
    starts = [span["start_ms"] for span in truth["spans"]]
    assert starts == sorted(starts) and all(span["ms"] >= 0 and span["ok"] for span in truth["spans"])
    assert truth["spans"][-1]["start_ms"] + truth["spans"][-1]["ms"] <= truth["ms"] + 1


async def test_a_turn_that_failed(desk: Desk, console: Console, model: WireServer) -> None:
    """Says why, with what the provider said."""
    shop = await desk.shop()
    begun = await begin(console, shop)
    model.script(Failure(400, "no such model here"))
    truth = await done(console, f"GET /turns/{await ask(desk, shop, begun, 'Hi')}")
    assert (truth["status"], truth["answer"]) == ("failed", None)
    assert "no such model here" in truth["error"]
    [call] = truth["model_calls"]
    assert "no such model here" in call["response"] and call["tries"][-1]["status"] == 400
    assert {span["kind"]: span["ok"] for span in truth["spans"]}["model"] is False


async def test_a_visitors_turn(desk: Desk, console: Console) -> None:
    """Is told without raw calls: none are kept."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await tab.say("Hi")
        end = await tab.end()
    truth = await done(console, f"GET /turns/{end.turn_id}")
    assert (truth["channel"], truth["answer"], truth["model_calls"]) == ("widget", "You said: Hi", [])


# --- who may


async def test_the_consoles_page_has_the_consoles_chats_alone(desk: Desk, console: Console) -> None:
    """It begins none by itself and takes none of a visitor; another website takes none of the console's."""
    shop, other = await desk.shop(), await desk.shop()
    begun = await begin(console, shop)
    async with desk.visit(shop) as (_, visitor):
        pass
    mine = SessionProof(id=begun["session_id"], token=begun["session_token"])
    for proof, code, close in (
        (None, "origin_not_allowed", 4403),
        (visitor.session, "origin_not_allowed", 4403),
        (SessionProof(id=mine.id, token="st_wrong"), "bad_token", 4401),
    ):
        async with desk.tab(shop, origin=desk.url) as tab:
            await tab.send(Hello(v=VERSION, key=shop.key, session=proof))
            assert (await tab.next(Error)).code == code
            with pytest.raises(ConnectionClosed) as closed:
                await tab.read()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == close
    with pytest.raises(InvalidStatus) as turned_away:
        async with desk.tab(shop, origin="https://evil.example"):
            pass
    assert turned_away.value.response.status_code == 403
    async with desk.tab(other) as tab:
        await tab.send(Hello(v=VERSION, key=shop.key, session=mine))
        assert (await tab.next(Error)).code == "origin_not_allowed"


async def test_a_chat_goes_on(two: Desk) -> None:
    """After a reload, on another instance: what was said is there."""
    shop = await two.shop()
    async with Console.of(two.url) as console:
        await console.sign_in(await hire(two.pool, two.keyring))
        begun = await begin(console, shop)
        await ask(two, shop, begun, "Hi")
        async with two.tab(shop, on=1, origin=two.instances[1].url) as tab:
            await tab.hello(SessionProof(id=begun["session_id"], token=begun["session_token"]))
            await tab.next(Snapshot)
            assert list(tab.view.texts.values()) == ["Hi", "You said: Hi"]


async def test_another_clients(desk: Desk, console: Console) -> None:
    """Sessions and turns of another client are not there, in the words of those that are not."""
    shop, other = await desk.shop(), await desk.shop()
    begun = await begin(console, shop)
    turn_id = await ask(desk, shop, begun, "Hi")
    before = await desk.fingerprint()
    async with Console.of(desk.url) as theirs:
        await theirs.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=other.id))
        before = await desk.fingerprint()
        for route, body, words in (
            ("GET /playground/{}", None, "there is no such session"),
            ("PUT /playground/{}", EMPTY, "there is no such session"),
            ("GET /playground/{}/turns", None, "there is no such session"),
        ):
            for session_id in (begun["session_id"], "ses_nobody"):
                answer = await refused(theirs, route.format(session_id), body)
                assert (answer[0], answer[3]) == (404, words)
        for each in (turn_id, "trn_nobody"):
            assert (await refused(theirs, f"GET /turns/{each}"))[0] == 404
    assert await desk.fingerprint() == before


# --- bad input


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"draft": {"system_prompt": "x"}}, "draft.model"),
        ({"draft": {**EMPTY, "system_prompt": 5}}, "draft.system_prompt"),
        ({"draft": {**EMPTY, "system_prompt": "x" * 20_001}}, "draft.system_prompt"),
        ({"draft": {**EMPTY, "model": {"temperature": 3}}}, "draft.model.temperature"),
        ({"draft": {**EMPTY, "model": {"provider": "acme"}}}, "draft.model.provider"),
        ({"draft": {**EMPTY, "model": {"provider": "anthropic"}}}, "draft.model.provider"),
        ({"draft": {**EMPTY, "tools": ["nothing"]}}, "draft.tools[0]"),
        ({"draft": {**EMPTY, "tools": [""]}}, "draft.tools[0]"),
        ({"draft": {**EMPTY, "tools": "all"}}, "draft.tools"),
        ({"locale": "no spaces"}, "locale"),
    ],
)
async def test_bad_input(desk: Desk, console: Console, body: dict[str, Any], field: str) -> None:
    """422 that names the field; nothing begins and nothing changes."""
    shop = await desk.shop()
    begun = await begin(console, shop)
    before = await desk.fingerprint()
    status, _, named, _ = await refused(console, f"POST /clients/{shop.id}/playground", body)
    assert (status, named) == (422, field)
    if "draft" in body:
        status, _, named, _ = await refused(console, f"PUT /playground/{begun['session_id']}", body["draft"])
        assert status == 422 and named is not None and field.endswith(named.removeprefix("draft."))
    assert await desk.fingerprint() == before


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "page=2"])
async def test_a_bad_page(desk: Desk, console: Console, query: str) -> None:
    """422, with the parameter."""
    shop = await desk.shop()
    begun = await begin(console, shop)
    status, _, field, _ = await refused(console, f"GET /playground/{begun['session_id']}/turns?{query}")
    assert (status, field) == (422, query.split("=", maxsplit=1)[0])


async def test_no_token_in_sight(desk: Desk, console: Console) -> None:
    """The session's token is told once, to who began it, and kept nowhere."""
    shop = await desk.shop()
    begun = await begin(console, shop)
    turn_id = await ask(desk, shop, begun, "Hi")
    for path in (f"/playground/{begun['session_id']}", f"/playground/{begun['session_id']}/turns", f"/turns/{turn_id}"):
        assert begun["session_token"] not in (await console.send("GET", path)).text
    assert "sk-" not in (await console.send("GET", f"/turns/{turn_id}")).text
    assert msgspec.json.encode(begun).decode().count(begun["session_token"]) == 1
