"""What may be looked up in a client's own systems, and through which address or statement."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from server.errors import Conflict, NotFound, SecretUnreadable
from server.protocol.admin.tools import DefinitionChecked
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
from server.tools.setup.base import Setup, Target, changed_meanwhile, known_integration, opened, record
from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.explain import explain_endpoint
from server.tools.setup.rules import Rule, checked_endpoint, endpoint_rules
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
    setup: Setup,
    *,
    client_id: int,
    endpoint_name: str,
    definition: EndpointDefinition,
    integration_id: int | None = None,
    seen: int | None = None,
) -> Endpoint:
    """Another definition in the place of this one, with an id of its own, so that no answer of the old one is given for
    it. With an `integration_id` it must be one of that integration's. Raises as `create_endpoint` does."""
    async with unit_of_work(setup.pool) as conn:
        before = await _known_endpoint(conn, client_id, endpoint_name, integration_id)
        integration = await known_integration(conn, client_id, before.integration_id)
        checked = _checked(setup, integration, definition)
        if not await endpoints.delete(conn, client_id=client_id, endpoint_id=before.id, seen=seen):
            target = Target(client_id, "endpoint", endpoint_name)
            raise await changed_meanwhile(conn, target, f"the endpoint {endpoint_name}")
        made = await _insert(conn, integration, checked, version=before.version + 1)
        fields = [each for each in _EDITED if getattr(before, each) != getattr(made, each)]
        target = Target(client_id, "endpoint", made.endpoint_name)
        await record(setup, conn, target, "endpoint.update", fields=fields, was=endpoint_name)
        return made


async def check_endpoint(
    setup: Setup, *, client_id: int, integration_id: int, raw: dict[str, Any]
) -> DefinitionChecked:
    """All that is wrong with a definition that somebody is writing. Raises NotFound, Conflict."""
    async with reading(setup.pool) as conn:
        integration = await known_integration(conn, client_id, integration_id)
    connection = _opened(setup, integration)
    database = isinstance(connection, DatabaseConnection)
    return explain_endpoint(
        raw, [*endpoint_rules(database=database), *_connection_rules(integration.integration_type, connection)]
    )


async def list_endpoints(setup: Setup, *, client_id: int, integration_id: int) -> list[Endpoint]:
    """Oldest first. Raises NotFound."""
    async with reading(setup.pool) as conn:
        await known_integration(conn, client_id, integration_id)
        return await endpoints.list_for_integration(conn, client_id=client_id, integration_id=integration_id)


async def delete_endpoint(
    setup: Setup, *, client_id: int, endpoint_name: str, integration_id: int | None = None
) -> None:
    """With an `integration_id` it must be one of that integration's. Raises NotFound."""
    async with unit_of_work(setup.pool) as conn:
        row = await _known_endpoint(conn, client_id, endpoint_name, integration_id)
        await endpoints.delete(conn, client_id=client_id, endpoint_id=row.id)
        await record(setup, conn, Target(client_id, "endpoint", endpoint_name), "endpoint.delete")


def check_call(
    integration_type: str, connection: Connection, url: str, method: str, parameters_schema: Mapping[str, Any]
) -> None:
    """Whether a connection can be called like this. Raises Invalid."""
    if isinstance(connection, DatabaseConnection):
        check_statement(connections.database_kind(integration_type), url, parameters_schema, field="endpoint_url")
        return
    http = connection if isinstance(connection, HttpConnection) else connection.http()
    check_template(url, method, parameters_schema, base=http.api_url)


# What a person edits of an endpoint.
_EDITED = EndpointDefinition.__struct_fields__


async def _create(
    setup: Setup, client_id: int, integration_id: int, definitions: Sequence[EndpointDefinition]
) -> list[Endpoint]:
    async with unit_of_work(setup.pool) as conn:
        integration = await known_integration(conn, client_id, integration_id)
        checked = [_checked(setup, integration, definition) for definition in definitions]
        made = [await _insert(conn, integration, definition) for definition in checked]
        for each in made:
            target = Target(client_id, "endpoint", each.endpoint_name)
            await record(setup, conn, target, "endpoint.create", integration_id=integration_id)
        return made


def _checked(setup: Setup, integration: Integration, definition: EndpointDefinition) -> EndpointDefinition:
    connection = _opened(setup, integration)
    checked = checked_endpoint(definition, database=isinstance(connection, DatabaseConnection))
    for rule in _connection_rules(integration.integration_type, connection):
        rule.check(checked)
    return checked


def _connection_rules(integration_type: str, connection: Connection) -> list[Rule[EndpointDefinition]]:
    """What the integration asks of an endpoint."""
    default = "SQL" if isinstance(connection, DatabaseConnection) else "GET"
    return [
        Rule(frozenset({"response_path"}), lambda each: check_response_path(each.response_path)),
        Rule(
            frozenset({"endpoint_url", "method", "parameters_schema"}),
            lambda each: check_call(
                integration_type, connection, each.endpoint_url, each.method or default, each.parameters_schema
            ),
        ),
    ]


def _opened(setup: Setup, integration: Integration) -> Connection:
    """Raises Conflict when it cannot be read, Invalid as `opened` does."""
    try:
        return opened(setup, integration)
    except SecretUnreadable as error:
        message = f"integration {integration.id} cannot be read: {error.message}; give its configuration anew"
        raise Conflict(message, code=error.code) from error


async def _insert(
    conn: Conn, integration: Integration, definition: EndpointDefinition, *, version: int = 1
) -> Endpoint:
    name = definition.endpoint_name
    tool = await client_tools.find_by_name(conn, client_id=integration.client_id, tool_name=name)
    if tool is not None and tool.enabled:
        raise Conflict(f"client {integration.client_id} has a tool named {name} too", field="endpoint_name")
    return await endpoints.create(
        conn,
        client_id=integration.client_id,
        integration_id=integration.id,
        version=version,
        **msgspec.structs.asdict(definition),
    )


async def _known_endpoint(conn: Conn, client_id: int, endpoint_name: str, integration_id: int | None) -> Endpoint:
    row = await endpoints.find_by_name(conn, client_id=client_id, endpoint_name=endpoint_name)
    if row is None or integration_id not in {None, row.integration_id}:
        raise NotFound(f"client {client_id} has no endpoint {endpoint_name[:64]!r}")
    return row
