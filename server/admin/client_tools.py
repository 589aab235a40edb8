"""What a client uses of the catalogue, where its tools are called, and calls that try one out."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded, path_id
from server.admin.tools import setup_of
from server.protocol.admin.tools import (
    BaseUrl,
    BaseUrlEdit,
    SigningSecret,
    ToolOfClient,
    ToolOfClientEdit,
    ToolOfClientSaved,
    ToolsOfClient,
    Trial,
    TrialResult,
)
from server.services import Services
from server.tools.setup import tools as setup_tools
from server.tools.setup.definition import ToolOptions
from server.tools.setup.tools import NOTHING, ClientToolView
from server.tools.setup.trial import try_tool
from server.web.responses import body, json


async def list_tools(request: Request, services: Services, caller: Caller) -> Response:
    setup, client_id = setup_of(services, caller), path_id(request, "client_id")
    rows = await setup_tools.list_tools(setup, client_id=client_id, disabled=True)
    base = await setup_tools.webhook_base_url(setup, client_id=client_id)
    return json(ToolsOfClient(webhook_base_url=base, rows=[_told(row) for row in rows]))


async def save(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, ToolOfClientEdit)
    options = ToolOptions(
        n8n_webhook_url=given.n8n_webhook_url,
        timeout_ms=given.timeout_ms,
        custom_config=given.custom_config,
        proof=given.client_proof,
        confirm=given.client_confirm,
    )
    saved = await setup_tools.enable_tool(
        setup_of(services, caller),
        client_id=path_id(request, "client_id"),
        tool_name=request.path_params["name"],
        options=options,
        enabled=given.enabled,
        seen=given.version or NOTHING,
    )
    return json(
        ToolOfClientSaved(tool=_told(saved.tool), signing_secret=saved.signing_secret),
        headers={"cache-control": "no-store"},
    )


async def disable(request: Request, services: Services, caller: Caller) -> Response:
    await setup_tools.disable_tool(
        setup_of(services, caller), client_id=path_id(request, "client_id"), tool_name=request.path_params["name"]
    )
    return Response(status_code=204)


async def rotate_secret(request: Request, services: Services, caller: Caller) -> Response:
    secret = await setup_tools.rotate_signing_secret(
        setup_of(services, caller), client_id=path_id(request, "client_id"), tool_name=request.path_params["name"]
    )
    return json(SigningSecret(signing_secret=secret), headers={"cache-control": "no-store"})


async def call(request: Request, services: Services, caller: Caller) -> Response:
    trial = await body(request, Trial)
    result = await try_tool(
        setup_of(services, caller),
        client_id=path_id(request, "client_id"),
        tool_name=request.path_params["name"],
        trial=trial,
    )
    return json(result, headers={"cache-control": "no-store"})


async def set_base_url(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, BaseUrlEdit)
    now = await setup_tools.set_webhook_base_url(
        setup_of(services, caller),
        client_id=path_id(request, "client_id"),
        webhook_base_url=given.webhook_base_url,
        was=given.was,
    )
    return json(BaseUrl(webhook_base_url=now))


def _told(view: ClientToolView) -> ToolOfClient:
    fields = msgspec.structs.asdict(view)
    url, own = fields.pop("n8n_webhook_url"), fields.pop("own_webhook_url")
    return ToolOfClient(url=url, n8n_webhook_url=own, **fields)


ENDPOINTS = (
    guarded("GET", "/clients/{client_id}/tools", list_tools, "List a client's tools", ToolsOfClient, needs="admin"),
    guarded(
        "PUT",
        "/clients/{client_id}/tools/{name}",
        save,
        "Enable a tool for a client, or change how it is used",
        ToolOfClientSaved,
        needs="admin",
        takes=ToolOfClientEdit,
        about="Enabled for the first time it gets a signing secret, which is told here and never again.",
        refuses=(409,),
    ),
    guarded(
        "DELETE",
        "/clients/{client_id}/tools/{name}",
        disable,
        "Take a tool from a client",
        None,
        needs="admin",
        status=204,
        about="How it was configured is kept.",
    ),
    guarded(
        "POST",
        "/clients/{client_id}/tools/{name}/rotate-secret",
        rotate_secret,
        "Make a new signing secret",
        SigningSecret,
        needs="admin",
        about="Calls are signed with it at once.",
    ),
    guarded(
        "POST",
        "/clients/{client_id}/tools/{name}/call",
        call,
        "Call a tool to try it out",
        TrialResult,
        needs="admin",
        takes=Trial,
        about="What was sent, what came back and what a model would read of it. It goes the way of a visitor's call, "
        "and is recorded nowhere as one. Takes at most 50 s.",
    ),
    guarded(
        "PUT",
        "/clients/{client_id}/base-url",
        set_base_url,
        "Set where a client's tools are called",
        BaseUrl,
        needs="admin",
        takes=BaseUrlEdit,
        about="Those without a webhook of their own: each at its name below this URL.",
        refuses=(409,),
    ),
)
