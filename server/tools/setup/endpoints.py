"""What may be looked up in a client's own systems, and through which address or statement."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from server.errors import Conflict, NotFound
from server.repositories import client_tools, endpoints
from server.repositories.endpoints import Endpoint
from server.repositories.integrations import Integration
from server.repositories.pool import Conn, reading, unit_of_work
from server.tools.connections import kinds as connections
from server.tools.connections.database import DatabaseConnection
from server.tools.connections.http import HttpConnection
from server.tools.connections.kinds import Connection
from server.tools.live.http_request import check_template
from server.tools.live.response_path import check_response_path
from server.tools.setup import presets
from server.tools.setup.base import Setup, known_integration, opened
from server.tools.setup.definition import EndpointDefinition, checked_endpoint
from server.tools.sql.template import check_statement


async def create_endpoint(
    setup: Setup, *, client_id: int, integration_id: int, definition: EndpointDefinition
) -> Endpoint:
    """Raises Invalid, NotFound, and Conflict for a name that the client's AI knows already."""
    [made] = await _create(setup, client_id, integration_id, [definition])
    return made


async def apply_preset(setup: Setup, *, client_id: int, integration_id: int) -> list[Endpoint]:
    """All look-ups that are known for this kind of system, or none of them. Raises as `create_endpoint` does."""
    async with reading(setup.pool) as conn:
        integration = await known_integration(conn, client_id, integration_id)
    return await _create(setup, client_id, integration_id, presets.definitions(integration.integration_type))


async def update_endpoint(
    setup: Setup, *, client_id: int, endpoint_name: str, definition: EndpointDefinition
) -> Endpoint:
    """Another definition in the place of this one, with an id of its own, so that no answer of the old one is given for
    it. Raises as `create_endpoint` does."""
    async with unit_of_work(setup.pool) as conn:
        before = await _known_endpoint(conn, client_id, endpoint_name)
        integration = await known_integration(conn, client_id, before.integration_id)
        checked = _checked(setup, integration, definition)
        await endpoints.delete(conn, client_id=client_id, endpoint_id=before.id)
        return await _insert(conn, integration, checked)


async def list_endpoints(setup: Setup, *, client_id: int, integration_id: int) -> list[Endpoint]:
    """Oldest first. Raises NotFound."""
    async with reading(setup.pool) as conn:
        await known_integration(conn, client_id, integration_id)
        return await endpoints.list_for_integration(conn, client_id=client_id, integration_id=integration_id)


async def delete_endpoint(setup: Setup, *, client_id: int, endpoint_name: str) -> None:
    """Raises NotFound."""
    async with unit_of_work(setup.pool) as conn:
        row = await _known_endpoint(conn, client_id, endpoint_name)
        await endpoints.delete(conn, client_id=client_id, endpoint_id=row.id)


def check_call(
    integration_type: str, connection: Connection, url: str, method: str, parameters_schema: Mapping[str, Any]
) -> None:
    """Whether a connection can be called like this. Raises Invalid."""
    if isinstance(connection, DatabaseConnection):
        check_statement(connections.database_kind(integration_type), url, parameters_schema, field="endpoint_url")
        return
    http = connection if isinstance(connection, HttpConnection) else connection.http()
    check_template(url, method, parameters_schema, base=http.api_url)


async def _create(
    setup: Setup, client_id: int, integration_id: int, definitions: Sequence[EndpointDefinition]
) -> list[Endpoint]:
    async with unit_of_work(setup.pool) as conn:
        integration = await known_integration(conn, client_id, integration_id)
        checked = [_checked(setup, integration, definition) for definition in definitions]
        return [await _insert(conn, integration, definition) for definition in checked]


def _checked(setup: Setup, integration: Integration, definition: EndpointDefinition) -> EndpointDefinition:
    connection = opened(setup, integration)
    checked = checked_endpoint(definition, database=isinstance(connection, DatabaseConnection))
    check_response_path(checked.response_path)
    check_call(
        integration.integration_type, connection, checked.endpoint_url, checked.method or "", checked.parameters_schema
    )
    return checked


async def _insert(conn: Conn, integration: Integration, definition: EndpointDefinition) -> Endpoint:
    name = definition.endpoint_name
    tool = await client_tools.find_by_name(conn, client_id=integration.client_id, tool_name=name)
    if tool is not None and tool.enabled:
        raise Conflict(f"client {integration.client_id} has a tool named {name} too", field="endpoint_name")
    return await endpoints.create(
        conn,
        client_id=integration.client_id,
        integration_id=integration.id,
        **msgspec.structs.asdict(definition),
    )


async def _known_endpoint(conn: Conn, client_id: int, endpoint_name: str) -> Endpoint:
    row = await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=endpoint_name)
    if row is None:
        raise NotFound(f"client {client_id} has no endpoint {endpoint_name[:64]!r}")
    return row
