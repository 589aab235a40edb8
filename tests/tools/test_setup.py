"""Setting tools and live data up: what is refused and how, that nothing changes then, and that no secret comes out."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest

from server import ids
from server.errors import Conflict, FrontdeskError, Invalid, NotFound
from server.net.egress import Egress
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from server.repositories import client_tools, clients, endpoints, integrations, tools
from server.repositories.clients import Client
from server.repositories.pool import Pool, open_pool, reading, unit_of_work
from server.tools.catalogue import Catalogue
from server.tools.connections.check import Verdict
from server.tools.setup import definition
from server.tools.setup import endpoints as setup_endpoints
from server.tools.setup import integrations as setup_integrations
from server.tools.setup import tools as setup_tools
from server.tools.setup.base import Setup
from server.tools.setup.definition import EndpointDefinition, ToolDefinition, ToolOptions
from server.tools.sql.databases import Databases
from tests.net.ssrf_corpus import STATIC_URLS
from tests.support import SECRET_KEYS

# No output may hold one of these.
SECRETS = tuple(f"{kind}-5ecret-{number}" for number, kind in enumerate(("token", "key", "pass", "consumer", "oauth")))

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
TOOL: dict[str, Any] = {
    "tool_name": "get_order_status",
    "description": "Looks an order up.",
    "parameters_schema": SCHEMA,
    "effect": "read_only",
    "label": {"en": "Looking up your order"},
}
MENU: dict[str, Any] = {
    "endpoint_name": "get_menu",
    "endpoint_url": "/menu/{order_id}",
    "description": "The menu.",
    "parameters_schema": SCHEMA,
}
STOCK: dict[str, Any] = {**MENU, "endpoint_name": "get_stock", "endpoint_url": "select 1 where 'a' = :order_id"}
HTTP: dict[str, Any] = {"api_url": "https://api.example/v1", "auth": {"type": "bearer", "token": SECRETS[0]}}
SHOPIFY: dict[str, Any] = {"shop": "bob.myshopify.com", "access_token": SECRETS[1]}
WOO: dict[str, Any] = {"site_url": "https://bob.example", "consumer_key": "ck_1", "consumer_secret": SECRETS[3]}
DATABASE: dict[str, Any] = {"host": "db.example", "database": "shop", "user": "reader", "password": SECRETS[2]}
OAUTH: dict[str, Any] = {
    "api_url": "https://api.example",
    "auth": {"type": "oauth2", "token_url": "https://id.example/t", "client_id": "me", "client_secret": SECRETS[4]},
}


class World(msgspec.Struct, frozen=True):
    """A client with one of everything, and how to set up more."""

    setup: Setup
    client: Client
    http: int
    database: int
    secret: str

    @property
    def id(self) -> int:
        return self.client.id


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """An open pool."""
    pool = await open_pool(database_url, max_size=4, application_name="test")
    yield pool
    await pool.close()


@pytest.fixture
async def setup(pool: Pool) -> AsyncIterator[Setup]:
    """As the command line has it: no private networks. And no public ones."""

    async def nowhere(host: str) -> list[str]:
        raise OSError(f"{host} is not to be asked for")

    egress = Egress(lookup=nowhere)
    yield Setup(pool, Vault(SECRET_KEYS), egress)
    await egress.close()


async def new_client(setup: Setup, name: str) -> Client:
    """A client with keys of its own."""
    async with unit_of_work(setup.pool) as conn:
        return await clients.create(
            conn,
            name=name,
            domain=f"{name}.example",
            allowed_origins=[],
            public_key=ids.public_key(),
            api_key_hash=ids.secret_key().encode(),
            api_key_prefix="sk_test",
        )


@pytest.fixture
async def world(setup: Setup) -> World:
    """A tool, an HTTP integration with an endpoint, and a database."""
    client = await new_client(setup, "pizza")
    await define(setup)
    enabled = await setup_tools.enable_tool(
        setup,
        client_id=client.id,
        tool_name="get_order_status",
        options=ToolOptions(n8n_webhook_url="https://n8n.example/webhook/order", custom_config={"shop": 7}),
    )
    http = await setup_integrations.create_integration(
        setup, client_id=client.id, integration_type="custom_api", config=HTTP
    )
    database = await setup_integrations.create_integration(
        setup, client_id=client.id, integration_type="postgres_database", config=DATABASE
    )
    await endpoint(setup, client.id, http.id, **MENU)
    assert enabled.signing_secret is not None
    return World(setup, client, http.id, database.id, enabled.signing_secret)


async def define(setup: Setup, **changes: Any) -> bool:
    """Whether the tool was new."""
    wanted = definition.read(ToolDefinition, {**TOOL, **changes}, field="file")
    _, new = await setup_tools.define_tool(setup, wanted)
    return new


async def endpoint(setup: Setup, client_id: int, integration_id: int, **fields: Any) -> endpoints.Endpoint:
    wanted = definition.read(EndpointDefinition, fields, field="file")
    return await setup_endpoints.create_endpoint(
        setup, client_id=client_id, integration_id=integration_id, definition=wanted
    )


async def everything(pool: Pool) -> list[Any]:
    """Every row that setting up may change."""
    async with reading(pool) as conn:
        cursor = await conn.execute(
            """
            select (select jsonb_agg(t order by id) from tools t),
                   (select jsonb_agg(t order by id) from client_tools t),
                   (select jsonb_agg(t order by id) from client_integrations t),
                   (select jsonb_agg(t order by id) from integration_endpoints t),
                   (select jsonb_agg(t order by id) from clients t)
            """
        )
        return await cursor.fetchall()


Act = Callable[[World], Awaitable[object]]


def tool(**changes: Any) -> Act:
    """Defines another tool with these fields."""
    return lambda world: define(world.setup, **{"tool_name": "another", **changes})


def raw_tool(raw: bytes) -> Act:
    """Defines a tool from a file."""

    async def act(world: World) -> object:
        return await setup_tools.define_tool(world.setup, definition.read(ToolDefinition, raw, field="file"))

    return act


def enable(name: str = "get_order_status", **options: Any) -> Act:
    """Changes the options of the client's tool."""

    async def act(world: World) -> object:
        wanted = definition.read(ToolOptions, options, field="options")
        return await setup_tools.enable_tool(world.setup, client_id=world.id, tool_name=name, options=wanted)

    return act


