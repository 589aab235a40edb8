"""Live data over HTTP: look-ups defined, explained, replaced and tried out against systems that are really there."""

import asyncio
from typing import Any

import pytest

from tests.admin.console import BASE, Console
from tests.admin.setting_up import TOOL, USE, audited, done, everything, refused, send
from tests.admin.test_integrations import connect, shop, system
from tests.admin.test_tools import HOSTILE
from tests.flows.support import Desk, Shop
from tests.staffing import hire
from tests.tools.shop_server import TOKEN, ShopServer

__all__ = ["shop", "system"]

_INTEGRATION = f"{BASE}/clients/{{client_id}}/integrations/{{integration_id}}"
NEEDS = {
    f"GET {_INTEGRATION}/endpoints": "admin",
    f"POST {_INTEGRATION}/endpoints": "admin",
    f"POST {_INTEGRATION}/endpoints/check": "admin",
    f"POST {_INTEGRATION}/preset": "admin",
    f"PUT {_INTEGRATION}/endpoints/{{name}}": "admin",
    f"DELETE {_INTEGRATION}/endpoints/{{name}}": "admin",
    f"POST {_INTEGRATION}/endpoints/{{name}}/call": "admin",
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}
PRODUCT: dict[str, Any] = {
    "endpoint_name": "get_product",
    "endpoint_url": "/products/{sku}.json",
    "description": "A product by its SKU.",
    "parameters_schema": SCHEMA,
}
# What follows from the integration and the method.
WHOLE: dict[str, Any] = {
    **PRODUCT,
    "method": "GET",
    "response_path": None,
    "cache_ttl": 300,
    "effect": "read_only",
    "proof": "session",
    "confirm": False,
    "bound": {},
    "label": {},
}


@pytest.fixture
async def route(console: Console, shop: Shop, system: ShopServer) -> str:
    """The path of an integration with the client's system."""
    return await route_of(console, shop, system)


async def route_of(console: Console, shop: Shop, system: ShopServer, **config: Any) -> str:
    given = {
        "api_url": f"{system.url}/api/v1",
        "auth": {"type": "bearer", "token": TOKEN},
        "headers": {},
        "rate_limit": None,
        **config,
    }
    made = await connect(console, shop, **given)
    return f"/clients/{shop.id}/integrations/{made['id']}"


async def listed(console: Console, route: str) -> list[Any]:
    rows: list[Any] = (await done(console, f"GET {route}/endpoints"))["rows"]
    return rows


async def test_the_whole_way(desk: Desk, console: Console, shop: Shop, route: str) -> None:
    """Made with what follows from it, counted, replaced under another name, removed; all of it in the audit log."""
    assert await listed(console, route) == []
    seen = len(await audited(desk))
    made = await done(console, f"POST {route}/endpoints", PRODUCT)
    assert made == {**WHOLE, "version": 1}
    [integration] = (await done(console, f"GET /clients/{shop.id}/integrations"))["rows"]
    assert integration["endpoints"] == 1
    [(before,)] = await desk.rows("select id from integration_endpoints")
    edit = {**WHOLE, "version": 1, "endpoint_name": "find_product", "description": HOSTILE, "cache_ttl": 0}
    saved = await done(console, f"PUT {route}/endpoints/get_product", edit)
    assert saved == {**edit, "version": 2} and await listed(console, route) == [saved]
    [(after,)] = await desk.rows("select id from integration_endpoints")
    assert after != before, "an answer of the old one could be given for it"
    assert (await refused(console, f"PUT {route}/endpoints/get_product", {**edit, "version": 2}))[0] == 404
    assert await done(console, f"DELETE {route}/endpoints/find_product") is None
    assert await listed(console, route) == []
    assert (await refused(console, f"DELETE {route}/endpoints/find_product"))[:2] == (404, "not_found")
    assert (await audited(desk))[seen:] == [
        ("endpoint.create", "endpoint", "get_product", shop.id),
        ("endpoint.update", "endpoint", "find_product", shop.id),
        ("endpoint.delete", "endpoint", "find_product", shop.id),
    ]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"endpoint_name": "no spaces"}, "endpoint_name", "1 to 64 letters"),
    ({"endpoint_url": "/products/{who}"}, "endpoint_url", "who"),
    ({"endpoint_url": "/products"}, "endpoint_url", "sku"),
    ({"endpoint_url": "/../{sku}"}, "endpoint_url", ""),
    ({"endpoint_url": "https://elsewhere.example/{sku}"}, "endpoint_url", "below api_url"),
    ({"method": "FETCH"}, "method", ""),
    ({"method": "SQL"}, "method", "GET, POST, PUT, PATCH, DELETE"),
    ({"method": "DELETE", "effect": "read_only", "cache_ttl": 0}, "effect", "idempotent, unsafe"),
    ({"method": "POST", "effect": "unsafe", "cache_ttl": 60}, "cache_ttl", "only what is read_only"),
    ({"cache_ttl": 86_401}, "cache_ttl", "0 to 86,400"),
    ({"response_path": "a["}, "response_path", ""),
    ({"description": ""}, "description", "1 to 1,024"),
    ({"parameters_schema": {"type": "object", "properties": {"sku": {"type": "strin"}}}}, "parameters_schema", "sku"),
    ({"bound": {"sku": "visitor.id"}}, "proof", "must be verified"),
    ({"bound": {"who": "visitor.id"}, "proof": "verified"}, "bound", "no such argument"),
    ({"label": {"en": "x" * 81}}, "label", "label/en"),
    ({"confirm": None}, "confirm", "expected `bool`"),
]


