"""Below ASGI: uvicorn's two protocols, with bounds against a peer that does not behave.

A peer may be silent, slow, gone without a word, or send as fast as it can. None of it may cost the others more than a
socket, its bounded buffers and a small share of the processor; and each ends in a time that is known.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Coroutine
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

# Seconds for a request's head, from the connection or the head's first byte; the same again and more for its body.
HEAD_S = 10.0
BODY_S = 30.0
# Bytes of a request's head. Browsers stay under 16 KB, and websockets' own limits are tighter.
HEAD_BYTES = 64 * 1024
# What the kernel holds for one socket each way; it takes twice as much for its own accounting. By default it would let
# a sender's buffer grow to 4 MB. 64 KB in 200 ms, a bad network's round trip, is 320 KB a second.
KERNEL_BYTES = 64 * 1024
# What may wait in our own process before a write waits. Little: our queue, which can be dropped, is above.
WRITE_BYTES = 16 * 1024
# Continuations of one message. Empty ones count for nothing against its size, but each takes memory.
FRAGMENTS = 4_096
# Seconds that the other side has to answer a close, and to take what is on its way.
CLOSE_S = 5.0
# A read that took this many seconds to parse was a flood of tiny frames, thousands of them. That socket is not read for
# so many times longer: it gets a twentieth of the processor.
LONG_READ_S = 0.002
REST_TIMES = 20.0

_AT_ONCE = struct.pack("ii", 1, 0)


class Http(HttpToolsProtocol):
    """A connection that does not say in time what it wants is closed, and one that does not come to an end with it."""

    _late: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            # A further request, or empty lines that would pass for the beginning of one.
            self._late = self.loop.call_later(HEAD_S, self.transport.close)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request headers too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_time()
        self._late = self.loop.call_later(BODY_S, self.transport.close)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_time()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._in_time()
        super().handle_websocket_upgrade()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Rules(ServerProtocol):
    """websockets' own, but for a close between the pieces of a message, where RFC 6455 (5.4) allows it."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class WebSocket(WebSocketsSansIOProtocol):
    """Buffers are bounded, each way and in the kernel too; a flood waits; an end comes, whatever the peer does."""

    _resting: asyncio.TimerHandle | None = None
    _cut: asyncio.TimerHandle | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        made = self.conn
        self.conn = _Rules(extensions=made.available_extensions, max_size=config.ws_max_size, logger=made.logger)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.close_timeout = CLOSE_S  # uvicorn's own timer is set later than ours and finds nothing left to do
        self.transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._tell_kernel(socket.SO_SNDBUF, KERNEL_BYTES)
        self._tell_kernel(socket.SO_RCVBUF, KERNEL_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._resting, self._cut):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._end()

    def _end(self) -> None:
        """uvicorn waits until the peer has taken everything, and a peer that reads nothing never does."""
        if self._cut is None and not self.disconnected:
            self._cut = self.loop.call_later(CLOSE_S, self._abort)

    def _abort(self) -> None:
        """Without lingering the kernel lets go too of what it holds for the peer, and the peer gets a reset."""
        self._tell_kernel(socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _tell_kernel(self, option: int, value: int | bytes) -> None:
        # Not a socket's class with uvloop, but with a socket's methods.
        below = cast("socket.socket | None", self.transport.get_extra_info("socket"))
        if below is not None and below.family in {socket.AF_INET, socket.AF_INET6}:
            below.setsockopt(socket.SOL_SOCKET, option, value)

    # --- sending

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        # The one that comes with every token is uvicorn's own, without a coroutine of ours around it.
        return super().send(message) if message["type"] == "websocket.send" else self._send_once(message)

    async def _send_once(self, message: Any) -> None:
        """An accept, a close, an answer to the handshake."""
        if message["type"] == "websocket.close":
            # The last thing that is written: nobody needs to wait for room.
            self.writable.set()
            self._end()
        await super().send(message)
        if self.close_sent:
            # A handshake that the application answered with HTTP is done too; uvicorn would log it as an error.
            self.handshake_complete = True

    def pause_writing(self) -> None:
        super().pause_writing()
        # Pings are answered by the protocol, without asking anybody whether there is room.
        self._pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._resume_reading()

    # --- receiving

    def data_received(self, data: bytes) -> None:
        began = time.perf_counter()
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()
        took = time.perf_counter() - began
        if took > LONG_READ_S and self._resting is None:
            self._pause_reading()
            self._resting = self.loop.call_later(took * REST_TIMES, self._rested)

    async def receive(self) -> Any:
        if self.disconnected and self.queue.empty():
            # Whoever asks after the end is told again, instead of waiting for good.
            return {"type": "websocket.disconnect", "code": 1006}
        message = await self.queue.get()
        self._resume_reading()
        return message

    def _refuse_handshake(self) -> None:
        """HTTP that websockets does not take, such as a line of 10 KB. uvicorn would say nothing, keep the connection
        for good, and stumble over it at the process's end."""
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self._fail(1009, "too many fragments")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        # uvicorn ends a socket that sends no UTF-8 too, with a traceback in the log for each.
        if self.curr_msg_data_type == "text" and not _utf8(b"".join(self.frames)):
            self._fail(1007, "not UTF-8")
        else:
            super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        self.frames = []
        # More of it may have come in the same read.
        if not self.transport.is_closing() and not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def _rested(self) -> None:
        self._resting = None
        self._resume_reading()

    def _pause_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if (
            self.read_paused
            and self._resting is None
            and self.writable.is_set()
            and self.queue.empty()
            and not self.transport.is_closing()
        ):
            self.read_paused = False
            self.transport.resume_reading()


def _utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
