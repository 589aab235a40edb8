"""A reader of the event stream of `POST /api/v1/chat`, on a raw socket that can be cut at any byte.

It follows the rules for an EventSource (WHATWG HTML, 9.2): the last `id` is given back, an event that is not whole when
the link breaks was never there, 204 means that there is nothing more. What it reads goes into a `View`, which fails
when an event comes twice, is missing or is out of order.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from server.protocol import codec
from server.protocol.visitor import Durable, MessageCompleted, Snapshot, ToVisitor, TurnFailed, TurnStopped
from tests.flows.peer import PATIENCE_S
from tests.flows.view import Gap, View

# A segment this small keeps the kernel's buffers small on both sides: a reader which does not read is felt soon.
SMALL_SEGMENT = 536

T = TypeVar("T")


class Parser:
    """Events out of a chunked HTTP response, byte by byte as they come. `status` is 0 until there is one."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.whole = False
        self.retry_ms: int | None = None
        self.comments = 0
        # Of the HTTP head.
        self.head_bytes = 0
        self._raw = b""
        self._body = b""

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """The events that are whole now: id and data."""
        self._raw += data
        if not self.status and not self._head():
            return []
        self._dechunk()
        blocks = self._body.split(b"\n\n")
        self._body = blocks.pop()
        return [event for event in map(self._event, blocks) if event is not None]

    def _head(self) -> bool:
        head, end, rest = self._raw.partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.status = int(first.split()[1])
        self._raw = rest
        self.head_bytes = len(head) + len(end)
        self.whole = self.status == 204
        return True

    def _dechunk(self) -> None:
        while not self.whole:
            size, end, rest = self._raw.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return
            length = int(size, 16)
            self._body += rest[:length]
            self._raw = rest[length + 2 :]
            self.whole = length == 0

    def _event(self, block: bytes) -> tuple[str | None, bytes] | None:
        event_id, data = None, None
        for line in block.split(b"\n"):
            field, _, value = line.partition(b": ")
            match field:
                case b"id":
                    event_id = value.decode()
                case b"data":
                    data = value
                case b"retry":
                    self.retry_ms = int(value)
                case _:
                    assert line.startswith(b":"), line
                    self.comments += 1
        return None if data is None else (event_id, data)


class Source:
    """One message's stream, however many connections it takes. `headers` prove who asks; `body` is what is asked."""

    def __init__(self, headers: Mapping[str, str], body: Mapping[str, Any], *, view: View | None = None) -> None:
        self._headers = headers
        self._body = json.dumps(body).encode()
        self.view = view or View()
        self.frames: list[ToVisitor] = []
        self.events: list[bytes] = []
        # Of this connection.
        self.bytes = 0
        self.last_id: str | None = None
        self.parser = Parser()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, url: str, *, small: bool = False) -> None:
        """Asks, with the last id. `small`: with buffers so small that not reading is felt."""
        address = urlsplit(url)
        assert address.hostname is not None and address.port is not None
        raw = socket.socket()
        raw.setblocking(False)
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * SMALL_SEGMENT)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
        await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
        self._reader, self._writer = await asyncio.open_connection(sock=raw, limit=2 * SMALL_SEGMENT)
        self.parser = Parser()
        self.bytes = 0
        headers = {
            **self._headers,
            **({"last-event-id": self.last_id} if self.last_id else {}),
            "host": "desk",
            "connection": "close",
            "accept": "text/event-stream",
            "content-type": "application/json",
            "content-length": str(len(self._body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"POST /api/v1/chat HTTP/1.1\r\n{head}\r\n".encode() + self._body)
        await self._writer.drain()

    async def read(self, most: int = 65536) -> bool:
        """Some bytes, `most` at most. False when there are no more: the response is whole, or was cut off."""
        assert self._reader is not None
        if self.parser.whole:
            return False
        async with asyncio.timeout(PATIENCE_S):
            try:
                data = await self._reader.read(most)
            except ConnectionResetError:
                return False
        self._feed(data)
        return bool(data)

    async def read_exactly(self, count: int) -> bool:
        """So many bytes and not one more. False when the response had fewer."""
        while count > 0 and not self.parser.whole:
            assert self._reader is not None
            async with asyncio.timeout(PATIENCE_S):
                data = await self._reader.read(count)
            if not data:
                break
            count -= len(data)
            self._feed(data)
        return count == 0

    async def until(self, there: Callable[[], bool]) -> None:
        """Reads until this holds."""
        while not there():
            assert await self.read(), "the stream ended before"

    async def rest(self) -> None:
        """Reads to the end, and hangs up."""
        while await self.read():
            pass
        self.cut()

    def cut(self) -> None:
        """The network goes away."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    @property
    def ended(self) -> bool:
        """Whether the last event was the end of a turn."""
        return bool(self.frames) and isinstance(self.frames[-1], MessageCompleted | TurnFailed | TurnStopped)

    def of(self, kind: type[T]) -> list[T]:
        """The frames of a kind so far."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def _feed(self, data: bytes) -> None:
        self.bytes += len(data)
        for event_id, payload in self.parser.feed(data):
            self._take(event_id, payload)

    def _take(self, event_id: str | None, payload: bytes) -> None:
        frame = codec.decode_to_visitor(payload)
        whole = isinstance(frame, Snapshot) and frame.messages is not None
        assert (event_id is not None) == (isinstance(frame, Durable) or whole), frame
        self.frames.append(frame)
        if isinstance(frame, Durable):
            self.events.append(payload)
        try:
            self.view.apply(frame)
        except Gap as gap:
            raise AssertionError("a stream's deltas have no gaps") from gap
        if event_id is not None:
            self.last_id = event_id
            assert int(event_id.rpartition(":")[2]) == self.view.seq
