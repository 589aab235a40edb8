"""The catalogue, a client's tools, its integrations and endpoints."""

from typing import Any

import psycopg
import pytest

from server import errors
from server.repositories import client_tools, clients, endpoints, integrations, tools
from server.repositories.client_tools import ClientToolChanges
from server.repositories.integrations import Integration
from server.repositories.pool import Conn, Pool, unit_of_work
from server.repositories.tools import Tool, ToolChanges
from tests.repositories.conftest import Shop


async def _tool(
    conn: Conn, name: str, *, category: str = "shop", effect: str = "read_only", proof: str = "session"
) -> Tool:
    return await tools.create(
        conn,
        tool_name=name,
        description="Looks an order up.",
        parameters_schema={"type": "object", "properties": {"order_id": {"type": "string"}}},
        category=category,
        effect=effect,
        label={"en": "Looking up your order"},
        proof=proof,
    )


async def _endpoint(conn: Conn, shop: Shop, integration: Integration, name: str, **changes: Any) -> endpoints.Endpoint:
    given: dict[str, Any] = {
        "endpoint_url": "/products/{id}.json",
        "method": "GET",
        "description": "A product by id.",
        "parameters_schema": {"type": "object"},
        **changes,
    }
    return await endpoints.create(conn, client_id=shop.id, integration_id=integration.id, endpoint_name=name, **given)


async def test_the_catalogue(pool: Pool) -> None:
    """By name, and whole by category and name."""
    async with unit_of_work(pool) as conn:
        order = await _tool(conn, "get_order_status")
        book = await _tool(conn, "book_appointment", category="calendar", effect="unsafe")
        assert await tools.find_by_name(conn, tool_name="get_order_status") == order
        assert await tools.find_by_name(conn, tool_name="nothing") is None
        assert await tools.list_all(conn) == [book, order]
        changed = await tools.update(
            conn,
            tool_name="get_order_status",
            changes=ToolChanges(proof="verified", confirm=True, bound={"customer": "visitor.id"}),
        )
        assert changed == await tools.find_by_name(conn, tool_name="get_order_status")
        again = await tools.update(
            conn,
            tool_name="get_order_status",
            changes=ToolChanges(
                description="d", parameters_schema={}, category="c", effect="idempotent", confirm=False, label={}
            ),
        )
        assert await tools.update(conn, tool_name="nothing", changes=ToolChanges(confirm=True)) is None
        assert await tools.delete(conn, tool_name="book_appointment")
        assert not await tools.delete(conn, tool_name="book_appointment")
        assert await tools.list_all(conn) == [again]
    assert order.label == {"en": "Looking up your order"}
    assert (order.proof, order.confirm, order.bound) == ("session", False, {})
    assert changed is not None and again is not None
    assert (changed.proof, changed.confirm, changed.bound) == ("verified", True, {"customer": "visitor.id"})
    assert (changed.description, changed.parameters_schema, changed.label) == (
        order.description,
        order.parameters_schema,
        order.label,
    )
    assert (again.description, again.parameters_schema, again.category, again.effect) == ("d", {}, "c", "idempotent")
    assert (again.confirm, again.label, again.proof, again.bound) == (False, {}, changed.proof, changed.bound)