async def test_bad_input_names_its_field(desk: Desk, console: Console, route: str) -> None:
    """To make one, to change one, and explained beforehand: the same field each time, and nothing changes."""
    await done(console, f"POST {route}/endpoints", {**PRODUCT, "endpoint_name": "there"})
    before = await everything(desk)
    for changes, field, said in WRONG:
        for request, given in (
            (f"POST {route}/endpoints", {**WHOLE, **changes}),
            (f"PUT {route}/endpoints/there", {**WHOLE, "version": 1, **changes}),
        ):
            status, _, named, message = await refused(console, request, given)
            assert (status, named, said in message) == (422, field, True), (field, message)
        told = await done(console, f"POST {route}/endpoints/check", {"definition": {**WHOLE, **changes}})
        assert field in {each["field"] for each in told["problems"]} and told["offered"] is None
    good = await done(console, f"POST {route}/endpoints/check", {"definition": PRODUCT})
    assert (good["problems"], good["offered"]["parameters"]) == ([], SCHEMA)
    several = {**PRODUCT, "endpoint_name": "", "response_path": "a[", "endpoint_url": "/{x}", "label": {"xx": ""}}
    told = await done(console, f"POST {route}/endpoints/check", {"definition": several})
    assert {each["field"] for each in told["problems"]} == {"endpoint_name", "response_path", "endpoint_url", "label"}
    for missing in WHOLE:
        given = {name: value for name, value in {**WHOLE, "version": 1}.items() if name != missing}
        assert (await refused(console, f"PUT {route}/endpoints/there", given))[:3] == (422, "missing", missing)
    assert await everything(desk) == before


async def test_names_do_not_meet(desk: Desk, console: Console, shop: Shop, route: str) -> None:
    """A name twice, and a tool and live data of one name: refused, whichever comes second."""
    await done(console, f"POST {route}/endpoints", PRODUCT)
    await done(console, "PUT /tools/get_order", TOOL)
    await done(console, "PUT /tools/get_product", TOOL)
    await done(console, f"PUT /clients/{shop.id}/tools/get_order", USE)
    before = await everything(desk)
    assert (await refused(console, f"POST {route}/endpoints", PRODUCT))[:3] == (
        409,
        "endpoint_exists",
        "endpoint_name",
    )
    order = {**PRODUCT, "endpoint_name": "get_order"}
    assert (await refused(console, f"POST {route}/endpoints", order))[:3] == (409, "conflict", "endpoint_name")
    edit = {**WHOLE, "version": 1, "endpoint_name": "get_order"}
    assert (await refused(console, f"PUT {route}/endpoints/get_product", edit))[:2] == (409, "conflict")
    enabled = await refused(console, f"PUT /clients/{shop.id}/tools/get_product", USE)
    assert enabled[:3] == (409, "conflict", "tool_name")
    assert await everything(desk) == before


async def test_two_who_edit_the_same(desk: Desk, console: Console, shop: Shop, route: str) -> None:
    """The second is told who was faster; of eight at the same moment one is taken."""
    await done(console, f"POST {route}/endpoints", PRODUCT)
    edit = {**WHOLE, "version": 1}
    async with Console.of(desk.url) as other:
        await other.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=shop.id, name="Ann Other"))
        theirs = await done(other, f"PUT {route}/endpoints/get_product", {**edit, "description": "Theirs."})
    status, code, _, message = await refused(console, f"PUT {route}/endpoints/get_product", edit)
    assert (status, code) == (409, "changed_meanwhile") and "Ann Other" in message
    assert await listed(console, route) == [theirs]
    request = f"PUT {route}/endpoints/get_product"
    answers = await asyncio.gather(*(send(console, request, {**edit, "version": 2}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + 7 * [409]
    assert [row["version"] for row in await listed(console, route)] == [3]


async def test_through_another_integration(
    desk: Desk, console: Console, shop: Shop, system: ShopServer, route: str
) -> None:
    """An endpoint is reached by its own integration and its own client, and not by others."""
    await done(console, f"POST {route}/endpoints", PRODUCT)
    beside = await route_of(console, shop, system)
    other = await desk.shop()
    foreign = route.replace(f"/clients/{shop.id}/", f"/clients/{other.id}/")
    before = await everything(desk)
    for path in (beside, foreign, f"/clients/{shop.id}/integrations/999999"):
        one = f"{path}/endpoints/get_product"
        for request, body in (
            (f"PUT {one}", {**WHOLE, "version": 1}),
            (f"DELETE {one}", None),
            (f"POST {one}/call", {"arguments": {"sku": "PEP-30"}}),
        ):
            assert (await refused(console, request, body))[:2] == (404, "not_found")
    for path in (foreign, f"/clients/{shop.id}/integrations/999999"):
        for request, body in (
            (f"GET {path}/endpoints", None),
            (f"POST {path}/endpoints", PRODUCT),
            (f"POST {path}/endpoints/check", {"definition": {}}),
            (f"POST {path}/preset", None),
        ):
            assert (await refused(console, request, body))[:2] == (404, "not_found")
    assert await everything(desk) == before and system.requests == []


async def test_a_preset(desk: Desk, console: Console, shop: Shop, route: str) -> None:
    """The usual look-ups of a shop at once, or none; there are none for a custom API."""
    made = await connect(console, shop, "shopify")
    path = f"/clients/{shop.id}/integrations/{made['id']}"
    rows = (await done(console, f"POST {path}/preset"))["rows"]
    assert {row["endpoint_name"] for row in rows} == {
        "find_products",
        "get_product",
        "check_inventory",
        "get_order_status",
    }
    before = await everything(desk)
    assert (await refused(console, f"POST {path}/preset"))[:2] == (409, "endpoint_exists")
    assert (await refused(console, f"POST {route}/preset"))[:3] == (422, "invalid", "integration_type")
    assert await everything(desk) == before
    assert await listed(console, path) == rows
