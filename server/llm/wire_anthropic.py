"""Anthropic's messages stream. See `wire` for what all decoders promise."""

from collections.abc import Callable
from typing import Final

import msgspec

from server.errors import ModelGarbage
from server.llm.provider import ModelEvent, ToolCallDelta, Usage
from server.llm.wire import (
    ErrorBody,
    FinishReason,
    LineDecoder,
    garbage,
    merged,
    new_call_id,
    provider_error,
    sse_payload,
)


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _ContentBlock(msgspec.Struct, gc=False):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: _ContentBlock | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: ErrorBody | None = None


_decode = msgspec.json.Decoder(_Event).decode

_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "filtered",
}


class AnthropicDecoder(LineDecoder):
    """`POST /v1/messages` with `stream: true`. Blocks of thinking are skipped: visitors read answers only.

    `Usage.input` adds what was written to and read from the prompt cache, which Anthropic reports apart.
    """

    def __init__(self, make_call_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(make_call_id)
        self._tool_of_block: dict[int, int] = {}
        self._input = 0
        self._cached = 0

    def _decode(self, lines: list[bytes], events: list[ModelEvent]) -> None:
        parts: list[str] = []
        try:
            for line in lines:
                # `event: ...` repeats what the data says in `type`.
                if not line or line[:6] == b"event:" or self.done:
                    continue
                payload = line[6:] if line[:7] == b"data: {" else sse_payload(line)
                if not payload:
                    continue
                try:
                    event = _decode(payload)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    garbage(payload, error)
                delta = event.delta
                if delta is not None and delta.text:
                    parts.append(delta.text)
                    continue
                if parts:
                    events.append(merged(parts))
                    parts = []
                self._other(event, events)
        finally:
            if parts:
                events.append(merged(parts))

    def _other(self, event: _Event, events: list[ModelEvent]) -> None:
        """Everything but text; the types not named here (`ping`, thinking, those to come) carry nothing for us."""
        match event.type:
            case "content_block_start":
                self._block(event, events)
            case "content_block_delta":
                tool = self._tool_of_block.get(event.index)  # None in a block that we skip
                if tool is not None and event.delta is not None and event.delta.partial_json:
                    events.append(ToolCallDelta(tool, None, None, event.delta.partial_json))
            case "message_start":
                if event.message is not None:
                    self._usage(event.message.usage, events)
            case "message_delta":
                if event.delta is not None and event.delta.stop_reason:
                    self._finish = _REASONS.get(event.delta.stop_reason, "stop")
                self._usage(event.usage, events)
            case "message_stop":
                if self._finish is None:
                    raise ModelGarbage("message_stop without a stop_reason")
                events.append(self._finished(self._finish))
            case "error":
                error = event.error or ErrorBody()
                raise provider_error(error.type, error.code, error.message or "an error without a message")

    def _block(self, event: _Event, events: list[ModelEvent]) -> None:
        block = event.content_block
        if block is None:
            raise ModelGarbage("content_block_start without a block")
        if block.type == "tool_use":
            if not block.name:
                raise ModelGarbage("a tool call begins without a name")
            tool = self._tool_of_block[event.index] = len(self._tool_of_block)
            events.append(ToolCallDelta(tool, block.id or self._make_call_id(), block.name, ""))
        elif block.type == "text" and block.text:
            events.append(merged([block.text]))

    def _usage(self, usage: _Usage | None, events: list[ModelEvent]) -> None:
        """All counts are cumulative; a message_delta may leave the input out."""
        if usage is None:
            return
        if usage.input_tokens is not None:
            self._cached = usage.cache_read_input_tokens or 0
            self._input = usage.input_tokens + self._cached + (usage.cache_creation_input_tokens or 0)
        events.append(Usage(self._input, usage.output_tokens or 0, self._cached))
