"""Visitors of the two servers: each opens a socket, asks a question and reads the answer to its end."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from bench.client import Socket
from bench.servers import Process

# The website that the visitors are on.
ORIGIN = "https://bench.example"
# Seconds for a whole answer.
_PATIENCE_S = 60.0
# Every visitor comes from an address of its own, as behind a proxy: addresses have limits.
_addresses = itertools.count(1)


class Answered(msgspec.Struct, frozen=True):
    """An answer's whole text, the seconds until its first piece, and the pieces: when each came (`time.perf_counter`)
    and how many characters there were with it."""

    text: str
    first_s: float
    pieces: Sequence[tuple[float, int]] = ()


class Visitor(Protocol):
    """A person with an open socket."""

    async def ask(self, question: str) -> Answered:
        """Raises ConnectionError when the socket ends first, RuntimeError when the server refuses."""
        ...

    def close(self) -> None: ...


class Site(Protocol):
    """A server under measurement, and how a visitor comes to it."""

    process: Process

    async def visit(self) -> Visitor: ...


def _address() -> str:
    number = next(_addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def counted(pieces: Sequence[tuple[float, str]]) -> list[tuple[float, int]]:
    """Pieces of a text, each with the characters up to its end."""
    sizes = itertools.accumulate(len(text) for _, text in pieces)
    return [(at, size) for (at, _), size in zip(pieces, sizes, strict=True)]


async def _outcome(done: "asyncio.Future[str]", socket: Socket) -> str:
    await asyncio.wait((done, socket.lost), timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if done.done():
        return done.result()
    raise ConnectionError(socket.lost.result() if socket.lost.done() else f"no answer within {_PATIENCE_S:g} s")


class RelaySite:
    """The bare relay."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def visit(self) -> "RelayVisitor":
        visitor = RelayVisitor()
        headers = {"Origin": ORIGIN, "X-Forwarded-For": _address()}
        visitor.socket = await Socket.open(self.process.port, "/ws", headers, visitor.on_text)
        return visitor


class RelayVisitor:
    socket: Socket

    def __init__(self) -> None:
        self._pieces: list[tuple[float, bytes]] = []
        self._done: asyncio.Future[str]

    async def ask(self, question: str) -> Answered:
        self._pieces = []
        self._done = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self.socket.send(question.encode())
        text = await _outcome(self._done, self.socket)
        pieces = counted([(at, piece.decode()) for at, piece in self._pieces])
        return Answered(text, pieces[0][0] - began, pieces)

    def on_text(self, payload: bytes) -> None:
        self._pieces.append((time.perf_counter(), payload))
        if not payload:
            self._done.set_result(b"".join(piece for _, piece in self._pieces).decode())

    def close(self) -> None:
        self.socket.close()


class _Said(msgspec.Struct):
    text: str = ""


class _Delta(msgspec.Struct):
    text: str


class _Frame(msgspec.Struct):
    type: str
    message: _Said | str = ""
    code: str = ""


class FrontdeskSite:
    """Frontdesk, as its widget speaks to it."""

    def __init__(self, process: Process, public_key: str) -> None:
        self.process = process
        self._hello = msgspec.json.encode({"type": "hello", "v": 1, "key": public_key})

    async def visit(self) -> "FrontdeskVisitor":
        visitor = FrontdeskVisitor()
        headers = {"Origin": ORIGIN, "X-Forwarded-For": _address()}
        visitor.socket = await Socket.open(self.process.port, "/api/v1/ws", headers, visitor.on_text)
        visitor.socket.send(self._hello)
        await _outcome(visitor.done, visitor.socket)
        return visitor


class FrontdeskVisitor:
    """`done` is the snapshot after hello, then the end of each answer."""

    socket: Socket

    def __init__(self) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._deltas: list[tuple[float, bytes]] = []
        self._ended_at = 0.0
        self._asked = 0

    async def ask(self, question: str) -> Answered:
        self._asked += 1
        self._deltas = []
        self.done = asyncio.get_running_loop().create_future()
        frame = msgspec.json.encode({"type": "message.send", "cid": f"c{self._asked}", "text": question})
        began = time.perf_counter()
        self.socket.send(frame)
        text = await _outcome(self.done, self.socket)
        pieces = counted([(at, msgspec.json.decode(delta, type=_Delta).text) for at, delta in self._deltas])
        # What came with the end, and in no delta before it.
        pieces.append((self._ended_at, len(text)))
        return Answered(text, pieces[0][0] - began, pieces)

    def on_text(self, payload: bytes) -> None:
        # The most frequent frame by far is told by its first bytes, and read when the answer is there.
        if payload.startswith(b'{"type":"message.delta"'):
            self._deltas.append((time.perf_counter(), payload))
            return
        frame = msgspec.json.decode(payload, type=_Frame)
        if frame.type == "message.completed" and isinstance(frame.message, _Said):
            self._ended_at = time.perf_counter()
            self.done.set_result(frame.message.text)
        elif frame.type == "snapshot" and not self._asked:
            # A later one is what Frontdesk sends when frames were missed; the answer's end comes after it.
            self.done.set_result("")
        elif frame.type in {"error", "nack", "turn.failed"}:
            self.done.set_exception(RuntimeError(f"{frame.type}: {frame.code}: {frame.message}"))

    def close(self) -> None:
        self.socket.close()
