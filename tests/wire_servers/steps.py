"""What a wire server may be told to do with a request."""

import re
from typing import Any, Literal

import msgspec

_TOKEN = re.compile(r"\s*\S{1,6}|\s+")


def split_tokens(text: str) -> list[str]:
    """Pieces about the size of a token; joined they are the text."""
    return _TOKEN.findall(text)


class ToolUse(msgspec.Struct, frozen=True):
    """A tool call. `arguments` as text is sent as it stands, so that it may be broken JSON (not by Ollama)."""

    name: str
    arguments: dict[str, Any] | str
    call_id: str = "call_W8q3nVZy5uXr2"

    @property
    def arguments_text(self) -> str:
        if isinstance(self.arguments, str):
            return self.arguments
        return msgspec.json.encode(self.arguments).decode()


class Answer(msgspec.Struct, frozen=True):
    """A streamed answer, and what may go wrong with it. Times in seconds; `*_after` counts tokens already sent."""

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    # The pieces instead of those that `split_tokens` makes of the text.
    tokens: tuple[str, ...] | None = None
    finish: Literal["stop", "length", "tool_calls", "filtered"] | None = None
    tokens_per_s: float | None = None
    first_byte_after_s: float = 0.0
    # (input, output, cached input); None leaves the usage out.
    usage: tuple[int, int, int] | None = (27, 9, 0)
    # Writes of this many bytes each, across lines and characters.
    chunk_bytes: int | None = None
    crlf: bool = False
    comments: bool = False
    # The connection breaks in the middle of a line.
    cut_after: int | None = None
    # Reset instead of an orderly close.
    reset: bool = False
    # The body ends, in good order, without the model's finish.
    end_after: int | None = None
    # Nothing more comes, and the connection stays open.
    stall_after: int | None = None
    garbage_after: int | None = None
    # The body ends so much later than its last event.
    body_ends_after_s: float = 0.0
    # An error object of the provider, inside the stream.
    error_after: int | None = None
    error_type: str = "server_error"

    def pieces(self) -> list[str]:
        return list(self.tokens) if self.tokens is not None else split_tokens(self.text)

    @property
    def reason(self) -> Literal["stop", "length", "tool_calls", "filtered"]:
        return self.finish or ("tool_calls" if self.tools else "stop")


class Failure(msgspec.Struct, frozen=True):
    """An HTTP error in the provider's own shape."""

    status: int
    message: str = "The server had an error while processing your request."
    headers: dict[str, str] = {}


class Raw(msgspec.Struct, frozen=True):
    """Any response at all."""

    body: bytes
    status: int = 200
    content_type: str = "text/html"
    headers: dict[str, str] = {}


Step = Answer | Failure | Raw


class Received(msgspec.Struct, frozen=True):
    """A request as it came. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> str:
        """The words of the last user message."""
        for message in reversed(self.body.get("messages", [])):
            if message.get("role") == "user":
                content = message.get("content")
                if isinstance(content, str):
                    return content
                return " ".join(block.get("text", "") for block in content or [])
        return ""
