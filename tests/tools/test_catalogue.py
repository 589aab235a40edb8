"""What each client's AI is offered, and how a model's calls are checked."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from server import ids
from server.repositories import client_tools, clients, endpoints, integrations, tools
from server.repositories.clients import Client, ClientChanges
from server.repositories.pool import Conn, Pool, open_pool, reading, unit_of_work
from server.tools import catalogue
from server.tools.catalogue import Catalogue
from server.tools.labels import label
from server.tools.tool import Endpoint, Tool, Webhook
from server.tools.toolbox import BadArguments, Toolbox
from tests.support import eventually

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "customer_id": {"type": "string"}},
    "required": ["order_id", "customer_id"],
}


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """An open pool."""
    pool = await open_pool(database_url, max_size=4, application_name="test")
    yield pool
    await pool.close()


async def new_client(pool: Pool, name: str, **fields: Any) -> Client:
    """A client with keys of its own."""
    async with unit_of_work(pool) as conn:
        return await clients.create(
            conn,
            name=name,
            domain=f"{name}.example",
            allowed_origins=[],
            public_key=ids.public_key(),
            api_key_hash=ids.secret_key().encode(),
            api_key_prefix="sk_test",
            **fields,
        )


@pytest.fixture
async def pizza(pool: Pool) -> Client:
    """A client with a webhook base URL."""
    return await new_client(pool, "pizza", webhook_base_url="https://n8n.example/webhook/pizza/")


async def _tool(conn: Conn, client: Client, name: str, **fields: Any) -> None:
    """A tool in the catalogue that the client uses."""
    options = {key: fields.pop(key) for key in ("client_proof", "client_confirm", "timeout_ms") if key in fields}
    url = fields.pop("url", None)
    given = {"parameters_schema": SCHEMA, "effect": "read_only", **fields}
    made = await tools.create(conn, tool_name=name, description="d", category="shop", label={}, **given)
    await client_tools.enable(
        conn, client_id=client.id, tool_id=made.id, n8n_webhook_url=url, signing_secret=b"sealed", **options
    )


async def _endpoint(conn: Conn, client: Client, name: str, **fields: Any) -> None:
    made = await integrations.create(
        conn, client_id=client.id, integration_type="custom_api", connection_config=b"sealed too"
    )
    given = {"parameters_schema": {"type": "object"}, "endpoint_url": "/menu", "method": "GET", **fields}
    await endpoints.create(
        conn, client_id=client.id, integration_id=made.id, endpoint_name=name, description="d", **given
    )


async def test_tools_and_live_data_are_offered_by_name(pool: Pool, pizza: Client) -> None:
    """Both kinds in one box, sorted, each with what its executor needs; another client's are not among them."""
    bakery = await new_client(pool, "bakery")
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "order_status", timeout_ms=900)
        await _tool(conn, pizza, "book", url="https://own.example/hook")
        await _endpoint(conn, pizza, "menu", response_path="items", cache_ttl=7)
        await _endpoint(conn, bakery, "cakes")
    box = await Catalogue(pool).offered(pizza)
    assert list(box.tools) == ["book", "menu", "order_status"]
    assert [spec.name for spec in box.specs()] == list(box.tools)
    assert [spec.name for spec in box.specs({"menu"})] == ["book", "order_status"]
    own, below = box.tools["book"].source, box.tools["order_status"].source
    assert isinstance(own, Webhook) and isinstance(below, Webhook)
    assert (own.url, own.timeout_ms, own.signing_secret) == ("https://own.example/hook", 15_000, b"sealed")
    assert (below.url, below.timeout_ms) == ("https://n8n.example/webhook/pizza/order_status", 900)
    menu = box.tools["menu"].source
    assert isinstance(menu, Endpoint)
    assert (menu.integration_type, menu.connection_config, menu.url) == ("custom_api", b"sealed too", "/menu")
    assert (menu.method, menu.response_path, menu.cache_ttl) == ("GET", "items", 7)
    assert list((await Catalogue(pool).offered(bakery)).tools) == ["cakes"]


