"""What the AI may look up in a client's own systems, and look-ups that try one out."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.admin.tools import setup_of
from server.protocol.admin.integrations import EndpointCreate, EndpointEdit, EndpointInfo, EndpointsOfIntegration
from server.protocol.admin.tools import DefinitionChecked, DefinitionDraft, Trial, TrialResult
from server.repositories.endpoints import Endpoint
from server.services import Services
from server.tools.setup import endpoints as setup_endpoints
from server.tools.setup.definition import EndpointDefinition
from server.tools.setup.trial import try_endpoint
from server.web.responses import body, json


async def list_all(request: Request, services: Services, caller: Caller) -> Response:
    rows = await setup_endpoints.list_endpoints(setup_of(services, caller), **_where(request))
    return json(EndpointsOfIntegration(rows=[_told(row) for row in rows]))


async def create(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, EndpointCreate)
    made = await setup_endpoints.create_endpoint(
        setup_of(services, caller),
        **_where(request),
        definition=EndpointDefinition(**msgspec.structs.asdict(given)),
    )
    return json(_told(made), status=201)


async def preset(request: Request, services: Services, caller: Caller) -> Response:
    made = await setup_endpoints.apply_preset(setup_of(services, caller), **_where(request))
    return json(EndpointsOfIntegration(rows=[_told(row) for row in made]), status=201)


async def check(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, DefinitionDraft)
    return json(
        await setup_endpoints.check_endpoint(setup_of(services, caller), **_where(request), raw=given.definition)
    )


async def save(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, EndpointEdit)
    wanted = msgspec.structs.asdict(given)
    seen = wanted.pop("version")
    saved = await setup_endpoints.update_endpoint(
        setup_of(services, caller),
        **_where(request),
        endpoint_name=request.path_params["name"],
        definition=EndpointDefinition(**wanted),
        seen=seen,
    )
    return json(_told(saved))


async def delete(request: Request, services: Services, caller: Caller) -> Response:
    await setup_endpoints.delete_endpoint(
        setup_of(services, caller), **_where(request), endpoint_name=request.path_params["name"]
    )
    return Response(status_code=204)


async def call(request: Request, services: Services, caller: Caller) -> Response:
    trial = await body(request, Trial)
    result = await try_endpoint(
        setup_of(services, caller),
        **_where(request),
        endpoint_name=request.path_params["name"],
        trial=trial,
        limiter=services.limiter,
    )
    return json(result, headers={"cache-control": "no-store"})


def _where(request: Request) -> dict[str, int]:
    return {name: path_id(request, name) for name in ("client_id", "integration_id")}


def _told(row: Endpoint) -> EndpointInfo:
    return msgspec.convert(row, EndpointInfo, from_attributes=True)


_INTEGRATION = "/clients/{client_id}/integrations/{integration_id}"
_ALL = f"{_INTEGRATION}/endpoints"
_ONE = f"{_ALL}/{{name}}"

ENDPOINTS = (
    guarded("GET", _ALL, list_all, "List what may be looked up in a system", EndpointsOfIntegration, needs="admin"),
    guarded(
        "POST",
        _ALL,
        create,
        "Let the AI look something up",
        EndpointInfo,
        needs="admin",
        takes=EndpointCreate,
        status=201,
        refuses=(409,),
    ),
    guarded(
        "POST",
        f"{_INTEGRATION}/preset",
        preset,
        "Make the usual endpoints of a shop",
        EndpointsOfIntegration,
        needs="admin",
        status=201,
        about="All of them or none. For shopify and woocommerce.",
        refuses=(409, 422),
    ),
    guarded(
        "POST",
        f"{_ALL}/check",
        check,
        "Say all that is wrong with an endpoint's definition",
        DefinitionChecked,
        needs="admin",
        takes=DefinitionDraft,
        about="By the rules of this system: its address, or its database. Changes nothing.",
        refuses=(409,),
    ),
    guarded(
        "PUT",
        _ONE,
        save,
        "Put another definition in the place of an endpoint's",
        EndpointInfo,
        needs="admin",
        takes=EndpointEdit,
        refuses=(409,),
    ),
    guarded("DELETE", _ONE, delete, "Take a look-up from the AI", None, needs="admin", status=204),
    guarded(
        "POST",
        f"{_ONE}/call",
        call,
        "Look something up to try it out",
        TrialResult,
        needs="admin",
        takes=Trial,
        about="What was sent, what came back and what a model would read of it. Nothing is answered from memory, and "
        "it is recorded nowhere as a visitor's.",
    ),
)
