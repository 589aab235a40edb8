"""Look-ups tried out over HTTP, against systems that are really there: all of it is shown but the credentials."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.tools.setup.masking import MASK
from tests.admin.console import Console
from tests.admin.setting_up import audited, done, refused
from tests.admin.test_endpoints import PRODUCT, SCHEMA, WHOLE, listed, route, route_of
from tests.admin.test_integrations import connect, shop, system
from tests.admin.test_tools import HOSTILE
from tests.flows.support import Desk, Shop
from tests.tools import sql_shops
from tests.tools.shop_server import CLIENT_ID, CLIENT_SECRET, SHOPIFY_TOKEN, TOKEN, ShopServer, answer, hang_up
from tests.tools.sql_relay import relaying

__all__ = ["route", "shop", "system"]


async def look_up(console: Console, route: str, name: str = "get_product", **body: Any) -> Any:
    return await done(console, f"POST {route}/endpoints/{name}/call", {"arguments": {"sku": "PEP-30"}, **body})


@pytest.mark.parametrize(
    ("auth", "hidden"),
    [
        ({"type": "none"}, []),
        ({"type": "bearer", "token": TOKEN}, [TOKEN]),
        ({"type": "api_key", "name": "X-API-Key", "value": TOKEN}, [TOKEN]),
        ({"type": "api_key", "name": "api_key", "value": TOKEN, "where": "query"}, [TOKEN]),
        ({"type": "api_key", "name": "shop", "value": "a/b+c d&e=5ecret", "where": "query"}, ["5ecret"]),
        (
            {"type": "basic", "username": "bob", "password": TOKEN},
            [TOKEN, base64.b64encode(f"bob:{TOKEN}".encode()).decode()],
        ),
        (
            {"type": "oauth2", "token_url": "", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
            ["granted-", CLIENT_SECRET],
        ),
    ],
    ids=["none", "bearer", "header", "query", "odd query", "basic", "oauth2"],
)
async def test_no_credential_is_shown(
    console: Console, shop: Shop, system: ShopServer, auth: dict[str, Any], hidden: list[str]
) -> None:
    """However it is sent, and though the system repeats all that it was sent: in no part of the answer."""
    if auth["type"] == "oauth2":
        auth = {**auth, "token_url": f"{system.url}/oauth/token"}
    headers = {"X-Shop-Key": "header-5ecret-1", "X-Plain": "v1"}
    route = await route_of(console, shop, system, auth=auth, headers=headers)
    echo = {**PRODUCT, "endpoint_name": "echo", "endpoint_url": "/echo/{sku}{?keyword}"}
    echo["parameters_schema"] = {**SCHEMA, "properties": {**SCHEMA["properties"], "keyword": {"type": "string"}}}
    await done(console, f"POST {route}/endpoints", echo)
    result = await look_up(console, route, "echo", arguments={"sku": HOSTILE.replace("/", ""), "keyword": "pizza"})
    [arrived] = system.to("/api/v1/echo")
    [exchange] = result["exchanges"]
    assert result["outcome"] == "ok" and exchange["response"]["status"] == 200
    # It has all arrived, and it is all shown but for what proves who calls.
    assert arrived.headers["x-shop-key"] == "header-5ecret-1"
    assert exchange["request"]["headers"]["x-shop-key"] == exchange["request"]["headers"]["x-plain"] == MASK
    assert "keyword=pizza" in exchange["request"]["url"] and exchange["request"]["url"].startswith(
        f"{system.url}/api/v1/echo/"
    )
    for secret in (*hidden, "header-5ecret-1"):
        assert secret not in str(result), exchange
    if hidden and auth["type"] != "api_key":
        assert exchange["request"]["headers"]["authorization"] == MASK


async def test_what_a_model_would_read(
    desk: Desk, console: Console, shop: Shop, system: ShopServer, route: str
) -> None:
    """The raw answer beside what the response path leaves of it; nothing is answered from memory, or kept there."""
    await done(console, f"POST {route}/endpoints", {**PRODUCT, "response_path": "product.{title: title, price: price}"})
    for _ in range(2):
        result = await look_up(console, route)
        assert result["content"] == '{"title":"Pepperoni Pizza","price":"11.50"}'
        assert '"vendor": "Bob"' in result["exchanges"][0]["response"]["body"]
        assert (result["outcome"], result["error"]) == ("ok", None)
    assert len(system.to("/api/v1/products")) == 2
    nothing = await look_up(console, route, arguments={"sku": "NONE"})
    assert (nothing["outcome"], nothing["exchanges"][0]["response"]["status"]) == ("ok", 404)
    assert "nothing that matches" in nothing["content"]
    # A paused system can be tried before it is offered.
    await done(console, f"PUT {route}", {"version": 1, "enabled": False, "config": None})
    assert (await look_up(console, route))["outcome"] == "ok"
    counts = await desk.rows("select (select count(*) from tool_executions), (select count(*) from api_usage)")
    assert counts == [(0, 0)]


async def test_the_bad_weather_of_a_look_up(console: Console, shop: Shop, system: ShopServer) -> None:
    """Refused, broken twice, hung up, a web page: what came is shown, and why a model hears nothing of it."""
    route = await route_of(console, shop, system, api_url=f"{system.url}/weather")
    await done(console, f"POST {route}/endpoints", PRODUCT)
    system.script.extend(
        [
            # First, on connections of their own: a GET on a kept one that turns out to be dead is sent once more.
            hang_up(),
            hang_up(),
            answer(403, HOSTILE),
            answer(503, "away"),
            answer(503, "still away"),
            answer(200, "<!doctype html><script>alert(1)</script>", content_type="text/html"),
            answer(302, location="https://evil.example/?token=5ecret"),
        ]
    )
    gone = await look_up(console, route)
    assert [each["response"] for each in gone["exchanges"]] == [None, None]
    assert all("without an answer" in each["error"] for each in gone["exchanges"])
    locked = await look_up(console, route)
    assert (locked["outcome"], locked["exchanges"][0]["response"]["body"]) == ("failed", HOSTILE)
    assert "credentials were refused" in locked["error"]
    broken = await look_up(console, route)
    assert [each["response"]["body"] for each in broken["exchanges"]] == ["away", "still away"]
    page = await look_up(console, route)
    assert page["outcome"] == "failed" and "a web page" in page["error"]
    assert "<script>" in page["exchanges"][0]["response"]["body"] and "<script>" not in page["content"]
    moved = await look_up(console, route)
    assert moved["outcome"] == "failed" and "redirect" in moved["error"]


async def test_an_effect_is_had_only_really(desk: Desk, console: Console, system: ShopServer, route: str) -> None:
    """A POST books a table: not by accident, and with a word in the audit log."""
    booking = {**PRODUCT, "endpoint_name": "book", "endpoint_url": "/bookings", "method": "POST"}
    await done(console, f"POST {route}/endpoints", booking)
    seen = len(await audited(desk))
    body = {"arguments": {"sku": "table 4"}}
    assert (await refused(console, f"POST {route}/endpoints/book/call", body))[:3] == (422, "really_needed", "really")
    assert system.requests == []
    result = await look_up(console, route, "book", arguments={"sku": "table 4"}, really=True)
    [arrived] = system.requests
    assert (result["outcome"], arrived.json) == ("ok", {"sku": "table 4"})
    assert result["exchanges"][0]["request"]["body"] == '{"sku":"table 4"}'
    assert [action for action, *_ in (await audited(desk))[seen:]] == ["tool.try"]


async def test_bad_arguments_are_not_sent(console: Console, system: ShopServer, route: str) -> None:
    """Checked as a model's, and as a URL's."""
    await done(console, f"POST {route}/endpoints", PRODUCT)
    await done(
        console,
        f"POST {route}/endpoints",
        {**PRODUCT, "endpoint_name": "mine", "bound": {"sku": "visitor.id"}, "proof": "verified"},
    )
    call = f"POST {route}/endpoints/get_product/call"
    for arguments in ({}, {"sku": 5}, {"sku": "x", "y": 1}):
        assert (await refused(console, call, {"arguments": arguments}))[:3] == (422, "invalid", "arguments")
    assert (await refused(console, f"POST {route}/endpoints/mine/call", {}))[2] == "visitor"
    climbing = await look_up(console, route, arguments={"sku": "../admin"})
    assert (climbing["outcome"], climbing["exchanges"]) == ("failed", []) and "one part of a path" in climbing["error"]
    assert system.requests == []
    posed = await look_up(console, route, "mine", arguments={}, visitor={"id": "PEP-30"})
    assert posed["outcome"] == "ok" and system.requests[0].raw_path == "/api/v1/products/PEP-30.json"


async def test_the_integrations_own_limit(console: Console, shop: Shop, system: ShopServer) -> None:
    """A trial counts as a request like any other: it may not ask more of a system than its owner allowed."""
    route = await route_of(console, shop, system, rate_limit=1)
    await done(console, f"POST {route}/endpoints", PRODUCT)
    assert (await look_up(console, route))["outcome"] == "ok"
    second = await look_up(console, route)
    assert (second["outcome"], second["exchanges"]) == ("failed", []) and "rate_limit" in second["error"]
    assert len(system.requests) == 1


async def test_a_configuration_that_no_key_opens(desk: Desk, console: Console, shop: Shop, route: str) -> None:
    """Says so wherever it is needed, and the endpoints that are there are still listed."""
    await done(console, f"POST {route}/endpoints", PRODUCT)
    await desk.rows("update client_integrations set connection_config = %s", b"\x01nonsense")
    result = await look_up(console, route)
    assert (result["outcome"], result["exchanges"]) == ("failed", []) and "connection_config" in result["error"]
    new = {**PRODUCT, "endpoint_name": "another"}
    for request, body in (
        (f"POST {route}/endpoints", new),
        (f"POST {route}/endpoints/check", {"definition": new}),
        (f"PUT {route}/endpoints/get_product", {**WHOLE, "version": 1}),
    ):
        status, code, _, message = await refused(console, request, body)
        assert (status, code) == (409, "secret_unreadable") and "anew" in message
    assert len(await listed(console, route)) == 1


@pytest.fixture
async def database(console: Console, shop: Shop, postgres_shop: sql_shops.Shop) -> AsyncIterator[str]:
    """The path of an integration with the client's own database."""
    async with relaying(postgres_shop.target) as relay:
        config = {"host": "127.0.0.1", "port": relay.port, "database": postgres_shop.database, "tls": "off"}
        user = {"user": postgres_shop.reader, "password": sql_shops.PASSWORD}
        made = await connect(console, shop, "postgres_database", **config, **user)
        yield f"/clients/{shop.id}/integrations/{made['id']}"


