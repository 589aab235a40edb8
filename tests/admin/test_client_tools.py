"""A client's tools over HTTP: secrets shown once, addresses, two who edit, and calls that try a tool out."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.net.vault import SIGNING_SECRET, Vault
from server.tools.setup.masking import MASK
from server.tools.setup.recorder import BODY_CHARACTERS
from tests.admin.console import BASE, Console
from tests.admin.setting_up import SCHEMA, TOOL, USE, audited, done, everything, refused, send
from tests.admin.test_tools import HOSTILE
from tests.flows.support import Desk, Shop
from tests.staffing import hire
from tests.tools.webhook_server import Received, Reply, WebhookServer, says, text, webhook_server

_TOOL = f"{BASE}/clients/{{client_id}}/tools/{{name}}"
NEEDS = {
    f"GET {BASE}/clients/{{client_id}}/tools": "admin",
    f"PUT {_TOOL}": "admin",
    f"DELETE {_TOOL}": "admin",
    f"POST {_TOOL}/rotate-secret": "admin",
    f"POST {_TOOL}/call": "admin",
    f"PUT {BASE}/clients/{{client_id}}/base-url": "admin",
}


@pytest.fixture
async def shop(desk: Desk, console: Console) -> Shop:
    """A client, and a tool in the catalogue that it does not use yet."""
    await done(console, "PUT /tools/get_order", TOOL)
    return await desk.shop()


@pytest.fixture
async def webhook() -> AsyncIterator[WebhookServer]:
    """The client's workflow server."""
    async with webhook_server() as server:
        yield server


async def enable(console: Console, shop: Shop, name: str = "get_order", **changes: Any) -> Any:
    """The client's tool as it was saved, a new one unless told."""
    return await done(console, f"PUT /clients/{shop.id}/tools/{name}", {**USE, **changes})


async def listed(console: Console, shop: Shop) -> list[Any]:
    rows: list[Any] = (await done(console, f"GET /clients/{shop.id}/tools"))["rows"]
    return rows


async def test_the_whole_way(desk: Desk, console: Console, shop: Shop) -> None:
    """Enabled, changed, rotated, disabled, enabled again; the secret is told when it is made and never again."""
    assert await done(console, f"GET /clients/{shop.id}/tools") == {"webhook_base_url": None, "rows": []}
    seen = len(await audited(desk))
    saved = await enable(console, shop)
    secret = saved["signing_secret"]
    assert secret.startswith("whsec_") and await stored(desk, shop) == secret
    assert saved["tool"] == {
        **{name: value for name, value in USE.items() if name != "version"},
        "tool_name": "get_order",
        "description": TOOL["description"],
        "category": "shop",
        "parameters_schema": SCHEMA,
        "bound": {},
        "effect": "read_only",
        "url": USE["n8n_webhook_url"],
        "proof": "none",
        "confirm": False,
        "signed": True,
        "problem": None,
        "version": 1,
    }
    changed = await enable(console, shop, version=1, client_proof="verified", client_confirm=True, custom_config={})
    assert changed["signing_secret"] is None and await stored(desk, shop) == secret
    tool = changed["tool"]
    assert (tool["version"], tool["proof"], tool["confirm"], tool["custom_config"]) == (2, "verified", True, {})
    rotated = (await done(console, f"POST /clients/{shop.id}/tools/get_order/rotate-secret"))["signing_secret"]
    assert rotated.startswith("whsec_") and rotated != secret and await stored(desk, shop) == rotated
    assert await done(console, f"DELETE /clients/{shop.id}/tools/get_order") is None
    [off] = await listed(console, shop)
    # A new secret is no edit: nobody's form is out of date by it.
    assert (off["enabled"], off["version"], off["n8n_webhook_url"]) == (False, 3, USE["n8n_webhook_url"])
    on = await enable(console, shop, version=3)
    assert (on["tool"]["enabled"], on["signing_secret"], await stored(desk, shop)) == (True, None, rotated)
    assert "whsec_" not in (await send(console, f"GET /clients/{shop.id}/tools")).text
    target = ("client_tool", "get_order", shop.id)
    assert (await audited(desk))[seen:] == [
        ("client_tool.enable", *target),
        ("client_tool.update", *target),
        ("client_tool.rotate_secret", "signing_secret", "get_order", shop.id),
        ("client_tool.disable", *target),
        ("client_tool.enable", *target),
    ]
    assert "whsec_" not in str(await desk.rows("select details::text from audit_log"))


