"""A client's own systems over HTTP: configured whole, shown without secrets, tested, paused, forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.net.vault import CONNECTION_CONFIG, Vault
from tests.admin.console import BASE, Console
from tests.admin.setting_up import audited, done, everything, refused, send
from tests.flows.support import Desk, Shop
from tests.staffing import hire
from tests.tools.shop_server import TOKEN, ShopServer, shop_server

_ALL = f"{BASE}/clients/{{client_id}}/integrations"
_ONE = f"{_ALL}/{{integration_id}}"
NEEDS = {
    f"GET {_ALL}": "admin",
    f"POST {_ALL}": "admin",
    f"PUT {_ONE}": "admin",
    f"DELETE {_ONE}": "admin",
    f"POST {_ONE}/test": "admin",
}
# Each configuration holds "5ecret" in all of its secrets and nowhere else.
HTTP: dict[str, Any] = {"api_url": "https://api.example/v1", "auth": {"type": "bearer", "token": "bearer-5ecret"}}
CONFIGS: dict[str, dict[str, Any]] = {
    "custom_api": {**HTTP, "headers": {"X-Key": "header-5ecret"}, "rate_limit": 60},
    "shopify": {"shop": "bob.myshopify.com", "access_token": "shopify-5ecret"},
    "woocommerce": {"site_url": "https://bob.example", "consumer_key": "ck-5ecret", "consumer_secret": "cs-5ecret"},
    "mysql_database": {"host": "db.example", "database": "shop", "user": "reader", "password": "sql-5ecret"},
    "postgres_database": {"host": "db.example", "database": "shop", "user": "reader", "password": "sql-5ecret"},
}


@pytest.fixture
async def shop(desk: Desk) -> Shop:
    """A client."""
    return await desk.shop()


@pytest.fixture
async def system() -> AsyncIterator[ShopServer]:
    """The client's own system."""
    async with shop_server() as server:
        yield server


async def connect(console: Console, shop: Shop, kind: str = "custom_api", **config: Any) -> Any:
    """An integration as it was made."""
    given = {"integration_type": kind, "config": {**CONFIGS[kind], **config}}
    return await done(console, f"POST /clients/{shop.id}/integrations", given)


async def listed(console: Console, shop: Shop) -> list[Any]:
    rows: list[Any] = (await done(console, f"GET /clients/{shop.id}/integrations"))["rows"]
    return rows


async def stored(desk: Desk, shop: Shop, integration_id: int) -> str:
    """What the vault holds."""
    query = "select connection_config from client_integrations where client_id = %s and id = %s"
    [(sealed,)] = await desk.rows(query, shop.id, integration_id)
    return Vault(desk.settings.secret_keys).open(bytes(sealed), client_id=shop.id, field=CONNECTION_CONFIG)


@pytest.mark.parametrize("kind", CONFIGS)
async def test_each_kind_is_sealed(desk: Desk, console: Console, shop: Shop, kind: str) -> None:
    """No answer, no list, no row and no word of the audit log holds a secret; only the vault does."""
    made = await connect(console, shop, kind)
    assert (made["integration_type"], made["enabled"], made["version"], made["problem"]) == (kind, True, 1, None)
    assert (made["last_test"], made["last_test_at"], made["endpoints"]) == (None, None, 0)
    assert made["preset"] == (kind in {"shopify", "woocommerce"})
    assert await listed(console, shop) == [made]
    assert "5ecret" in await stored(desk, shop, made["id"])
    tables = await desk.rows("select to_jsonb(t)::text from client_integrations t")
    assert "5ecret" not in f"{made}{tables}{await desk.rows('select to_jsonb(t)::text from audit_log t')}"
    assert await audited(desk) == [("integration.create", "integration", str(made["id"]), shop.id)]


