"""Listens to what a server says to others: TCP taps that pass everything on and note who spoke when, by one clock.

    with tapping(postgres=Path(".../.s.PGSQL.5432"), model=("127.0.0.1", 9000)) as taps:
        ... a server that reaches PostgreSQL at taps["postgres"].port ...
        trips(taps["postgres"], Postgres)

The taps have a thread of their own, so that a server can be waited for while it connects through them. Nothing may be
encrypted: ask for no TLS (`sslmode=disable`).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec
import uvloop

Target = tuple[str, int] | Path

# Seconds for the taps to open and to close.
_PATIENCE_S = 10.0
# PostgreSQL: what comes in place of a first message to ask for TLS and for GSSAPI.
_ENCRYPTION = {80877103, 80877104}

PREPARES = "prepare "


class Piece(msgspec.Struct, frozen=True):
    """Bytes that came at once, and when (`time.perf_counter`). `up` is from whoever connected."""

    at: float
    up: bool
    data: bytes


class Tap:
    """Where one service is reached. `wires` are its connections so far, each with its pieces in order."""

    def __init__(self, target: Target) -> None:
        self.port = 0
        self.wires: list[list[Piece]] = []
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @property
    def heard_at(self) -> float:
        """When the newest piece came; 0 before the first."""
        return max((wire[-1].at for wire in self.wires if wire), default=0.0)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        pumps: list[asyncio.Task[None]] = []
        writers = [writer]
        try:
            if isinstance(self._target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
            writers.append(far_writer)
            wire: list[Piece] = []
            self.wires.append(wire)
            pumps = [
                asyncio.create_task(_pump(reader, far_writer, wire, up=True)),
                asyncio.create_task(_pump(far_reader, writer, wire, up=False)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the target is away: whoever connected is hung up on
        except asyncio.CancelledError:
            pass  # closed; the callback of asyncio's server would report it as an error
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in writers:
                each.close()
            self._links.discard(link)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: list[Piece], *, up: bool) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            # Noted before it is passed on: an answer is never older than what it answers.
            wire.append(Piece(time.perf_counter(), up, data))
            writer.write(data)
            await writer.drain()


@contextmanager
def tapping(**targets: Target) -> Iterator[dict[str, Tap]]:
    """A listening tap for each target, by its name. Raises OSError when one cannot listen."""
    taps = {name: Tap(target) for name, target in targets.items()}
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wiretap")
    thread.start()

    async def each(act: Callable[[Tap], "asyncio.Future[None]"]) -> None:
        await asyncio.gather(*(act(tap) for tap in taps.values()))

    try:
        asyncio.run_coroutine_threadsafe(each(lambda tap: asyncio.ensure_future(tap.open())), loop).result(_PATIENCE_S)
        yield taps
    finally:
        asyncio.run_coroutine_threadsafe(each(lambda tap: asyncio.ensure_future(tap.close())), loop).result(_PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE_S)
        loop.close()


# --- what was said


class Said(msgspec.Struct, frozen=True):
    """A message of a client. `statement` is what it wants done; `asks` whether it makes the server answer now."""

    statement: str | None
    asks: bool


class Dialect(Protocol):
    """Reads one connection's bytes from the client, in any pieces."""

    def read(self, data: bytes) -> list[Said]: ...


class Postgres:
    """PostgreSQL's protocol 3. A statement is its SQL in one line, `prepare` before it where it is only prepared; Sync,
    Flush and Query ask."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False
        self._prepared: dict[bytes, str] = {}

    def read(self, data: bytes) -> list[Said]:
        self._buffer += data
        said: list[Said] = []
        while (message := self._message()) is not None:
            kind, body = message
            match kind:
                case b"P":
                    name, text, _ = body.split(b"\0", 2)
                    self._prepared[name] = _line(text)
                    if name:
                        said.append(Said(f"{PREPARES}{_line(text)}", False))
                case b"B":
                    _, name, _ = body.split(b"\0", 2)
                    said.append(Said(self._prepared[name], False))
                case b"Q":
                    said.append(Said(_line(body.rstrip(b"\0")), True))
                case b"S" | b"H":
                    said.append(Said(None, True))
                case _:
                    pass
        return said

    def _message(self) -> tuple[bytes, bytes] | None:
        """The next whole message: its kind, empty before the start is over, and its body."""
        start = 1 if self._greeted else 0
        size = int.from_bytes(self._buffer[start : start + 4])
        if len(self._buffer) < start + 4 or len(self._buffer) < start + size:
            return None
        kind, body = bytes(self._buffer[:start]), bytes(self._buffer[start + 4 : start + size])
        del self._buffer[: start + size]
        if not self._greeted:
            self._greeted = int.from_bytes(body[:4]) not in _ENCRYPTION
        return kind, body


class Redis:
    """Redis' protocol. A statement is a command and what its key begins with: `SET live:`; every one asks."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def read(self, data: bytes) -> list[Said]:
        self._buffer += data
        said: list[Said] = []
        while (words := self._command()) is not None:
            said.append(Said(" ".join(words), True))
        return said

    def _command(self) -> list[str] | None:
        if (line := self._line(0)) is None:
            return None
        text, at = line
        words: list[bytes] = []
        for _ in range(int(text[1:])):
            if (line := self._line(at)) is None:
                return None
            text, at = line
            size = int(text[1:])
            if len(self._buffer) < at + size + 2:
                return None
            words.append(bytes(self._buffer[at : at + size]))
            at += size + 2
        del self._buffer[:at]
        name = words[0].decode()
        # A script's key comes after its digest and the number of its keys.
        keys = words[3:4] if name == "EVALSHA" else words[1:2]
        return [name, *(key.partition(b":")[0].decode(errors="replace") + ":" * (b":" in key) for key in keys)]

    def _line(self, at: int) -> tuple[bytes, int] | None:
        end = self._buffer.find(b"\r\n", at)
        return None if end < 0 else (bytes(self._buffer[at:end]), end + 2)


class Trip(msgspec.Struct):
    """A burst of the client's and the answer to it, on one connection; when the burst began, what was in it, and how
    many of its messages make the server answer. More than one of these went without waiting for an answer between."""

    at: float
    statements: list[str]
    asks: int = 0
    answered: bool = False


def trips(tap: Tap, dialect: Callable[[], Dialect]) -> list[Trip]:
    """Every round trip so far, by time. What the server says unasked is none, nor is what was not answered."""
    made: list[Trip] = []
    for wire in list(tap.wires):
        reads, trip = dialect(), None
        for piece in list(wire):
            if not piece.up:
                if trip is not None:
                    trip.answered = True
                continue
            if trip is None or trip.answered:
                trip = Trip(piece.at, [])
                made.append(trip)
            for said in reads.read(piece.data):
                trip.asks += said.asks
                if said.statement is not None:
                    trip.statements.append(said.statement)
    return sorted((trip for trip in made if trip.answered), key=lambda trip: trip.at)


def _line(text: bytes) -> str:
    return " ".join(text.decode().split())
