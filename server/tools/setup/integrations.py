"""A client's own systems: how they are reached. A configuration is given whole, its secrets included, and comes back
without them: were it changed in parts, a secret could be sent to an address that somebody else chose."""

from datetime import datetime
from typing import Any

import msgspec

from server.errors import Invalid, SecretUnreadable
from server.net.vault import CONNECTION_CONFIG
from server.repositories import endpoints, integrations
from server.repositories.integrations import Integration
from server.repositories.pool import reading, unit_of_work
from server.tools.connections import kinds as connections
from server.tools.connections.check import Verdict, test_connection
from server.tools.connections.kinds import Connection
from server.tools.setup.base import Setup, Target, changed_meanwhile, known_client, known_integration, opened, record
from server.tools.setup.endpoints import check_call
from server.tools.sql.databases import Databases


class IntegrationView(msgspec.Struct, frozen=True, kw_only=True):
    """An integration as an API may show it. `connection` has no secrets, only the names of those that are set; it is
    None where it cannot be read, and `problem` says why."""

    id: int
    integration_type: str
    enabled: bool
    connection: dict[str, Any] | None
    problem: str | None
    last_sync_test: datetime | None
    last_test_result: dict[str, Any] | None
    version: int
    created_at: datetime


async def create_integration(
    setup: Setup, *, client_id: int, integration_type: str, config: dict[str, Any] | str
) -> IntegrationView:
    """`config` is an object or its JSON. Raises Invalid, NotFound."""
    connection = connections.parse(integration_type, config, setup.egress)
    async with unit_of_work(setup.pool) as conn:
        await known_client(conn, client_id)
        row = await integrations.create(
            conn,
            client_id=client_id,
            integration_type=integration_type,
            connection_config=_sealed(setup, client_id, connection),
        )
        target = _target(client_id, row.id)
        await record(setup, conn, target, "integration.create", integration_type=integration_type)
    return _view(setup, row)


async def update_integration(
    setup: Setup,
    *,
    client_id: int,
    integration_id: int,
    config: dict[str, Any] | str | None = None,
    enabled: bool | None = None,
    seen: int | None = None,
) -> IntegrationView:
    """What is None stays. A new configuration must fit the integration's endpoints. Raises Invalid, NotFound and
    Conflict."""
    async with unit_of_work(setup.pool) as conn:
        row = await known_integration(conn, client_id, integration_id)
        sealed = None
        if config is not None:
            connection = connections.parse(row.integration_type, config, setup.egress)
            for each in await endpoints.list_for_integration(conn, client_id=client_id, integration_id=integration_id):
                check_call(row.integration_type, connection, each.endpoint_url, each.method, each.parameters_schema)
            sealed = _sealed(setup, client_id, connection)
        where: dict[str, int] = {"client_id": client_id, "integration_id": integration_id}
        target = _target(client_id, integration_id)
        if not await integrations.update(conn, **where, connection_config=sealed, enabled=enabled, seen=seen):
            raise await changed_meanwhile(conn, target, f"integration {integration_id}")
        before, row = row, await known_integration(conn, client_id, integration_id)
        fields = [name for name in ("connection_config", "enabled") if getattr(before, name) != getattr(row, name)]
        await record(setup, conn, target, "integration.update", fields=fields)
    return _view(setup, row)


async def list_integrations(setup: Setup, *, client_id: int) -> list[IntegrationView]:
    """Oldest first. Raises NotFound."""
    async with reading(setup.pool) as conn:
        await known_client(conn, client_id)
        rows = await integrations.list_for_client(conn, client_id=client_id)
    return [_view(setup, row) for row in rows]


async def count_endpoints(setup: Setup, *, client_id: int) -> dict[int, int]:
    """How many endpoints each integration has, by its id; one without any is left out."""
    async with reading(setup.pool) as conn:
        return await endpoints.count_by_integration(conn, client_id=client_id)


async def delete_integration(setup: Setup, *, client_id: int, integration_id: int) -> None:
    """Its endpoints go too. Raises NotFound."""
    async with unit_of_work(setup.pool) as conn:
        row = await known_integration(conn, client_id, integration_id)
        await integrations.delete(conn, client_id=client_id, integration_id=integration_id)
        target = _target(client_id, integration_id)
        await record(setup, conn, target, "integration.delete", integration_type=row.integration_type)


async def test_integration(setup: Setup, databases: Databases, *, client_id: int, integration_id: int) -> Verdict:
    """Asks the system for something small, and writes down what came of it. Raises NotFound."""
    async with reading(setup.pool) as conn:
        row = await known_integration(conn, client_id, integration_id)
    try:
        connection = opened(setup, row)
    except (SecretUnreadable, Invalid) as error:
        verdict = Verdict(False, f"It cannot be called: {error.message}.", "Give its configuration anew.", 0)
    else:
        verdict = await test_connection(row.integration_type, connection, egress=setup.egress, databases=databases)
    async with unit_of_work(setup.pool) as conn:
        now = await integrations.find(conn, client_id=client_id, integration_id=integration_id)
        # Another configuration meanwhile is untested.
        if now is not None and now.connection_config == row.connection_config:
            result = msgspec.to_builtins(verdict)
            await integrations.record_test(conn, client_id=client_id, integration_id=integration_id, result=result)
    return verdict


def _target(client_id: int, integration_id: int) -> Target:
    return Target(client_id, "integration", str(integration_id))


def _sealed(setup: Setup, client_id: int, connection: Connection) -> bytes:
    return setup.vault.seal(connections.dump(connection), client_id=client_id, field=CONNECTION_CONFIG)


def _view(setup: Setup, row: Integration) -> IntegrationView:
    problem, shown = None, None
    try:
        shown = connections.public_view(opened(setup, row))
    except (SecretUnreadable, Invalid) as error:
        problem = error.message
    return IntegrationView(
        id=row.id,
        integration_type=row.integration_type,
        enabled=row.enabled,
        connection=shown,
        problem=problem,
        last_sync_test=row.last_sync_test,
        last_test_result=row.last_test_result,
        version=row.version,
        created_at=row.created_at,
    )