@pytest.mark.parametrize(
    ("name", "effect", "proof", "error", "field"),
    [
        ("taken", "unsafe", "none", errors.Conflict, "tool_name"),
        ("with space", "unsafe", "none", errors.Invalid, "tool_name"),
        ("", "unsafe", "none", errors.Invalid, "tool_name"),
        ("fine", "harmless", "none", errors.Invalid, "effect"),
        ("fine", "unsafe", "a promise", errors.Invalid, "proof"),
    ],
)
async def test_a_wrong_tool_is_refused(
    pool: Pool, *, name: str, effect: str, proof: str, error: type[errors.RequestError], field: str
) -> None:
    """A name that a model could not call, or twice the same, or an effect or proof that there is not."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, "taken")
    with pytest.raises(error) as caught:
        async with unit_of_work(pool) as conn:
            await _tool(conn, name, effect=effect, proof=proof)
    assert caught.value.field == field


async def test_a_clients_tools(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Enabled, changed, disabled, enabled again; the secret survives; another client's webhook is its own."""
    async with unit_of_work(pool) as conn:
        order, book = await _tool(conn, "get_order_status"), await _tool(conn, "book_appointment")
        for tool in (order, book):
            await client_tools.enable(
                conn,
                client_id=pizza.id,
                tool_id=tool.id,
                n8n_webhook_url="https://n8n.example/pizza",
                custom_config={"calendar": "main"},
                signing_secret=b"sealed",
            )
        await client_tools.enable(
            conn, client_id=bakery.id, tool_id=order.id, n8n_webhook_url="https://n8n.example/bakery"
        )
        enabled = await client_tools.list_enabled(conn, client_id=pizza.id)
        assert [tool.tool_name for tool in enabled] == ["book_appointment", "get_order_status"]
        assert await client_tools.update(
            conn,
            client_id=pizza.id,
            tool_id=order.id,
            changes=ClientToolChanges(timeout_ms=2_000, custom_config={"shop": 7}),
        )
        assert await client_tools.disable(conn, client_id=pizza.id, tool_id=order.id)
        off = await client_tools.find_by_name(conn, client_id=pizza.id, tool_name="get_order_status")
        assert off is not None and (off.enabled, off.timeout_ms, off.custom_config) == (False, 2_000, {"shop": 7})
        assert off.n8n_webhook_url == "https://n8n.example/pizza"
        await client_tools.enable(conn, client_id=pizza.id, tool_id=order.id, n8n_webhook_url="https://n8n.example/new")
        on = await client_tools.find_by_name(conn, client_id=pizza.id, tool_name="get_order_status")
        assert on is not None
        assert (on.enabled, on.n8n_webhook_url, on.signing_secret) == (True, "https://n8n.example/new", b"sealed")
        [theirs] = await client_tools.list_enabled(conn, client_id=bakery.id)
        assert (theirs.n8n_webhook_url, theirs.signing_secret) == ("https://n8n.example/bakery", None)
        assert not await client_tools.disable(conn, client_id=bakery.id, tool_id=book.id)
        assert not await client_tools.update(
            conn, client_id=bakery.id, tool_id=book.id, changes=ClientToolChanges(timeout_ms=500)
        )


