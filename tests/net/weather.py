"""Servers for the tests of `server/net`: raw TCP with a handler a connection, and a sink that must stay empty."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import pytest

from server.errors import EgressError
from server.net.egress import Egress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# Seconds after which a test gives up waiting for something that should take milliseconds.
PATIENCE_S: Final = 10.0
LOOPBACK: Final = ["127.0.0.0/8"]


class Server:
    """One TCP server. `connections` were accepted, `requests` are the heads that handlers read by `request`."""

    def __init__(self, host: str, handler: Handler) -> None:
        self.host = host
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        # Connections whose other side is gone, and those that we have closed.
        self.ended = 0
        self.finished = 0
        self._handler = handler
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", *, scheme: str = "http", host: str | None = None) -> str:
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Head and body of the next request on a connection; b"" when there is none any more."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.requests.append(head + body)
        return head + body

    async def wait_for_ended(self, count: int = 1) -> None:
        """Until `count` connections were closed from the other side."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: self.ended >= count)

    async def wait_for_finished(self, count: int) -> None:
        """Until the handlers of `count` connections are done and their sockets closed."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: self.finished >= count)

    async def wait_for_connections(self, count: int) -> None:
        """Until `count` connections were accepted."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: self.connections >= count)

    async def gone(self, reader: asyncio.StreamReader) -> None:
        """Returns when the other side has closed the connection."""
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
        self.ended += 1
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._tell()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # The other side goes away in the middle in many of these tests; `stop` cancels what is left.
        with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            await self._handler(reader, writer)
        self._tasks.discard(task)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            await writer.wait_closed()
        self.finished += 1
        await self._tell()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    make: Callable[["Server"], Handler], *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server whose connections are handled by what `make(server)` gives."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await make(server)(reader, writer)

    server = Server(host, handle)
    listener = await asyncio.start_server(server.accept, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


def answering(*answers: bytes) -> Callable[[Server], Handler]:
    """Gives each request of a connection the next answer, as it stands, and then closes the connection."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                if not await server.request(reader):
                    return
                writer.write(answer)
                await writer.drain()

        return handle

    return make


def repeating(answer: bytes) -> Callable[[Server], Handler]:
    """Gives every request the same answer and keeps the connection."""

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await server.request(reader):
                writer.write(answer)
                await writer.drain()

        return handle

    return make


def ok(body: bytes = b"ok", *headers: str) -> bytes:
    """A plain 200."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Sink:
    """Listens on every address of this machine, TCP and UDP. Nothing may arrive."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self.port = 0
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                self._listen(family, kind, host)

    def _listen(self, family: socket.AddressFamily, kind: socket.SocketKind, host: str) -> None:
        listener = socket.socket(family, kind)
        try:
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, self.port))
        except OSError:
            listener.close()
            if family == socket.AF_INET6:
                return  # a machine without IPv6
            raise
        if kind == socket.SOCK_STREAM:
            listener.listen(512)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._sockets.append(listener)

    def arrived(self) -> list[str]:
        """Who came since the last time, as "TCP 127.0.0.1" or "UDP ::1". The kernel has queued them at once."""
        found = []
        for listener in self._sockets:
            with suppress(BlockingIOError):
                while True:
                    if listener.type == socket.SOCK_STREAM:
                        connection, _ = listener.accept()
                        found.append(f"TCP {connection.getsockname()[0]}")
                        connection.close()
                    else:
                        listener.recvfrom(65536)
                        found.append(f"UDP {listener.getsockname()[0]}")
        return found

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


class _Calls:
    recording: list[str] | None = None
    hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _Calls.recording is None:
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        _Calls.recording.append(f"{event} {arguments[1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        _Calls.recording.append(f"{event} {arguments[0]}")


@contextmanager
def network_calls() -> Iterator[list[str]]:
    """Every connect, sendto and lookup that Python's sockets are asked for meanwhile, in any thread."""
    if not _Calls.hooked:  # an audit hook stays for the life of the process
        sys.addaudithook(_hook)
        _Calls.hooked = True
    calls: list[str] = []
    _Calls.recording = calls
    try:
        yield calls
    finally:
        _Calls.recording = None


async def local(host: str) -> list[str]:
    """A DNS server for which every name of `.test` is this machine."""
    if not host.endswith(".test"):
        raise OSError("no such name")
    return ["127.0.0.1"]


async def failing(
    egress: Egress, server: Server, *, method: str = "POST", timeout_s: float = PATIENCE_S, max_bytes: int = 1_048_576
) -> EgressError:
    """The error of a call to `server`."""
    body = b"{}" if method not in ("GET", "HEAD") else None
    with pytest.raises(EgressError) as caught:
        await egress.request(method, server.url("/x"), body=body, timeout_s=timeout_s, max_bytes=max_bytes)
    return caught.value


def silent(server: Server) -> Handler:
    """Takes everything and says nothing."""

    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await server.gone(reader)

    return handle
