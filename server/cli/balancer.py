"""A small balancer on one machine: one public port, any connection to any instance, one after the other.

It works below HTTP and copies bytes both ways, so that a socket's whole life is with one instance. It is made for
`frontdesk dev --instances`: in production a proxy does this, and tells the instances the visitors' addresses.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import cast

from server import log

logger = log.get("cli")

# Seconds between two looks at each instance, and for one of them.
LOOK_S = 0.25
PATIENCE_S = 2.0
_READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Backend:
    """An instance on a port of this machine. `ready` says that it takes visitors: it lives and is not about to end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lives = False
        self.ready = False

    async def look(self) -> None:
        """Asks it, and keeps what it says."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(_READY)
                    line = await reader.readline()
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError):
            line = b""
        # 503 is not gone: without Postgres all are unready, and all serve on.
        self.lives, self.ready = line != b"", b" 200 " in line


class Balancer:
    """Connections of one port, spread over `backends`."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = backends
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._open: set[_Visitor] = set()

    async def start(self, host: str, port: int) -> None:
        """Returns when an instance is ready and the port listens."""
        while not any(backend.ready for backend in self._backends):
            await asyncio.gather(*(backend.look() for backend in self._backends))
            await asyncio.sleep(LOOK_S / 5)
        loop = asyncio.get_running_loop()
        self._watch = loop.create_task(self._looks(), name="balancer")
        self._server = await loop.create_server(lambda: _Visitor(self), host, port, backlog=2_048)

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Cuts what is still open."""
        if self._server is not None:
            self._server.close()
        if self._watch is not None:
            self._watch.cancel()
        for visitor in list(self._open):
            visitor.transport.abort()

    def choice(self) -> list[Backend]:
        """Whom to try, in this order: those that are ready in turns, then those that live, then all."""
        start = next(self._turn)
        turned = [self._backends[(start + n) % len(self._backends)] for n in range(len(self._backends))]
        return sorted(turned, key=lambda backend: (not backend.ready, not backend.lives))

    def opened(self, visitor: "_Visitor") -> None:
        """For `_Visitor`."""
        self._open.add(visitor)

    def closed(self, visitor: "_Visitor") -> None:
        """For `_Visitor`."""
        self._open.discard(visitor)

    async def _looks(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.gather(*(backend.look() for backend in self._backends))


class _End(asyncio.Protocol):
    """One of the two connections; what comes here goes to `other`, no faster than it takes it."""

    transport: asyncio.Transport
    other: "_End | None" = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            # What was cut here is cut there.
            self.other.transport.abort() if exc else self.other.transport.close()


class _Visitor(_End):
    """The visitor's end, which finds the other one."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._finding: asyncio.Task[None] | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._balancer.opened(self)
        self._finding = asyncio.get_running_loop().create_task(self._find(), name="balancer finds")

    def connection_lost(self, exc: Exception | None) -> None:
        self._balancer.closed(self)
        if self._finding is not None:
            self._finding.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early += data
            self.transport.pause_reading()
        super().data_received(data)

    async def _find(self) -> None:
        loop = asyncio.get_running_loop()
        for backend in self._balancer.choice():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    _, found = await loop.create_connection(_End, "127.0.0.1", backend.port)
            except (OSError, TimeoutError):
                backend.lives = backend.ready = False
                continue
            found.other, self.other = self, found
            self._finding = None
            if self._early:
                found.transport.write(self._early)
                self._early = b""
                self.transport.resume_reading()
            return
        logger.warning("no instance takes a connection")
        self._finding = None
        self.transport.abort()