async def test_each_edit_is_a_version_more(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """One that saw an older version changes nothing, one that saw none overwrites; a new secret is no edit."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        tool = await _tool(conn, "t")
        assert tool.version == 1
        for seen, version in ((1, 2), (None, 3)):
            edited = await tools.update(conn, tool_name="t", changes=ToolChanges(confirm=True), seen=seen)
            assert edited is not None and edited.version == version
        assert await tools.update(conn, tool_name="t", changes=ToolChanges(confirm=False), seen=2) is None
        kept = await tools.find_by_name(conn, tool_name="t")
        assert kept == edited

        async def own() -> tuple[int, bool, int]:
            row = await client_tools.find_by_name(conn, **where, tool_name="t")
            assert row is not None
            return row.version, row.enabled, row.timeout_ms

        use: dict[str, Any] = {**where, "tool_id": tool.id, "n8n_webhook_url": None}
        assert await client_tools.enable(conn, **use, seen=0, enabled=False)
        assert await own() == (1, False, 15_000)
        assert [row.tool_name for row in await client_tools.list_all(conn, **where)] == ["t"]
        assert await client_tools.list_enabled(conn, **where) == []
        assert await client_tools.list_all(conn, client_id=bakery.id) == []
        for seen in (0, 2):
            assert not await client_tools.enable(conn, **use, timeout_ms=500, seen=seen)
        assert await client_tools.enable(conn, **use, timeout_ms=500, seen=1)
        assert await client_tools.enable(conn, **use, timeout_ms=600)
        assert await own() == (3, True, 600)
        secret = ClientToolChanges(signing_secret=b"new")
        assert await client_tools.update(conn, **where, tool_id=tool.id, changes=secret)
        assert await own() == (3, True, 600)
        slow = ClientToolChanges(timeout_ms=700)
        assert await client_tools.update(conn, **where, tool_id=tool.id, changes=slow)
        assert await own() == (4, True, 700)
        for _ in range(2):
            assert await client_tools.disable(conn, **where, tool_id=tool.id)
            assert await own() == (5, False, 700)


async def test_versions_of_live_data(pool: Pool, pizza: Shop) -> None:
    """A system's edits count, its tests do not; an endpoint of another version than the one that was seen stays."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        made = await integrations.create(conn, **where, integration_type="custom_api", connection_config=b"one")
        one: dict[str, Any] = {**where, "integration_id": made.id}
        assert await integrations.update(conn, **one, enabled=False, seen=1)
        assert not await integrations.update(conn, **one, connection_config=b"two", seen=1)
        await integrations.record_test(conn, **one, result={"ok": True})
        now = await integrations.find(conn, **one)
        assert now is not None and (now.version, now.connection_config, now.enabled) == (2, b"one", False)
        assert await endpoints.count_by_integration(conn, **where) == {}
        first = await _endpoint(conn, pizza, made, "a")
        await _endpoint(conn, pizza, made, "b", version=7)
        assert [row.version for row in await endpoints.list_for_integration(conn, **one)] == [1, 7]
        assert await endpoints.count_by_integration(conn, **where) == {made.id: 2}
        assert not await endpoints.delete(conn, **where, endpoint_id=first.id, seen=2)
        assert await endpoints.delete(conn, **where, endpoint_id=first.id, seen=1)
        assert await endpoints.count_by_integration(conn, **where) == {made.id: 1}


async def test_where_a_clients_tools_are_called(pool: Pool, pizza: Shop) -> None:
    """Set, and set again only from what was seen there; the client itself is not edited by it."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        assert await client_tools.set_base_url(conn, **where, webhook_base_url="https://a.example")
        for was in (None, "https://b.example"):
            assert not await client_tools.set_base_url(conn, **where, webhook_base_url=None, was=was)
        assert await client_tools.set_base_url(conn, **where, webhook_base_url=None, was="https://a.example")
        assert await client_tools.set_base_url(conn, **where, webhook_base_url="https://c.example", was=None)
        now = await clients.find(conn, **where)
        assert now is not None
        assert (now.webhook_base_url, now.version) == ("https://c.example", pizza.client.version)
        assert not await client_tools.set_base_url(conn, client_id=0, webhook_base_url=None)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (
            "from client_tools ct join tools t on t.id = ct.tool_id where ct.client_id = 5",
            "client_tools_client_id_tool_id_key",
        ),
        ("from client_integrations where client_id = 5 order by id", "client_integrations_client_id_id_key"),
        ("from integration_endpoints where client_id = 5 group by integration_id", "integration_endpoints_client_id_"),
        ("from integration_endpoints where client_id = 5 and endpoint_name = 'x'", "integration_endpoints_client_id_"),
        ("from tools where tool_name = 'x'", "tools_tool_name_key"),
    ],
)
def test_the_lists_walk_an_index(database_url: str, statement: str, index: str) -> None:
    """What a client set up is found among that of all clients: with sequential scans off the plan has the index."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off")
        plan = conn.execute(f"explain select count(*) {statement.partition(' order by')[0]}".encode()).fetchall()
    assert index in "\n".join(line for (line,) in plan)


