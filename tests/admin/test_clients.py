"""Clients over the console's API: created, listed, edited by two at once, suspended; keys, embed code, sightings."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from server import access
from server.net.signing import Keyring
from server.repositories import sightings, usage
from server.repositories.pool import reading
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, Shop
from tests.staffing import hire

NEEDS = {
    f"GET {BASE}/clients": "admin",
    f"POST {BASE}/clients": "owner",
    f"GET {BASE}/clients/{{client_id}}": "admin",
    f"PUT {BASE}/clients/{{client_id}}": "admin",
    f"POST {BASE}/clients/{{client_id}}/suspend": "owner",
    f"POST {BASE}/clients/{{client_id}}/activate": "owner",
    f"POST {BASE}/clients/{{client_id}}/rotate-api-key": "admin",
    f"POST {BASE}/clients/{{client_id}}/identity-secret": "admin",
    f"GET {BASE}/clients/{{client_id}}/embed": "admin",
    f"GET {BASE}/clients/{{client_id}}/script": "admin",
    f"GET {BASE}/plans": "admin",
    f"GET {BASE}/models": "admin",
}


async def detail(console: Console, client_id: int) -> dict[str, Any]:
    """One client, whole."""
    answer = await console.send("GET", f"/clients/{client_id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def edit_of(told: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a page sends back of it."""
    names = (
        *("version", "name", "domain", "allowed_origins", "plan", "system_prompt", "model", "widget", "locale"),
        "timezone",
    )
    return {**{name: told[name] for name in names}, **changes}


async def audited(desk: Desk) -> list[tuple[Any, ...]]:
    """Action, who did it, for which client, details: oldest first; signing in aside."""
    return await desk.rows(
        "select action, operator_id, client_id, details from audit_log where action like 'client.%%' order by id"
    )


async def test_a_client_is_created(desk: Desk, console: Console) -> None:
    """Its keys are shown now and never again; the script leads to this server; the row says who made it."""
    answer = await console.post("/clients", {"name": " Bob's Pizza ", "domain": "BobsPizza.com", "locale": "en-US"})
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert re.fullmatch(r"sk_\w{32}", made["api_key"])
    client = made["client"]
    assert made["script"] == (
        f'<script async src="{desk.url}/widget.js" data-client-key="{client["public_key"]}"></script>'
    )
    assert (client["name"], client["domain"], client["plan"], client["version"]) == (
        "Bob's Pizza",
        "bobspizza.com",
        "free",
        1,
    )
    assert client["allowed_origins"] == ["https://bobspizza.com", "https://www.bobspizza.com"]
    assert (client["widget"], client["model"], client["ignored"]) == ({}, {}, [])
    assert client["widget_languages"][0] == "en" and "he" in client["widget_languages"]
    shown = await console.send("GET", f"/clients/{client['id']}")
    assert shown.json() == client and made["api_key"] not in shown.text
    [(stored,)] = await desk.rows("select api_key_hash from clients where id = %s", client["id"])
    assert Keyring(desk.settings.secret_keys).matches("api-key", made["api_key"], stored)
    me = (await console.me()).json()["operator"]["id"]
    assert await audited(desk) == [
        ("client.create", me, client["id"], {"name": "Bob's Pizza", "plan": "free"}),
    ]
    config = await desk.http.get(f"{desk.url}/api/v1/config?key={client['public_key']}")
    assert config.json()["name"] == "Bob's Pizza"


async def test_the_list(desk: Desk, console: Console) -> None:
    """Newest first, by pages; what is looked for; the month so far against the plan."""
    shops = [await desk.shop(f"list{no}") for no in range(3)]
    today = datetime.now(UTC).date()
    async with reading(desk.pool) as conn:
        await usage.record(conn, client_id=shops[0].id, day=today, messages=7, cost=Decimal("0.25"))
        await sightings.record(conn, seen=[(shops[0].id, shops[0].origin)])
    first = (await console.send("GET", "/clients", limit=2)).json()
    assert [row["id"] for row in first["rows"]] == [shops[2].id, shops[1].id]
    rest = (await console.send("GET", "/clients", limit=2, before=first["before"])).json()
    [row] = rest["rows"]
    assert (row["id"], rest["before"]) == (shops[0].id, None)
    assert row["month"]["messages"] == 7 and Decimal(row["month"]["cost"]) == Decimal("0.25")
    assert row["month"]["monthly_messages"] == 100_000 and row["month"]["since"] == str(today.replace(day=1))
    resets = datetime.fromisoformat(row["month"]["resets_at"])
    assert (resets.day, resets.hour) == (1, 0) and 0 < (resets - datetime.now(UTC)).days + 1 <= 31
    assert row["seen_at"] is not None and first["rows"][0]["seen_at"] is None
    found = (await console.send("GET", "/clients", q="LIST1")).json()["rows"]
    assert [each["id"] for each in found] == [shops[1].id]
    assert (await console.send("GET", "/clients", status="suspended")).json()["rows"] == []


