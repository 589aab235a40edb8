"""Puts the demo shops into the database with their tools and their live data, once."""

import msgspec

from server import ids
from server.embedded.demo_catalogue import DEMO_TOOLS, DemoTool
from server.embedded.demo_data import DEMO_CLIENTS, DemoClient
from server.embedded.demo_keys import (
    API_KEY_HEADER,
    ApiKey,
    ShopConnection,
    endpoint_of,
    integration_of,
    open_connection,
)
from server.errors import SecretUnreadable
from server.net import webhooks
from server.net.signing import Keyring
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from server.repositories import client_tools, clients, endpoints, integrations, tools
from server.repositories.client_tools import ClientToolChanges
from server.repositories.clients import Client, ClientChanges
from server.repositories.pool import Conn

WEBHOOK_PATH = "/demo/n8n/"
SHOP_PATH = "/demo/shop/"
# Seconds a look-up is kept. Stock changes by the minute.
CACHE_TTL_S = 30


async def seed(conn: Conn, keyring: Keyring, vault: Vault, *, origins: list[str], base_url: str) -> list[Client]:
    """Creates what is missing. What is there stays, but for new origins and for addresses on this instance.

    `base_url` is where this instance answers its own calls, such as http://127.0.0.1:8000. Idempotent: secrets stay,
    and so does what somebody changed, an address of another system included.
    """
    there = {client.domain: client for client in await clients.list_all(conn)}
    seeded = [await _shop(conn, keyring, each, there.get(each.domain), origins) for each in DEMO_CLIENTS]
    for each in DEMO_TOOLS:
        await _catalogued(conn, each)
    for demo, client in zip(DEMO_CLIENTS, seeded, strict=True):
        for tool in DEMO_TOOLS:
            await _tool(conn, vault, demo, client, tool, f"{base_url}{WEBHOOK_PATH}{tool.name}")
        await _live_data(conn, vault, demo, client, f"{base_url}{SHOP_PATH}{demo.slug}")
    return seeded


async def _shop(conn: Conn, keyring: Keyring, demo: DemoClient, there: Client | None, origins: list[str]) -> Client:
    if there is None:
        # Nobody is told this key: a demo shop has no server of its own. `client rotate-key` makes one that is told.
        secret = ids.secret_key()
        return await clients.create(
            conn,
            name=demo.name,
            domain=demo.domain,
            allowed_origins=origins,
            public_key=ids.public_key(),
            api_key_hash=keyring.digest("api-key", secret),
            api_key_prefix=secret[:8],
            plan_type="pro",
            system_prompt=demo.system_prompt,
            widget_config=msgspec.to_builtins(demo.widget_config),
            locale=demo.locale,
            timezone=demo.timezone,
        )
    if set(origins) <= set(there.allowed_origins):
        return there
    merged = [*there.allowed_origins, *(each for each in origins if each not in there.allowed_origins)]
    changed = await clients.update(conn, client_id=there.id, changes=ClientChanges(allowed_origins=merged))
    return changed or there


async def _catalogued(conn: Conn, tool: DemoTool) -> None:
    if await tools.find_by_name(conn, tool_name=tool.name) is None:
        await tools.create(
            conn,
            tool_name=tool.name,
            description=tool.description,
            parameters_schema=tool.parameters,
            category=tool.category,
            effect=tool.effect,
            confirm=tool.confirm,
            label=tool.label,
        )


async def _tool(conn: Conn, vault: Vault, demo: DemoClient, client: Client, tool: DemoTool, url: str) -> None:
    there = await client_tools.find_by_name(conn, client_id=client.id, tool_name=tool.name)
    if there is None:
        catalogued = await tools.find_by_name(conn, tool_name=tool.name)
        assert catalogued is not None
        await client_tools.enable(
            conn,
            client_id=client.id,
            tool_id=catalogued.id,
            n8n_webhook_url=url,
            custom_config={"timezone": demo.timezone},
            signing_secret=_new_secret(vault, client),
        )
        return
    ours = there.n8n_webhook_url is not None and there.n8n_webhook_url.endswith(f"{WEBHOOK_PATH}{tool.name}")
    if not ours:
        return
    if there.n8n_webhook_url != url:
        changes = ClientToolChanges(n8n_webhook_url=url)
        await client_tools.update(conn, client_id=client.id, tool_id=there.tool_id, changes=changes)
    if there.signing_secret is None or not _opens(vault, client, there.signing_secret):
        changes = ClientToolChanges(signing_secret=_new_secret(vault, client))
        await client_tools.update(conn, client_id=client.id, tool_id=there.tool_id, changes=changes)


async def _live_data(conn: Conn, vault: Vault, demo: DemoClient, client: Client, api_url: str) -> None:
    there = await integration_of(conn, client_id=client.id, slug=demo.slug)
    if there is None:
        offered = endpoint_of(demo.slug)
        made = await integrations.create(
            conn,
            client_id=client.id,
            integration_type="custom_api",
            connection_config=_sealed(vault, client, _new_connection(api_url)),
        )
        await endpoints.create(
            conn,
            client_id=client.id,
            integration_id=made.id,
            endpoint_name=offered.name,
            endpoint_url="/products{?query}",
            method="GET",
            description=offered.description,
            parameters_schema=offered.parameters,
            response_path="products",
            cache_ttl=CACHE_TTL_S,
            label=offered.label,
        )
        return
    try:
        connection = open_connection(vault, there)
    except SecretUnreadable:
        connection = _new_connection("")  # the keys of the data directory are new
    if connection is None or connection.api_url == api_url:
        return
    if connection.api_url and not connection.api_url.endswith(f"{SHOP_PATH}{demo.slug}"):
        return
    moved = msgspec.structs.replace(connection, api_url=api_url)
    await integrations.update(
        conn, client_id=client.id, integration_id=there.id, connection_config=_sealed(vault, client, moved)
    )


def _new_connection(api_url: str) -> ShopConnection:
    return ShopConnection(api_url=api_url, auth=ApiKey(name=API_KEY_HEADER, value=ids.secret_key()))


def _sealed(vault: Vault, client: Client, connection: ShopConnection) -> bytes:
    return vault.seal(msgspec.json.encode(connection).decode(), client_id=client.id, field=CONNECTION_CONFIG)


def _new_secret(vault: Vault, client: Client) -> bytes:
    return vault.seal(webhooks.new_secret(), client_id=client.id, field=SIGNING_SECRET)


def _opens(vault: Vault, client: Client, sealed: bytes) -> bool:
    try:
        vault.open(sealed, client_id=client.id, field=SIGNING_SECRET)
    except SecretUnreadable:
        return False
    return True