async def test_what_a_client_asks_for_besides(pool: Pool, pizza: Shop) -> None:
    """Next to the catalogue's policy stands the client's own; its URL and its proof can be taken away again."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        tool = await _tool(conn, "t", proof="none")
        await client_tools.enable(conn, **where, tool_id=tool.id, n8n_webhook_url=None)
        [plain] = await client_tools.list_enabled(conn, **where)
        assert (plain.proof, plain.confirm, plain.bound) == ("none", False, {})
        assert (plain.client_proof, plain.client_confirm) == (None, False)
        assert (plain.n8n_webhook_url, plain.timeout_ms) == (None, 15_000)
        await client_tools.enable(
            conn,
            **where,
            tool_id=tool.id,
            n8n_webhook_url="https://n8n.example/a",
            client_proof="session",
            client_confirm=True,
        )
        strict = await client_tools.find_by_name(conn, **where, tool_name="t")
        assert strict is not None
        assert (strict.proof, strict.confirm, strict.client_proof, strict.client_confirm) == (
            "none",
            False,
            "session",
            True,
        )
        for changes, expected in (
            (ClientToolChanges(client_proof="verified"), ("https://n8n.example/a", "verified", True)),
            (ClientToolChanges(client_confirm=False), ("https://n8n.example/a", "verified", False)),
            (ClientToolChanges(n8n_webhook_url="https://n8n.example/b"), ("https://n8n.example/b", "verified", False)),
            (ClientToolChanges(client_proof=None), ("https://n8n.example/b", None, False)),
            (ClientToolChanges(n8n_webhook_url=None), (None, None, False)),
            (ClientToolChanges(), (None, None, False)),
        ):
            assert await client_tools.update(conn, **where, tool_id=tool.id, changes=changes)
            now = await client_tools.find_by_name(conn, **where, tool_name="t")
            assert now is not None
            assert (now.n8n_webhook_url, now.client_proof, now.client_confirm) == expected
    with pytest.raises(errors.Invalid, match="none, session, verified"):
        async with unit_of_work(pool) as conn:
            await client_tools.enable(conn, **where, tool_id=tool.id, n8n_webhook_url=None, client_proof="a promise")


async def test_a_timeout_has_bounds(pool: Pool, pizza: Shop) -> None:
    """Zero would never answer, an hour would hold the turn."""
    async with unit_of_work(pool) as conn:
        tool = await _tool(conn, "t")
    for timeout_ms in (0, 3_600_000):
        with pytest.raises(errors.Invalid, match="timeout_ms"):
            async with unit_of_work(pool) as conn:
                await client_tools.enable(
                    conn, client_id=pizza.id, tool_id=tool.id, n8n_webhook_url="u", timeout_ms=timeout_ms
                )


async def test_integrations(pool: Pool, pizza: Shop) -> None:
    """Made, tested, changed, deleted; a new configuration is untested again."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        made = await integrations.create(conn, **where, integration_type="shopify", connection_config=b"\x00sealed\xff")
        assert (made.connection_config, made.enabled, made.last_sync_test) == (b"\x00sealed\xff", True, None)
        assert await integrations.record_test(conn, **where, integration_id=made.id, result={"ok": True, "ms": 80})
        tested = await integrations.find(conn, **where, integration_id=made.id)
        assert tested is not None and tested.last_test_result == {"ok": True, "ms": 80}
        assert tested.last_sync_test is not None
        assert await integrations.update(conn, **where, integration_id=made.id, enabled=False)
        off = await integrations.find(conn, **where, integration_id=made.id)
        assert off is not None and (off.enabled, off.last_test_result) == (False, {"ok": True, "ms": 80})
        assert await integrations.update(conn, **where, integration_id=made.id, connection_config=b"new")
        [changed] = await integrations.list_for_client(conn, **where)
        assert (changed.connection_config, changed.enabled, changed.last_test_result) == (b"new", False, None)
        assert await integrations.delete(conn, **where, integration_id=made.id)
        assert not await integrations.delete(conn, **where, integration_id=made.id)
        assert await integrations.list_for_client(conn, **where) == []
    with pytest.raises(errors.Invalid, match="shopify, woocommerce, custom_api, mysql_database, postgres_database"):
        async with unit_of_work(pool) as conn:
            await integrations.create(conn, **where, integration_type="fax", connection_config=b"")


