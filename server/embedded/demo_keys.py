"""The demo shops' secrets, sealed in the database as any client's are: for the seed and for the shops' own systems."""

import hmac

import msgspec

from server.embedded.demo_catalogue import DEMO_ENDPOINTS, DemoEndpoint
from server.embedded.demo_data import DEMO_CLIENTS
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from server.repositories import client_tools, clients, endpoints, integrations
from server.repositories.integrations import Integration
from server.repositories.pool import Conn

API_KEY_HEADER = "X-API-Key"


class ApiKey(msgspec.Struct, frozen=True, tag="api_key"):
    """How the shop's API is told who calls."""

    name: str
    value: str
    where: str = "header"


class ShopConnection(msgspec.Struct, frozen=True):
    """The configuration of a shop's integration, as the type `custom_api` has it."""

    api_url: str
    auth: ApiKey
    test_path: str = "/products"


def slug_of(domain: str) -> str | None:
    """The demo shop of a client's domain."""
    return next((each.slug for each in DEMO_CLIENTS if each.domain == domain), None)


def endpoint_of(slug: str) -> DemoEndpoint:
    """What the shop's API offers."""
    return next(each for each in DEMO_ENDPOINTS if each.slug == slug)


async def signing_secret(conn: Conn, vault: Vault, *, client_id: int, tool_name: str) -> tuple[str, str] | None:
    """The shop's slug, and what its tool signs with. None where the client is no demo shop or the tool is not on.

    Raises SecretUnreadable.
    """
    client = await clients.find(conn, client_id=client_id)
    slug = slug_of(client.domain) if client else None
    tool = await client_tools.find_by_name(conn, client_id=client_id, tool_name=tool_name) if slug else None
    if slug is None or tool is None or not tool.enabled or tool.signing_secret is None:
        return None
    return slug, vault.open(tool.signing_secret, client_id=client_id, field=SIGNING_SECRET)


async def is_api_key(conn: Conn, vault: Vault, *, slug: str, given: str) -> bool:
    """Whether the shop's integration carries this key. Raises SecretUnreadable."""
    client = next((each for each in await clients.list_all(conn) if slug_of(each.domain) == slug), None)
    integration = await integration_of(conn, client_id=client.id, slug=slug) if client else None
    if integration is None or not integration.enabled:
        return False
    connection = open_connection(vault, integration)
    return connection is not None and hmac.compare_digest(connection.auth.value.encode(), given.encode())


async def integration_of(conn: Conn, *, client_id: int, slug: str) -> Integration | None:
    """The integration that the shop's endpoint belongs to."""
    endpoint = await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=endpoint_of(slug).name)
    if endpoint is None:
        return None
    return await integrations.find(conn, client_id=client_id, integration_id=endpoint.integration_id)


def open_connection(vault: Vault, integration: Integration) -> ShopConnection | None:
    """None when somebody has connected the shop to another system. Raises SecretUnreadable."""
    opened = vault.open(integration.connection_config, client_id=integration.client_id, field=CONNECTION_CONFIG)
    try:
        return msgspec.json.decode(opened, type=ShopConnection)
    except msgspec.ValidationError:
        return None