async def stored(desk: Desk, shop: Shop) -> str:
    """The secret that calls are signed with."""
    [(sealed,)] = await desk.rows("select signing_secret from client_tools where client_id = %s", shop.id)
    return Vault(desk.settings.secret_keys).open(bytes(sealed), client_id=shop.id, field=SIGNING_SECRET)


async def test_set_up_before_it_is_used(console: Console, shop: Shop) -> None:
    """A tool that is not enabled yet may wait for its address; enabled it needs one."""
    saved = await enable(console, shop, enabled=False, n8n_webhook_url=None)
    assert (saved["tool"]["enabled"], saved["tool"]["url"], saved["tool"]["problem"]) == (False, None, None)
    on = {**USE, "version": 1, "n8n_webhook_url": None}
    assert (await refused(console, f"PUT /clients/{shop.id}/tools/get_order", on))[:3] == (
        422,
        "invalid",
        "n8n_webhook_url",
    )
    assert not (await listed(console, shop))[0]["enabled"]


async def test_the_base_url(desk: Desk, console: Console, shop: Shop) -> None:
    """Set, changed from what was seen, taken away; what then has nowhere to go says so."""
    route = f"PUT /clients/{shop.id}/base-url"
    seen = len(await audited(desk))
    first = await done(console, route, {"webhook_base_url": "https://n8n.example/webhook/", "was": None})
    assert first == {"webhook_base_url": "https://n8n.example/webhook"}
    saved = await enable(console, shop, n8n_webhook_url=None)
    assert saved["tool"]["url"] == "https://n8n.example/webhook/get_order"
    before = await everything(desk)
    for was in (None, "https://other.example"):
        status, code, _, message = await refused(console, route, {"webhook_base_url": "https://x.example", "was": was})
        assert (status, code) == (409, "changed_meanwhile") and "Olga" in message
    for wrong in ("webhook", "https://h.example/?key=1", "https://h.example/#x", "http://10.0.0.1", "ftp://h.example"):
        given = {"webhook_base_url": wrong, "was": first["webhook_base_url"]}
        assert (await refused(console, route, given))[:3] == (422, "invalid", "webhook_base_url")
    assert await everything(desk) == before
    assert await done(console, route, {"webhook_base_url": None, "was": first["webhook_base_url"]}) == {
        "webhook_base_url": None
    }
    [tool] = await listed(console, shop)
    assert tool["url"] is None and "webhook" in tool["problem"]
    changes = [each for each in (await audited(desk))[seen:] if each[0] == "client.webhook_base_url"]
    assert changes == 2 * [("client.webhook_base_url", "webhook_base_url", str(shop.id), shop.id)]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"n8n_webhook_url": "n8n.example"}, "n8n_webhook_url", ""),
    ({"n8n_webhook_url": "ftp://n8n.example/x"}, "n8n_webhook_url", ""),
    ({"n8n_webhook_url": "http://10.0.0.1/x"}, "n8n_webhook_url", ""),
    ({"n8n_webhook_url": ""}, "n8n_webhook_url", ""),
    ({"n8n_webhook_url": None}, "n8n_webhook_url", "the client has no webhook_base_url"),
    ({"n8n_webhook_url": 7}, "n8n_webhook_url", "expected `str | null`"),
    ({"timeout_ms": 99}, "timeout_ms", "100 to 120,000"),
    ({"timeout_ms": 120_001}, "timeout_ms", "100 to 120,000"),
    ({"timeout_ms": "5s"}, "timeout_ms", "expected `int`"),
    ({"custom_config": {"x": "y" * 20_000}}, "custom_config", "larger than 16 KB"),
    ({"custom_config": {"x": "\x00"}}, "custom_config.x", "U+0000"),
    ({"custom_config": []}, "custom_config", "expected `object`"),
    ({"client_proof": "password"}, "client_proof", ""),
    ({"client_confirm": 1}, "client_confirm", "expected `bool`"),
    ({"enabled": "on"}, "enabled", "expected `bool`"),
    ({"version": 1.5}, "version", ""),
]