async def test_endpoints(pool: Pool, pizza: Shop) -> None:
    """Listed by integration, and to a model while the integration is enabled; they go with it."""
    where: dict[str, Any] = {"client_id": pizza.id}
    async with unit_of_work(pool) as conn:
        shop = await integrations.create(conn, **where, integration_type="custom_api", connection_config=b"shop")
        base = await integrations.create(conn, **where, integration_type="mysql_database", connection_config=b"base")
        product = await _endpoint(conn, pizza, shop, "get_product", response_path="$.product")
        stock = await _endpoint(conn, pizza, base, "check_stock", method="SQL", cache_ttl=0)
        assert (product.cache_ttl, stock.cache_ttl, product.response_path) == (300, 0, "$.product")
        assert (product.effect, product.proof, product.confirm, product.bound, product.label) == (
            "read_only",
            "session",
            False,
            {},
            {},
        )
        offered = await endpoints.list_offered(conn, **where)
        assert [each.id for each in offered] == [stock.id, product.id]
        assert [(each.integration_type, each.connection_config) for each in offered] == [
            ("mysql_database", b"base"),
            ("custom_api", b"shop"),
        ]
        assert [each.response_path for each in offered] == [None, "$.product"]
        assert await endpoints.list_for_integration(conn, **where, integration_id=shop.id) == [product]
        await integrations.update(conn, **where, integration_id=base.id, enabled=False)
        assert [each.id for each in await endpoints.list_offered(conn, **where)] == [product.id]
        assert await endpoints.find_by_name(conn, **where, endpoint_name="check_stock") == stock
        assert await endpoints.delete(conn, **where, endpoint_id=product.id)
        assert not await endpoints.delete(conn, **where, endpoint_id=product.id)
        await integrations.delete(conn, **where, integration_id=base.id)
        assert await endpoints.find_by_name(conn, **where, endpoint_name="check_stock") is None


async def test_an_endpoint_has_a_tools_policy(pool: Pool, pizza: Shop) -> None:
    """What it does, who may use it, what the server fills, how people read its name."""
    policy: dict[str, Any] = {
        "effect": "unsafe",
        "proof": "verified",
        "confirm": True,
        "bound": {"customer": "visitor.id"},
        "label": {"en": "Cancelling"},
    }
    async with unit_of_work(pool) as conn:
        shop = await integrations.create(conn, client_id=pizza.id, integration_type="shopify", connection_config=b"")
        made = await _endpoint(conn, pizza, shop, "cancel_order", **policy)
        [offered] = await endpoints.list_offered(conn, client_id=pizza.id)
    for endpoint in (made, offered):
        assert {name: getattr(endpoint, name) for name in policy} == policy


@pytest.mark.parametrize(
    ("name", "changes", "error", "field"),
    [
        ("taken", {}, errors.Conflict, "endpoint_name"),
        ("no spaces", {}, errors.Invalid, "endpoint_name"),
        ("a", {"method": "FETCH"}, errors.Invalid, "method"),
        ("a", {"cache_ttl": -1}, errors.Invalid, "cache_ttl"),
        ("a", {"effect": "harmless"}, errors.Invalid, "effect"),
        ("a", {"proof": "a promise"}, errors.Invalid, "proof"),
    ],
)
async def test_a_wrong_endpoint_is_refused(
    pool: Pool, pizza: Shop, *, name: str, changes: dict[str, Any], error: type[errors.RequestError], field: str
) -> None:
    """Each says which field."""
    async with unit_of_work(pool) as conn:
        shop = await integrations.create(conn, client_id=pizza.id, integration_type="shopify", connection_config=b"")
        await _endpoint(conn, pizza, shop, "taken")
    with pytest.raises(error) as caught:
        async with unit_of_work(pool) as conn:
            await _endpoint(conn, pizza, shop, name, **changes)
    assert caught.value.field == field
