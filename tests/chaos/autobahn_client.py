# ruff: noqa: N803, N815  # the cases call these names
"""The client that Autobahn's cases drive: it sends what they say, right or wrong, and tells them what comes back.

The names are Autobahn's, because the cases use them. Payloads are `str` of code points up to 255 (`autobahn_cases`).
"""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import Callable
from typing import cast

from tests.chaos.autobahn_cases import Case, WebSocketProtocol

# Seconds for a close to be answered, and for the server to hang up after that (Autobahn's defaults).
CLOSE_S = 1.0


class _Factory:
    isServer = False


class Client(WebSocketProtocol, asyncio.Protocol):
    """One connection, for one case. `ended` is set when it is over and the case has judged it."""

    factory = _Factory

    def __init__(self, make: Callable[["Client"], Case], port: int) -> None:
        self.state = self.STATE_CONNECTING
        self.createWirelog = False
        self.autoFragmentSize = 0
        self.trafficStats = None
        self.txFrameStats: Counter[int] = Counter()
        self.connectionWasOpen = self.closedByMe = self.failedByMe = self.droppedByMe = self.wasClean = False
        self.remoteCloseCode: int | None = None
        self.remoteCloseReason: str | None = None
        self.localCloseReason: str | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.case = make(self)
        self._port = port
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._message: tuple[int, bytearray] | None = None
        self._first_frame = False
        self._opcode = 1
        self._pieces: asyncio.Queue[tuple[bytes, int | None]] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # --- what cases call

    def sendFrame(
        self,
        opcode: int,
        payload: str = "",
        fin: bool = True,
        rsv: int = 0,
        mask: None = None,
        payload_len: int | None = None,
        chopsize: int | None = None,
        sync: bool = False,
    ) -> None:
        data = payload.encode("latin-1")
        if payload_len is not None:
            data = (data * (payload_len // len(data) + 1))[:payload_len] if data else b""
        self.txFrameStats[opcode] += 1
        self._write(self._head(opcode, len(data), fin=fin, rsv=rsv) + data, chopsize)

    def sendMessage(
        self, payload: str, isBinary: bool = False, fragmentSize: int | None = None, sync: bool = False
    ) -> None:
        size = fragmentSize or self.autoFragmentSize or max(1, len(payload))
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [""]
        for number, part in enumerate(parts):
            opcode = 0 if number else 2 if isBinary else 1
            self.sendFrame(opcode, part, fin=number == len(parts) - 1)

    def beginMessage(self, isBinary: bool = False, opcode: int = 1) -> None:
        self._opcode = 2 if isBinary else opcode

    def beginMessageFrame(self, length: int) -> None:
        self._write(self._head(self._opcode, length, fin=False, rsv=0))
        self._opcode = 0

    def sendMessageFrameData(self, payload: str, sync: bool = False) -> None:
        self._write(payload.encode("latin-1"))

    def endMessage(self) -> None:
        self.sendFrame(0, fin=True)

    def sendClose(self, code: int | None = None, reason: str | None = None) -> None:
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: str | None = None, isReply: bool = False) -> None:
        if self.state != self.STATE_OPEN:
            return
        payload = code.to_bytes(2, "big").decode("latin-1") if code is not None else ""
        self.sendFrame(8, payload + (reasonUtf8 or ""))
        self.state = self.STATE_CLOSING
        self.closedByMe = not isReply
        self.localCloseReason = reasonUtf8
        self._later(CLOSE_S if self.closedByMe else 2 * CLOSE_S, self._drop)

    def continueLater(self, delay: float, fun: Callable[[], None], tag: str | None = None) -> None:
        self._later(delay, fun)

    def killAfter(self, delay: float) -> None:
        self._later(delay, self._fail)

    def closeAfter(self, delay: float) -> None:
        self._later(delay, self.sendClose)

    def enableWirelog(self, enable: bool) -> None:
        self.createWirelog = enable

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._writer = asyncio.get_running_loop().create_task(self._writes())

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = self.STATE_CLOSED
        for timer in self._timers:
            timer.cancel()
        if self._writer is not None:
            self._writer.cancel()
        self.case.onConnectionLost(self.failedByMe)
        self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.state == self.STATE_CONNECTING:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._transport.abort()
                return
            self._buffer = bytearray(rest)
            self.state, self.connectionWasOpen = self.STATE_OPEN, True
            self.case.onOpen()
        while (frame := self._next()) is not None:
            self._took(*frame)

    def _next(self) -> tuple[int, bool, bytes] | None:
        """The next whole frame: opcode, fin, payload."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size >= 126:
            start += 2 if size == 126 else 8
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        first, payload = buffer[0], bytes(buffer[start : start + size])
        del buffer[: start + size]
        if first & 0x70:
            raise AssertionError("the server set a reserved bit")
        return first & 0x0F, bool(first & 0x80), payload

    def _took(self, opcode: int, fin: bool, payload: bytes) -> None:
        text = payload.decode("latin-1")
        match opcode:
            case 8:
                self._close(payload)
            case 9:
                self.case.onPing(text)
                self.sendFrame(10, text)
            case 10:
                self.case.onPong(text)
            case 0 | 1 | 2:
                if opcode:
                    self._message = (opcode, bytearray())
                assert self._message is not None, "a continuation of nothing"
                self._message[1].extend(payload)
                if fin:
                    kind, whole = self._message
                    self._message = None
                    self.case.onMessage(whole.decode("latin-1"), kind == 2)
            case _:
                raise AssertionError(f"the server sent opcode {opcode}")

    def _close(self, payload: bytes) -> None:
        self.remoteCloseCode = int.from_bytes(payload[:2], "big") if payload else None
        self.remoteCloseReason = payload[2:].decode("latin-1")
        self.wasClean = True
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(self.remoteCloseCode, isReply=True)
        else:
            self._later(CLOSE_S, self._drop)

    def _fail(self) -> None:
        self.failedByMe = True
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(self.CLOSE_STATUS_CODE_GOING_AWAY)
        else:
            self._drop()

    def _drop(self) -> None:
        """The server should have hung up."""
        self.droppedByMe = True
        self._transport.abort()

    # --- small things

    @staticmethod
    def _head(opcode: int, size: int, *, fin: bool, rsv: int) -> bytes:
        first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65_536:
            length = b"\xfe" + size.to_bytes(2, "big")
        else:
            length = b"\xff" + size.to_bytes(8, "big")
        # Masked with zeros: legal, and it leaves the payload as it is.
        return first + length + bytes(4)

    def _write(self, data: bytes, chopsize: int | None = None) -> None:
        self._pieces.put_nowait((data, chopsize))

    async def _writes(self) -> None:
        """Writes one thing after the other, in pieces where that is wanted, a pass of the event loop between two."""
        while True:
            data, size = await self._pieces.get()
            for at in range(0, len(data), size or max(1, len(data))):
                self._transport.write(data[at : at + (size or len(data))])
                if size:
                    await asyncio.sleep(0)

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        def run() -> None:
            if self.state != self.STATE_CLOSED:
                call()

        self._timers.append(asyncio.get_running_loop().call_later(delay, run))
