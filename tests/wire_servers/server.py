"""The server itself: one HTTP server for any of the dialects."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import web

from tests.wire_servers.dialects import DIALECTS, Dialect
from tests.wire_servers.steps import Answer, Failure, Raw, Received, Step


def echo(request: Received) -> Step:
    """What a server says when nothing was scripted."""
    return Answer(f"You said: {request.question}")


class WireServer:
    """`url` is the base URL to give a provider. `requests` are those to the chat endpoint, in order."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.url = ""
        self.requests: list[Received] = []
        self.default: Callable[[Received], Step] = echo
        # Answers whose reader went away before their end.
        self.abandoned = 0
        # Answers that were sent to their end, whether or not they were read.
        self.ended = 0
        self._steps: deque[Step] = deque()
        self._changed = asyncio.Condition()
        self._connections: set[int] = set()

    def script(self, *steps: Step) -> None:
        """The next requests take these steps, one each, in order."""
        self._steps.extend(steps)

    @property
    def connections(self) -> int:
        """How many connections requests came over, to see whether they were reused."""
        return len(self._connections)

    async def wait_for_requests(self, count: int) -> None:
        """Until `count` requests came."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    async def wait_for_abandoned(self, count: int = 1) -> None:
        """Until the readers of `count` answers went away."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.abandoned >= count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if (listing := self.dialect.listing(request.path)) is not None and request.method == "GET":
            return web.json_response(listing)
        if request.path != self.dialect.chat_path:
            return self._failure(Failure(404, f"Unknown path {request.path}"))
        body: dict[str, Any] = await request.json()
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.method, request.path, headers, body)
        self.requests.append(received)
        self._connections.add(id(request.transport))
        async with self._changed:
            self._changed.notify_all()
        step = self._steps.popleft() if self._steps else self.default(received)
        match step:
            case Failure():
                return self._failure(step)
            case Raw():
                headers = {"Content-Type": step.content_type, **step.headers}
                return web.Response(body=step.body, status=step.status, headers=headers)
            case Answer():
                return await self._stream(request, received, step)

    def _failure(self, step: Failure) -> web.Response:
        return web.Response(
            body=self.dialect.failure(step.status, step.message),
            status=step.status,
            headers={"Content-Type": "application/json", "x-request-id": "req_4e1f9a", **step.headers},
        )

    async def _stream(self, request: web.Request, received: Received, answer: Answer) -> web.StreamResponse:
        await asyncio.sleep(answer.first_byte_after_s)
        response = web.StreamResponse(
            headers={
                "Content-Type": self.dialect.content_type,
                "Cache-Control": "no-cache",
                "x-request-id": "req_4e1f9a",
            }
        )
        try:
            await response.prepare(request)
            await self._write(request, response, received, answer)
            self.ended += 1
            await asyncio.sleep(answer.body_ends_after_s)
            if request.transport is not None and not request.transport.is_closing():
                await response.write_eof()
        except ConnectionError:
            await self._abandon()
        except asyncio.CancelledError:
            await self._abandon()
            raise
        return response

    async def _abandon(self) -> None:
        self.abandoned += 1
        async with self._changed:
            self._changed.notify_all()

    async def _write(
        self, request: web.Request, response: web.StreamResponse, received: Received, answer: Answer
    ) -> None:
        dialect, model = self.dialect, str(received.body.get("model", ""))
        clock = asyncio.get_running_loop().time
        due = clock()

        async def write(data: bytes) -> None:
            if answer.crlf:
                data = data.replace(b"\n", b"\r\n")
            size = answer.chunk_bytes or len(data)
            for at in range(0, len(data), size):
                await response.write(data[at : at + size])

        for event in dialect.head(answer, model):
            await write(event)
        pieces = answer.pieces()
        for sent in range(len(pieces) + 1):
            if await self._goes_wrong(sent, request, write, answer, model):
                return
            if sent == len(pieces):
                break
            if answer.tokens_per_s is not None:
                due += 1 / answer.tokens_per_s
                await asyncio.sleep(max(0.0, due - clock()))
            if answer.comments:
                await write(dialect.comment())
            await write(dialect.token(pieces[sent], model))
        for index, call in enumerate(answer.tools):
            for event in dialect.tool(index, call, model):
                await write(event)
        options = received.body.get("stream_options") or {}
        include_usage = dialect.name != "openai" or bool(options.get("include_usage"))
        for event in dialect.tail(answer, model, include_usage=include_usage):
            await write(event)

    async def _goes_wrong(
        self, sent: int, request: web.Request, write: Callable[[bytes], Any], answer: Answer, model: str
    ) -> bool:
        """Whether the answer ends here, as its script says."""
        dialect = self.dialect
        if sent == answer.cut_after:
            event = dialect.token("cut here", model)
            await write(event[: len(event) // 2])
            assert request.transport is not None
            if answer.reset:
                request.transport.abort()
            else:
                request.transport.close()
            return True
        if sent == answer.stall_after:
            await asyncio.Event().wait()  # until the reader goes away, which cancels the handler
        if sent == answer.garbage_after:
            await write(b"data: {this is not the protocol\n\n")
            return True
        if sent == answer.error_after:
            await write(dialect.stream_error(answer.error_type))
            return True
        return sent == answer.end_after


@asynccontextmanager
async def wire_server(provider: str, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[WireServer]:
    """A running server that speaks for "openai", "anthropic" or "ollama", on a free port unless one is given."""
    server = WireServer(DIALECTS[provider])
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.handle)
    # A handler whose reader went away is cancelled; one that runs when the test ends is not waited for.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        assert runner.addresses
        server.url = f"http://{host}:{runner.addresses[0][1]}{server.dialect.base_path}"
        yield server
    finally:
        await runner.cleanup()


def openai_server() -> AbstractAsyncContextManager[WireServer]:
    return wire_server("openai")


def anthropic_server() -> AbstractAsyncContextManager[WireServer]:
    return wire_server("anthropic")


def ollama_server() -> AbstractAsyncContextManager[WireServer]:
    return wire_server("ollama")