async def test_an_admin_sees_their_own(desk: Desk) -> None:
    """Of the list, one row; of another client the 404 of one that is not there."""
    mine, other = await desk.shop(), await desk.shop()
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=mine.id))
        assert [row["id"] for row in (await admin.send("GET", "/clients")).json()["rows"]] == [mine.id]
        assert (await admin.send("GET", "/clients", q=other.client.name)).json()["rows"] == []
        told = await detail(admin, mine.id)
        saved = await admin.send("PUT", f"/clients/{mine.id}", edit_of(told, name="Mine"))
        assert saved.status_code == 200 and saved.json()["name"] == "Mine"
        refused = await admin.send("PUT", f"/clients/{mine.id}", edit_of(saved.json(), plan="free"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "role_needed")
        assert (await detail(admin, mine.id))["plan"] == "pro"


async def test_an_edit(desk: Desk, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once; it is stored tidily, is what the widget gets, and the log says what changed."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.0)
    shop = await desk.shop()
    told = await detail(console, shop.id)
    wanted = edit_of(
        told,
        name=" Bäckerei ",
        domain="Bücher.example",
        allowed_origins=["https://Shop.example:443/x", "https://shop.example", "http://localhost:5500"],
        plan="free",
        system_prompt=" You sell bread. ",
        model={"model": " gpt-4o ", "temperature": 0.4, "fallback": {"provider": "demo"}},
        widget={
            "title": " Ask us ",
            "subtitle": "  ",
            "colors": {"primary": "#C2410c", "primary_dark": ""},
            "logo_url": "https://shop.example/logo.svg",
            "position": "left",
            "welcome_message": "Hi 👩‍🍳\nHungry?",
            "suggestions": ["Open?", " ", "Menu"],
            "theme": "dark",
            "radius": 0,
            "launcher_text": "שלום",
        },
        locale="auto",
        timezone="Europe/Berlin",
    )
    answer = await console.send("PUT", f"/clients/{shop.id}", wanted)
    assert answer.status_code == 200, answer.text
    saved = answer.json()
    assert saved == await detail(console, shop.id)
    assert (saved["name"], saved["domain"], saved["version"]) == ("Bäckerei", "bücher.example", 2)
    assert saved["allowed_origins"] == ["https://shop.example", "http://localhost:5500"]
    assert (saved["plan"], saved["requests_per_minute"], saved["system_prompt"]) == ("free", 60, "You sell bread.")
    assert saved["model"] == {"model": "gpt-4o", "temperature": 0.4, "fallback": {"provider": "demo"}}
    looks = {
        "title": "Ask us",
        "colors": {"primary": "#C2410c"},
        "logo_url": "https://shop.example/logo.svg",
        "position": "left",
        "welcome_message": "Hi 👩‍🍳\nHungry?",
        "suggestions": ["Open?", "Menu"],
        "theme": "dark",
        "radius": 0,
        "launcher_text": "שלום",
    }
    assert saved["widget"] == looks
    config = await desk.http.get(f"{desk.url}/api/v1/config?key={shop.key}", headers={"accept-language": "de"})
    assert (config.json()["widget"], config.json()["locale"]) == (looks, "de")
    [(_, _, _, details)] = await audited(desk)
    assert details == {
        "fields": [
            *("allowed_origins", "domain", "locale", "model_config", "name", "plan_type", "system_prompt", "timezone"),
            "widget_config",
        ],
        "version": 2,
    }


async def test_two_editors(desk: Desk, console: Console) -> None:
    """The second is told who and when, and nothing is overwritten; with the new version it goes."""
    shop = await desk.shop()
    seen = await detail(console, shop.id)
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id, name="Ann"))
        assert (await other.send("PUT", f"/clients/{shop.id}", edit_of(seen, name="Theirs"))).status_code == 200
        assert (await other.send("POST", f"/clients/{shop.id}/rotate-api-key")).status_code == 200
    late = await console.send("PUT", f"/clients/{shop.id}", edit_of(seen, system_prompt="Mine"))
    assert (late.status_code, late.json()["error"]["code"]) == (409, "changed_meanwhile")
    assert re.search(r"by Ann at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", late.json()["error"]["message"])
    now = await detail(console, shop.id)
    assert (now["name"], now["system_prompt"]) == ("Theirs", "")
    again = await console.send("PUT", f"/clients/{shop.id}", edit_of(now, system_prompt="Mine"))
    assert again.status_code == 200 and again.json()["version"] == seen["version"] + 2


