"""Ollama's chat stream. See `wire` for what all decoders promise."""

from collections.abc import Callable

import msgspec

from server.llm.provider import ModelEvent, ToolCallDelta, Usage
from server.llm.wire import FinishReason, LineDecoder, garbage, merged, new_call_id, provider_error


class _Function(msgspec.Struct, gc=False):
    name: str
    # An object; kept as the JSON text that it was.
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaDecoder(LineDecoder):
    """`POST /api/chat` with `stream: true`: one JSON object a line. A tool call comes whole, in one piece."""

    def __init__(self, make_call_id: Callable[[], str] = new_call_id) -> None:
        super().__init__(make_call_id)
        self._tools = 0

    def _decode(self, lines: list[bytes], events: list[ModelEvent]) -> None:
        parts: list[str] = []
        try:
            for line in lines:
                if not line or self.done or line == b"\r":
                    continue
                try:
                    data = _decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    garbage(line, error)
                message = data.message
                if message is not None and message.content:
                    parts.append(message.content)
                    if not data.done and not message.tool_calls:
                        continue
                if parts:
                    events.append(merged(parts))
                    parts = []
                self._other(data, line, events)
        finally:
            if parts:
                events.append(merged(parts))

    def _other(self, data: _Line, line: bytes, events: list[ModelEvent]) -> None:
        """Everything but text."""
        if data.message is not None:
            for call in data.message.tool_calls or ():
                arguments = bytes(call.function.arguments).decode()
                call_id = call.id or self._make_call_id()
                events.append(ToolCallDelta(self._tools, call_id, call.function.name, arguments))
                self._tools += 1
        elif data.error is not None:
            raise provider_error(None, None, data.error)
        elif not data.done:
            garbage(line, "neither message, error nor done")
        if data.done:
            if data.eval_count is not None:
                # Ollama leaves prompt_eval_count out when it had the whole prompt in its cache.
                events.append(Usage(data.prompt_eval_count or 0, data.eval_count))
            events.append(self._finished(self._reason(data.done_reason)))

    def _reason(self, reason: str | None) -> FinishReason:
        if reason == "length":
            return "length"
        return "tool_calls" if self._tools else "stop"
