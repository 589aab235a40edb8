"""`GET /api/v1/ws` as an ASGI application: the origin before `accept`, a deadline for `hello`, a reaper for the silent.

Plain ASGI instead of Starlette's WebSocket object: an idle socket holds nothing but what it needs.
"""

import asyncio
import random
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from server import log, metrics
from server.errors import Unavailable
from server.protocol import codec, limits
from server.protocol.close import Close
from server.protocol.visitor import Drain
from server.ws.visitor import Visitor

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Seconds of silence after which a visitor is gone: two missed pings and a little.
SILENCE_S = 2.5 * limits.HEARTBEAT_S
REAP_S = 10.0
# Sockets a second that come back elsewhere when an instance sends them away, and the longest that one of them waits.
RETURNS_PER_S = 500
SPREAD_MS = (200, 10_000)


class VisitorSockets:
    """All visitor sockets of an instance."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._open: set[Visitor] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = HTTPConnection(scope).headers.get("origin", "")
        await receive()  # websocket.connect
        try:
            # One that comes while the instance ends is let in only to be told to come back: a widget takes a refusal
            # for a network that lets no sockets through.
            known = self._draining or await self._services.access.origin_known(origin)
        except Unavailable as error:
            logger.warning("socket not accepted", dependency=error.dependency, reason=error.message)
            await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        if not known:
            # A close before the accept is a 403, and unlike a response of our own no error in uvicorn's log.
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        visitor = Visitor(self._services, send, origin=origin, address=address(scope))
        self._open.add(visitor)
        self._empty.clear()
        metrics.SOCKETS.inc()
        if self._draining:
            _send_away(visitor, SPREAD_MS[0])
        try:
            await self._serve(visitor, receive)
        except asyncio.CancelledError:
            # The connection gave up on writing; the server's own shutdown cancels too, and goes on from here.
            if not visitor.connection.closed:
                raise
        finally:
            self._open.discard(visitor)
            if not self._open:
                self._empty.set()
            metrics.SOCKETS.dec()
            await visitor.gone()

    async def reap(self) -> None:
        """Closes sockets that went silent and those that never said hello. Runs as long as the instance."""
        while True:
            await asyncio.sleep(REAP_S)
            now = time.monotonic()
            for visitor in list(self._open):
                if now - visitor.connection.heard_at > SILENCE_S:
                    visitor.connection.close(Close.GAP, "silent")

    def drain(self, staying: Collection[int]) -> None:
        """From here on sockets are sent away, but for those of the conversations that are `staying`. Call it again for
        the rest."""
        self._draining = True
        spread_ms = min(max(1_000 * len(self._open) // RETURNS_PER_S, SPREAD_MS[0]), SPREAD_MS[1])
        for visitor in list(self._open):
            if visitor.connection.closing:
                continue
            if visitor.session is None or visitor.session.conversation.id not in staying:
                _send_away(visitor, spread_ms)

    async def empty(self, *, within_s: float) -> None:
        """Until all of them are closed, or so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)

    async def _serve(self, visitor: Visitor, receive: Receive) -> None:
        timer = asyncio.get_running_loop().call_later(limits.HELLO_S, _no_hello, visitor)
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    return
                visitor.connection.heard_at = time.monotonic()
                await visitor.handle(message.get("text"))
                if visitor.session is not None:
                    timer.cancel()
        finally:
            timer.cancel()


def address(scope: Scope) -> str:
    """The peer's address; behind a proxy uvicorn has put the forwarded one here (`--forwarded-allow-ips`)."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _send_away(visitor: Visitor, spread_ms: int) -> None:
    # They come back spread out, not all in the same instant.
    retry_after_ms = random.randrange(spread_ms)  # noqa: S311  # a pause, not a secret
    visitor.connection.put(codec.encode(Drain(retry_after_ms)))
    visitor.connection.close(Close.DRAINING, "come back elsewhere")


def _no_hello(visitor: Visitor) -> None:
    if visitor.session is None:
        visitor.connection.close(Close.PROTOCOL, "no hello")
