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

from server.llm.demo_results import found_nothing, word_result
from server.llm.demo_script import PHRASES, Fact, answer, dress, facts_of, find, language_of
from server.llm.demo_tools import Meant, choose_calls, missing, pull_arguments
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
        if request.tap is not None:
            shown = msgspec.structs.replace(request, tap=None)
            request.tap.asked("ASK", "demo://demo/", msgspec.json.encode(shown))
            request.tap.answered(200)
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
            if request.tap is not None:
                request.tap.heard(msgspec.json.encode({type(event).__name__: event}) + b"\n")
            yield [event]

    async def check(self) -> str | None:
        return None

    async def close(self) -> None:
        return None


def reply(request: ModelRequest) -> list[ModelEvent]:
    """The whole answer as events, one token each. Pure."""
    calls = _tool_calls(request)
    if calls:
        written = "".join(f"{piece.name or ''}{piece.arguments}" for piece in calls)
        return [*calls, _usage(request, count_text(MODEL, written)), Finished("tool_calls")]
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
        return _told(results, question, _facts(messages))
    meant = _meant(request)
    if meant:  # but not all of what it requires was said
        fields = [field for each in meant for field in _unsaid(each)]
        return PHRASES[language]["need"].format(fields=", ".join(f"**{field}**" for field in dict.fromkeys(fields)))
    return answer(messages)


def _told(results: Sequence[ChatMessage], question: str, facts: Sequence[Fact]) -> str:
    """What the tools said; and what the business says itself, where the only one found nothing."""
    language = language_of(question)
    contact = " ".join(dress(fact.text) for fact in find("phone number", facts)[:1])
    told = [word_result(message.text, language, contact=contact) for message in results]
    known = find(question, facts) if len(results) == 1 and found_nothing(results[0].text) else []
    if known:
        told.append("\n".join((PHRASES[language]["many"], "", *(f"- {dress(fact.text)}" for fact in known))))
    return "\n\n".join(told)


def _facts(messages: Sequence[ChatMessage]) -> list[Fact]:
    return facts_of("\n".join(message.text for message in messages if message.role == "system"))


def _results(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The tool messages at the end of the transcript, if it ends in some."""
    results: list[ChatMessage] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, message)
    return results


def _meant(request: ModelRequest) -> list[Meant]:
    """The tools that the visitor's last words mean; an answer to our own question counts with what was asked before."""
    if not request.tools or request.tool_choice == "none":
        return []
    said = [message for message in request.messages if message.role != "system"]
    if not said or said[-1].role != "user":
        return []
    facts = _facts(request.messages)
    question = said[-1].text
    meant = choose_calls(question, request.tools, facts)
    if not meant and len(said) > 2 and _asked_for_more(said[-2]):
        meant = choose_calls(f"{said[-3].text} {question}", request.tools, facts)
        meant = [Meant(each.tool, f"{said[-3].text} {question}") for each in meant]
    return meant


def _asked_for_more(message: ChatMessage) -> bool:
    """Whether it is our own question for what a tool requires."""
    openings = (words["need"].partition("{")[0] for words in PHRASES.values())
    return message.role == "assistant" and message.text.startswith(tuple(openings))


def _unsaid(meant: Meant) -> list[str]:
    return missing(pull_arguments(meant.words, meant.tool.parameters), meant.tool.parameters)


def _tool_calls(request: ModelRequest) -> list[ToolCallDelta]:
    """The calls in pieces; none when a tool requires what was not said: then that is asked for."""
    meant = _meant(request)
    if any(_unsaid(each) for each in meant):
        return []
    # The same transcript gives the same ids, and a later call of the turn another one.
    seed = "\0".join(f"{m.role}:{m.text}" for m in request.messages)
    pieces: list[ToolCallDelta] = []
    for index, each in enumerate(meant):
        digest = hashlib.sha256(f"{index}\0{seed}".encode()).hexdigest()
        written = msgspec.json.encode(pull_arguments(each.words, each.tool.parameters)).decode()
        pieces.append(ToolCallDelta(index, f"call_demo_{digest[:16]}", each.tool.name, ""))
        pieces += (ToolCallDelta(index, None, None, written[i : i + 12]) for i in range(0, len(written), 12))
    return pieces
