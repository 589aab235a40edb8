"""A TCP proxy that spoils connections as its plan says: late, sliced, slow, cut at a byte, reset, or swallowed.

    async with proxying(("127.0.0.1", instance.port), lambda number: Plan(cut_down_at=rng.randrange(5_000))) as proxy:
        ... connect to proxy.port ...

`down` is from the target to whoever connected, `up` the other way. The target may be a Unix socket's path, and the
proxy listen on one.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

Target = tuple[str, int] | Path

_AT_ONCE = struct.pack("ii", 1, 0)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one connection. Bytes count from its begin.

    `latency_s`: added each way. `slice_bytes`: pieces of at most so many bytes each, written one by one. `rate`: bytes
    a second, each way. `cut_down_at`, `cut_up_at`: the connection ends after exactly so many bytes of that direction
    went through; with `reset` by RST, not FIN. `hole_down_at`: after so many bytes down nothing passes either way any
    more, and nobody is told. `cut_on`: looks at every piece that comes down, and gives after how many bytes of it to
    cut, or None.
    """

    latency_s: float = 0.0
    slice_bytes: int | None = None
    rate: float | None = None
    cut_down_at: int | None = None
    cut_up_at: int | None = None
    reset: bool = False
    hole_down_at: int | None = None
    cut_on: Callable[[bytes], int | None] | None = None


class Proxy:
    """`port` is where it listens (0 on a Unix socket). `plan` makes the plan of each connection, by its number from 0;
    it may be replaced at any time, for the connections to come. `cuts` counts connections that a plan has ended."""

    def __init__(self, target: Target, plan: Callable[[int], Plan]) -> None:
        self.target = target
        self.plan = plan
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._path: Path | None = None

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/ws"

    @property
    def open(self) -> int:
        """How many connections go through it now."""
        return len(self._links)

    async def listen(self, path: Path | None = None) -> None:
        """From now on connections are accepted, on `path`, or on the port it had before, or on a free one."""
        self._path = path or self._path
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._carry, self._path)
        else:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """New connections are refused; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def cut(self, *, reset: bool = False) -> int:
        """Ends every open connection at once; how many there were."""
        links = list(self._links)
        for link in links:
            link.cut(reset=reset)
        return len(links)

    def hold(self) -> None:
        """Nothing passes on the open connections any more, and nobody is told."""
        for link in self._links:
            link.held.clear()

    def release(self) -> None:
        """What was held passes on."""
        for link in self._links:
            link.held.set()

    async def close(self) -> None:
        await self.refuse()
        tasks = [link.task for link in self._links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        plan = self.plan(self.connections)
        self.connections += 1
        link = _Link(self, plan, task, reader, writer)
        self._links.add(link)
        try:
            await link.carry()
        except asyncio.CancelledError:
            pass  # closed; the callback of asyncio's server would report it as an error
        finally:
            link.cut(reset=plan.reset)
            self._links.discard(link)


class _Link:
    """One connection through the proxy."""

    def __init__(
        self,
        proxy: Proxy,
        plan: Plan,
        task: "asyncio.Task[None]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.task = task
        self.held = asyncio.Event()
        self.held.set()
        self._proxy = proxy
        self._plan = plan
        self._near = reader, writer
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def carry(self) -> None:
        target = self._proxy.target
        try:
            if isinstance(target, Path):
                self._far = await asyncio.open_unix_connection(target)
            else:
                self._far = await asyncio.open_connection(*target)
        except OSError:
            return  # the target is away: whoever connected is hung up on
        plan = self._plan
        down = asyncio.create_task(self._pump(self._far[0], self._near[1], plan.cut_down_at, down=True))
        up = asyncio.create_task(self._pump(self._near[0], self._far[1], plan.cut_up_at, down=False))
        try:
            # An end of one direction is the end of both: half-open connections are what `hole_down_at` is for.
            await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (down, up):
                task.cancel()
            await asyncio.gather(down, up, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_at: int | None, *, down: bool
    ) -> None:
        plan, passed = self._plan, 0
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if down and plan.hole_down_at is not None and passed + len(data) > plan.hole_down_at:
                    data = data[: plan.hole_down_at - passed]
                    await self._write(writer, data)
                    self.held.clear()
                await self.held.wait()
                stop = plan.cut_on(data) if down and plan.cut_on is not None else None
                if cut_at is not None and passed + len(data) >= cut_at:
                    stop = min(cut_at - passed, len(data) if stop is None else stop)
                await self._write(writer, data if stop is None else data[:stop])
                passed += len(data)
                if stop is not None:
                    self._proxy.cuts += 1
                    return

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        plan = self._plan
        if plan.latency_s:
            await asyncio.sleep(plan.latency_s)
        size = plan.slice_bytes or (max(1, int(plan.rate / 20)) if plan.rate else len(data)) or 1
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            writer.write(piece)
            await writer.drain()
            if plan.rate:
                await asyncio.sleep(len(piece) / plan.rate)

    def cut(self, *, reset: bool) -> None:
        for _, writer in (self._near, *([self._far] if self._far else [])):
            if reset:
                # An end without lingering is a reset.
                below = writer.get_extra_info("socket")  # None where it is closed already
                if below is not None:
                    with suppress(OSError):
                        below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                writer.transport.abort()
            else:
                # What was written before still goes out.
                writer.close()
        # One that cancels itself ends as cancelled, which the callback of asyncio's server reports.
        if self.task is not asyncio.current_task():
            self.task.cancel()


@asynccontextmanager
async def proxying(
    target: Target, plan: Callable[[int], Plan] = lambda _: Plan(), *, path: Path | None = None
) -> AsyncIterator[Proxy]:
    """A listening proxy, closed with all of its connections at the end. Listens on `path` where one is given."""
    proxy = Proxy(target, plan)
    await proxy.listen(path)
    try:
        yield proxy
    finally:
        await proxy.close()
