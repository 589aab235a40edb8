"""A wire between us and a real database server: counts what passes, can be cut, stopped, or encrypted on our side.

The embedded PostgreSQL listens on a Unix socket only, and its build has no TLS; the relay gives it a TCP port, and
ends TLS as a pooler in front of it would.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support import PATIENCE_S

_SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


class Relay:
    """Forwards 127.0.0.1:`port` to a Unix socket or a local port."""

    def __init__(self, target: Path | int, tls: ssl.SSLContext | None) -> None:
        self._target = target
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._changed = asyncio.Condition()
        self.sent = bytearray()
        """What came from us."""
        self.received = 0
        """Bytes that came from the server."""
        self.opened = 0
        self.open = 0
        self.most_open = 0

    def cut(self) -> None:
        """Every connection, at once."""
        for writer in self._writers:
            writer.transport.abort()

    def stop(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flowing.clear()

    async def until(self, *, received: int = 0, open_connections: int | None = None) -> None:
        """Waits until so much has come from the server, or just so many connections are open."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(
                lambda: self.received >= received and open_connections in {None, self.open},
            )

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """May be called twice."""
        assert self._server is not None
        self._server.close()
        self._flowing.set()
        self.cut()
        await self.until(open_connections=0)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._count(1)
        self.most_open = max(self.most_open, self.open)
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                if self._tls is not None:
                    assert await reader.readexactly(8) == _SSL_REQUEST
                    writer.write(b"S")
                    reader, writer = await _encrypted(writer, self._tls)
                    self._writers.add(writer)
                if isinstance(self._target, Path):
                    answers, upstream = await asyncio.open_unix_connection(str(self._target))
                else:
                    answers, upstream = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(upstream)
                await asyncio.gather(self._pump(reader, upstream, ours=True), self._pump(answers, writer, ours=False))
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()
            self._count(-1)
            await self._tell()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, ours: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                if ours:
                    self.sent += data
                else:
                    self.received += len(data)
                    await self._tell()
                writer.write(data)
                await writer.drain()
        # One side has ended: so has the other.
        writer.transport.abort()

    def _count(self, change: int) -> None:
        self.open += change

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _encrypted(
    writer: asyncio.StreamWriter, tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`StreamWriter.start_tls` of Python 3.11 breaks when the other side leaves during the handshake."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await loop.start_tls(writer.transport, protocol, tls, server_side=True)
    if transport is None:
        raise ConnectionResetError("left during the handshake")
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


@asynccontextmanager
async def relaying(target: Path | int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    relay = Relay(target, tls)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.close()
