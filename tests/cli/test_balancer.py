"""The local balancer over real sockets, with servers that are told what to say about themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from server.cli.balancer import Backend, Balancer
from tests.support import eventually


class Server:
    """Answers `/readyz` with `status`; anything else with its name, and then sends back what it is sent."""

    def __init__(self, name: str, status: int = 200) -> None:
        self.name = name
        self.status = status
        self.open = 0
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return Backend(self._port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            line = await reader.readline()
            if b"/readyz" in line:
                writer.write(b"HTTP/1.1 %d Whatever\r\n\r\n" % self.status)
                await writer.drain()
                return
            self.open += 1
            writer.write(self.name.encode() + b"\n")
            try:
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
            finally:
                self.open -= 1
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@asynccontextmanager
async def balancing(servers: Sequence[Server]) -> AsyncIterator[tuple[list[Backend], int]]:
    """The backends and the public port."""
    async with AsyncExitStack() as stack:
        backends = []
        for server in servers:
            backends.append(await server.start())
            stack.push_async_callback(server.stop)
        balancer = Balancer(backends)
        await balancer.start("127.0.0.1", 0)
        stack.push_async_callback(balancer.stop)
        yield backends, balancer.port


async def who(port: int) -> str:
    """Connects, and tells who answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    try:
        async with asyncio.timeout(10):
            return (await reader.readline()).decode().strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_they_take_turns() -> None:
    """One connection after the other, each instance as many."""
    async with balancing([Server("a"), Server("b"), Server("c")]) as (_, port):
        answered = [await who(port) for _ in range(9)]
    assert Counter(answered) == {"a": 3, "b": 3, "c": 3}


async def test_who_drains_gets_nobody_new() -> None:
    """An instance that says 503 keeps the connections that it has and gets no more, until it says otherwise."""
    servers = [Server("a"), Server("b")]
    async with balancing(servers) as (backends, port):
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in kept:
            writer.write(b"hello\n")
            assert await reader.readline() in {b"a\n", b"b\n"}
        servers[0].status = 503
        await _until(backends[0], ready=False)
        assert {await who(port) for _ in range(6)} == {"b"}
        for reader, writer in kept:
            writer.write(b"still there\n")
            assert await reader.readline() == b"still there\n"
            writer.close()
        servers[0].status = 200
        await _until(backends[0], ready=True)
        assert {await who(port) for _ in range(6)} == {"a", "b"}


async def test_unready_is_not_gone() -> None:
    """Where nobody is ready (Postgres is away) those who live serve on."""
    servers = [Server("a"), Server("b")]
    async with balancing(servers) as (backends, port):
        for server in servers:
            server.status = 503
        for backend in backends:
            await _until(backend, ready=False)
        assert {await who(port) for _ in range(6)} == {"a", "b"}


async def test_a_dead_one_costs_nothing() -> None:
    """Between its death and the next look, its turn goes to the other one; when it is back it has its turn."""
    servers = [Server("a"), Server("b")]
    async with balancing(servers) as (backends, port):
        await servers[0].stop()
        assert {await who(port) for _ in range(6)} == {"b"}
        await servers[0].start()
        await _until(backends[0], ready=True)
        assert {await who(port) for _ in range(6)} == {"a", "b"}


async def test_what_ends_here_ends_there() -> None:
    """A visitor who leaves is gone for the instance too; an instance that dies hangs up on its visitors."""
    server = Server("a")
    async with balancing([server]) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        await reader.readline()
        writer.close()

        async def gone() -> bool:
            return server.open == 0

        await eventually(gone, "the instance has no connection")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        await reader.readline()
        await server.stop()
        with pytest.raises((ConnectionError, EOFError)):
            async with asyncio.timeout(10):
                await reader.readexactly(1)
        writer.close()
        await server.start()


async def test_a_megabyte_each_way() -> None:
    """Whatever the pieces, the bytes are the same, and a reader who waits makes the writer wait."""
    data = bytes(range(256)) * 16_384
    async with balancing([Server("a")]) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        assert await reader.readline() == b"a\n"

        async def send() -> None:
            writer.write(data)
            await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(data)) == data
        await sending
        writer.close()


async def _until(backend: Backend, *, ready: bool) -> None:
    async def so() -> bool:
        return backend.ready is ready

    await eventually(so, f"the balancer sees that it is {'ready' if ready else 'not ready'}")