async def test_a_statement_and_its_rows(console: Console, database: str) -> None:
    """The statement, its values, the rows as they came; a fault in the database's own words; never the password."""
    statement = "select id, name from products where name like :like order by id"
    schema = {"type": "object", "properties": {"like": {"type": "string"}}, "required": ["like"]}
    find = {**PRODUCT, "endpoint_name": "find", "endpoint_url": statement, "parameters_schema": schema}
    assert (await done(console, f"POST {database}/endpoints", find))["method"] == "SQL"
    result = await look_up(console, database, "find", arguments={"like": "Pizza M%"})
    [exchange] = result["exchanges"]
    request, response = exchange["request"], exchange["response"]
    assert (request["method"], request["body"], request["parameters"]) == ("SQL", statement, {"like": "Pizza M%"})
    assert request["url"].startswith("postgres://127.0.0.1:") and request["headers"] == {}
    assert (response["status"], response["headers"], response["cut"]) == (None, {}, False)
    assert '"name": "Pizza Margherita"' in response["body"]
    assert result["content"] == '[{"id":1,"name":"Pizza Margherita"}]'
    broken = {
        **find,
        "endpoint_name": "broken",
        "endpoint_url": "select no_such_column from products where name = :like",
    }
    await done(console, f"POST {database}/endpoints", broken)
    fault = await look_up(console, database, "broken", arguments={"like": "x"})
    assert (fault["outcome"], fault["exchanges"][0]["response"]) == ("failed", None)
    assert "no_such_column" in fault["exchanges"][0]["error"] and "no_such_column" not in fault["content"]
    assert sql_shops.PASSWORD[:4] not in f"{result}{fault}"
    told = await done(
        console, f"POST {database}/endpoints/check", {"definition": {**find, "endpoint_url": "drop table x"}}
    )
    assert [each["field"] for each in told["problems"]] == ["endpoint_url"]


async def test_a_shop_by_its_preset(console: Console, shop: Shop, system: ShopServer) -> None:
    """A preset's look-up of GraphQL, as it goes out: the query and its variables in the body, the token masked."""
    route = await route_of(
        console,
        shop,
        system,
        api_url=f"{system.url}/admin/api/2026-10",
        auth={"type": "api_key", "name": "X-Shopify-Access-Token", "value": SHOPIFY_TOKEN},
    )
    query = "/graphql.json\nquery Find($search: String!) { products(first: 10, query: $search) { nodes { title } } }"
    schema = {"type": "object", "properties": {"search": {"type": "string"}}, "required": ["search"]}
    find = {**PRODUCT, "endpoint_name": "find", "endpoint_url": query, "parameters_schema": schema}
    await done(console, f"POST {route}/endpoints", {**find, "method": "POST", "effect": "read_only"})
    result = await look_up(console, route, "find", arguments={"search": "pepperoni"})
    [exchange] = result["exchanges"]
    assert '"variables":{"search":"pepperoni"}' in exchange["request"]["body"]
    assert exchange["request"]["headers"]["x-shopify-access-token"] == MASK
    assert "Pepperoni Pizza" in result["content"] and SHOPIFY_TOKEN not in str(result)
