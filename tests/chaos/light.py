"""Thousands of widgets in one process: each a connection and a few numbers, no tasks, no library.

It speaks as much of the protocol as a crowd needs: hello, resume by epoch and last_seq, messages, pings. What it is
told about an answer is kept as bytes and times, and read afterwards.
"""

import asyncio
import base64
import os
import random
from collections.abc import Callable
from typing import Any, cast

import msgspec

from tests.flows.support import Shop

# Seconds of the widget's first pause, its longest one, and between two pings (protocol).
FIRST_PAUSE_S, LONGEST_PAUSE_S, HEARTBEAT_S = 0.5, 20.0, 25.0
# Seconds that a widget gives a handshake.
HANDSHAKE_S = 10.0

_DELTA, _WELCOME = b'{"type":"message.delta"', b'{"type":"welcome"'


class _Proof(msgspec.Struct):
    id: str
    token: str


class _Welcome(msgspec.Struct):
    session: _Proof
    epoch: str
    resumed: bool


class _Delta(msgspec.Struct):
    n: int
    text: str


class _Frame(msgspec.Struct):
    type: str
    seq: int = 0
    retry_after_ms: int | None = None
    # A message's, or a sentence.
    message: msgspec.Raw = msgspec.Raw(b"{}")


class _Text(msgspec.Struct):
    text: str = ""


class Answer:
    """What came of one answer: times (loop clock) and frames of its deltas, and the text it ended with."""

    def __init__(self) -> None:
        self.deltas: list[tuple[float, bytes]] = []
        self.text: str | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def streamed(self) -> list[tuple[float, int, str]]:
        """Time, number and text of each delta, as they came."""
        parsed = ((at, msgspec.json.decode(raw, type=_Delta)) for at, raw in self.deltas)
        return [(at, delta.n, delta.text) for at, delta in parsed]