async def test_bad_input_names_its_field(desk: Desk, console: Console, shop: Shop) -> None:
    """Refused with the name, and nothing changes; less proof than the catalogue asks for, and tools that are not."""
    await done(console, "PUT /tools/strict", {**TOOL, "proof": "verified"})
    before = await everything(desk)
    route = f"PUT /clients/{shop.id}/tools"
    for changes, field, said in WRONG:
        status, _, named, message = await refused(console, f"{route}/get_order", {**USE, **changes})
        assert (status, named, said in message) == (422, field, True), (field, message)
    for missing in USE:
        given = {name: value for name, value in USE.items() if name != missing}
        assert (await refused(console, f"{route}/get_order", given))[:3] == (422, "missing", missing)
    weak = await refused(console, f"{route}/strict", {**USE, "client_proof": "session"})
    assert weak[:3] == (422, "invalid", "proof") and "less than the verified" in weak[3]
    for path in ("nothing", "a%00b", "x" * 300):
        assert (await refused(console, f"{route}/{path}", USE))[0] in {404, 422}
        for other in (f"DELETE /clients/{shop.id}/tools/{path}", f"POST /clients/{shop.id}/tools/{path}/rotate-secret"):
            assert (await refused(console, other))[0] in {404, 422}
        assert (await refused(console, f"POST /clients/{shop.id}/tools/{path}/call", {}))[0] in {404, 422}
    assert await everything(desk) == before


async def test_two_who_edit_the_same(desk: Desk, console: Console, shop: Shop) -> None:
    """The second is told who was faster; of eight at the same moment one is taken."""
    await enable(console, shop)
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id, name="Ann Other"))
        theirs = (await enable(other, shop, version=1, timeout_ms=700))["tool"]
    for version in (None, 1, 7):
        given = {**USE, "version": version}
        status, code, _, message = await refused(console, f"PUT /clients/{shop.id}/tools/get_order", given)
        assert (status, code) == (409, "changed_meanwhile") and "Ann Other" in message
    assert await listed(console, shop) == [theirs]
    await done(console, f"DELETE /clients/{shop.id}/tools/get_order")
    assert (await refused(console, f"PUT /clients/{shop.id}/tools/get_order", {**USE, "version": 2}))[0] == 409
    route = f"PUT /clients/{shop.id}/tools/get_order"
    answers = await asyncio.gather(
        *(send(console, route, {**USE, "version": 3, "timeout_ms": 100 + number}) for number in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [409]
    [taken] = [answer.json()["tool"] for answer in answers if answer.is_success]
    assert await listed(console, shop) == [taken] and taken["version"] == 4


async def test_a_tool_that_is_one_clients_is_not_anothers(desk: Desk, console: Console, shop: Shop) -> None:
    """Each sees and changes its own use of the same tool."""
    other = await desk.shop()
    await enable(console, shop)
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=other.id))
        assert await listed(admin, other) == []
        for route in ("DELETE {}", "POST {}/rotate-secret", "POST {}/call"):
            path = f"/clients/{other.id}/tools/get_order"
            body: dict[str, Any] | None = {} if route.endswith("call") else None
            assert (await refused(admin, route.format(path), body))[0] == 404
        assert (await enable(admin, other, timeout_ms=900))["tool"]["version"] == 1
    [mine] = await listed(console, shop)
    assert mine["timeout_ms"] == USE["timeout_ms"]


# --- trying a tool out


async def trial(console: Console, shop: Shop, name: str = "get_order", **body: Any) -> Any:
    given = {"arguments": {"order_id": "A-1"}, **body}
    return await done(console, f"POST /clients/{shop.id}/tools/{name}/call", given)


async def untouched(desk: Desk) -> bool:
    """Whether nothing is recorded as a visitor's call."""
    counts = await desk.rows("select (select count(*) from tool_executions), (select count(*) from api_usage)")
    return counts == [(0, 0)]


async def test_a_call_shows_what_was_sent_and_what_came_back(
    desk: Desk, console: Console, shop: Shop, webhook: WebhookServer
) -> None:
    """The request that arrived, but for its signature; the answer as it came; what a model would read of it."""
    secret = (await enable(console, shop, n8n_webhook_url=f"{webhook.url}?token=hook-5ecret&shop=7"))["signing_secret"]
    webhook.script(says({"status": "shipped", "note": HOSTILE}, headers={"Set-Cookie": "a=b"}))
    seen = len(await audited(desk))
    result = await trial(console, shop)
    [arrived] = webhook.requests
    arrived.verify(secret)
    [exchange] = result["exchanges"]
    request, response = exchange["request"], exchange["response"]
    assert (result["outcome"], result["error"], exchange["error"]) == ("ok", None, None)
    assert (request["method"], request["url"]) == ("POST", f"{webhook.url}?token={MASK}&shop=7")
    assert (request["body"], request["cut"], request["parameters"]) == (arrived.body.decode(), False, None)
    assert request["headers"]["webhook-signature"] == MASK
    for name, value in request["headers"].items():
        assert value in {arrived.headers[name], MASK}
    assert request["headers"]["webhook-id"] == request["headers"]["idempotency-key"] == arrived.json["call"]["id"]
    assert (arrived.json["arguments"], arrived.json["config"]) == ({"order_id": "A-1"}, {"shop": 7})
    assert (arrived.json["conversation"]["channel"], arrived.json["callback"]) == ("console", None)
    assert (response["status"], response["headers"]["set-cookie"]) == (200, MASK)
    assert HOSTILE in response["body"] and response["bytes"] == len(response["body"].encode())
    assert HOSTILE in result["content"] and "shipped" in result["content"]
    assert 0 <= exchange["ms"] <= result["ms"] < 10_000
    assert "5ecret" not in str(result) and arrived.headers["webhook-signature"] not in str(result)
    # A call that only reads changes nothing, here neither.
    assert await untouched(desk) and (await audited(desk))[seen:] == []


