"""A model's server for measurements: OpenAI's chat completions stream, encoded before it is asked for.

    python -m bench.upstream 9000

The visitor's words say what to answer (`question`), so that one server serves every measurement. Each token is a write
of its own, as real servers send them. `tests.wire_servers` speaks the same bytes and costs five times as much.

It is the webhook of the model's tools as well, so that one clock has both ends of a `tool_step`:

    POST /v1/chat/completions    the model
    POST /webhook/{tool}         answers after `wait_ms` of its arguments
    GET  /steps                  what the steps of tools took, `tool_step.Step` as JSON
    GET  /begun                  when the first token of each numbered answer was written, by its number, as JSON;
                                 forgets them. Seconds of CLOCK_MONOTONIC, which all processes of a machine share
"""

import asyncio
import http.client
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import httptools
import msgspec
import uvloop

from bench import tool_step
from bench.tool_step import Steps
from tests.wire_servers.dialects import DIALECTS
from tests.wire_servers.steps import Answer, ToolUse, split_tokens

_WORDS = (
    "We bake every loaf in the stone oven behind the shop, from four in the morning on, and the first baguettes are "
    "on the shelf when the doors open at seven. "
)
_QUESTION = re.compile(r"^(\d+) tokens, (\d+) a second(?:, number (\d+))?$")
_DIALECT = DIALECTS["openai"]
_MODEL = "bench"
_HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"x-request-id: req_4e1f9a\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
# Tokens of the answer after a step of tools.
AFTER_TOOLS = 20


class _Message(msgspec.Struct):
    role: str
    content: str | None


class _Request(msgspec.Struct):
    messages: list[_Message]
    tools: list[Any] = []


def question(tokens: int, rate: int, number: int | None = None) -> str:
    """Words that ask for so many tokens at `rate` a second; 0 is as fast as they can be written.

    When a numbered answer began is kept until it is asked for (`begun`).
    """
    return f"{tokens} tokens, {rate} a second" + ("" if number is None else f", number {number}")


def begun(port: int) -> dict[int, float]:
    """When the first token of each numbered answer was written since the last call, by its number.

    Seconds of CLOCK_MONOTONIC (`time.perf_counter` on Linux).
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/begun")
        return msgspec.json.decode(connection.getresponse().read(), type=dict[int, float])
    finally:
        connection.close()


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


def encoded_calls(calls: tuple[ToolUse, ...]) -> list[bytes]:
    """The response that wants these calls made, in the pieces that are written: nine characters of arguments each."""
    reply = Answer(tools=calls, usage=(1200, 30 * len(calls), 0))
    head = _HEADERS + b"".join(map(_chunked, _DIALECT.head(reply, _MODEL)))
    tail = b"".join(map(_chunked, _DIALECT.tail(reply, _MODEL, include_usage=True))) + b"0\r\n\r\n"
    pieces = [_chunked(event) for at, call in enumerate(calls) for event in _DIALECT.tool(at, call, _MODEL)]
    return [head, *pieces, tail]


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _chunked(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, encodings: dict[int, list[bytes]], steps: Steps, begun: dict[int, float]) -> None:
        self._encodings = encodings
        self._steps = steps
        self._begun = begun
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._path = b""
        self._body = bytearray()
        self._pieces: list[bytes] = []
        self._at = 0
        self._began = 0.0
        self._rate = 0
        self._paused = False
        self._next: asyncio.Handle | None = None
        self._whole: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        path, self._path = self._path, b""
        body, self._body = bytes(self._body), bytearray()
        match self._parser.get_method(), path:
            case b"POST", b"/v1/chat/completions":
                self._model(msgspec.json.decode(body, type=_Request), now)
            case b"POST", _ if path.startswith(b"/webhook/"):
                self._webhook(msgspec.json.decode(body, type=tool_step.Request), now)
            case b"GET", b"/steps":
                self._transport.write(_json(msgspec.json.encode(self._steps.done)))
            case b"GET", b"/begun":
                self._transport.write(_json(msgspec.json.encode(self._begun)))
                self._begun.clear()
            case _:
                self._transport.write(_NOT_FOUND)

    def _model(self, request: _Request, now: float) -> None:
        last = request.messages[-1]
        if last.role == "tool":
            results = [message.content or "" for message in request.messages if message.role == "tool"]
            self._steps.tell(results, now)
            self._answer(AFTER_TOOLS, 0)
        elif asked := _QUESTION.match(last.content or ""):
            if asked[3] is not None:
                self._begun[int(asked[3])] = time.perf_counter()
            self._answer(int(asked[1]), int(asked[2]))
        elif calls := tool_step.uses(last.content or ""):
            if not request.tools:
                raise ValueError("tools are to be used, and none are offered")
            self._call(calls)
        else:
            raise ValueError("the last message is not one of `question`")

    def _answer(self, tokens: int, rate: int) -> None:
        self._start(self._encodings.get(tokens) or self._encodings.setdefault(tokens, encoded(tokens)), rate)

    def _call(self, calls: tuple[ToolUse, ...]) -> None:
        step = self._steps.ask(calls)

        def whole() -> None:
            step.asked_at = time.perf_counter()

        self._start(encoded_calls(calls), 0, whole)

    def _webhook(self, request: tool_step.Request, now: float) -> None:
        done = self._steps.call(request, now)

        def answer() -> None:
            self._transport.write(_json(tool_step.result(request.arguments.item)))
            done.ended = time.perf_counter()

        self._next = self._loop.call_later(request.arguments.wait_ms / 1e3, answer)

    def _start(self, pieces: list[bytes], rate: int, whole: Callable[[], None] | None = None) -> None:
        """Begins to write; `whole` is called when the last piece is written."""
        self._pieces, self._rate, self._whole = pieces, rate, whole
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
        elif self._at == len(self._pieces) and self._whole is not None:
            self._whole()


async def serve(port: int) -> None:
    """Until SIGTERM."""
    encodings: dict[int, list[bytes]] = {}
    steps = Steps()
    begun: dict[int, float] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: Upstream(encodings, steps, begun), "127.0.0.1", port
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