class Widget:
    """One visitor. `where` gives a port of this machine; `comes_back` says that a loss is followed by another try."""

    def __init__(self, shop: Shop, number: int, where: Callable[[], int], rng: random.Random) -> None:
        self.shop = shop
        # Each has an address of its own, as behind a proxy.
        self.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.comes_back = True
        self.answer: Answer | None = None
        self.welcomes = 0
        # Whether the last welcome brought it up to where it was, when it came, and all codes of closes.
        self.resumed = False
        self.welcomed_at = 0.0
        self.closes: list[str] = []
        self.gaps = 0
        self._where = where
        self._rng = rng
        self._link: _Link | None = None
        self._proof: _Welcome | None = None
        self._seq = 0
        self._attempt = 0
        self._retry_after_s: float | None = None
        self._asked = 0
        # A message without an ack: sent again with each welcome, and when a nack says so.
        self._pending: bytes | None = None
        self._welcomed: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def here(self) -> bool:
        """Whether it has been welcomed on the connection that it has now."""
        return self._link is not None and self._link.welcomed

    async def start(self) -> None:
        """Connects, and returns with the first welcome."""
        self._welcomed = asyncio.get_running_loop().create_future()
        self._connect()
        await self._welcomed

    def ask(self, text: str) -> Answer:
        """Says it. The answer's `done` is set at its end."""
        assert self._link is not None, "no connection"
        self._asked += 1
        self.answer = Answer()
        self._link.send(
            msgspec.json.encode(
                {
                    "type": "message.send",
                    "cid": f"{self.address}-{self._asked}-{self._rng.getrandbits(32)}",
                    "text": text,
                }
            )
        )
        return self.answer

    def ping(self) -> None:
        if self.here and self._link is not None:
            self._link.send(b'{"type":"ping","t":1}')

    def cut(self) -> None:
        """The network goes away."""
        if self._link is not None:
            self._link.abort()

    async def stop(self) -> None:
        self.comes_back = False
        for task in list(self._tasks):
            task.cancel()
        self.cut()

    # --- the connection

    def _connect(self) -> None:
        task = asyncio.create_task(self._open(), name="widget")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        loop, port = asyncio.get_running_loop(), self._where()
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                _, self._link = await loop.create_connection(lambda: _Link(self), "127.0.0.1", port)
        except (OSError, TimeoutError) as error:
            self.lost(type(error).__name__)
            return
        self._link.begin(port)

    def opened(self) -> None:
        """For the link: the handshake is done."""
        hello: dict[str, Any] = {"type": "hello", "v": 1, "key": self.shop.key}
        if self._proof is not None:
            hello |= {"session": self._proof.session, "epoch": self._proof.epoch, "last_seq": self._seq}
        assert self._link is not None
        self._link.send(msgspec.json.encode(hello))

    def lost(self, how: str) -> None:
        """For the link: it has ended."""
        self._link = None
        self.closes.append(how)
        if self.comes_back:
            loop = asyncio.get_running_loop()
            pause = self._rng.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._attempt))
            if self._retry_after_s is not None:
                pause, self._retry_after_s = self._retry_after_s, None
            self._attempt += 1
            loop.call_later(pause, self._again)

    def _resend(self) -> None:
        if self._pending is not None and self.here and self._link is not None:
            self._link.send(self._pending)

    def _again(self) -> None:
        if self.comes_back and self._link is None:
            self._connect()

    def took(self, raw: bytes) -> None:
        """For the link: a frame."""
        now = asyncio.get_running_loop().time()
        if raw.startswith(_DELTA):
            if self.answer is not None:
                self.answer.deltas.append((now, raw))
        elif raw.startswith(_WELCOME):
            self._welcome(raw, now)
        elif raw.startswith(b'{"type":"snapshot"'):
            self._seq = msgspec.json.decode(raw, type=_UpTo).up_to_seq
        else:
            self._other(raw)

    def _welcome(self, raw: bytes, now: float) -> None:
        self._proof = msgspec.json.decode(raw, type=_Welcome)
        self.resumed = self._proof.resumed
        self.welcomes += 1
        self.welcomed_at = now
        self._attempt = 0
        assert self._link is not None
        self._link.welcomed = True
        self._resend()
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(None)

    def _other(self, raw: bytes) -> None:
        frame = msgspec.json.decode(raw, type=_Frame)
        if frame.seq and frame.type != "ack":
            self.gaps += frame.seq != self._seq + 1
            self._seq = frame.seq
        if frame.type == "ack":
            self._pending = None
        elif frame.type == "drain":
            self._retry_after_s = (frame.retry_after_ms or 0) / 1_000
        if self.answer is None or self.answer.done.done():
            return
        if frame.type == "message.completed":
            self.answer.text = msgspec.json.decode(frame.message, type=_Text).text
            self.answer.done.set_result(None)
        elif frame.type == "nack" and frame.retry_after_ms:
            asyncio.get_running_loop().call_later(frame.retry_after_ms / 1_000, self._resend)
        elif frame.type in {"turn.failed", "nack"}:
            self.answer.text = raw.decode()
            self.answer.done.set_result(None)


class _UpTo(msgspec.Struct):
    up_to_seq: int


class _Link(asyncio.Protocol):
    """One connection of a widget's."""

    def __init__(self, widget: Widget) -> None:
        self.welcomed = False
        self._widget = widget
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._accepted = False
        self._how = "lost"

    def begin(self, port: int) -> None:
        self._transport.write(
            f"GET /api/v1/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {self._widget.shop.origin}\r\n"
            f"X-Forwarded-For: {self._widget.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def send(self, payload: bytes, opcode: int = 1) -> None:
        self._transport.write(masked(payload, opcode))

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._widget.lost(self._how)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._accepted:
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            status = head.split(b"\r\n", 1)[0].decode()
            if " 101 " not in status:
                self._how = status
                self._transport.abort()
                return
            self._accepted, self._buffer = True, bytearray(rest)
            self._widget.opened()
        self._frames()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            size, start = buffer[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                # Short of its end this is too small a number, and the next check waits for more all the same.
                size = int.from_bytes(buffer[at + 2 : start])
            if len(buffer) < start + size:
                break
            opcode, payload = buffer[at] & 0x0F, bytes(buffer[start : start + size])
            at = start + size
            if opcode == 1:
                self._widget.took(payload)
            elif opcode == 8:
                self._how = str(int.from_bytes(payload[:2]))
                self._transport.abort()
                return
            elif opcode == 9:
                self.send(payload, 10)
        del buffer[:at]


def masked(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A frame of a widget's, masked with zeros: legal, and it leaves the payload as it is."""
    head = bytes([opcode | (0x80 if fin else 0)])
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return head + length + bytes(4) + payload
