"""Signing in and out, who is signed in, and the ticket that opens the console's socket."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin import gate
from server.admin.gate import Caller, guarded
from server.cache.rate_limit import Limit
from server.protocol.admin.session import LinkSignIn, OperatorInfo, SignedIn, SignIn, SocketTicket
from server.services import Services
from server.staff import Signed
from server.staff.staff import SESSION_S, TICKET_S
from server.web.endpoint import Endpoint
from server.web.responses import body, json, peer
from server.web.site import Site

# Requests a minute of one address that is not signed in: more than an office signs in, less than a flood.
ADDRESS_REQUESTS = 60
_PRIVATE = {"cache-control": "no-store"}


async def login(request: Request, services: Services) -> Response:
    site = gate.own_page(request, services)
    await _count(request, services)
    given = await body(request, SignIn)
    token, signed = await services.staff.sign_in(
        given.email, given.password, address=peer(request), user_agent=request.headers.get("user-agent")
    )
    return _signed_in(services, site, token, signed, new=True)


async def link(request: Request, services: Services) -> Response:
    site = gate.own_page(request, services)
    await _count(request, services)
    given = await body(request, LinkSignIn)
    token, signed = await services.staff.sign_in_by_link(
        given.secret, address=peer(request), user_agent=request.headers.get("user-agent")
    )
    return _signed_in(services, site, token, signed, new=True)


async def me(_request: Request, services: Services, caller: Caller) -> Response:
    return _signed_in(services, caller.site, caller.token, caller.signed, new=False)


async def logout(_request: Request, services: Services, caller: Caller) -> Response:
    await services.staff.sign_out(caller.token)
    response = Response(status_code=204, headers=_PRIVATE)
    _set_cookie(response, caller.site, "", max_age=0)
    return response


async def ticket(_request: Request, services: Services, caller: Caller) -> Response:
    made = await services.staff.ticket(caller.signed)
    return json(SocketTicket(ticket=made, expires_in_s=int(TICKET_S)), headers=_PRIVATE)


async def _count(request: Request, services: Services) -> None:
    await services.limiter.check(Limit("address", f"admin:ip:{peer(request)}", ADDRESS_REQUESTS))


def _signed_in(services: Services, site: Site, token: str, signed: Signed, *, new: bool) -> Response:
    operator = msgspec.convert(signed.operator, OperatorInfo, from_attributes=True)
    told = SignedIn(operator=operator, csrf=services.staff.csrf(token), expires_at=signed.expires_at)
    response = json(told, headers=_PRIVATE)
    if new:
        _set_cookie(response, site, token, max_age=int(SESSION_S))
    return response


def _set_cookie(response: Response, site: Site, token: str, *, max_age: int) -> None:
    response.set_cookie(
        site.cookie, token, max_age=max_age, path="/", secure=site.secure, httponly=True, samesite="strict"
    )


_ABOUT = (
    "From a page of the console's own origin. The answer sets the session's cookie (HttpOnly, SameSite=Strict, Secure "
    "but on loopback) for 12 hours. "
)

ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/admin/login",
        login,
        "Sign in with a password",
        SignedIn,
        takes=SignIn,
        about=_ABOUT + "After five failures in a row one waits, 30 s first, then twice as long each time, 15 minutes "
        "at most; so does, after twenty, the address that they come from.",
        refuses=(400, 401, 403, 413, 422, 429, 503),
    ),
    Endpoint(
        "POST",
        "/api/v1/admin/link",
        link,
        "Sign in with a login link",
        SignedIn,
        takes=LinkSignIn,
        about=_ABOUT + "A link works once, within 15 minutes.",
        refuses=(400, 401, 403, 413, 422, 429, 503),
    ),
    guarded("GET", "/me", me, "Who is signed in", SignedIn, needs="operator"),
    guarded(
        "POST",
        "/logout",
        logout,
        "Sign out",
        None,
        needs="operator",
        status=204,
        about="Closes the sockets that the session has opened, within 5 s.",
    ),
    guarded(
        "POST",
        "/ws-ticket",
        ticket,
        "Get a ticket for the console's socket",
        SocketTicket,
        needs="operator",
        about="For one `hello` on `GET /api/v1/admin/ws`.",
    ),
)
