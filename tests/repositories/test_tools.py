"""The catalogue, a client's tools, its integrations and endpoints, and the calls that were made."""

from typing import Any

import pytest

from server import errors
from server.repositories import client_tools, endpoints, integrations, tool_executions, tools, turns
from server.repositories.client_tools import ClientToolChanges
from server.repositories.integrations import Integration
from server.repositories.pool import Conn, Pool, reading, unit_of_work
from server.repositories.tools import Tool
from tests.repositories.conftest import Shop
from tests.repositories.world import ask, say


async def _tool(conn: Conn, name: str, *, category: str = "shop", effect: str = "read_only") -> Tool:
    return await tools.create(
        conn,
        tool_name=name,
        description="Looks an order up.",
        parameters_schema={"type": "object", "properties": {"order_id": {"type": "string"}}},
        category=category,
        effect=effect,
        label={"en": "Looking up your order"},
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
    assert order.label == {"en": "Looking up your order"}


@pytest.mark.parametrize(
    ("name", "effect", "error", "field"),
    [
        ("taken", "unsafe", errors.Conflict, "tool_name"),
        ("with space", "unsafe", errors.Invalid, "tool_name"),
        ("", "unsafe", errors.Invalid, "tool_name"),
        ("fine", "harmless", errors.Invalid, "effect"),
    ],
)
async def test_a_wrong_tool_is_refused(
    pool: Pool, name: str, effect: str, error: type[errors.RequestError], field: str
) -> None:
    """A name that a model could not call, or twice the same, or an effect that there is not."""
    async with unit_of_work(pool) as conn:
        await _tool(conn, "taken")
    with pytest.raises(error) as caught:
        async with unit_of_work(pool) as conn:
            await _tool(conn, name, effect=effect)
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
        shop = await integrations.create(conn, **where, integration_type="custom_api", connection_config=b"")
        base = await integrations.create(conn, **where, integration_type="mysql_database", connection_config=b"")
        product = await _endpoint(conn, pizza, shop, "get_product", response_path="$.product")
        stock = await _endpoint(conn, pizza, base, "check_stock", method="SQL", cache_ttl=0)
        assert (product.cache_ttl, stock.cache_ttl, product.response_path) == (300, 0, "$.product")
        assert await endpoints.list_for_client(conn, **where) == [stock, product]
        assert await endpoints.list_for_integration(conn, **where, integration_id=shop.id) == [product]
        await integrations.update(conn, **where, integration_id=base.id, enabled=False)
        assert await endpoints.list_for_client(conn, **where) == [product]
        assert await endpoints.find_by_name(conn, **where, endpoint_name="check_stock") == stock
        assert await endpoints.delete(conn, **where, endpoint_id=product.id)
        assert not await endpoints.delete(conn, **where, endpoint_id=product.id)
        await integrations.delete(conn, **where, integration_id=base.id)
        assert await endpoints.find_by_name(conn, **where, endpoint_name="check_stock") is None


@pytest.mark.parametrize(
    ("name", "changes", "error", "field"),
    [
        ("taken", {}, errors.Conflict, "endpoint_name"),
        ("no spaces", {}, errors.Invalid, "endpoint_name"),
        ("a", {"method": "FETCH"}, errors.Invalid, "method"),
        ("a", {"cache_ttl": -1}, errors.Invalid, "cache_ttl"),
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


async def test_tool_executions(pool: Pool, pizza: Shop) -> None:
    """A call counts its attempts while it runs; its first end is final; an outcome in doubt stays open."""
    public_id = await ask(pool, pizza.id, pizza.cnv, await say(pool, pizza.id, pizza.cnv, seq=1), owner="ins_a")
    async with reading(pool) as conn:
        turn = await turns.find(conn, client_id=pizza.id, public_id=public_id)
    assert turn is not None
    call: dict[str, Any] = {"client_id": pizza.id, "turn_id": turn.id, "call_id": "call_1"}
    async with unit_of_work(pool) as conn:
        for _ in range(2):
            await tool_executions.start(
                conn, **call, conversation_id=pizza.cnv, tool_name="refund", parameters={"order": "7"}
            )
        running = await tool_executions.find(conn, **call)
        assert running is not None
        assert (running.attempt, running.success, running.parameters) == (2, None, {"order": "7"})
        await tool_executions.finish(conn, **call, success=None, execution_time_ms=5_000, error="no answer in time")
        doubt = await tool_executions.find(conn, **call)
        assert doubt is not None and (doubt.success, doubt.error) == (None, "no answer in time")
        await tool_executions.finish(conn, **call, success=True, execution_time_ms=80, n8n_response=["ok"])
        await tool_executions.finish(conn, **call, success=False, execution_time_ms=1)
        await tool_executions.start(conn, **call, conversation_id=pizza.cnv, tool_name="refund", parameters={})
        [ended] = await tool_executions.list_for_conversation(conn, client_id=pizza.id, conversation_id=pizza.cnv)
        assert (ended.success, ended.n8n_response, ended.execution_time_ms, ended.attempt) == (True, ["ok"], 80, 2)
        assert await tool_executions.list_for_client(conn, client_id=pizza.id, limit=5, offset=0) == [ended]
        assert await tool_executions.list_for_client(conn, client_id=pizza.id, limit=5, offset=1) == []