async def test_a_row_that_makes_no_sense(desk: Desk, console: Console) -> None:
    """What is wrong in it is named and counts for nothing; the next edit mends it."""
    shop = await desk.shop(
        model_config={"provider": "nobody", "model": "x", "temperature": 0.5},
        widget_config={"title": "Hi", "radius": 900, "colors": {"primary": "red"}},
    )
    told = await detail(console, shop.id)
    assert told["ignored"] == ["model.provider", "model.model", "widget.colors", "widget.radius"]
    assert (told["model"], told["widget"]) == ({"temperature": 0.5}, {"title": "Hi"})
    saved = (await console.send("PUT", f"/clients/{shop.id}", edit_of(told))).json()
    assert (saved["ignored"], saved["model"], saved["widget"]) == ([], told["model"], told["widget"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"domain": "https://shop.example"}, "domain"),
    ({"domain": "shop.example/x"}, "domain"),
    ({"domain": "a b"}, "domain"),
    ({"domain": ""}, "domain"),
    ({"allowed_origins": ["https://a.example", "shop"]}, "allowed_origins[1]"),
    ({"allowed_origins": ["*"]}, "allowed_origins[0]"),
    ({"allowed_origins": ["https://a.example"] * 21}, "allowed_origins"),
    ({"plan": "gold"}, "plan"),
    ({"system_prompt": "x" * 20_001}, "system_prompt"),
    ({"model": {"provider": "nobody"}}, "model.provider"),
    ({"model": {"provider": "anthropic"}}, "model.provider"),
    ({"model": {"provider": "demo", "model": "gpt-4o"}}, "model.model"),
    ({"model": {"model": "gpt 4o"}}, "model.model"),
    ({"model": {"temperature": 2.1}}, "model.temperature"),
    ({"model": {"temperature": "hot"}}, "model.temperature"),
    ({"model": {"model": "a", "fallback": {"model": "a"}}}, "model.fallback"),
    ({"model": {"fallback": {"provider": "ollama"}}}, "model.fallback.provider"),
    ({"widget": {"title": "x" * 61}}, "widget.title"),
    ({"widget": {"title": "a\nb"}}, "widget.title"),
    ({"widget": {"colors": {"primary": "red"}}}, "widget.colors.primary"),
    ({"widget": {"colors": {"primary_dark": "#12345"}}}, "widget.colors.primary_dark"),
    ({"widget": {"logo_url": "javascript:alert(1)"}}, "widget.logo_url"),
    ({"widget": {"logo_url": "//evil.example/x"}}, "widget.logo_url"),
    ({"widget": {"logo_url": "data:image/png;base64,"}}, "widget.logo_url"),
    ({"widget": {"position": "middle"}}, "widget.position"),
    ({"widget": {"radius": 29}}, "widget.radius"),
    ({"widget": {"theme": "pink"}}, "widget.theme"),
    ({"widget": {"suggestions": ["a"] * 7}}, "widget.suggestions"),
    ({"widget": {"suggestions": ["a\tb"]}}, "widget.suggestions[0]"),
    ({"widget": {"launcher_text": "x" * 41}}, "widget.launcher_text"),
    ({"widget": {"welcome_message": "x" * 501}}, "widget.welcome_message"),
    ({"locale": "german!"}, "locale"),
    ({"locale": ""}, "locale"),
    ({"timezone": "Mars/Base"}, "timezone"),
    ({"timezone": "Europe"}, "timezone"),
    ({"timezone": "../../etc/passwd"}, "timezone"),
    ({"version": -1}, "version"),
]


