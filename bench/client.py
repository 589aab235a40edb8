"""A WebSocket client that costs next to nothing, so that the load generator is never what is measured."""

import asyncio
import base64
import os
import struct
from collections.abc import Callable
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class Socket(asyncio.Protocol):
    """One open WebSocket. `on_text` takes each text frame; `lost` is set with the reason when the socket ends."""

    def __init__(self, on_text: Callable[[bytes], None]) -> None:
        self.on_text = on_text
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport
        self._buffer = bytearray()

    @classmethod
    async def open(cls, port: int, path: str, headers: dict[str, str], on_text: Callable[[bytes], None]) -> "Socket":
        """Raises ConnectionError with the status line when the server does not accept."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(on_text), "127.0.0.1", port)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        socket._transport.write("\r\n".join([*lines, "\r\n"]).encode())
        await socket._accepted
        return socket

    def send(self, payload: bytes, opcode: int = _TEXT) -> None:
        """One frame. Masked with zeros, which is legal and leaves the payload as it is."""
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        self._transport.write(bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload)

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection lost")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._accepted.done():
            head, separator, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            status = head.split(b"\r\n", 1)[0].decode()
            if " 101 " not in status:
                self._end(status)
                return
            self._buffer = bytearray(rest)
            self._accepted.set_result(None)
        self._read_frames()

    def _read_frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            size, start = buffer[at + 1], at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                # Short of its end this is too small a number, and the next check waits for more all the same.
                size = int.from_bytes(buffer[at + 2 : start])
            if len(buffer) < start + size:
                break
            self._frame(buffer[at] & 0x0F, bytes(buffer[start : start + size]))
            at = start + size
        del buffer[:at]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self.on_text(payload)
        elif opcode == _PING:
            self.send(payload, _PONG)
        elif opcode == _CLOSE:
            self._end(f"closed by the server: {int.from_bytes(payload[:2])} {payload[2:].decode()}")

    def _end(self, reason: str) -> None:
        if not self._accepted.done():
            self._accepted.set_exception(ConnectionError(reason))
        if not self.lost.done():
            self.lost.set_result(reason)
