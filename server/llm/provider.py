"""What a model is to the rest of Frontdesk, and nothing of any one provider.

A provider turns a `ModelRequest` into batches of `ModelEvent`s. A batch is what one read from the network held,
so the caller wakes once a read, not once a token. Text events within a batch are merged.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from server.llm.tap import Tap

# Seconds by which a read may come before or after the moment it was meant for: timers are of whole milliseconds, and
# what showed the last text may have been late. Who shows what is read in the same rhythm allows for as much.
READ_SLACK_S = 0.005


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as offered to a model. `parameters` is JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """A whole tool call, as kept in a transcript. `arguments` is the JSON text the model wrote."""

    call_id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of the transcript a model reads.

    An assistant message may carry `tool_calls`; a tool message answers one of them by `call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None


class ModelRequest(msgspec.Struct, frozen=True):
    """One call of a model. Times are seconds."""

    model: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int
    temperature: float | None = None
    tools: tuple[ToolSpec, ...] = ()
    # "none": the tools stand there because the transcript has calls of them, and no more may be made.
    tool_choice: Literal["auto", "none"] = "auto"
    # The turn's remaining time: retries and the stream together end within it.
    deadline_s: float = 120.0
    # Who wants to see what goes over the wire; nobody does in a visitor's turn.
    tap: Tap | None = None
    # Text may come so much later than it could, if that makes it cheaper to read.
    gather_s: float = 0.0


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of a tool call. The first piece of an `index` carries `call_id` and `name`."""

    index: int
    call_id: str | None
    name: str | None
    arguments: str


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the provider reported them. `cached_input` is part of `input`. The last one wins."""

    input: int
    output: int
    cached_input: int = 0


class Finished(msgspec.Struct, frozen=True):
    """The model ended by itself. A stream that ends without one was cut and raises ModelGarbage."""

    reason: Literal["stop", "length", "tool_calls", "filtered"]


ModelEvent = TextDelta | ToolCallDelta | Usage | Finished
ModelStream = AsyncIterator[list[ModelEvent]]


class Provider(Protocol):
    """A model provider. Instances are shared by every turn of a process and safe to use concurrently."""

    name: str

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        """Opens one streamed answer. Leaving the context closes the connection to the provider.

        Raises a `ModelError` on entering (after retries) or while iterating (never retried: text was seen).
        """
        ...

    async def check(self) -> str | None:
        """None when a call would reach the provider, else one plain sentence on what is wrong."""
        ...

    async def close(self) -> None:
        """Closes pooled connections."""
        ...
