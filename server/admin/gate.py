"""Who may pass: a page of our own, the cookie of a session, and for a change the session's CSRF token."""

import msgspec
from starlette.requests import Request

from server.errors import Unauthorized
from server.services import Services
from server.staff import Signed
from server.web.endpoint import Parameter
from server.web.site import Site, check_own_origin, own_site

CSRF_HEADER = "x-csrf-token"
CSRF = Parameter("X-CSRF-Token", "header", "The `csrf` of the session", required=True)


class Caller(msgspec.Struct, frozen=True):
    """A signed-in console. `token` is the cookie's secret."""

    site: Site
    token: str
    signed: Signed


def own_page(request: Request, services: Services) -> Site:
    """For every POST. Raises Forbidden unless a page of our own sends it: a form elsewhere sends its own origin."""
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
