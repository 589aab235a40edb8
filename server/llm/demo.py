"""The demo model: scripted, offline, and a real provider in all else.

It streams at a model's pace, counts tokens, keeps to `max_output_tokens`, calls tools that are clearly meant and
words their results, so that an installation without any key shows everything Frontdesk does. It says what it is:
its provider name and its model name are "demo", and it tells whoever asks.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from server.llm.demo_script import PHRASES, answer, language_of
from server.llm.demo_tools import choose_call, missing, pull_arguments, word_result
from server.llm.provider import (
    ChatMessage,
    Finished,
    ModelEvent,
    ModelRequest,
    ModelStream,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from server.llm.tokens import count_request, count_text

MODEL: Final = "demo"
# What a good hosted model streams; fast enough to be pleasant, slow enough to be seen.
TOKENS_PER_S: Final = 60.0
# About a token of English each: the beginning of a word with the space before it, long words in pieces.
_PIECE: Final = re.compile(r"\s*\S{1,6}|\s+")


class DemoProvider:
    """`tokens_per_s` of None streams without pauses, still one token a batch (for tests)."""

    name = "demo"

    def __init__(self, tokens_per_s: float | None = TOKENS_PER_S) -> None:
        if tokens_per_s is not None and tokens_per_s <= 0:
            raise ValueError("tokens_per_s must be above 0, or None for no pauses")
        self._interval = 0.0 if tokens_per_s is None else 1.0 / tokens_per_s

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        batches = self._paced(request)
        try:
            yield batches
        finally:
            await batches.aclose()

    async def _paced(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        events = reply(request)
        clock = asyncio.get_running_loop().time
        due = clock()
        for event in events:
            if isinstance(event, TextDelta | ToolCallDelta):
                # Against a clock, not pause by pause: a late wake-up is made up for by the next ones.
                due += self._interval
                await asyncio.sleep(max(0.0, due - clock()))
            yield [event]

    async def check(self) -> str | None:
        return None

    async def close(self) -> None:
        return None


def reply(request: ModelRequest) -> list[ModelEvent]:
    """The whole answer as events, one token each. Pure."""
    call = _tool_call(request)
    if call is not None:
        written = "".join(f"{piece.name or ''}{piece.arguments}" for piece in call)
        return [*call, _usage(request, count_text(MODEL, written)), Finished("tool_calls")]
    text = _words(request)
    pieces = _PIECE.findall(text)
    cut = len(pieces) > request.max_output_tokens
    pieces = pieces[: request.max_output_tokens]
    output = count_text(MODEL, "".join(pieces))
    return [
        *(TextDelta(piece) for piece in pieces),
        _usage(request, output),
        Finished("length" if cut else "stop"),
    ]


def _usage(request: ModelRequest, output: int) -> Usage:
    return Usage(count_request(MODEL, request.messages, request.tools), output)


def _last_question(messages: Sequence[ChatMessage]) -> str:
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def _words(request: ModelRequest) -> str:
    messages = request.messages
    question = _last_question(messages)
    language = language_of(question)
    results = _results(messages)
    if results:
        return "\n\n".join(word_result(message.text, language) for message in results)
    tool = choose_call(question, request.tools)
    if tool is not None:  # meant, but not all of what it requires was said
        fields = missing(pull_arguments(question, tool.parameters), tool.parameters)
        return PHRASES[language]["need"].format(fields=", ".join(f"**{field}**" for field in fields))
    return answer(messages)


def _results(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The tool messages at the end of the transcript, if it ends in some."""
    results: list[ChatMessage] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, message)
    return results


def _tool_call(request: ModelRequest) -> list[ToolCallDelta] | None:
    if not request.tools or not request.messages or request.messages[-1].role != "user":
        return None
    question = _last_question(request.messages)
    tool = choose_call(question, request.tools)
    if tool is None:
        return None
    arguments = pull_arguments(question, tool.parameters)
    if missing(arguments, tool.parameters):
        return None
    # The same transcript gives the same id, and a later call of the turn another one.
    seed = "\0".join(f"{m.role}:{m.text}" for m in request.messages)
    call_id = f"call_demo_{hashlib.sha256(seed.encode()).hexdigest()[:16]}"
    written = msgspec.json.encode(arguments).decode()
    pieces = [written[i : i + 12] for i in range(0, len(written), 12)]
    return [ToolCallDelta(0, call_id, tool.name, ""), *(ToolCallDelta(0, None, None, piece) for piece in pieces)]