async def test_what_is_off_is_not_offered(pool: Pool, pizza: Client) -> None:
    """A disabled tool, the endpoints of a disabled integration, and a tool that nothing says where to call."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "off")
        row = await client_tools.find_by_name(conn, client_id=pizza.id, tool_name="off")
        assert row is not None
        await client_tools.disable(conn, client_id=pizza.id, tool_id=row.tool_id)
        await _endpoint(conn, pizza, "menu")
        [system] = await integrations.list_for_client(conn, client_id=pizza.id)
        await integrations.update(conn, client_id=pizza.id, integration_id=system.id, enabled=False)
        await _tool(conn, pizza, "homeless")
    homeless = msgspec.structs.replace(pizza, webhook_base_url=None)
    with capture_logs() as logs:
        kept = Catalogue(pool)
        assert list((await kept.offered(homeless)).tools) == []
    assert [(entry["tool"], entry["reason"]) for entry in logs] == [
        ("homeless", "it has no webhook and the client no webhook_base_url")
    ]
    # Another base URL counts at once.
    assert list((await kept.offered(pizza)).tools) == ["homeless"]


@pytest.mark.parametrize(
    ("theirs", "ours", "effective"),
    [
        ("none", None, "none"),
        ("session", None, "session"),
        ("session", "none", "session"),
        ("session", "verified", "verified"),
        ("verified", "session", "verified"),
        ("none", "session", "session"),
    ],
)
async def test_the_stricter_proof_holds(
    pool: Pool, pizza: Client, *, theirs: str, ours: str | None, effective: str
) -> None:
    """A client may ask for more than the catalogue, never for less."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "t", proof=theirs, client_proof=ours)
    assert (await Catalogue(pool).offered(pizza)).tools["t"].proof == effective


@pytest.mark.parametrize("confirm", [(False, False), (True, False), (False, True), (True, True)])
async def test_either_may_ask_for_confirmation(pool: Pool, pizza: Client, confirm: tuple[bool, bool]) -> None:
    """The catalogue or the client."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "t", confirm=confirm[0], client_confirm=confirm[1])
    assert (await Catalogue(pool).offered(pizza)).tools["t"].confirm == any(confirm)


async def test_a_tool_wins_over_live_data_of_its_name(pool: Pool, pizza: Client) -> None:
    """One name means one thing to a model; the log says what was left out."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "menu")
        await _endpoint(conn, pizza, "menu")
    with capture_logs() as logs:
        box = await Catalogue(pool).offered(pizza)
    assert isinstance(box.tools["menu"].source, Webhook)
    assert [entry["reason"] for entry in logs] == ["an endpoint has the name of a tool: the tool is offered"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("parameters_schema", '{"type": "strin"}', "parameters_schema/type"),
        ("parameters_schema", "[]", "parameters_schema: must be an object"),
        ("parameters_schema", '"x"', "parameters_schema"),
        ("parameters_schema", '{"type": "object", "properties": []}', "parameters_schema/properties"),
        ("parameters_schema", '{"type": "object", "properties": {"a": {"$ref": "http://h/"}}}', "$ref"),
        ("bound", '{"nobody": "visitor.id"}', "bound/nobody: there is no such argument"),
        ("bound", '{"customer_id": "visitor.password"}', "visitor.password"),
        ("bound", "[1]", "Expected `object`"),
        ("label", '{"en": 5}', "Expected `str`"),
    ],
)
async def test_a_row_that_makes_no_sense_is_left_out(
    pool: Pool, pizza: Client, *, column: str, value: str, said: str
) -> None:
    """Somebody wrote into the database by hand: the other tools still work, and the log says it once."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "broken")
        await _tool(conn, pizza, "whole")
        await _endpoint(conn, pizza, "broken_data", parameters_schema=SCHEMA)
        # The test's own statements: no function of ours writes this.
        await conn.execute(f"update tools set {column} = %s::jsonb where tool_name = 'broken'".encode(), [value])
        await conn.execute(f"update integration_endpoints set {column} = %s::jsonb".encode(), [value])
    kept = Catalogue(pool)
    with capture_logs() as logs:
        assert list((await kept.offered(pizza)).tools) == ["whole"]
        await kept._load(pizza)
    assert [(entry["event"], entry["tool"]) for entry in logs] == [
        ("tool not offered", "broken"),
        ("tool not offered", "broken_data"),
    ]
    assert all(said in entry["reason"] for entry in logs)


async def test_live_data_without_a_schema_takes_no_arguments(pool: Pool, pizza: Client) -> None:
    """The column's default is an empty object."""
    async with unit_of_work(pool) as conn:
        await _endpoint(conn, pizza, "menu", parameters_schema={})
    box = await Catalogue(pool).offered(pizza)
    [spec] = box.specs()
    assert spec.parameters == {"type": "object", "properties": {}}
    assert box.checked(box.tools["menu"], "") == {}