async def test_each_fields_bad_input(desk: Desk, console: Console) -> None:
    """422 that names the field, and nothing changes."""
    shop = await desk.shop()
    told = await detail(console, shop.id)
    for changes, field in WRONG:
        answer = await console.send("PUT", f"/clients/{shop.id}", edit_of(told, **changes))
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
        assert field.rpartition(".")[2].partition("[")[0] in answer.json()["error"]["message"]
    assert await detail(console, shop.id) == told and await audited(desk) == []


async def test_a_part_is_no_edit(desk: Desk, console: Console) -> None:
    """The whole editable state is sent, or the field that is missing is named."""
    shop = await desk.shop()
    whole = edit_of(await detail(console, shop.id))
    for missing in whole:
        answer = await console.send(
            "PUT", f"/clients/{shop.id}", {name: each for name, each in whole.items() if name != missing}
        )
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, missing)


WRONG_NEW: list[tuple[dict[str, Any], str]] = [
    ({"domain": "a.example"}, "name"),
    ({"name": "A"}, "domain"),
    ({"name": "A", "domain": "a.example", "plan": "gold"}, "plan"),
    ({"name": "A", "domain": "a.example", "allowed_origins": ["a.example"]}, "allowed_origins[0]"),
    ({"name": "A", "domain": "a.example", "locale": "x"}, "locale"),
    ({"name": "A", "domain": "a.example", "timezone": "x"}, "timezone"),
]


