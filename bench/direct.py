"""OpenAI's stream over one kept connection: the upstream without a server between, and servers that speak it too."""

import asyncio
import time
from typing import cast

import httptools
import msgspec

from bench.servers import Process
from bench.speakers import Answered, counted

# Seconds for a whole answer: 200 at once take LiteLLM's proxy minutes.
_PATIENCE_S = 600.0


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_CHUNK = msgspec.json.Decoder(_Chunk)


class StreamSite:
    """A server with OpenAI's `/v1/chat/completions`."""

    def __init__(self, process: Process, *, model: str = "bench", api_key: str = "bench") -> None:
        self.process = process
        self._model = model
        self._api_key = api_key

    async def visit(self) -> "StreamVisitor":
        loop = asyncio.get_running_loop()
        _, visitor = await loop.create_connection(
            lambda: StreamVisitor(self._model, self._api_key), "127.0.0.1", self.process.port
        )
        return visitor


class StreamVisitor(asyncio.Protocol):
    """One connection; questions on it come one after the other."""

    def __init__(self, model: str, api_key: str) -> None:
        self._model = model
        self._api_key = api_key
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bodies: list[tuple[float, bytes]] = []
        self._lost = False

    async def ask(self, question: str) -> Answered:
        """Raises RuntimeError when the answer is no stream, ConnectionError when the connection ends before it."""
        if self._lost:
            raise ConnectionError("the connection ended after the last answer")
        self._bodies = []
        self._done = asyncio.get_running_loop().create_future()
        body = msgspec.json.encode(
            {
                "model": self._model,
                "stream": True,
                "messages": [{"role": "user", "content": question}],
            }
        )
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._transport.write(head.encode() + body)
        async with asyncio.timeout(_PATIENCE_S):
            await self._done
        texts = _texts(self._bodies)
        if not texts:
            raise RuntimeError(f"no text came: {b''.join(body for _, body in self._bodies)[:300]!r}")
        return Answered("".join(text for _, text in texts), texts[0][0] - began, counted(texts))

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self._done.done():
            self._done.set_exception(ConnectionError("the connection ended before the answer"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        # Read when the answer is there: reading would be the load's own cost, at the wrong time.
        self._bodies.append((time.perf_counter(), body))

    def on_message_complete(self) -> None:
        self._done.set_result(None)
        # Made for one message; the next one on this connection has another.
        self._parser = httptools.HttpResponseParser(self)


def _texts(bodies: list[tuple[float, bytes]]) -> list[tuple[float, str]]:
    """The pieces of text of a stream, each with the time when its last byte came."""
    texts: list[tuple[float, str]] = []
    rest = b""
    for at, body in bodies:
        *lines, rest = (rest + body).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                chunk = _CHUNK.decode(line[6:])
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    texts.append((at, text))
    return texts
