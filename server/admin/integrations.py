"""A client's own systems: how they are reached, and whether they answer. Secrets go in and never come out."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.admin.tools import setup_of
from server.protocol.admin.integrations import (
    IntegrationCreate,
    IntegrationEdit,
    IntegrationInfo,
    IntegrationKind,
    IntegrationsOfClient,
    IntegrationVerdict,
)
from server.services import Services
from server.tools.setup import integrations as setup_integrations
from server.tools.setup import presets
from server.tools.setup.integrations import IntegrationView
from server.tools.sql.databases import Databases
from server.web.responses import body, json


async def list_all(request: Request, services: Services, caller: Caller) -> Response:
    setup, client_id = setup_of(services, caller), path_id(request, "client_id")
    rows = await setup_integrations.list_integrations(setup, client_id=client_id)
    counts = await setup_integrations.count_endpoints(setup, client_id=client_id)
    return json(IntegrationsOfClient(rows=[_told(row, counts) for row in rows]))


async def create(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, IntegrationCreate)
    made = await setup_integrations.create_integration(
        setup_of(services, caller),
        client_id=path_id(request, "client_id"),
        integration_type=given.integration_type,
        config=given.config,
    )
    return json(_told(made, {}), status=201)


async def save(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, IntegrationEdit)
    setup, client_id = setup_of(services, caller), path_id(request, "client_id")
    saved = await setup_integrations.update_integration(
        setup,
        client_id=client_id,
        integration_id=path_id(request, "integration_id"),
        config=given.config,
        enabled=given.enabled,
        seen=given.version,
    )
    return json(_told(saved, await setup_integrations.count_endpoints(setup, client_id=client_id)))


async def delete(request: Request, services: Services, caller: Caller) -> Response:
    await setup_integrations.delete_integration(
        setup_of(services, caller),
        client_id=path_id(request, "client_id"),
        integration_id=path_id(request, "integration_id"),
    )
    return Response(status_code=204)


async def test(request: Request, services: Services, caller: Caller) -> Response:
    # Connections of its own: a login that was kept says nothing about the next one.
    databases = Databases(services.egress)
    try:
        verdict = await setup_integrations.test_integration(
            setup_of(services, caller),
            databases,
            client_id=path_id(request, "client_id"),
            integration_id=path_id(request, "integration_id"),
        )
    finally:
        await databases.close()
    return json(msgspec.convert(verdict, IntegrationVerdict, from_attributes=True))


def _told(view: IntegrationView, endpoints: dict[int, int]) -> IntegrationInfo:
    last = view.last_test_result
    return IntegrationInfo(
        id=view.id,
        integration_type=msgspec.convert(view.integration_type, IntegrationKind),
        enabled=view.enabled,
        connection=view.connection,
        problem=view.problem,
        last_test_at=view.last_sync_test,
        last_test=None if last is None else msgspec.convert(last, IntegrationVerdict),
        endpoints=endpoints.get(view.id, 0),
        preset=presets.known(view.integration_type),
        version=view.version,
        created_at=view.created_at,
    )


_ALL = "/clients/{client_id}/integrations"
_ONE = f"{_ALL}/{{integration_id}}"

ENDPOINTS = (
    guarded("GET", _ALL, list_all, "List a client's systems", IntegrationsOfClient, needs="admin"),
    guarded(
        "POST",
        _ALL,
        create,
        "Connect a client's system",
        IntegrationInfo,
        needs="admin",
        takes=IntegrationCreate,
        status=201,
        about="Nothing is called yet.",
    ),
    guarded(
        "PUT",
        _ONE,
        save,
        "Change how a system is reached, or pause it",
        IntegrationInfo,
        needs="admin",
        takes=IntegrationEdit,
        about="A new configuration must fit the endpoints that are there.",
        refuses=(409,),
    ),
    guarded("DELETE", _ONE, delete, "Forget a system and its endpoints", None, needs="admin", status=204),
    guarded(
        "POST",
        f"{_ONE}/test",
        test,
        "Test the connection to a system",
        IntegrationVerdict,
        needs="admin",
        about="Asks it for something small, with a new login, and keeps what it said.",
    ),
)