def base_url(url: str) -> Act:
    """Sets where the client's tools are called."""
    return lambda world: setup_tools.set_webhook_base_url(world.setup, client_id=world.id, webhook_base_url=url)


def integration(kind: str, config: Any, **changes: Any) -> Act:
    """Makes another integration."""
    return lambda world: setup_integrations.create_integration(
        world.setup,
        client_id=world.id,
        integration_type=kind,
        config={**config, **changes} if isinstance(config, dict) else config,
    )


def reconfigure(**config: Any) -> Act:
    """Changes the HTTP integration that has an endpoint."""
    return lambda world: setup_integrations.update_integration(
        world.setup, client_id=world.id, integration_id=world.http, config={**HTTP, **config}
    )


def http(**changes: Any) -> Act:
    """Makes another endpoint over HTTP."""
    fields = {**MENU, "endpoint_name": "another", **changes}
    return lambda world: endpoint(world.setup, world.id, world.http, **fields)


def sql(**changes: Any) -> Act:
    """Makes another endpoint over SQL."""
    return lambda world: endpoint(world.setup, world.id, world.database, **{**STOCK, **changes})


def redefine(**changes: Any) -> Act:
    """Puts another definition in the place of the endpoint's."""

    async def act(world: World) -> object:
        wanted = definition.read(EndpointDefinition, {**MENU, **changes}, field="file")
        return await setup_endpoints.update_endpoint(
            world.setup, client_id=world.id, endpoint_name="get_menu", definition=wanted
        )

    return act


