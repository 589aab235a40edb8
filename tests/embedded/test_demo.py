"""The seed: everything of the demo shops once, and nothing of what somebody changed is changed back."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from server.embedded.demo_keys import integration_of, is_api_key, open_connection
from server.net.egress import Egress
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from server.repositories import client_tools, clients, endpoints, integrations, tools
from server.repositories.client_tools import ClientToolChanges
from server.repositories.pool import Pool, open_pool, unit_of_work
from server.repositories.tools import ToolChanges
from server.tools.connections.http import ApiKey, HttpConnection
from server.tools.connections.kinds import parse
from tests.embedded.demo_site import seed
from tests.support import SECRET_KEYS

HERE, MOVED = "http://127.0.0.1:8000", "http://127.0.0.1:9000"
VAULT = Vault(SECRET_KEYS)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """An open pool."""
    pool = await open_pool(database_url, max_size=2, application_name="test")
    yield pool
    await pool.close()


async def everything(pool: Pool) -> dict[str, list[tuple[Any, ...]]]:
    """Every row the seed may touch."""
    async with unit_of_work(pool) as conn:
        return {
            table: await (await conn.execute(f"select * from {table} order by id".encode())).fetchall()
            for table in ("clients", "tools", "client_tools", "client_integrations", "integration_endpoints")
        }


async def test_the_second_time_changes_nothing(pool: Pool) -> None:
    """Rows, secrets and ciphertexts are the same."""
    await seed(pool, VAULT, HERE)
    before = await everything(pool)
    assert {table: len(rows) for table, rows in before.items()} == {
        "clients": 2,
        "tools": 4,
        "client_tools": 8,
        "client_integrations": 2,
        "integration_endpoints": 2,
    }
    await seed(pool, VAULT, HERE)
    assert await everything(pool) == before


async def test_another_port_moves_the_addresses_and_keeps_the_secrets(pool: Pool) -> None:
    """Webhooks and the shops' APIs follow the instance."""
    pizza, _ = await seed(pool, VAULT, HERE)
    async with unit_of_work(pool) as conn:
        before = await client_tools.list_enabled(conn, client_id=pizza.id)
        first = await integration_of(conn, client_id=pizza.id, slug="pizza")
    assert first is not None
    await seed(pool, VAULT, MOVED)
    async with unit_of_work(pool) as conn:
        after = await client_tools.list_enabled(conn, client_id=pizza.id)
        second = await integration_of(conn, client_id=pizza.id, slug="pizza")
    assert second is not None
    assert [each.n8n_webhook_url for each in after] == [f"{MOVED}/demo/n8n/{each.tool_name}" for each in after]
    assert [each.signing_secret for each in after] == [each.signing_secret for each in before]
    old, new = open_connection(VAULT, first), open_connection(VAULT, second)
    assert old is not None
    assert new is not None
    assert (old.api_url, new.api_url) == (f"{HERE}/demo/shop/pizza", f"{MOVED}/demo/shop/pizza")
    assert old.auth == new.auth


async def test_what_somebody_changed_stays(pool: Pool) -> None:
    """A tool that was switched off, one that goes to a real n8n, a description, a system of their own."""
    pizza, _ = await seed(pool, VAULT, HERE)
    own = VAULT.seal('{"api_url": "https://till.example/api"}', client_id=pizza.id, field=CONNECTION_CONFIG)
    async with unit_of_work(pool) as conn:
        order = await tools.find_by_name(conn, tool_name="get_order_status")
        stock = await tools.find_by_name(conn, tool_name="check_inventory")
        assert order is not None
        assert stock is not None
        changes = ClientToolChanges(n8n_webhook_url="https://n8n.example/webhook/get_order_status")
        await client_tools.update(conn, client_id=pizza.id, tool_id=order.id, changes=changes)
        await client_tools.disable(conn, client_id=pizza.id, tool_id=stock.id)
        await tools.update(conn, tool_name="get_product_info", changes=ToolChanges(description="Ours."))
        there = await integration_of(conn, client_id=pizza.id, slug="pizza")
        assert there is not None
        await integrations.update(conn, client_id=pizza.id, integration_id=there.id, connection_config=own)
    before = await everything(pool)
    await seed(pool, VAULT, HERE)
    assert await everything(pool) == before
    async with unit_of_work(pool) as conn:
        assert not await is_api_key(conn, VAULT, slug="pizza", given="")


async def test_new_keys_of_the_deployment_make_new_secrets(pool: Pool) -> None:
    """A data directory whose keys were lost works again after a start."""
    await seed(pool, VAULT, HERE)
    other = Vault(("f" * 32,))
    pizza, _ = await seed(pool, other, HERE)
    async with unit_of_work(pool) as conn:
        for each in await client_tools.list_enabled(conn, client_id=pizza.id):
            assert each.signing_secret is not None
            assert other.open(each.signing_secret, client_id=pizza.id, field=SIGNING_SECRET).startswith("whsec_")
        there = await integration_of(conn, client_id=pizza.id, slug="pizza")
        assert there is not None
        connection = open_connection(other, there)
        assert connection is not None
        assert await is_api_key(conn, other, slug="pizza", given=connection.auth.value)
        assert not await is_api_key(conn, other, slug="bakery", given=connection.auth.value)


async def test_the_sealed_connection_is_one_that_live_data_reads(pool: Pool) -> None:
    """It is written here as JSON and read elsewhere with the type of custom APIs."""
    pizza, _ = await seed(pool, VAULT, HERE)
    egress = Egress(["127.0.0.1/32"])
    try:
        async with unit_of_work(pool) as conn:
            there = await integration_of(conn, client_id=pizza.id, slug="pizza")
            offered = await endpoints.list_offered(conn, client_id=pizza.id)
        assert there is not None
        raw = VAULT.open(there.connection_config, client_id=pizza.id, field=CONNECTION_CONFIG)
        connection = parse(there.integration_type, raw, egress)
    finally:
        await egress.close()
    assert isinstance(connection, HttpConnection)
    assert isinstance(connection.auth, ApiKey)
    assert connection.api_url == f"{HERE}/demo/shop/pizza"
    assert [(each.endpoint_name, each.effect, each.label["en"]) for each in offered] == [
        ("find_pizza", "read_only", "Looking at today's menu")
    ]


async def test_new_origins_are_added_and_old_ones_stay(pool: Pool) -> None:
    """The pages work on every port they were ever served from."""
    first, _ = await seed(pool, VAULT, HERE)
    async with unit_of_work(pool) as conn:
        await clients.update(
            conn, client_id=first.id, changes=clients.ClientChanges(allowed_origins=["https://other.example"])
        )
    again, _ = await seed(pool, VAULT, HERE)
    assert again.allowed_origins == ["https://other.example", "http://localhost:8000"]
    assert msgspec.structs.replace(again, allowed_origins=first.allowed_origins).id == first.id
