"""A model's server for measurements: OpenAI's chat completions stream, encoded before it is asked for.

    python -m bench.upstream 9000

The visitor's words say what to answer (`question`), so that one server serves every measurement. Each token is a write
of its own, as real servers send them. `tests.wire_servers` speaks the same bytes and costs five times as much.
"""

import asyncio
import re
import signal
import sys
from typing import cast

import httptools
import msgspec
import uvloop

from tests.wire_servers.dialects import DIALECTS
from tests.wire_servers.steps import Answer, split_tokens

_WORDS = (
    "We bake every loaf in the stone oven behind the shop, from four in the morning on, and the first baguettes are "
    "on the shelf when the doors open at seven. "
)
_QUESTION = re.compile(r"^(\d+) tokens, (\d+) a second$")
_DIALECT = DIALECTS["openai"]
_MODEL = "bench"
_HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_4e1f9a\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class _Message(msgspec.Struct):
    role: str
    content: str


class _Request(msgspec.Struct):
    messages: list[_Message]


def question(tokens: int, rate: int) -> str:
    """Words that ask for so many tokens at `rate` a second; 0 is as fast as they can be written."""
    return f"{tokens} tokens, {rate} a second"


def answer(tokens: int) -> list[str]:
    """The tokens of the answer."""
    pieces = split_tokens(_WORDS)
    return (pieces * (tokens // len(pieces) + 1))[:tokens]


def encoded(tokens: int) -> list[bytes]:
    """The response in the pieces that are written: head with the role, one a token, tail."""
    reply = Answer(usage=(1200, tokens, 0))
    head = _HEADERS + b"".join(map(_chunked, _DIALECT.head(reply, _MODEL)))
    tail = b"".join(map(_chunked, _DIALECT.tail(reply, _MODEL, include_usage=True))) + b"0\r\n\r\n"
    return [head, *(_chunked(_DIALECT.token(text, _MODEL)) for text in answer(tokens)), tail]


def _chunked(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, encodings: dict[int, list[bytes]]) -> None:
        self._encodings = encodings
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._body = bytearray()
        self._pieces: list[bytes] = []
        self._at = 0
        self._began = 0.0
        self._rate = 0
        self._paused = False
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = bytes(self._body), bytearray()
        if self._parser.get_method() != b"POST":
            self._transport.write(_NOT_FOUND)
            return
        asked = _QUESTION.match(msgspec.json.decode(body, type=_Request).messages[-1].content)
        if asked is None:
            raise ValueError("the last message is not one of `question`")
        tokens, self._rate = int(asked[1]), int(asked[2])
        self._pieces = self._encodings.get(tokens) or self._encodings.setdefault(tokens, encoded(tokens))
        self._at, self._began = 0, self._loop.time()
        self._write()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._next is None and self._at < len(self._pieces):
            self._write()

    def _write(self) -> None:
        """Writes the next piece and sees to the one after it. The first token leaves at once, with the head."""
        self._next = None
        self._transport.write(self._pieces[self._at])
        self._at += 1
        if self._at == 1:
            self._write()
        elif self._at < len(self._pieces) and not self._paused:
            if self._rate:
                self._next = self._loop.call_at(self._began + (self._at - 1) / self._rate, self._write)
            else:
                self._next = self._loop.call_soon(self._write)


async def serve(port: int) -> None:
    """Until SIGTERM."""
    encodings: dict[int, list[bytes]] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(encodings), "127.0.0.1", port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
