"""Around every HTTP request: an id, one log line, a count, and an answer when something broke.

Plain ASGI; sockets pass through untouched.
"""

import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import ids, log, metrics
from server.web.responses import refusal

logger = log.get("http")

# Balancers and supervisors ask these several times a second; only an answer that is not "yes" is news.
_PROBES = frozenset({"/healthz", "/readyz"})


class RequestLog:
    """Gives each request an id and reports it once it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = ids.request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            metrics.REQUESTS.labels(route, scope["method"], str(status)).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(seconds)
            report = logger.debug if route in _PROBES and status == 200 else logger.info
            report(
                "request",
                id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
            )


class LastResort:
    """Answers what nothing else caught, inside the request log and CORS, so that a 500 has its id and can be read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def tell(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except ClientDisconnect:
            logger.info("caller left", id=scope["state"]["request_id"])
        except Exception as error:
            if began:
                raise  # the answer is cut off, which its reader sees
            await refusal(Request(scope), error)(scope, receive, send)
