"""The catalogue of tools: every client's, so only the owner changes it."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.protocol.admin.tools import (
    Catalogue,
    CatalogueTool,
    CatalogueToolEdit,
    DefinitionChecked,
    DefinitionDraft,
)
from server.repositories.tools import Tool
from server.services import Services
from server.tools.setup import tools as setup_tools
from server.tools.setup.base import Setup
from server.tools.setup.definition import ToolDefinition
from server.tools.setup.explain import explain_tool
from server.tools.setup.tools import NOTHING
from server.web.responses import body, json


def setup_of(services: Services, caller: Caller) -> Setup:
    """What this operator sets up with."""
    return Setup(services.pool, services.vault, services.egress, caller.operator.id)


async def list_all(_request: Request, services: Services, caller: Caller) -> Response:
    rows = await setup_tools.list_catalogue(setup_of(services, caller))
    return json(Catalogue(rows=[_told(row) for row in rows]))


async def read(request: Request, services: Services, caller: Caller) -> Response:
    row = await setup_tools.find_tool(setup_of(services, caller), tool_name=request.path_params["name"])
    return json(_told(row))


async def save(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, CatalogueToolEdit)
    wanted = msgspec.structs.asdict(given)
    seen = wanted.pop("version") or NOTHING
    definition = ToolDefinition(tool_name=request.path_params["name"], **wanted)
    row, _ = await setup_tools.define_tool(setup_of(services, caller), definition, seen=seen)
    return json(_told(row))


async def check(request: Request, _services: Services, _caller: Caller) -> Response:
    given = await body(request, DefinitionDraft)
    return json(explain_tool(given.definition))


def _told(row: Tool) -> CatalogueTool:
    return msgspec.convert(row, CatalogueTool, from_attributes=True)


ENDPOINTS = (
    guarded("GET", "/tools", list_all, "List the catalogue of tools", Catalogue, needs="admin"),
    guarded("GET", "/tools/{name}", read, "Read a tool of the catalogue", CatalogueTool, needs="admin"),
    guarded(
        "PUT",
        "/tools/{name}",
        save,
        "Make or change a tool of the catalogue",
        CatalogueTool,
        needs="owner",
        takes=CatalogueToolEdit,
        about="A change holds for every client that has it, within 3 s.",
        refuses=(409,),
    ),
    guarded(
        "POST",
        "/tools/check",
        check,
        "Say all that is wrong with a tool's definition",
        DefinitionChecked,
        needs="admin",
        takes=DefinitionDraft,
        about="Changes nothing.",
    ),
)