async def test_a_wrong_new_client(desk: Desk, console: Console) -> None:
    """422 that names the field; there is no client more."""
    for body, field in WRONG_NEW:
        answer = await console.post("/clients", body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert await desk.rows("select count(*) from clients") == [(0,)]


async def test_a_client_is_suspended_and_let_back_in(
    desk: Desk, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its widget is refused meanwhile; doing it twice is one line in the log."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.0)
    shop = await desk.shop()
    url = f"{desk.url}/api/v1/config?key={shop.key}"
    for _ in range(2):
        told = await console.send("POST", f"/clients/{shop.id}/suspend")
        assert told.json()["status"] == "suspended"
    assert (await desk.http.get(url)).status_code == 403
    assert (await console.send("POST", f"/clients/{shop.id}/activate")).json()["status"] == "active"
    assert (await desk.http.get(url)).status_code == 200
    assert [action for action, *_ in await audited(desk)] == ["client.suspend", "client.activate"]
    assert (await console.send("POST", "/clients/999999/suspend")).status_code == 404


async def ask_as_backend(desk: Desk, key: str) -> int:
    """The status of a message that a client's backend sends."""
    answer = await desk.http.post(
        f"{desk.url}/api/v1/chat", json={"message": "Hi"}, headers={"authorization": f"Bearer {key}"}
    )
    return answer.status_code


async def test_another_secret_key(desk: Desk, console: Console) -> None:
    """Shown once; the old one stops working at once."""
    shop = await desk.shop()
    answer = await console.send("POST", f"/clients/{shop.id}/rotate-api-key")
    made = answer.json()
    assert answer.headers["cache-control"] == "no-store" and made["api_key"].startswith(made["api_key_prefix"])
    assert (await detail(console, shop.id))["api_key_prefix"] == made["api_key_prefix"]
    assert (await ask_as_backend(desk, shop.secret_key), await ask_as_backend(desk, made["api_key"])) == (401, 200)
    [(action, _, _, details)] = await audited(desk)
    assert (action, details) == ("client.rotate_api_key", {"prefix": made["api_key_prefix"]})


async def test_an_identity_secret(desk: Desk, console: Console) -> None:
    """Shown once; another one only on purpose; the log has none of them."""
    shop = await desk.shop()
    path = f"/clients/{shop.id}/identity-secret"
    assert (await detail(console, shop.id))["has_identity_secret"] is False
    first = (await console.post(path, {})).json()["identity_secret"]
    again = await console.post(path, {})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "identity_secret_exists")
    other = (await console.post(path, {"rotate": True})).json()["identity_secret"]
    assert first.startswith("ids_") and other.startswith("ids_") and first != other
    told = await console.send("GET", f"/clients/{shop.id}")
    assert told.json()["has_identity_secret"] is True and other not in told.text
    assert [(action, details) for action, _, _, details in await audited(desk)] == [
        ("client.identity_secret", {"rotate": False}),
        ("client.identity_secret", {"rotate": True}),
    ]


async def test_what_goes_into_the_page(desk: Desk, console: Console) -> None:
    """The script, the same in an element, and what a strict policy must allow."""
    shop = await desk.shop()
    told = (await console.send("GET", f"/clients/{shop.id}/embed")).json()
    assert told["script"] == f'<script async src="{desk.url}/widget.js" data-client-key="{shop.key}"></script>'
    assert 'data-mode="inline" data-target="#frontdesk"' in told["inline"] and '<div id="frontdesk">' in told["inline"]
    assert told["csp"] == [
        f"script-src {desk.url}",
        f"connect-src {desk.url} {desk.url.replace('http', 'ws')}",
        f"img-src {desk.url}",
    ]
    assert (await console.send("GET", "/clients/999999/embed")).status_code == 404


async def test_whether_it_is_on_the_site(desk: Desk, console: Console) -> None:
    """Never yet; then the origin of the page that loaded it, and one that is not allowed apart."""
    shop: Shop = await desk.shop(allowed_origins=["https://a.example", "https://b.example"])
    path = f"/clients/{shop.id}/script"
    told = (await console.send("GET", path)).json()
    assert (told["seen_at"], [(each["origin"], each["last_at"]) for each in told["origins"]]) == (
        None,
        [("https://a.example", None), ("https://b.example", None)],
    )
    async with reading(desk.pool) as conn:
        await sightings.record(conn, seen=[(shop.id, "https://evil.example")])
    told = (await console.send("GET", path)).json()
    assert told["seen_at"] is None
    async with reading(desk.pool) as conn:
        await sightings.record(conn, seen=[(shop.id, "https://b.example")])
    told = (await console.send("GET", path)).json()
    assert [(each["origin"], each["allowed"], each["last_at"] is not None) for each in told["origins"]] == [
        ("https://a.example", True, False),
        ("https://b.example", True, True),
        ("https://evil.example", False, True),
    ]
    assert told["seen_at"] == told["origins"][1]["last_at"] == told["origins"][1]["first_at"]
    assert (await console.send("GET", "/clients/999999/script")).status_code == 404


async def test_plans(console: Console) -> None:
    """The cheapest first, prices as decimals."""
    rows = (await console.send("GET", "/plans")).json()["rows"]
    assert [(row["name"], row["monthly_messages"]) for row in rows] == [
        ("free", 1_000),
        ("starter", 10_000),
        ("pro", 100_000),
    ]
    assert [Decimal(row["price"]) for row in rows] == [0, 29, 149]


async def test_models(desk: Desk, console: Console) -> None:
    """The deployment's own choice first; a server of one's own has no price list; prices as in force; no address."""
    answer = await console.send("GET", "/models")
    told = answer.json()
    assert (told["default_provider"], told["default_model"]) == ("openai", "gpt-4o-mini")
    assert [each["name"] for each in told["providers"]] == ["openai", "demo"]
    [only] = told["providers"][0]["models"]
    assert (only["model"], only["window"]) == ("gpt-4o-mini", 128_000)
    assert Decimal(only["price"]["input_per_million"]) == Decimal("0.15")
    demo = told["providers"][1]
    assert (demo["default_model"], [each["model"] for each in demo["models"]]) == ("demo", ["demo"])
    assert Decimal(demo["models"][0]["price"]["output_per_million"]) == 0
    assert "127.0.0.1" not in answer.text and "sk-test" not in answer.text


async def test_a_wrong_query(console: Console) -> None:
    """422 that names the parameter."""
    wrong: list[dict[str, str | int]] = [
        {"limit": 0},
        {"limit": 101},
        {"before": "x"},
        {"status": "x"},
        {"what": 1},
        {"q": "x" * 101},
    ]
    for query in wrong:
        answer = await console.send("GET", "/clients", **query)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, next(iter(query)))