async def test_changed_paused_and_forgotten(desk: Desk, console: Console, shop: Shop) -> None:
    """A configuration comes whole or not at all; a new one is untested; each change counts the version up."""
    made = await connect(console, shop)
    route = f"/clients/{shop.id}/integrations/{made['id']}"
    verdict = {"ok": True, "message": "m", "advice": None, "ms": 5}
    await desk.rows(
        "update client_integrations set last_sync_test = now(), last_test_result = %s::jsonb",
        '{"ok": true, "message": "m", "advice": null, "ms": 5}',
    )
    paused = await done(console, f"PUT {route}", {"version": 1, "enabled": False, "config": None})
    assert (paused["enabled"], paused["version"], paused["last_test"]) == (False, 2, verdict)
    assert paused["connection"] == made["connection"] and "bearer-5ecret" in await stored(desk, shop, made["id"])
    config = {"api_url": "https://other.example", "auth": {"type": "none"}}
    moved = await done(console, f"PUT {route}", {"version": 2, "enabled": True, "config": config})
    assert (moved["enabled"], moved["version"], moved["last_test"]) == (True, 3, None)
    assert moved["connection"]["api_url"] == "https://other.example"
    # Nothing of the old one stays: no secret follows an address that somebody else chose.
    assert "5ecret" not in await stored(desk, shop, made["id"])
    assert await done(console, f"DELETE {route}") is None
    assert await listed(console, shop) == []
    assert [action for action, *_ in await audited(desk)] == [
        "integration.create",
        "integration.update",
        "integration.update",
        "integration.delete",
    ]
    for again in (f"DELETE {route}", f"POST {route}/test"):
        assert (await refused(console, again))[:2] == (404, "not_found")
    assert (await refused(console, f"PUT {route}", {"version": 3, "enabled": True, "config": None}))[0] == 404


WRONG: list[tuple[str, Any, str, str]] = [
    ("custom_api", {}, "api_url", "is missing"),
    ("custom_api", {**HTTP, "colour": "red"}, "colour", "there is no field colour"),
    ("custom_api", {**HTTP, "api_url": "http://10.0.0.1/"}, "api_url", ""),
    ("custom_api", {**HTTP, "rate_limit": 0}, "rate_limit", "1 to 10,000"),
    ("custom_api", {**HTTP, "auth": {"type": "magic"}}, "auth.type", "must be one of"),
    ("custom_api", {**HTTP, "auth": {"type": "bearer", "token": ""}}, "auth.token", "1 to 4,096"),
    ("custom_api", {**HTTP, "headers": {"Authorization": "x-5ecret"}}, "headers", "credentials go into auth"),
    ("custom_api", {**HTTP, "test_path": "//x"}, "test_path", "must begin with /"),
    ("shopify", {**CONFIGS["shopify"], "shop": "evil.example"}, "shop", "myshopify.com"),
    ("woocommerce", {**CONFIGS["woocommerce"], "consumer_secret": None}, "consumer_secret", "expected `str`"),
    ("postgres_database", {**CONFIGS["postgres_database"], "host": "10.0.0.1"}, "host", ""),
    ("mysql_database", {**CONFIGS["mysql_database"], "port": 0}, "port", "1 to 65535"),
    ("mysql_database", {**CONFIGS["mysql_database"], "tls": "perhaps"}, "tls", "must be one of"),
    ("fax", {}, "integration_type", ""),
    ("custom_api", [], "config", "expected `object`"),
    ("custom_api", None, "config", "expected `object`"),
    ("custom_api", {**HTTP, "api_url": "https://a\x00.example"}, "config.api_url", "U+0000"),
]


