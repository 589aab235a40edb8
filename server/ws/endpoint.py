"""The sockets of an instance as ASGI applications: the origin before `accept`, a deadline for `hello`, a reaper for the
silent. What is said over them is in `visitor` and `operator`.

Plain ASGI instead of Starlette's WebSocket object: an idle socket holds nothing but what it needs.
"""

import asyncio
import random
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from server import log, metrics
from server.errors import Forbidden, RateLimited, Unavailable
from server.protocol import codec, limits
from server.protocol.close import Close
from server.protocol.visitor import Drain, Error
from server.turns.vitals import SocketCount
from server.web.site import check_own_origin, own_site
from server.ws.admission import Admission, Pace, Seat, send_back
from server.ws.connection import Connection
from server.ws.operator import Operator
from server.ws.presence import Presence
from server.ws.transport import CLOSE_S
from server.ws.visitor import Visitor

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Seconds of silence after which the other side is gone: two missed pings and a little.
SILENCE_S = 2.5 * limits.HEARTBEAT_S
REAP_S = 10.0
# Sockets a second that come back elsewhere when an instance sends them away, and the longest that one of them waits.
RETURNS_PER_S = 500
SPREAD_MS = (200, 10_000)


class Served(Protocol):
    """Whoever is at the other end, by its protocol."""

    connection: Connection

    @property
    def greeted(self) -> bool:
        """Whether a hello was taken."""

    def reads(self, conversation_ids: Collection[int]) -> bool:
        """Whether it reads one of these conversations."""

    async def handle(self, raw: str | None) -> None:
        """One frame; None is a binary one. Raises nothing."""

    async def gone(self) -> None:
        """The socket is closed: forgets it."""