PERSONAL = {"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}}

BAD: list[tuple[Act, str, str]] = [
    # A tool of the catalogue.
    (raw_tool(b"{"), "file", "is not JSON"),
    (raw_tool(b"\xff"), "file", "is not JSON"),
    (raw_tool(b"[]"), "file", "expected `object`, got `array`"),
    (raw_tool(b"{}"), "description", "is missing"),
    (raw_tool(b"[" * 100_000), "file", ""),
    (tool(colour="red"), "colour", "there is no such field; there are description, parameters_schema"),
    (tool(tool_name="with space"), "tool_name", "1 to 64 letters"),
    (tool(tool_name=""), "tool_name", "1 to 64 letters"),
    (tool(tool_name="x" * 65), "tool_name", "1 to 64 letters"),
    (tool(tool_name="a\n"), "tool_name", "1 to 64 letters"),
    (tool(tool_name=5), "tool_name", "expected `str`, got `int`"),
    (tool(description=""), "description", "1 to 1,024 characters"),
    (tool(description="  "), "description", "1 to 1,024 characters"),
    (tool(description="x" * 1025), "description", "1 to 1,024 characters"),
    (tool(description="a\x00b"), "description", "control characters"),
    (tool(description=None), "description", "expected `str`, got `null`"),
    (tool(category="Two Words"), "category", "lower-case"),
    (tool(category=""), "category", "lower-case"),
    (tool(effect="harmless"), "effect", "it may be read_only, idempotent, unsafe"),
    (tool(proof="password"), "proof", "it may be none, session, verified"),
    (tool(confirm="yes"), "confirm", "expected `bool`"),
    (tool(parameters_schema=[]), "parameters_schema", "expected `object`"),
    (tool(parameters_schema={}), "parameters_schema", 'parameters_schema/type: must be "object"'),
    (
        tool(parameters_schema={"type": "object", "properties": {"order_id": {"type": "strin"}}}),
        "parameters_schema",
        "parameters_schema/properties/order_id/type: ",
    ),
    (
        tool(parameters_schema={"type": "object", "properties": {"a": {"$ref": "http://169.254.169.254/"}}}),
        "parameters_schema",
        "parameters_schema/properties/a/$ref: ",
    ),
    (tool(bound={"who": "visitor.id"}, proof="verified"), "bound", "bound/who: there is no such argument"),
    (
        tool(parameters_schema=PERSONAL, bound={"n": "visitor.id"}, proof="verified"),
        "bound",
        "bound/n: is text, and parameters_schema wants integer",
    ),
    (tool(parameters_schema=PERSONAL, bound={"who": "visitor.id"}), "proof", "must be verified"),
    (tool(parameters_schema=PERSONAL, bound={"who": "visitor.id"}, proof="none"), "proof", "must be verified"),
    (tool(bound={"order_id": "visitor.password"}, proof="verified"), "bound", "visitor.id, visitor.email"),
    (tool(bound=["order_id"]), "bound", "expected `object`"),
    (tool(label={"en": ""}), "label", "label/en: takes 1 to 80"),
    (tool(label={"en": "x" * 81}), "label", "label/en: takes 1 to 80"),
    (tool(label={"en": "a\nb"}), "label", "label/en: may not contain"),
    (tool(label={"en": "a\u202eb"}), "label", "label/en: may not contain"),
    (tool(label={"english": "a"}), "label", "'english' is not a language"),
    (tool(label={"en": 5}), "label", "expected `str`"),
    (tool(label={f"a{chr(97 + n // 26)}-{n:02}": "x" for n in range(41)}), "label", "at most 40"),
    # A client's tool.
    (enable(n8n_webhook_url="n8n.example/webhook"), "n8n_webhook_url", ""),
    (enable(n8n_webhook_url="ftp://n8n.example/webhook"), "n8n_webhook_url", ""),
    (enable(n8n_webhook_url="http://localhost:5678/webhook"), "n8n_webhook_url", ""),
    (enable(n8n_webhook_url=""), "n8n_webhook_url", ""),
    (enable(n8n_webhook_url=None), "n8n_webhook_url", "the client has no webhook_base_url"),
    (enable(n8n_webhook_url=7), "n8n_webhook_url", "expected `str | null`"),
    (enable(timeout_ms=99), "timeout_ms", "100 to 120,000"),
    (enable(timeout_ms=120_001), "timeout_ms", "100 to 120,000"),
    (enable(timeout_ms="5s"), "timeout_ms", "expected `int`"),
    (enable(proof="none"), "proof", "less than the session the catalogue asks for"),
    (enable(proof="password"), "proof", "it may be none, session, verified"),
    (enable(custom_config={"x": "y" * 20_000}), "custom_config", "larger than 16 KB"),
    (enable(custom_config={"x": "\x00"}), "custom_config", "U+0000"),
    (enable(custom_config=[]), "custom_config", "expected `object`"),
    (enable(url="https://h.example"), "url", "there is no such field"),
    (base_url("https://h.example/hook?key=1"), "webhook_base_url", "no query"),
    (base_url("https://h.example/#x"), "webhook_base_url", "no query"),
    (base_url("http://10.0.0.1/"), "webhook_base_url", ""),
    (base_url("webhook"), "webhook_base_url", ""),
    # An integration.
    (integration("fax", {}), "integration_type", "must be one of"),
    (integration("custom_api", "{"), "connection_config", "must be JSON"),
    (integration("custom_api", "[]"), "connection_config", "must be a JSON object"),
    (integration("custom_api", {}), "api_url", "is missing"),
    (integration("custom_api", HTTP, colour="red"), "colour", "there is no field colour"),
    (integration("custom_api", HTTP, api_url="http://[::1]/"), "api_url", ""),
    (integration("custom_api", HTTP, rate_limit=0), "rate_limit", "1 to 10,000"),
    (integration("custom_api", HTTP, auth={"type": "magic"}), "auth.type", "must be one of"),
    (integration("custom_api", HTTP, auth={"type": "bearer", "token": ""}), "auth.token", "1 to 4,096"),
    (integration("shopify", SHOPIFY, shop="evil.example"), "shop", "myshopify.com"),
    (integration("woocommerce", WOO, consumer_secret=None), "consumer_secret", "expected `str`"),
    (integration("postgres_database", DATABASE, host="127.0.0.1"), "host", ""),
    (integration("mysql_database", DATABASE, port=0), "port", "1 to 65535"),
    (integration("mysql_database", DATABASE, tls="perhaps"), "tls", "must be one of"),
    (reconfigure(api_url="http://192.168.0.1"), "api_url", ""),
    # An endpoint.
    (http(endpoint_name="no spaces"), "endpoint_name", "1 to 64 letters"),
    (http(endpoint_url="/menu/{who}"), "endpoint_url", "who"),
    (http(endpoint_url="/menu"), "endpoint_url", "order_id"),
    (http(endpoint_url="/menu/{order_id"), "endpoint_url", ""),
    (http(endpoint_url="/../{order_id}"), "endpoint_url", ""),
    (http(endpoint_url="https://elsewhere.example/{order_id}"), "endpoint_url", "below api_url"),
    (http(method="FETCH"), "method", "it may be GET, POST"),
    (http(method="SQL"), "method", "it may be GET, POST, PUT, PATCH, DELETE"),
    (http(method="PUT", effect="read_only"), "effect", "for PUT it may be idempotent, unsafe"),
    (http(method="DELETE", effect="read_only"), "effect", "for DELETE it may be idempotent, unsafe"),
    (http(method="PATCH", effect="read_only"), "effect", "for PATCH it may be unsafe, idempotent"),
    (http(response_path="a["), "response_path", ""),
    (http(cache_ttl=-1), "cache_ttl", "0 to 86,400"),
    (http(cache_ttl=86_401), "cache_ttl", "0 to 86,400"),
    (http(method="POST", cache_ttl=60), "cache_ttl", "only what is read_only"),
    (http(bound={"order_id": "visitor.id"}), "proof", "must be verified"),
    (http(label={"en": "x" * 81}), "label", "label/en"),
    (sql(method="GET"), "method", "it may be SQL"),
    (sql(effect="unsafe"), "effect", "for SQL it may be read_only"),
    (sql(endpoint_url="delete from orders where a = :order_id"), "endpoint_url", ""),
    (sql(endpoint_url="select 1; drop table orders"), "endpoint_url", ""),
    (sql(endpoint_url="select :who"), "endpoint_url", "who"),
    (redefine(endpoint_url="/menu/{who}"), "endpoint_url", "who"),
    (redefine(endpoint_name="no spaces"), "endpoint_name", "1 to 64 letters"),
]


async def test_a_mistake_names_its_field_and_changes_nothing(world: World, subtests: pytest.Subtests) -> None:
    """In one line that says what is allowed. Nothing changes, so one world serves for all of them."""
    before = await everything(world.setup.pool)
    for number, (act, field, said) in enumerate(BAD):
        with subtests.test(f"{number} {field}"):
            with pytest.raises(Invalid) as caught:
                await act(world)
            assert (caught.value.field or "").partition("/")[0] == field
            assert said in caught.value.message
            assert "\n" not in caught.value.message and len(caught.value.message) < 400
            assert not any(secret in caught.value.message for secret in SECRETS)
            assert await everything(world.setup.pool) == before


def test_the_table_is_long() -> None:
    """As many mistakes as the design asks for."""
    assert len(BAD) >= 60


MISSING: list[tuple[Act, str]] = [
    (enable("nothing"), "there is no tool 'nothing' in the catalogue"),
    (lambda w: setup_tools.enable_tool(w.setup, client_id=99, tool_name="x"), "there is no client 99"),
    (lambda w: setup_tools.disable_tool(w.setup, client_id=w.id, tool_name="x"), "has no tool 'x'"),
    (lambda w: setup_tools.rotate_signing_secret(w.setup, client_id=w.id, tool_name="x"), "has no tool 'x'"),
    (lambda w: setup_tools.list_tools(w.setup, client_id=99), "there is no client 99"),
    (lambda w: setup_tools.set_webhook_base_url(w.setup, client_id=99, webhook_base_url=None), "no client 99"),
    (lambda w: setup_integrations.list_integrations(w.setup, client_id=99), "there is no client 99"),
    (
        lambda w: setup_integrations.create_integration(
            w.setup, client_id=99, integration_type="custom_api", config=HTTP
        ),
        "there is no client 99",
    ),
    (
        lambda w: setup_integrations.update_integration(w.setup, client_id=w.id, integration_id=99, enabled=False),
        "has no integration 99",
    ),
    (
        lambda w: setup_integrations.delete_integration(w.setup, client_id=w.id, integration_id=99),
        "has no integration 99",
    ),
    (lambda w: endpoint(w.setup, w.id, 99, **STOCK), "has no integration 99"),
    (lambda w: setup_endpoints.list_endpoints(w.setup, client_id=w.id, integration_id=99), "has no integration 99"),
    (lambda w: setup_endpoints.apply_preset(w.setup, client_id=w.id, integration_id=99), "has no integration 99"),
    (lambda w: setup_endpoints.delete_endpoint(w.setup, client_id=w.id, endpoint_name="x"), "has no endpoint 'x'"),
]


async def test_what_is_not_there(world: World, subtests: pytest.Subtests) -> None:
    """Says so, and changes nothing."""
    before = await everything(world.setup.pool)
    for number, (act, said) in enumerate(MISSING):
        with subtests.test(f"{number}"):
            with pytest.raises(NotFound) as caught:
                await act(world)
            assert said in caught.value.message
            assert await everything(world.setup.pool) == before


async def test_another_clients_things_are_not_there(world: World) -> None:
    """An id is no credential: each function takes the client and stays within it."""
    other = msgspec.structs.replace(world, client=await new_client(world.setup, "bakery"))
    where: dict[str, Any] = {"client_id": other.id, "integration_id": world.http}
    before = await everything(world.setup.pool)
    acts: list[Awaitable[object]] = [
        setup_integrations.update_integration(world.setup, **where, enabled=False),
        setup_integrations.update_integration(world.setup, **where, config=HTTP),
        setup_integrations.delete_integration(world.setup, **where),
        setup_endpoints.list_endpoints(world.setup, **where),
        setup_endpoints.apply_preset(world.setup, **where),
        endpoint(world.setup, other.id, world.http, **{**MENU, "endpoint_name": "mine"}),
        setup_endpoints.delete_endpoint(world.setup, client_id=other.id, endpoint_name="get_menu"),
        redefine()(other),
        setup_tools.disable_tool(world.setup, client_id=other.id, tool_name="get_order_status"),
        setup_tools.rotate_signing_secret(world.setup, client_id=other.id, tool_name="get_order_status"),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            await act
    assert await setup_integrations.list_integrations(world.setup, client_id=other.id) == []
    assert await setup_tools.list_tools(world.setup, client_id=other.id) == []
    assert await everything(world.setup.pool) == before


async def test_names_do_not_meet(world: World) -> None:
    """A tool and live data of one name, a name twice, and a preset that meets one: refused as a whole."""
    await define(world.setup, tool_name="get_menu")
    await setup_tools.set_webhook_base_url(world.setup, client_id=world.id, webhook_base_url="https://h.example/w/")
    shop = await setup_integrations.create_integration(
        world.setup, client_id=world.id, integration_type="shopify", config=SHOPIFY
    )
    await endpoint(world.setup, world.id, world.http, **{**MENU, "endpoint_name": "get_product"})
    before = await everything(world.setup.pool)
    acts: list[tuple[Awaitable[object], str]] = [
        (enable("get_menu")(world), "tool_name"),
        (http(endpoint_name="get_order_status")(world), "endpoint_name"),
        (http(endpoint_name="get_menu")(world), "endpoint_name"),
        (setup_endpoints.apply_preset(world.setup, client_id=world.id, integration_id=shop.id), "endpoint_name"),
    ]
    for act, field in acts:
        with pytest.raises(Conflict) as caught:
            await act
        assert caught.value.field == field
    assert await everything(world.setup.pool) == before


PLACES: dict[str, Callable[[str], Act]] = {
    "webhook_base_url": base_url,
    "n8n_webhook_url": lambda url: enable(n8n_webhook_url=url),
    "api_url": lambda url: integration("custom_api", HTTP, api_url=url),
    "site_url": lambda url: integration("woocommerce", WOO, site_url=url),
    "auth.token_url": lambda url: integration("custom_api", OAUTH, auth={**OAUTH["auth"], "token_url": url}),
    "shop": lambda url: integration("shopify", SHOPIFY, shop=url),
    "host": lambda url: integration("postgres_database", DATABASE, host=url),
}


@pytest.mark.parametrize("place", PLACES)
async def test_no_private_address_can_be_configured(world: World, place: str) -> None:
    """The whole corpus, at every place where an address is configured: refused, with the field's name, unchanged."""
    before = await everything(world.setup.pool)
    for url in STATIC_URLS:
        with pytest.raises(Invalid) as caught:
            await PLACES[place](url)(world)
        assert caught.value.field == place, url
    assert await everything(world.setup.pool) == before


async def test_a_database_host_of_the_corpus_is_refused(world: World) -> None:
    """The hosts alone, without the rest of their URLs."""
    before = await everything(world.setup.pool)
    tried = 0
    for kind in ("postgres_database", "mysql_database"):
        for url in STATIC_URLS:
            authority = url.partition("://")[2].partition("/")[0]
            if "@" in authority:
                continue  # what is before it is no host
            host = authority[: authority.rindex("]") + 1] if "]" in authority else authority.partition(":")[0]
            with pytest.raises(Invalid) as caught:
                await integration(kind, DATABASE, host=host)(world)
            assert caught.value.field == "host", host
            tried += 1
    assert tried > 400
    assert await everything(world.setup.pool) == before


async def test_a_tool_is_defined_and_redefined(world: World) -> None:
    """New once; later it is changed in place, for every client that has it."""
    assert await define(world.setup, tool_name="book", effect="unsafe", confirm=True, category="calendar")
    assert not await define(world.setup, tool_name="book", effect="unsafe", description="  Books. ", bound={})
    [book] = [row for row in await setup_tools.list_catalogue(world.setup) if row.tool_name == "book"]
    assert (book.description, book.effect, book.confirm, book.category) == ("Books.", "unsafe", False, "general")
    assert book.label == {"en": "Looking up your order"}


async def test_a_tool_is_enabled_again_as_it_was(world: World) -> None:
    """What is not told stays; the secret is shown once and stays too; a rotated one is another."""
    setup, name = world.setup, "get_order_status"
    [first] = await setup_tools.list_tools(setup, client_id=world.id)
    assert (first.timeout_ms, first.custom_config, first.signed, first.proof) == (15_000, {"shop": 7}, True, "session")
    await setup_tools.disable_tool(setup, client_id=world.id, tool_name=name)
    assert await setup_tools.list_tools(setup, client_id=world.id) == []
    again = await setup_tools.enable_tool(setup, client_id=world.id, tool_name=name)
    assert (again.tool, again.signing_secret) == (msgspec.structs.replace(first, version=3), None)
    options = ToolOptions(timeout_ms=500, confirm=True, proof="verified", custom_config={})
    changed = await setup_tools.enable_tool(setup, client_id=world.id, tool_name=name, options=options)
    assert (changed.tool.timeout_ms, changed.tool.confirm, changed.tool.proof) == (500, True, "verified")
    assert (changed.tool.custom_config, changed.tool.n8n_webhook_url) == ({}, "https://n8n.example/webhook/order")
    assert await _secret(world) == world.secret
    rotated = await setup_tools.rotate_signing_secret(setup, client_id=world.id, tool_name=name)
    assert rotated.startswith("whsec_") and rotated != world.secret
    assert await _secret(world) == rotated


async def _secret(world: World) -> str:
    async with reading(world.setup.pool) as conn:
        row = await client_tools.find_by_name(conn, client_id=world.id, tool_name="get_order_status")
    assert row is not None and row.signing_secret is not None
    return world.setup.vault.open(row.signing_secret, client_id=world.id, field=SIGNING_SECRET)


async def test_a_tool_below_the_clients_base_url(world: World) -> None:
    """Its own URL goes first; without one the name goes behind the base."""
    setup = world.setup
    base = await setup_tools.set_webhook_base_url(setup, client_id=world.id, webhook_base_url="https://h.example/w/")
    assert base == "https://h.example/w"
    moved = await setup_tools.enable_tool(
        setup, client_id=world.id, tool_name="get_order_status", options=ToolOptions(n8n_webhook_url=None)
    )
    assert moved.tool.n8n_webhook_url == "https://h.example/w/get_order_status"
    assert await setup_tools.set_webhook_base_url(setup, client_id=world.id, webhook_base_url=None) is None
    [nowhere] = await setup_tools.list_tools(setup, client_id=world.id)
    assert nowhere.n8n_webhook_url is None


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("custom_api", HTTP),
        ("custom_api", OAUTH),
        ("custom_api", {"api_url": "https://a.example", "headers": {"X-Key": SECRETS[1]}}),
        ("shopify", SHOPIFY),
        ("woocommerce", WOO),
        ("mysql_database", DATABASE),
        ("postgres_database", DATABASE),
    ],
)
async def test_a_configuration_is_sealed(world: World, kind: str, config: dict[str, Any]) -> None:
    """Only this client's vault opens it; no view, row or table shows a secret."""
    made = await setup_integrations.create_integration(
        world.setup, client_id=world.id, integration_type=kind, config=msgspec.json.encode(config).decode()
    )
    assert made.connection is not None and made.problem is None
    _, _, listed = await setup_integrations.list_integrations(world.setup, client_id=world.id)
    assert listed == made
    async with reading(world.setup.pool) as conn:
        row = await integrations.find(conn, client_id=world.id, integration_id=made.id)
    assert row is not None
    sealed = world.setup.vault.open(row.connection_config, client_id=world.id, field=CONNECTION_CONFIG)
    assert any(secret in sealed for secret in SECRETS)
    shown = f"{made!r}{msgspec.json.encode(made).decode()}{await everything(world.setup.pool)}"
    assert not any(secret in shown for secret in SECRETS)


