"""A webhook that behaves as a test tells it to, well or as badly as a network can. Raw sockets: libraries behave.

`script` gives the next requests their replies, `default` is for all others. `requests` are what came in; `effects`
counts them by `Idempotency-Key`, as a system does that knows no such thing: 2 is an appointment booked twice.
"""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from standardwebhooks import Webhook

PATIENCE_S = 10.0


class Received(msgspec.Struct, frozen=True):
    """One request. Header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def verify(self, secret: str) -> None:
        """Raises unless the reference implementation of Standard Webhooks takes the signature."""
        Webhook(secret).verify(self.body, self.headers, json_parse=False)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and what goes wrong with it.

    `wait_s`: before the head. `drip_s`: between two bytes of the body. `cut_at`: the connection is cut after so many
    bytes of the body, or before the head at -1. `length`: bytes of body that are sent for real, in a stream without an
    announced length. `raw`: all that goes over the wire.
    """

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json; charset=utf-8"
    headers: dict[str, str] = {}
    wait_s: float = 0.0
    drip_s: float = 0.0
    cut_at: int | None = None
    length: int | None = None
    raw: bytes | None = None


Answerer = Callable[[Received], Awaitable[Reply]]


def says(value: Any, status: int = 200, **more: Any) -> Reply:
    """JSON."""
    return Reply(body=msgspec.json.encode(value), status=status, **more)


def text(words: str, status: int = 200, *, content_type: str = "text/plain") -> Reply:
    return Reply(body=words.encode(), status=status, content_type=content_type)


class WebhookServer:
    """`url` is the webhook's address."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Received] = []
        self.effects: Counter[str] = Counter()
        self.default: Reply | Answerer = says({"ok": True})
        # Bytes of bodies that were written.
        self.written = 0
        # Requests whose sender hung up before the end of the answer.
        self.abandoned = 0
        self._script: deque[Reply | Answerer] = deque()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def script(self, *replies: Reply | Answerer) -> None:
        """One each for the next requests, in order."""
        self._script.extend(replies)

    async def until(self, true: Callable[["WebhookServer"], bool]) -> None:
        """Until it is so of this server."""
        async with asyncio.timeout(PATIENCE_S):
            while not true(self):
                self._changed.clear()
                await self._changed.wait()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/webhook/tool"

    async def stop(self) -> None:
        """From now on connections are refused; open ones are cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (received := await _read(reader)) is not None:
                self.requests.append(received)
                self.effects[received.headers.get("idempotency-key", "")] += 1
                self._changed.set()
                step = self._script.popleft() if self._script else self.default
                reply = step if isinstance(step, Reply) else await step(received)
                if not await self._answer(reader, writer, reply):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.abandoned += 1
        except asyncio.CancelledError:
            pass  # stopped; the callback of asyncio's server would report it as an error
        finally:
            self._changed.set()
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        """Whether the connection may be used again."""
        if reply.wait_s:
            with suppress(TimeoutError):
                # The sender says nothing more; reading is how to notice that it went away.
                async with asyncio.timeout(reply.wait_s):
                    await reader.read(1)
                raise ConnectionError("hung up")
        if reply.cut_at == -1:
            return False
        if reply.raw is not None:
            writer.write(reply.raw)
            await writer.drain()
            return False
        writer.write(_head(reply))
        if reply.length is not None:
            return await self._flood(writer, reply.length)
        body = reply.body if reply.cut_at is None else reply.body[: reply.cut_at]
        step = 1 if reply.drip_s else len(body) or 1
        for at in range(0, len(body), step):
            writer.write(body[at : at + step])
            await writer.drain()
            self.written += step
            await asyncio.sleep(reply.drip_s)
        await writer.drain()
        return reply.cut_at is None

    async def _flood(self, writer: asyncio.StreamWriter, length: int) -> bool:
        chunk = b'"' + b"x" * 65_534 + b'"'
        for _ in range(0, length, len(chunk)):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
            self.written += len(chunk)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """The next request; None when the sender has hung up."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if not ended.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)


def _head(reply: Reply) -> bytes:
    headers = dict(reply.headers)
    if reply.content_type is not None:
        headers["content-type"] = reply.content_type
    if reply.length is None:
        headers["content-length"] = str(len(reply.body))
    else:
        headers["transfer-encoding"] = "chunked"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} Said\r\n{lines}\r\n".encode("latin-1")


@asynccontextmanager
async def webhook_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[WebhookServer]:
    """A listening one, stopped at the end."""
    server = WebhookServer()
    await server.start(tls)
    try:
        yield server
    finally:
        await server.stop()
