"""OpenAI's chat completions stream, and those that are like it. See `wire` for what all decoders promise."""

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


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: ErrorBody | str | None = None
    # vLLM's older error object: {"object": "error", "message": ...}
    object: str | None = None
    message: str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
# Stands for the last line, `data: [DONE]`.
_DONE: Final = _Chunk()

_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "filtered",
}


class OpenAIDecoder(LineDecoder):
    """`POST /chat/completions` with `stream: true`, as OpenAI and everything compatible with it sends it.

    Tolerated: usage missing, `[DONE]` missing, unknown fields, a tool call without id or index, a name repeated in
    every piece (all seen from local servers).
    """

    def __init__(self, make_call_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(make_call_id)
        self._tool_ids: dict[int, str | None] = {}

    def _decode(self, lines: list[bytes], events: list[ModelEvent]) -> None:
        parts: list[str] = []
        try:
            for line in lines:
                if not line or self.done:
                    continue
                # JSON may have space around it, so a CR at the end needs no cutting.
                payload = line[6:] if line[:7] == b"data: {" else sse_payload(line)
                if not payload:
                    continue
                try:
                    chunk = _decode(payload)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    if payload != b"[DONE]":
                        garbage(payload, error)
                    chunk = _DONE
                choices = chunk.choices
                if choices:
                    choice = choices[0]
                    delta = choice.delta
                    if delta is not None and (text := delta.content or delta.refusal):
                        parts.append(text)
                    if choice.finish_reason is None and chunk.usage is None and (delta is None or not delta.tool_calls):
                        continue
                if parts:
                    events.append(merged(parts))
                    parts = []
                self._other(chunk, payload, events)
        finally:
            if parts:
                events.append(merged(parts))

    def _other(self, chunk: _Chunk, payload: bytes, events: list[ModelEvent]) -> None:
        """Everything but text, which is every line but the tokens of an answer."""
        if chunk is _DONE:
            if self._finish is None:
                raise ModelGarbage("the stream says [DONE] without a finish_reason")
            events.append(self._finished(self._finish))
            return
        if chunk.choices:
            choice = chunk.choices[0]
            if choice.delta is not None and choice.delta.tool_calls:
                self._tool_calls(choice.delta.tool_calls, events)
            if choice.finish_reason:
                self._finish = self._reason(choice.finish_reason)
        elif chunk.choices is None:
            self._error(chunk, payload)
        usage = chunk.usage
        if usage is not None:
            details = usage.prompt_tokens_details
            cached = (details.cached_tokens if details is not None else None) or 0
            events.append(Usage(usage.prompt_tokens, usage.completion_tokens, cached))

    def _reason(self, reason: str) -> FinishReason:
        known = _REASONS.get(reason, "stop")
        # Some servers say "stop" after tool calls.
        return "tool_calls" if known == "stop" and self._tool_ids else known

    def _tool_calls(self, calls: list[_ToolCall], events: list[ModelEvent]) -> None:
        ids = self._tool_ids
        for call in calls:
            index = call.index
            if index is None:  # without index, an id never seen opens a call, anything else belongs to the last one
                index = len(ids) if not ids or (call.id and call.id not in ids.values()) else len(ids) - 1
            function = call.function
            name = function.name if function else None
            arguments = (function.arguments if function else None) or ""
            if index not in ids:
                if not name:
                    raise ModelGarbage(f"tool call {index} begins without a name")
                ids[index] = call.id or self._make_call_id()
                events.append(ToolCallDelta(index, ids[index], name, arguments))
            elif arguments:
                events.append(ToolCallDelta(index, None, None, arguments))

    @staticmethod
    def _error(chunk: _Chunk, payload: bytes) -> None:
        error = chunk.error
        if isinstance(error, str):
            raise provider_error(None, None, error)
        if error is not None:
            raise provider_error(error.type, error.code, error.message or "an error without a message")
        if chunk.object == "error":
            raise provider_error("error", None, chunk.message or "an error without a message")
        if chunk.usage is None:
            garbage(payload, "neither choices, usage nor error")