async def test_no_function_gives_a_secret_away(world: World) -> None:
    """Every public function that setting up has, called: only the two that show a new secret once hold one."""
    setup, databases = world.setup, Databases(world.setup.egress)
    shown_once = {"enable_tool", "rotate_signing_secret"}
    a_tool = definition.read(ToolDefinition, TOOL, field="file")
    a_menu = definition.read(EndpointDefinition, MENU, field="file")
    a_stock = definition.read(EndpointDefinition, STOCK, field="file")
    shop = await setup_integrations.create_integration(
        setup, client_id=world.id, integration_type="shopify", config=SHOPIFY
    )
    where: dict[str, Any] = {"client_id": world.id, "integration_id": world.http}
    calls: dict[str, list[Any]] = {
        "define_tool": [a_tool],
        "list_catalogue": [],
        "enable_tool": [{"client_id": world.id, "tool_name": "get_order_status"}],
        "rotate_signing_secret": [{"client_id": world.id, "tool_name": "get_order_status"}],
        "list_tools": [{"client_id": world.id}],
        "find_tool": [{"tool_name": "get_order_status"}],
        "webhook_base_url": [{"client_id": world.id}],
        "set_webhook_base_url": [{"client_id": world.id, "webhook_base_url": "https://h.example"}],
        "disable_tool": [{"client_id": world.id, "tool_name": "get_order_status"}],
        "create_integration": [{"client_id": world.id, "integration_type": "custom_api", "config": OAUTH}],
        "update_integration": [{**where, "config": HTTP, "enabled": True}],
        "list_integrations": [{"client_id": world.id}],
        "create_endpoint": [{"client_id": world.id, "integration_id": world.database, "definition": a_stock}],
        "update_endpoint": [{"client_id": world.id, "endpoint_name": "get_menu", "definition": a_menu}],
        "apply_preset": [{"client_id": world.id, "integration_id": shop.id}],
        "list_endpoints": [where],
        "check_endpoint": [where, {"raw": MENU}],
        "count_endpoints": [{"client_id": world.id}],
        "test_integration": [databases, where],
        "delete_endpoint": [{"client_id": world.id, "endpoint_name": "get_menu"}],
        "delete_integration": [where],
    }
    modules = (setup_tools, setup_endpoints, setup_integrations)
    public = {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public.keys() == calls.keys(), "a function more: call it here"
    hidden = [*SECRETS, world.secret, "whsec_"]
    for name, arguments in calls.items():
        keywords = {name: value for each in arguments if isinstance(each, dict) for name, value in each.items()}
        plain = [each for each in arguments if not isinstance(each, dict)]
        result = await public[name](setup, *plain, **keywords)
        if name not in shown_once:
            text = f"{result!r}{msgspec.to_builtins(result, enc_hook=str)}"
            assert not any(secret in text for secret in hidden), name
    await databases.close()


@pytest.fixture
def shop_url() -> Iterator[str]:
    """A client's own system: it answers JSON to whoever has the token, on this machine."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Bearer {SECRETS[0]}"
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: object) -> None:
            pass  # standard error is the test's

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_a_connection_test_is_written_down(world: World, shop_url: str) -> None:
    """What it said and when; a new configuration is untested, and what nobody can read is said to be so."""
    egress = Egress(["127.0.0.0/8"])
    local, databases = Setup(world.setup.pool, world.setup.vault, egress), Databases(egress)
    where: dict[str, Any] = {"client_id": world.id, "integration_id": world.http}

    async def listed() -> setup_integrations.IntegrationView:
        return (await setup_integrations.list_integrations(local, client_id=world.id))[0]

    async def tried(setup: Setup) -> Verdict:
        verdict = await setup_integrations.test_integration(setup, databases, **where)
        assert (await listed()).last_test_result == msgspec.to_builtins(verdict)
        assert (await listed()).last_sync_test is not None
        return verdict

    try:
        right = {**HTTP, "api_url": shop_url, "test_path": "/menu"}
        await setup_endpoints.delete_endpoint(local, client_id=world.id, endpoint_name="get_menu")
        await setup_integrations.update_integration(local, **where, config=right)
        assert (await listed()).last_sync_test is None
        assert (await tried(local)).ok
        wrong = {**right, "auth": {"type": "bearer", "token": "wrong"}}
        await setup_integrations.update_integration(local, **where, config=wrong)
        assert (await listed()).last_sync_test is None
        refused = await tried(local)
        assert not refused.ok and "refuses the credentials" in refused.message
        # This deployment does not allow this machine any more.
        forbidden = await tried(world.setup)
        assert not forbidden.ok and forbidden.message.startswith("It cannot be called: api_url")
        lost = await tried(Setup(local.pool, Vault(("another key of thirty-two characters",)), egress))
        assert not lost.ok and lost.advice == "Give its configuration anew."
    finally:
        await databases.close()
        await egress.close()


async def test_endpoints_follow_their_method(world: World) -> None:
    """What is left open is taken from the integration and the method."""
    kinds = [("GET", "read_only", 300), ("PUT", "idempotent", 0), ("DELETE", "idempotent", 0), ("POST", "unsafe", 0)]
    for method, effect, ttl in kinds:
        made = await endpoint(world.setup, world.id, world.http, **{**MENU, "endpoint_name": method, "method": method})
        assert (made.method, made.effect, made.cache_ttl, made.proof) == (method, effect, ttl, "session")
    search = {**MENU, "endpoint_name": "search", "method": "POST", "effect": "read_only"}
    assert (await endpoint(world.setup, world.id, world.http, **search)).cache_ttl == 300
    stock = await endpoint(world.setup, world.id, world.database, **STOCK)
    assert (stock.method, stock.effect) == ("SQL", "read_only")


async def test_an_endpoint_is_replaced(world: World) -> None:
    """Under an id of its own, so that no answer of the old one is given for it; then it is removed."""
    where: dict[str, Any] = {"client_id": world.id, "integration_id": world.http}
    [before] = await setup_endpoints.list_endpoints(world.setup, **where)
    await redefine(endpoint_name="get_card", description="The card.")(world)
    [after] = await setup_endpoints.list_endpoints(world.setup, **where)
    assert (after.endpoint_name, after.description) == ("get_card", "The card.")
    assert after.id != before.id
    await setup_endpoints.delete_endpoint(world.setup, client_id=world.id, endpoint_name="get_card")
    assert await setup_endpoints.list_endpoints(world.setup, **where) == []


async def test_a_new_configuration_fits_the_endpoints(world: World) -> None:
    """One that would make an endpoint impossible is refused; one that fits is untested again."""
    whole = {**MENU, "endpoint_name": "whole", "endpoint_url": "https://api.example/v1/whole/{order_id}"}
    await endpoint(world.setup, world.id, world.http, **whole)
    before = await everything(world.setup.pool)
    with pytest.raises(Invalid, match="below api_url"):
        await reconfigure(api_url="https://other.example/v1")(world)
    assert await everything(world.setup.pool) == before
    await setup_endpoints.delete_endpoint(world.setup, client_id=world.id, endpoint_name="whole")
    await reconfigure(api_url="https://other.example/v1")(world)
    view = next(v for v in await setup_integrations.list_integrations(world.setup, client_id=world.id))
    assert view.connection is not None and view.connection["api_url"] == "https://other.example/v1"
    paused = await setup_integrations.update_integration(
        world.setup, client_id=world.id, integration_id=world.http, enabled=False
    )
    assert not paused.enabled and paused.connection == view.connection


async def test_what_no_key_opens_is_still_listed(world: World) -> None:
    """A deployment that lost its key says so, and the integration can be given its configuration anew."""
    lost = Setup(world.setup.pool, Vault(("another key of thirty-two characters",)), world.setup.egress)
    views = await setup_integrations.list_integrations(lost, client_id=world.id)
    assert [view.connection for view in views] == [None, None]
    assert all(view.problem and "connection_config" in view.problem for view in views)
    with pytest.raises(FrontdeskError) as caught:
        await endpoint(lost, world.id, world.http, **{**MENU, "endpoint_name": "x"})
    assert caught.value.code == "secret_unreadable"
    mended = await setup_integrations.update_integration(
        lost, client_id=world.id, integration_id=world.http, config=HTTP
    )
    assert mended.problem is None


@pytest.mark.parametrize(("kind", "config"), [("shopify", SHOPIFY), ("woocommerce", WOO)])
async def test_a_preset_is_offered(world: World, kind: str, config: dict[str, Any]) -> None:
    """Connecting a shop is all its owner does: the catalogue offers its look-ups."""
    shop = await setup_integrations.create_integration(
        world.setup, client_id=world.id, integration_type=kind, config=config
    )
    # The demo's own tool of the same name makes way.
    await setup_tools.disable_tool(world.setup, client_id=world.id, tool_name="get_order_status")
    made = await setup_endpoints.apply_preset(world.setup, client_id=world.id, integration_id=shop.id)
    assert made
    box = await Catalogue(world.setup.pool).offered(world.client)
    assert {row.endpoint_name for row in made} <= box.tools.keys()
    assert all(box.tools[row.endpoint_name].effect == "read_only" for row in made)
    with pytest.raises(Invalid, match="presets"):
        await setup_endpoints.apply_preset(world.setup, client_id=world.id, integration_id=world.http)


async def test_two_who_define_the_same_tool(world: World) -> None:
    """One makes it, the other changes it or is told that it exists: never two, never a broken one."""
    await define(world.setup, tool_name="twice")
    assert not await define(world.setup, tool_name="twice")
    async with reading(world.setup.pool) as conn:
        names = [row.tool_name for row in await tools.list_all(conn)]
    assert names.count("twice") == 1
