"""The things that are measured of a server."""

import asyncio
import json
import time
from collections.abc import Sequence
from statistics import median

import httptools
import msgspec

from bench import tool_step, upstream
from bench.speakers import Answered, Site, Visitor
from bench.tool_step import Step

# Seconds for a server to finish what follows an answer (its journal, its caches), which counts as its work.
_SETTLE_S = 0.3
# Seconds between two questions of one visitor: reading takes longer, but not shorter.
_PAUSE_S = 0.02
# Sockets that come in at the same moment when many are opened.
_AT_ONCE = 20


class Load(msgspec.Struct, frozen=True):
    """`streams` visitors at once, each with `answers` answers of `tokens` one after the other; rate 0 is unpaced."""

    streams: int
    answers: int
    tokens: int
    rate: int


async def cpu_per_token(site: Site, load: Load) -> float:
    """Microseconds of the server's CPU for each token it forwarded. Opening sockets is not part of it."""
    visitors = await _visit(site, load.streams)
    await asyncio.sleep(_SETTLE_S)
    before = site.process.cpu_s()
    await asyncio.gather(*(_ask(visitor, load.answers, load.tokens, load.rate) for visitor in visitors))
    await asyncio.sleep(_SETTLE_S)
    used = site.process.cpu_s() - before
    _close(visitors)
    return used / (load.streams * load.answers * load.tokens) * 1e6


async def first_tokens(site: Site, visitors: int, questions: int, tokens: int) -> list[float]:
    """Seconds from a question to the first piece of its answer, one question at a time."""
    waits: list[float] = []
    for visitor in await _visit(site, visitors):
        for _ in range(questions):
            await asyncio.sleep(_PAUSE_S)
            waits += await _ask(visitor, 1, tokens, 0)
        _close([visitor])
    return waits


async def tool_steps(site: Site, port: int, waits_ms: Sequence[int], *, visitors: int, questions: int) -> list[Step]:
    """Questions that make the model use a tool for each of the waits at once, one question at a time.

    The site's client has the tools; `port` is the upstream's. Raises RuntimeError when a step went wrong.
    """
    before = len(tool_step.steps(port))
    expected = "".join(upstream.answer(upstream.AFTER_TOOLS))
    for visitor in await _visit(site, visitors):
        for _ in range(questions):
            await asyncio.sleep(_PAUSE_S)
            await _hear(visitor, tool_step.question(waits_ms), expected)
        _close([visitor])
    steps = tool_step.steps(port)[before:]
    if len(steps) != visitors * questions:
        raise RuntimeError(f"{visitors * questions} answers took {len(steps)} steps of tools")
    for step in steps:
        step.check()
    return steps


async def idle_socket(site: Site, sockets: int) -> float:
    """Bytes of memory for each open socket that says nothing.

    Half as many come in before, to use up what the start of the server left free, which would hide growth.
    """
    warm = await _visit(site, sockets // 2)
    await asyncio.sleep(_SETTLE_S)
    before = site.process.rss()
    opened = await _visit(site, sockets)
    await asyncio.sleep(_SETTLE_S)
    grown = site.process.rss() - before
    _close([*warm, *opened])
    return grown / sockets


async def own_first_token(port: int, requests: int, tokens: int) -> float:
    """The upstream's own part: the median of seconds from a request to the first token, without a server between."""
    waits: list[float] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        body = json.dumps({"messages": [{"role": "user", "content": upstream.question(tokens, 0)}]})
        request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        response = _Response()
        parser = httptools.HttpResponseParser(response)
        began = time.perf_counter()
        writer.write(request.encode())
        while not response.complete:
            parser.feed_data(await reader.read(65536))
            if response.first_at is None and response.text:
                response.first_at = time.perf_counter()
        assert response.first_at is not None
        waits.append(response.first_at - began)
    writer.close()
    return median(waits)


class _Response:
    """httptools tells it what it reads."""

    complete = False
    text = False
    first_at: float | None = None

    def on_body(self, body: bytes) -> None:
        # The head's content is empty.
        self.text = self.text or b'"delta":{"content":"' in body

    def on_message_complete(self) -> None:
        self.complete = True


async def _visit(site: Site, count: int) -> list[Visitor]:
    visitors: list[Visitor] = []
    while len(visitors) < count:
        batch = min(_AT_ONCE, count - len(visitors))
        visitors += await asyncio.gather(*(site.visit() for _ in range(batch)))
    return visitors


async def _ask(visitor: Visitor, answers: int, tokens: int, rate: int) -> list[float]:
    """Seconds to each first token. Raises RuntimeError when an answer is not what the model said."""
    expected = "".join(upstream.answer(tokens))
    waits: list[float] = []
    for _ in range(answers):
        answered = await _hear(visitor, upstream.question(tokens, rate), expected)
        waits.append(answered.first_s)
    return waits


async def _hear(visitor: Visitor, question: str, expected: str) -> Answered:
    answered = await visitor.ask(question)
    if answered.text != expected:
        raise RuntimeError(f"an answer of {len(expected)} characters arrived with {len(answered.text)}")
    return answered


def _close(visitors: list[Visitor]) -> None:
    for visitor in visitors:
        visitor.close()