class Sockets:
    """All sockets of an instance, of either kind."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        settings = services.settings
        self._admission = Admission(per_address=settings.sockets_per_address, per_client=settings.sockets_per_client)
        self._presence = Presence(services.hub, services.instance)
        # The first to come reads the origins, the others find them read.
        self._asking = asyncio.Semaphore(2)
        self._open: set[Served] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    def count(self) -> SocketCount:
        """The same by who is at the other end."""
        operators = sum(isinstance(each, Operator) for each in self._open)
        return SocketCount(visitors=len(self._open) - operators, operators=operators)

    async def visitor(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /api/v1/ws`."""
        await receive()  # websocket.connect
        try:
            seat = self._admission.enter(address(scope))
        except RateLimited as error:
            await _refuse(send, error)
            return
        with seat:
            request = HTTPConnection(scope)
            origin = request.headers.get("origin", "")
            own_page = self._own_page(request) is None
            if await self._accepted(origin, send, own_page=own_page):
                with metrics.SOCKETS.track_inprogress():
                    visitor = Visitor(
                        self._services,
                        self._presence,
                        send,
                        seat,
                        origin=origin,
                        address=address(scope),
                        own_page=own_page,
                    )
                    await self._serve(visitor, receive, seat)

    async def operator(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /api/v1/admin/ws`. Of our own pages alone: the browser sends its cookie from everywhere."""
        await receive()  # websocket.connect
        try:
            seat = self._admission.enter(address(scope))
        except RateLimited as error:
            await _refuse(send, error)
            return
        with seat:
            refused = self._own_page(HTTPConnection(scope))
            if refused is not None:
                logger.warning("operator's socket not accepted", code=refused.code, reason=refused.message)
            await send({"type": "websocket.close" if refused else "websocket.accept"})
            if refused is None:
                with metrics.OPERATOR_SOCKETS.track_inprogress():
                    operator = Operator(self._services, self._presence, send, seat, address=address(scope))
                    await self._serve(operator, receive, seat)

    def _own_page(self, request: HTTPConnection) -> Forbidden | None:
        """Why it is not a page of the console that asks; None when it is."""
        try:
            site = own_site(self._services.settings.public_url, request.headers.get("host"))
            check_own_origin(site, request.headers.get("origin"))
        except Forbidden as error:
            return error
        return None

    async def _accepted(self, origin: str, send: Send, *, own_page: bool) -> bool:
        """Accepts the handshake of a page that some client allows, and of the console's, or answers it."""
        try:
            # One that comes while the instance ends is let in only to be told to come back: a widget takes a refusal
            # for a network that lets no sockets through.
            async with self._asking:
                known = self._draining or own_page or await self._services.access.origin_known(origin)
        except Unavailable as error:
            logger.warning("socket not accepted", dependency=error.dependency, reason=error.message)
            await _refuse(send, error)
            return False
        await send({"type": "websocket.accept" if known else "websocket.close"})
        return known

    async def reap(self) -> None:
        """Closes sockets that went silent and those that never said hello. Runs as long as the instance."""
        while True:
            await asyncio.sleep(REAP_S)
            now = time.monotonic()
            for served in list(self._open):
                if now - served.connection.heard_at > SILENCE_S:
                    served.connection.close(Close.GAP, "silent")

    def drain(self, staying: Collection[int]) -> None:
        """From here on sockets are sent away, but for those that read a conversation that is `staying`. Call it again
        for the rest."""
        self._draining = True
        spread_ms = min(max(1_000 * len(self._open) // RETURNS_PER_S, SPREAD_MS[0]), SPREAD_MS[1])
        for served in list(self._open):
            if not served.connection.closing and not served.reads(staying):
                _send_away(served, spread_ms)

    async def empty(self, *, within_s: float) -> None:
        """Until all of them are closed, or so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)

    async def _serve(self, served: Served, receive: Receive, seat: Seat) -> None:
        """From the accept to the end."""
        self._open.add(served)
        self._empty.clear()
        if self._draining:
            _send_away(served, SPREAD_MS[0])
        elif seat.refusal is not None:
            _too_many(served, seat.refusal)
        try:
            try:
                await _listen(served, receive)
            finally:
                await served.gone()
            await _ended(receive)
        except asyncio.CancelledError:
            # The connection gave up on writing; the server's own shutdown cancels too, and goes on from here.
            if not served.connection.closed:
                raise
        finally:
            self._open.discard(served)
            if not self._open:
                self._empty.set()


async def _refuse(send: Send, error: RateLimited | Unavailable) -> None:
    """Answers a handshake with HTTP."""
    status = error.status if isinstance(error, RateLimited) else 503
    seconds = -(-(error.retry_after_ms or 1_000) // 1_000)
    headers = [(b"retry-after", str(seconds).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})


async def _listen(served: Served, receive: Receive) -> None:
    greeting = _Greeting(served)
    pace = Pace()
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            served.connection.heard_at = now = time.monotonic()
            if not pace.allows(now) and not served.connection.closing:
                _too_many(served, pace.refusal())
            if served.greeted:
                await served.handle(message.get("text"))
            else:
                with greeting:
                    await served.handle(message.get("text"))
    finally:
        greeting.cancel()


class _Greeting:
    """The time that a socket has for its hello. `with` it a frame is handled that may be one.

    One that is being looked at when the time is over is waited for: how long that takes is our affair. Of whom nothing
    was heard the network may have been to blame, so it may come back; whoever said something else may not.

    It is waited for in two halves: a process that stood still finds its timers due before it has read what came
    meanwhile, and reads it in the second half.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._timer = asyncio.get_running_loop().call_later(limits.HELLO_S / 2, self._half)
        self._handling = self._heard = self._late = False

    def _half(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(limits.HELLO_S / 2, self._over)

    def cancel(self) -> None:
        self._timer.cancel()

    def __enter__(self) -> None:
        self._handling = self._heard = True

    def __exit__(self, *_: object) -> None:
        self._handling = False
        if self._served.greeted:
            self.cancel()
        elif self._late:
            self._over()

    def _over(self) -> None:
        self._late = True
        if not self._handling:
            self._served.connection.close(Close.PROTOCOL if self._heard else Close.GAP, "no hello")


async def _ended(receive: Receive) -> None:
    """Until the other side has answered the close, or is not waited for any more: it still has its seat."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S + 1):
            while (await receive())["type"] != "websocket.disconnect":
                pass


def address(scope: Scope) -> str:
    """The peer's address; behind a proxy uvicorn has put the forwarded one here (`--forwarded-allow-ips`)."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _send_away(served: Served, spread_ms: int) -> None:
    # They come back spread out, not all in the same instant.
    retry_after_ms = random.randrange(spread_ms)  # noqa: S311  # a pause, not a secret
    served.connection.put(codec.encode(Drain(retry_after_ms)))
    served.connection.close(Close.DRAINING, "come back elsewhere")


def _too_many(served: Served, error: RateLimited) -> None:
    served.connection.put(codec.encode(Error(code=error.code, message=error.message, temporary=True)))
    send_back(served.connection, error)
