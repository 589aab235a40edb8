"""Who may pass: a page of our own, the cookie of a session, for a change its CSRF token, the role, the client.

`guarded` makes the endpoint of a route, so that no handler can forget any of it.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.errors import Forbidden, NotFound, Unauthorized
from server.protocol.admin.session import Role
from server.repositories.operators import Operator
from server.services import Services
from server.staff import Signed, serves
from server.web.endpoint import Endpoint, Parameter
from server.web.site import Site, check_own_origin, own_site

BASE = "/api/v1/admin"
CSRF_HEADER = "x-csrf-token"
CSRF = Parameter("X-CSRF-Token", "header", "The `csrf` of the session", required=True)
# Each role may do what the ones before it may.
RANK: tuple[Role, ...] = ("operator", "admin", "owner")


class Caller(msgspec.Struct, frozen=True):
    """A signed-in console. `token` is the cookie's secret."""

    site: Site
    token: str
    signed: Signed

    @property
    def operator(self) -> Operator:
        return self.signed.operator

    def may(self, needs: Role) -> bool:
        """Whether the role is this one or above."""
        return RANK.index(_role(self.operator)) >= RANK.index(needs)

    def check_serves(self, client_id: int) -> None:
        """For an id from elsewhere than the path. Raises NotFound: whose it is is not told."""
        if not serves(self.operator, client_id):
            raise NotFound("there is no such client")


Handler = Callable[[Request, Services, Caller], Awaitable[Response]]


def guarded(
    method: Literal["GET", "POST", "PUT", "DELETE"],
    path: str,
    handler: Handler,
    summary: str,
    returns: type[msgspec.Struct] | None,
    *,
    needs: Role,
    takes: type[msgspec.Struct] | None = None,
    asks: type[msgspec.Struct] | None = None,
    status: int = 200,
    about: str = "",
    media_type: str = "application/json",
    refuses: tuple[int, ...] = (),
) -> Endpoint:
    """A route below `/api/v1/admin` for a session whose role is `needs` or above.

    A `{client_id}` in the path must be one whom the operator serves; another one's and an unknown one's answer is the
    same 404. `refuses` are the statuses beyond those that the guard, the body and the query bring along.
    """
    names = re.findall(r"{(\w+)}", path)
    changes = method != "GET"

    async def pass_through(request: Request, services: Services) -> Response:
        caller = await (changing if changes else reading)(request, services)
        if not caller.may(needs):
            raise Forbidden(f"this takes the role {needs}", code="role_needed")
        if "client_id" in names:
            caller.check_serves(path_id(request, "client_id"))
        return await handler(request, services, caller)

    brought = {401, 403, 503}
    brought |= {404} if names else set()
    brought |= {400, 413, 422} if takes else set()
    brought |= {422} if asks else set()
    return Endpoint(
        method,
        BASE + path,
        pass_through,
        summary,
        returns,
        takes=takes,
        asks=asks,
        status=status,
        about=" ".join(filter(None, (about, f"For the role {needs} and above." if needs != "operator" else ""))),
        media_type=media_type,
        parameters=(*((CSRF,) if changes else ()), *(Parameter(name, "path", "", required=True) for name in names)),
        credentials=("operator session",),
        refuses=tuple(sorted(brought | set(refuses))),
    )


def path_id(request: Request, name: str) -> int:
    """A row's id from the path. Raises NotFound for what cannot be one."""
    given = request.path_params[name]
    if not re.fullmatch(r"[1-9][0-9]{0,17}", given, re.ASCII):
        raise NotFound(f"there is no such {name.removesuffix('_id')}")
    return int(given)


def own_page(request: Request, services: Services) -> Site:
    """For every change. Raises Forbidden unless a page of our own sends it: a form elsewhere sends its own origin."""
    site = own_site(services.settings.public_url, request.headers.get("host"))
    check_own_origin(site, request.headers.get("origin"))
    return site


async def reading(request: Request, services: Services) -> Caller:
    """Who asks. Raises Unauthorized `signed_out`, Forbidden. A browser names no origin where a page reads its own."""
    site = own_site(services.settings.public_url, request.headers.get("host"))
    if origin := request.headers.get("origin"):
        check_own_origin(site, origin)
    return await _caller(request, services, site)


async def changing(request: Request, services: Services) -> Caller:
    """Who changes something. Raises as `own_page` and `reading`, and Forbidden `csrf`."""
    caller = await _caller(request, services, own_page(request, services))
    services.staff.check_csrf(caller.token, request.headers.get(CSRF_HEADER))
    return caller


async def _caller(request: Request, services: Services, site: Site) -> Caller:
    token = request.cookies.get(site.cookie)
    if not token:
        raise Unauthorized("sign in first", code="signed_out")
    return Caller(site, token, await services.staff.signed(token))


def _role(operator: Operator) -> Role:
    return next(each for each in RANK if each == operator.role)
