"""A model server that numbers its tokens, so that a mixed, cut or doubled answer shows in its text.

It speaks OpenAI's stream. A message that begins with `mark=<id> tokens=<n> pace=<ms>` is answered with `n` tokens
`<id>:<ask>:<i>` (one space after each), `pace` milliseconds apart; `ask` counts how often that mark was asked, from 1,
and `i` from 0. So the answer of one ask is known to the byte, and a text with two asks in it is mixed. A mark has no
colon. With `tool=<name>` the model first wants that tool called with `{"item": "<id>"}`, and gives the tokens when it
is asked again with the result. Anything else is answered with `You said: ...`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from tests.wire_servers.dialects import DIALECTS
from tests.wire_servers.steps import Answer, ToolUse

_MARK = re.compile(r"\bmark=(\S+)")
_OPTION = re.compile(r"\b(tokens|pace|tool)=(\S+)")
_DIALECT = DIALECTS["openai"]


class Ask(msgspec.Struct, frozen=True):
    """One request of the model: when (loop clock), its mark, the how-manieth of that mark, and whether it had a tool's
    result."""

    at: float
    mark: str
    ask: int
    after_tool: bool


def question(mark: str, *, tokens: int = 10, pace_ms: float = 0, tool: str | None = None) -> str:
    """What a visitor says to be answered with numbered tokens."""
    return f"mark={mark} tokens={tokens} pace={pace_ms:g}" + (f" tool={tool}" if tool else "")


def answer(mark: str, ask: int, tokens: int) -> str:
    """The whole answer of one ask."""
    return "".join(f"{mark}:{ask}:{i} " for i in range(tokens))


class Model:
    """`url` is the base URL for a provider. `asks` are the requests for marks, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.asks: list[Ask] = []
        self._counts: Counter[str] = Counter()
        self._by_mark: dict[str, list[Ask]] = {}
        self._changed = asyncio.Event()

    def of(self, mark: str) -> list[Ask]:
        """The asks of one mark, in order."""
        return self._by_mark.get(mark, [])

    async def asked(self, mark: str, times: int = 1) -> Ask:
        """The ask of that number, once it has come."""
        while len(self.of(mark)) < times:
            await self._changed.wait()
        return self.of(mark)[times - 1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if (listing := _DIALECT.listing(request.path)) is not None:
            return web.json_response(listing)
        try:
            asked = msgspec.json.decode(await request.read(), type=_Request)
        except msgspec.DecodeError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)  # killed while it asked
        text = next((each.text for each in reversed(asked.messages) if each.role == "user"), "")
        found = _MARK.match(text)
        if found is None:
            return await self._stream(request, [f"You said: {text[:200]}"], 0.0)
        mark = found[1]
        options = dict(_OPTION.findall(text))
        after_tool = asked.messages[-1].role == "tool"
        ask = self._count(mark, after_tool=after_tool)
        if "tool" in options and not after_tool:
            return await self._stream(request, [], 0.0, ToolUse(options["tool"], {"item": mark}))
        tokens = [f"{mark}:{ask}:{i} " for i in range(int(options.get("tokens", 10)))]
        return await self._stream(request, tokens, float(options.get("pace", 0)) / 1000)

    def _count(self, mark: str, *, after_tool: bool) -> int:
        self._counts[mark] += 1
        ask = Ask(asyncio.get_running_loop().time(), mark, self._counts[mark], after_tool)
        self.asks.append(ask)
        self._by_mark.setdefault(mark, []).append(ask)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return ask.ask

    async def _stream(
        self, request: web.Request, tokens: list[str], pace_s: float, tool: ToolUse | None = None
    ) -> web.StreamResponse:
        clock = asyncio.get_running_loop().time
        reply = Answer(tools=(tool,) if tool else (), usage=(30, max(1, len(tokens)), 0))
        response = web.StreamResponse(headers={"Content-Type": _DIALECT.content_type})
        try:
            await response.prepare(request)
            await response.write(b"".join(_DIALECT.head(reply, _NAME)))
            due = clock()
            for token in tokens:
                if pace_s:
                    due += pace_s
                    await asyncio.sleep(max(0.0, due - clock()))
                # Numbered tokens need no escapes; whatever else is said goes through the encoder.
                await response.write(_BEFORE + msgspec.json.encode(token) + _AFTER)
            if tool is not None:
                await response.write(b"".join(_DIALECT.tool(0, tool, _NAME)))
            await response.write(b"".join(_DIALECT.tail(reply, _NAME, include_usage=True)))
            await response.write_eof()
        except ConnectionError:
            pass  # whoever asked is gone, most likely killed
        return response


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, object]] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else ""


class _Request(msgspec.Struct):
    messages: list[_Message]


_NAME = "chaos"
# What goes around a token, so that thousands a second cost little.
_BEFORE, _AFTER = _DIALECT.token("@@", _NAME).split(b'"@@"')


@asynccontextmanager
async def model_server() -> AsyncIterator[Model]:
    """A running one, on a free port."""
    model = Model()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", model.handle)
    # A handler whose reader went away is cancelled.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        model.url = f"http://127.0.0.1:{runner.addresses[0][1]}{_DIALECT.base_path}"
        yield model
    finally:
        await runner.cleanup()