async def test_an_unsafe_tool_is_called_only_really(
    desk: Desk, console: Console, shop: Shop, webhook: WebhookServer
) -> None:
    """Not by accident, once, and with a word in the audit log."""
    await done(console, "PUT /tools/book", {**TOOL, "effect": "unsafe", "confirm": True})
    await enable(console, shop, "book", n8n_webhook_url=webhook.url)
    seen = len(await audited(desk))
    route = f"POST /clients/{shop.id}/tools/book/call"
    for body in ({}, {"arguments": {"order_id": "1"}}, {"arguments": {"order_id": "1"}, "really": False}):
        assert (await refused(console, route, body))[:3] == (422, "really_needed", "really")
    assert webhook.requests == []
    webhook.default = says({"message": "boom"}, 503)
    result = await trial(console, shop, "book", really=True)
    assert (result["outcome"], len(result["exchanges"]), len(webhook.requests)) == ("in_doubt", 1, 1)
    assert "503" in result["error"] and "do not try again" in result["content"]
    assert (await audited(desk))[seen:] == [("tool.try", "trial", "book", shop.id)]
    assert await untouched(desk)


async def test_bad_arguments_are_not_sent(desk: Desk, console: Console, shop: Shop, webhook: WebhookServer) -> None:
    """They are checked as a model's; a tool for verified visitors needs one to pose as."""
    own = {"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}, "required": ["who"]}
    personal = {**TOOL, "parameters_schema": own, "bound": {"who": "visitor.email"}, "proof": "verified"}
    await done(console, "PUT /tools/mine", personal)
    await enable(console, shop, n8n_webhook_url=webhook.url)
    await enable(console, shop, "mine", n8n_webhook_url=webhook.url)
    route = f"POST /clients/{shop.id}/tools"
    before = await everything(desk)
    ann = {"id": "c-7", "email": "ann@example.com"}
    cases: list[tuple[str, dict[str, Any], str, str]] = [
        ("get_order", {}, "arguments", "'order_id' is missing"),
        ("get_order", {"arguments": {"order_id": 5}}, "arguments", "order_id: must be of type string"),
        ("get_order", {"arguments": {"order_id": "1", "x": 1}}, "arguments", "'x' is not known here"),
        ("get_order", {"arguments": {"order_id": "a\x00"}}, "arguments.order_id", "U+0000"),
        ("get_order", {"arguments": []}, "arguments", "expected `object`"),
        ("get_order", {"arguments": {"order_id": "1"}, "really": "yes"}, "really", "expected `bool`"),
        ("mine", {}, "visitor", "whom to pose as"),
        ("mine", {"visitor": {"id": "c-7"}}, "visitor", "visitor's email"),
        ("mine", {"visitor": {"email": "a@b"}}, "visitor.id", "missing"),
        ("mine", {"visitor": {"id": ""}}, "visitor.id", ""),
        ("mine", {"visitor": ann, "arguments": {"n": "1"}}, "arguments", "n: must be of type integer"),
    ]
    for name, body, field, said in cases:
        status, _, named, message = await refused(console, f"{route}/{name}/call", body)
        assert (status, named) == (422, field), (body, message)
        assert said in message
    assert webhook.requests == [] and await everything(desk) == before
    # What the server fills is the visitor's, whatever the arguments say.
    result = await trial(console, shop, "mine", visitor=ann, arguments={"who": "eve@example.com", "n": 1})
    assert result["outcome"] == "ok"
    assert webhook.requests[0].json["arguments"] == {"who": "ann@example.com", "n": 1}
    assert webhook.requests[0].json["visitor"] == {"id": "c-7", "email": "ann@example.com", "name": None}


async def test_the_bad_weather_of_a_call(console: Console, shop: Shop, webhook: WebhookServer) -> None:
    """Tried again as for visitors, taken for later, too large, no text, nobody there: each is shown as it was."""
    await enable(console, shop, n8n_webhook_url=webhook.url, timeout_ms=1_000)
    webhook.script(says({"message": "restarting"}, 503), says({"status": "shipped"}))
    again = await trial(console, shop)
    assert (again["outcome"], [each["response"]["status"] for each in again["exchanges"]]) == ("ok", [503, 200])
    webhook.script(says({"queued": True}, 202))
    later = await trial(console, shop)
    assert (later["outcome"], later["content"]) == ("accepted", "") and "202" in later["error"]
    webhook.script(text("é" * (BODY_CHARACTERS + 10)))
    long = await trial(console, shop)
    response = long["exchanges"][0]["response"]
    assert (response["cut"], response["body"]) == (True, "é" * BODY_CHARACTERS)
    assert response["bytes"] == 2 * (BODY_CHARACTERS + 10) and "[cut: " in long["content"]
    webhook.script(Reply(body=b"\xff\xfe\x00PNG", content_type="image/png"))
    binary = await trial(console, shop)
    assert binary["outcome"] == "failed" and "not UTF-8" in binary["error"]
    assert binary["exchanges"][0]["response"]["bytes"] == 6
    webhook.script(Reply(cut_at=-1), Reply(cut_at=-1))
    gone = await trial(console, shop)
    assert (gone["outcome"], gone["exchanges"][-1]["response"]) == ("failed", None)
    assert "without an answer" in gone["exchanges"][-1]["error"]
    webhook.script(Reply(wait_s=30), Reply(wait_s=30))
    slow = await trial(console, shop)
    assert slow["outcome"] == "failed" and "did not answer" in slow["exchanges"][0]["error"]
    assert 1_000 <= slow["exchanges"][0]["ms"] < 5_000
    await webhook.stop()
    nobody = await trial(console, shop)
    assert nobody["outcome"] == "failed" and "does not accept connections" in nobody["exchanges"][0]["error"]


async def test_a_server_that_repeats_what_it_was_sent(console: Console, shop: Shop, webhook: WebhookServer) -> None:
    """Its answer gives no credential away: neither the signature nor a key of the address."""

    async def echo(received: Received) -> Reply:
        return says(
            {"path": received.path, "headers": received.headers, "signature": received.headers["webhook-signature"]}
        )

    webhook.default = echo
    await enable(console, shop, n8n_webhook_url=f"{webhook.url}?api_key=hook-5ecret")
    result = await trial(console, shop)
    signature = webhook.requests[0].headers["webhook-signature"]
    assert "5ecret" in webhook.requests[0].path
    for secret in ("5ecret", signature, signature.removeprefix("v1,")):
        assert secret not in str(result)
    assert MASK in result["content"]


async def test_an_address_that_is_not_allowed_any_more(desk: Desk, console: Console, shop: Shop) -> None:
    """A private address in an old row is not called, and the answer says why."""
    await enable(console, shop)
    with socket.create_server(("127.0.0.2", 0)) as private:
        url = f"http://127.0.0.2:{private.getsockname()[1]}/x"
        await desk.rows("update client_tools set n8n_webhook_url = %s where client_id = %s", url, shop.id)
        result = await trial(console, shop)
        assert result["outcome"] == "failed" and "forbidden" in result["error"]
        private.settimeout(0)
        with pytest.raises(BlockingIOError):
            private.accept()


async def test_what_cannot_be_called_says_why(desk: Desk, console: Console, shop: Shop) -> None:
    """No address, no secret, a secret of another key."""
    await enable(console, shop, enabled=False, n8n_webhook_url=None)
    body = {"arguments": {"order_id": "1"}}
    nowhere = await refused(console, f"POST /clients/{shop.id}/tools/get_order/call", body)
    assert nowhere[:3] == (422, "invalid", "n8n_webhook_url")
    await enable(console, shop, version=1)
    for secret in (None, b"\x01nonsense"):
        await desk.rows("update client_tools set signing_secret = %s where client_id = %s", secret, shop.id)
        result = await trial(console, shop)
        assert (result["outcome"], result["exchanges"]) == ("failed", []) and "secret" in result["error"]
    await desk.rows("update client_tools set signing_secret = null where client_id = %s", shop.id)
    [tool] = await listed(console, shop)
    assert not tool["signed"] and "no signing secret" in tool["problem"]
