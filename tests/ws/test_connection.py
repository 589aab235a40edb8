"""The queue of one socket, over a transport that takes frames when the test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.protocol.close import Close
from server.ws import connection
from server.ws.connection import QUEUE_BYTES, QUEUE_FRAMES, Connection


class Transport:
    """Takes a frame at once while it has room, else it waits, as uvicorn's does; a close it takes always."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.changed = asyncio.Event()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.closed = (message["code"], message["reason"])
        else:
            if not self.room.is_set():
                await self.room.wait()
            self.taken.append(message["text"])
        self.changed.set()

    async def until_closed(self) -> tuple[int, str]:
        async with asyncio.timeout(10):
            while self.closed is None:
                self.changed.clear()
                await self.changed.wait()
        return self.closed


class Socket(Connection):
    """A connection, its transport, and how often it was told to catch up."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.caught_up = 0
        super().__init__(self.transport.send, self._catch)

    def _catch(self) -> None:
        self.caught_up += 1
        self.put(b"caught up")

    async def until(self, taken: int) -> None:
        async with asyncio.timeout(10):
            while len(self.transport.taken) < taken:
                self.transport.changed.clear()
                await self.transport.changed.wait()


@asynccontextmanager
async def blocked() -> AsyncIterator[Socket]:
    """A socket whose transport waits for room, with one frame on its way."""
    socket = Socket()
    socket.transport.room.clear()
    socket.put(b"on its way")
    try:
        yield socket
    finally:
        socket.lost()


async def test_a_frame_goes_out_at_once() -> None:
    """No task and no pass of the event loop where there is room."""
    socket = Socket()
    socket.put(b"one")
    socket.put("zwölf".encode())
    assert socket.transport.taken == ["one", "zwölf"]


async def test_what_waits_keeps_its_order() -> None:
    """Frames that find no room are written when there is some, the close after them."""
    async with blocked() as socket:
        for number in range(100):
            socket.put(str(number).encode())
        socket.close(Close.DRAINING, "come back")
        socket.put(b"too late")
        socket.transport.room.set()
        assert await socket.transport.until_closed() == (4001, "come back")
        assert socket.transport.taken == ["on its way", *map(str, range(100))]
        assert socket.caught_up == 0


def _frames(socket: Socket) -> None:
    for _ in range(QUEUE_FRAMES + 1):
        socket.put(b"x", lambda: dropped.append("x"))


def _bytes(socket: Socket) -> None:
    for _ in range(5):
        socket.put(bytes(QUEUE_BYTES // 4), lambda: dropped.append("x"))


dropped: list[str] = []


@pytest.mark.parametrize(("fill", "count"), [(_frames, QUEUE_FRAMES + 1), (_bytes, 5)], ids=["frames", "bytes"])
async def test_a_full_queue_is_dropped(fill: Any, count: int) -> None:
    """All of it; each owner is told, the reader once, and only when there is room again. Meanwhile nothing is kept."""
    dropped.clear()
    async with blocked() as socket:
        fill(socket)
        assert len(dropped) == count
        socket.put(b"more", lambda: dropped.append("more"))
        assert dropped[-1] == "more"
        assert socket.caught_up == 0
        socket.transport.room.set()
        await socket.until(2)
        assert socket.transport.taken == ["on its way", "caught up"]
        assert socket.caught_up == 1
        socket.put(b"and on")
        await socket.until(3)


async def test_a_queue_gets_five_seconds_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few small frames that wait too long are dropped like many."""
    dropped.clear()
    clock = 1_000.0
    monkeypatch.setattr(connection, "monotonic", lambda: clock)
    async with blocked() as socket:
        socket.put(b"old", lambda: dropped.append("old"))
        clock += 4.9
        socket.put(b"young", lambda: dropped.append("young"))
        assert dropped == []
        clock += 0.2
        socket.put(b"last", lambda: dropped.append("last"))
        assert dropped == ["old", "young", "last"]


async def test_one_large_frame_is_let_through() -> None:
    """It cannot be made smaller by waiting."""
    async with blocked() as socket:
        socket.put(bytes(2 * QUEUE_BYTES))
        socket.transport.room.set()
        await socket.until(2)
        assert socket.caught_up == 0


async def test_the_second_time_it_is_closed() -> None:
    """A reader who falls behind again soon is sent away, and need not catch up first."""
    async with blocked() as socket:
        _frames(socket)
        socket.transport.room.set()
        await socket.until(2)
        socket.transport.room.clear()
        socket.put(b"on its way")
        _frames(socket)
        socket.transport.room.set()
        assert await socket.transport.until_closed() == (4008, "reading too slowly")
        assert socket.caught_up == 1


async def test_a_minute_later_it_is_the_first_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad network now and then is no reason to be closed."""
    clock = 1_000.0
    monkeypatch.setattr(connection, "monotonic", lambda: clock)
    async with blocked() as socket:
        _frames(socket)
        socket.transport.room.set()
        await socket.until(2)
        clock += connection.SLOW_AGAIN_S + 1
        socket.transport.room.clear()
        socket.put(b"on its way")
        _frames(socket)
        socket.transport.room.set()
        await socket.until(4)
        assert socket.caught_up == 2 and socket.transport.closed is None


async def test_no_progress_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing for that long is closed, and what waited is let go."""
    monkeypatch.setattr(connection, "STUCK_S", 0.05)
    async with blocked() as socket:
        for _ in range(10):
            socket.put(b"x" * 1_000)
        assert await socket.transport.until_closed() == (4008, "not reading")
        assert socket.closed and socket.transport.taken == []


async def test_a_close_waits_no_longer_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was closed for another reason while it took nothing is closed with that reason."""
    monkeypatch.setattr(connection, "STUCK_S", 0.05)
    async with blocked() as socket:
        socket.close(Close.GAP, "silent")
        assert await socket.transport.until_closed() == (4002, "silent")


async def test_a_transport_that_takes_not_even_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the task that serves the socket is ended."""
    monkeypatch.setattr(connection, "STUCK_S", 0.05)

    async def never(_message: Any) -> None:
        await asyncio.Event().wait()

    async def serve() -> None:
        made = Connection(never, lambda: None)
        made.put(b"x")
        await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.create_task(serve()), 10)