async def test_bad_input_names_its_field(desk: Desk, console: Console, shop: Shop) -> None:
    """To make one and to change one: refused with what is allowed, without the secret, and nothing changes."""
    made = {kind: (await connect(console, shop, kind))["id"] for kind in CONFIGS}
    before = await everything(desk)
    for kind, config, field, said in WRONG:
        given = {"integration_type": kind, "config": config}
        answers = [await refused(console, f"POST /clients/{shop.id}/integrations", given)]
        if kind in made and isinstance(config, dict):
            edit = {"version": 1, "enabled": True, "config": config}
            answers.append(await refused(console, f"PUT /clients/{shop.id}/integrations/{made[kind]}", edit))
        for status, _, named, message in answers:
            assert (status, named, said in message) == (422, field, True), (field, message)
            assert "5ecret" not in message
    route = f"PUT /clients/{shop.id}/integrations"
    for wrong, field in (({"version": None}, "version"), ({"enabled": 1}, "enabled"), ({"config": "x"}, "config")):
        given = {"version": 1, "enabled": True, "config": None, **wrong}
        assert (await refused(console, f"{route}/{made['shopify']}", given))[2] == field
    edit = {"version": 1, "enabled": True, "config": None}
    for number in ("0", "-1", "x", "1.5", "9" * 30, "999999"):
        assert (await refused(console, f"{route}/{number}", edit))[:2] == (404, "not_found")
    assert await everything(desk) == before


async def test_two_who_edit_the_same(desk: Desk, console: Console, shop: Shop) -> None:
    """The second is told who was faster, and no configuration is overwritten; of eight at once one is taken."""
    made = await connect(console, shop)
    route = f"PUT /clients/{shop.id}/integrations/{made['id']}"
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id, name="Ann Other"))
        theirs = await done(other, route, {"version": 1, "enabled": False, "config": None})
    sealed = await desk.rows("select connection_config from client_integrations")
    for config in (None, HTTP):
        status, code, _, message = await refused(console, route, {"version": 1, "enabled": True, "config": config})
        assert (status, code) == (409, "changed_meanwhile")
        assert "Ann Other" in message and " UTC" in message
    assert await listed(console, shop) == [theirs]
    assert await desk.rows("select connection_config from client_integrations") == sealed
    edit = {"version": 2, "enabled": True, "config": None}
    answers = await asyncio.gather(*(send(console, route, edit) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [409]
    assert (await listed(console, shop))[0]["version"] == 3


async def test_another_clients(desk: Desk, console: Console, shop: Shop) -> None:
    """An id is no credential: through one's own client another's integration is not there."""
    made = await connect(console, shop)
    other = await desk.shop()
    async with Console.of(desk.url) as admin:
        await admin.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=other.id))
        before = await everything(desk)
        route = f"/clients/{other.id}/integrations/{made['id']}"
        edit = {"version": 1, "enabled": False, "config": None}
        for request, body in ((f"PUT {route}", edit), (f"DELETE {route}", None), (f"POST {route}/test", None)):
            assert (await refused(admin, request, body))[:2] == (404, "not_found")
        assert await listed(admin, other) == []
        assert await everything(desk) == before


async def test_a_connection_test(desk: Desk, console: Console, shop: Shop, system: ShopServer) -> None:
    """Says whether the system answers and what to do, and keeps it with the configuration it is of."""
    right: dict[str, Any] = {
        "api_url": f"{system.url}/api/v1",
        "auth": {"type": "bearer", "token": TOKEN},
        "headers": {},
    }
    made = await connect(console, shop, **right, test_path="/products/search?query=p")
    route = f"/clients/{shop.id}/integrations/{made['id']}"
    good = await done(console, f"POST {route}/test")
    assert good["ok"] and good["ms"] >= 0
    [row] = await listed(console, shop)
    # It was no edit: nobody's form is out of date by it.
    assert (row["last_test"], row["version"]) == (good, 1) and row["last_test_at"]
    wrong = {**right, "auth": {"type": "bearer", "token": "wrong-5ecret"}, "test_path": "/products/search?query=p"}
    await done(console, f"PUT {route}", {"version": 1, "enabled": True, "config": wrong})
    bad = await done(console, f"POST {route}/test")
    assert not bad["ok"] and "refuses the credentials" in bad["message"] and bad["advice"]
    assert "5ecret" not in str(bad)
    await desk.rows("update client_integrations set connection_config = %s", b"\x01nonsense")
    lost = await done(console, f"POST {route}/test")
    assert not lost["ok"] and lost["advice"] == "Give its configuration anew."
    [row] = await listed(console, shop)
    assert row["connection"] is None and "connection_config" in row["problem"]
