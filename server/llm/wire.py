"""The providers' streams, sans I/O: bytes in, batches of `ModelEvent` out.

    decoder = OpenAIDecoder()
    while not decoder.done:
        chunk = await read()
        events = decoder.feed(chunk) if chunk else decoder.close()
        ...
        if decoder.failure:
            raise decoder.failure

This is the hot path: it runs for every token of every answer. One split over a chunk, one typed msgspec decode
a line that names only the fields we use (unknown ones are skipped in C), text of one chunk merged into one event.

What every decoder promises:
- chunks may be cut anywhere, inside a line, a CRLF or a UTF-8 character;
- `Finished` is the last event of a stream and comes exactly once; `Usage`, where reported, comes before it;
- a stream that ends without the model's finish raises `ModelGarbage` from `close()`;
- a line that is not the protocol, a line over `MAX_LINE_BYTES` and a stream over `MAX_STREAM_BYTES` raise
  `ModelGarbage`;
- an error the provider reports inside the stream raises the `ModelError` it means.

Left out of server-sent events, because no provider uses it: one JSON document spread over several `data:` lines,
and lines that end in a lone carriage return.
"""

import secrets
from collections.abc import Callable
from typing import Final, Literal, NoReturn

import msgspec

from server.errors import ModelBusy, ModelError, ModelGarbage, ModelRefused, ModelUnreachable
from server.llm.provider import Finished, ModelEvent, TextDelta

# An OpenAI chunk is 200 to 350 bytes a token, on Azure (content filter results) up to 1,000: 8 MB holds any answer
# that a chat could show, and is the most that one answer can take from this process.
MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
# A line holds one token, or in Ollama's stream all arguments of a tool call.
MAX_LINE_BYTES: Final = 256 * 1024

FinishReason = Literal["stop", "length", "tool_calls", "filtered"]


def new_call_id() -> str:
    """An id for a tool call whose server gave none (Ollama, some local servers)."""
    return f"call_{secrets.token_hex(8)}"


def provider_error(kind: str | None, code: str | int | None, message: str) -> ModelError:
    """What an error object of any provider means to us. `message` is cut to a line for the log."""
    words = f"{kind or ''} {code or ''}".lower()
    named = words.strip()
    text = " ".join((f"{named}: {message}" if named else message).split())[:300]
    if "rate_limit" in words or "overloaded" in words or "429" in words or "529" in words:
        return ModelBusy(text)
    if any(
        word in words
        for word in (
            "invalid_request",
            "badrequest",
            "authentication",
            "permission",
            "not_found",
            "billing",
            "insufficient_quota",
            "context_length",
            "400",
            "401",
            "403",
            "404",
        )
    ):
        return ModelRefused(text)
    return ModelUnreachable(text)


class LineDecoder:
    """Cuts chunks into lines, holds the half line at the end, and keeps the promises that all streams share."""

    def __init__(self, make_call_id: Callable[[], str] = new_call_id) -> None:
        self.done = False
        # What went wrong after the events that were just returned; whoever reads them raises it next.
        self.failure: ModelError | None = None
        self._rest = bytearray()
        self._received = 0
        self._finish: FinishReason | None = None
        self._make_call_id = make_call_id

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The events of the lines that this chunk completes; empty when there are none."""
        self._received += len(chunk)
        if self._received > MAX_STREAM_BYTES:
            raise ModelGarbage(f"the answer is longer than {MAX_STREAM_BYTES} bytes")
        rest = self._rest
        if rest:
            rest += chunk
            if b"\n" not in chunk:
                self._check_line(rest)
                return []
            chunk = bytes(rest)
            rest.clear()
        lines = chunk.split(b"\n")
        last = lines.pop()
        if last:
            rest += last
            self._check_line(rest)
        return self._events(lines)

    def close(self) -> list[ModelEvent]:
        """The connection ended. The last line may lack its line break. Raises ModelGarbage when the answer was cut."""
        events: list[ModelEvent] = []
        if self._rest and not self.done:
            line = bytes(self._rest)
            self._rest.clear()
            events = self._events([line])
        if not self.done and self.failure is None:
            if self._finish is not None:
                events.append(self._finished(self._finish))
            else:
                self.failure = ModelGarbage(f"the stream ended after {self._received} bytes without the model's finish")
                if not events:
                    raise self.failure
        return events

    def _events(self, lines: list[bytes]) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        try:
            self._decode(lines, events)
        except ModelError as error:
            if not events:
                raise
            self.failure = error  # what came before it in the same read is not lost
        return events

    def _decode(self, lines: list[bytes], events: list[ModelEvent]) -> None:
        """Appends the events of whole lines, without their line breaks."""
        raise NotImplementedError

    def _finished(self, reason: FinishReason) -> Finished:
        self.done = True
        return Finished(reason)

    @staticmethod
    def _check_line(line: bytearray) -> None:
        if len(line) > MAX_LINE_BYTES:
            raise ModelGarbage(f"a line is longer than {MAX_LINE_BYTES} bytes")


def garbage(line: bytes, reason: Exception | str) -> NoReturn:
    # The line may hold a visitor's words, so the log gets its length and not its text.
    cause = reason if isinstance(reason, Exception) else None
    raise ModelGarbage(f"a line of {len(line)} bytes is not the protocol: {reason}") from cause


def merged(parts: list[str]) -> TextDelta:
    text = "".join(parts)
    # PostgreSQL's text holds no NUL; a model that writes one must not break the turn.
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return TextDelta(text)


def sse_payload(line: bytes) -> bytes | None:
    """The payload of a `data:` line, None for what carries nothing. Called for lines off the fast path only."""
    line = line.rstrip(b"\r")
    if line.startswith(b"data:"):
        return line[5:].strip()
    if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
        return None
    garbage(line, "neither a field of server-sent events nor a comment")


class ErrorBody(msgspec.Struct, gc=False):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