async def test_a_change_is_seen_soon(pool: Pool, pizza: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the same box is given without asking the database."""
    monkeypatch.setattr(catalogue, "KEEP_S", 0.3)
    kept = Catalogue(pool)
    first = await kept.offered(pizza)
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "t")
    assert await kept.offered(pizza) is first
    began = time.monotonic()

    async def seen() -> bool:
        return "t" in (await kept.offered(pizza)).tools

    await eventually(seen, "the new tool is offered")
    assert time.monotonic() - began < 2


async def test_what_is_kept_is_bounded(pool: Pool, pizza: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used go first."""
    monkeypatch.setattr(catalogue, "_MAX_CLIENTS", 2)
    kept = Catalogue(pool)
    others = [msgspec.structs.replace(pizza, id=pizza.id + n) for n in range(1, 3)]
    first = await kept.offered(pizza)
    await kept.offered(others[0])
    assert await kept.offered(pizza) is first
    await kept.offered(others[1])
    assert await kept.offered(pizza) is first
    assert len(kept._kept) == 2


async def test_many_turns_at_once(pool: Pool, pizza: Client) -> None:
    """Each gets its own client's tools."""
    shops = [pizza, *[await new_client(pool, f"shop{n}", webhook_base_url="https://h.example") for n in range(6)]]
    async with unit_of_work(pool) as conn:
        for number, shop in enumerate(shops):
            await _tool(conn, shop, f"tool_{number}")
            await _endpoint(conn, shop, f"data_{number}")
    kept = Catalogue(pool)

    async def ask(number: int) -> list[str]:
        return list((await kept._load(shops[number % len(shops)])).tools)

    boxes = await asyncio.gather(*(ask(number) for number in range(70)))
    assert boxes == [[f"data_{n % len(shops)}", f"tool_{n % len(shops)}"] for n in range(70)]


async def test_a_changed_base_url_counts_at_once(pool: Pool, pizza: Client) -> None:
    """A toolbox is kept for the base URL it was made with."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, pizza, "t")
    kept = Catalogue(pool)
    await kept.offered(pizza)
    async with reading(pool) as conn:
        changes = ClientChanges(webhook_base_url="https://new.example/x")
        moved = await clients.update(conn, client_id=pizza.id, changes=changes)
    assert moved is not None
    source = (await kept.offered(moved)).tools["t"].source
    assert isinstance(source, Webhook) and source.url == "https://new.example/x/t"


def _box(**fields: Any) -> tuple[Toolbox, Tool]:
    given: dict[str, Any] = {
        "name": "get_order_status",
        "description": "d",
        "parameters": SCHEMA,
        "effect": "read_only",
        "proof": "session",
        "confirm": False,
        "bound": {},
        "label": {},
        "source": Webhook("https://h.example/", 1000, None, {}),
        **fields,
    }
    tool = Tool(**given)
    return Toolbox([tool]), tool


def test_bound_arguments_are_not_the_models() -> None:
    """They are in no schema that a model sees, and what it writes for them is dropped."""
    box, tool = _box(bound={"customer_id": "visitor.id"}, proof="verified")
    [spec] = box.specs()
    assert spec.parameters["properties"] == {"order_id": {"type": "string"}}
    assert spec.parameters["required"] == ["order_id"]
    assert box.checked(tool, '{"order_id": "7", "customer_id": "somebody else"}') == {"order_id": "7"}
    assert tool.parameters == SCHEMA


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        ("{", ["not JSON: Input data was truncated"]),
        ("nonsense", ["not JSON: JSON is malformed: invalid character (byte 4)"]),
        ('{"order_id": "7"', ["not JSON: Input data was truncated"]),
        ("[]", ['not a JSON object such as {"name": "value"}']),
        ('"7"', ['not a JSON object such as {"name": "value"}']),
        ("null", ['not a JSON object such as {"name": "value"}']),
        ("7", ['not a JSON object such as {"name": "value"}']),
        ("", ["'order_id' is missing", "'customer_id' is missing"]),
        ("  \n", ["'order_id' is missing", "'customer_id' is missing"]),
        ('{"order_id": "a\\u0000b", "customer_id": ""}', ["a text holds the character U+0000"]),
        ("[" * 100_000, ["larger than 64 KB"]),
        ("[" * 60_000, None),
        ('{"a":' * 17 + "1" + "}" * 17, ["deeper than 16 levels"]),
        ('{"order_id": "' + "x" * 65_536 + '"}', ["larger than 64 KB"]),
        ('{"order_id": "\ud800", "customer_id": "?"}', []),
        ('{"order_id": "\\ud800"}', None),
    ],
)
def test_what_a_model_writes_is_checked(raw: str, problems: list[str] | None) -> None:
    """Malformed, of another kind, too large, too deep, unstorable: each goes back to the model in words."""
    box, tool = _box()
    if problems == []:
        assert box.checked(tool, raw)["order_id"] == "?"
        return
    with pytest.raises(BadArguments) as caught:
        box.checked(tool, raw)
    if problems is not None:
        assert caught.value.problems == problems
    assert caught.value.message.startswith("nothing was done: the arguments of get_order_status are wrong\n- ")
    assert len(caught.value.message) < 500


@given(st.text() | st.binary(max_size=40).map(lambda data: data.decode("latin-1")))
def test_nothing_but_bad_arguments_is_raised(raw: str) -> None:
    """Whatever a model writes."""
    box, tool = _box()
    with pytest.raises(BadArguments):
        box.checked(tool, raw)


@pytest.mark.parametrize(
    ("labels", "locale", "said"),
    [
        ({"en": "Looking up your order", "he": "בודקים"}, "he", "בודקים"),
        ({"en": "Looking up your order", "he": "בודקים"}, "he-IL", "בודקים"),
        ({"en": "Looking", "pt-BR": "Olhando"}, "pt-BR", "Olhando"),
        ({"en": "Looking up your order"}, "de", "Looking up your order"),
        ({"de": "Ich sehe nach", "en": " "}, "fr", "Je m'en occupe : get order status"),
        ({}, "en", "Working on it: get order status"),
        ({}, "he", "מטפלים בזה: get order status"),
        ({}, "ar-EG", "جارٍ العمل على ذلك: get order status"),
        ({}, "de-AT", "Ich kümmere mich darum: get order status"),
        ({}, "es", "Me ocupo de ello: get order status"),
        ({}, "nl", "Working on it: get order status"),
        ({}, "", "Working on it: get order status"),
    ],
)
def test_labels_are_for_people(labels: dict[str, str], locale: str, said: str) -> None:
    """In the visitor's language, else in English, else a sentence of ours."""
    _, tool = _box(label=labels)
    assert label(tool, locale) == said
