"""The application: routes, middleware, lifespan. Data, not logic."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from server import log
from server.admin.page import Page
from server.admin.routes import ENDPOINTS as CONSOLE
from server.api.middleware import LastResort, RequestLog
from server.api.routes import routes
from server.assets import static_path
from server.errors import FrontdeskError, Malformed, NotFound, RequestError
from server.services import Services, open_services
from server.settings import Settings, load
from server.web.responses import refusal
from server.ws.endpoint import Sockets


class State(TypedDict):
    """What a request finds in `request.state`."""

    services: Services
    sockets: Sockets


def create_app(settings: Settings) -> Starlette:
    """A whole instance. Its services open with its lifespan, so that it may be made before the event loop runs."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        async with open_services(settings) as services:
            sockets = Sockets(services)
            services.vitals.count_sockets(sockets.count)
            reaper = asyncio.create_task(sockets.reap(), name="socket reaper")
            try:
                yield State(services=services, sockets=sockets)
            finally:
                reaper.cancel()
                with suppress(asyncio.CancelledError):
                    await reaper

    return Starlette(
        routes=[
            WebSocketRoute("/api/v1/ws", Socket(Sockets.visitor)),
            WebSocketRoute("/api/v1/admin/ws", Socket(Sockets.operator)),
            *routes(CONSOLE, demo=settings.demo),
            *Page(static_path()).routes(),
        ],
        middleware=[
            Middleware(RequestLog),
            # Any origin may read an answer: there are no cookies, so a page has no rights but the key or token it
            # holds, and `access` checks the origin against the key's client.
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "x-frontdesk-key", "idempotency-key", "last-event-id"],
                expose_headers=["x-request-id", "retry-after"],
                max_age=600,
            ),
            Middleware(LastResort),
        ],
        exception_handlers={FrontdeskError: _refuse, HTTPException: _refuse_http},
        lifespan=lifespan,
    )


def from_environment() -> Starlette:
    """What `frontdesk serve` runs in each process. Raises SettingsError."""
    settings = load(os.environ)
    log.configure(settings.log_level, settings.log_format)
    return create_app(settings)


class Socket:
    """Finds the instance's sockets in the lifespan's state; `kind` is who is at the other end."""

    def __init__(self, kind: Callable[[Sockets, Scope, Receive, Send], Awaitable[None]]) -> None:
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._kind(scope["state"]["sockets"], scope, receive, send)


async def _refuse(request: Request, error: Exception) -> Response:
    return refusal(request, error)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals, in our shape."""
    if not isinstance(error, HTTPException):
        raise TypeError("this answers Starlette's own refusals")
    known: RequestError = NotFound("no such route")
    if error.status_code == 405:
        known = Malformed("this route takes another method", code="method_not_allowed")
    response = refusal(request, known)
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response
