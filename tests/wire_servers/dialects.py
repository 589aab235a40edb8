"""The three wire formats, in the shapes that the real services send (recorded, with ids made up)."""

import json
from collections.abc import Iterator
from typing import Any, Protocol

from tests.wire_servers.steps import Answer, ToolUse

_MODEL_TIME = 1_795_000_000


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


class Dialect(Protocol):
    """How one provider says things. Byte strings are whole events, line breaks included."""

    name: str
    base_path: str
    chat_path: str
    content_type: str

    def head(self, answer: Answer, model: str) -> Iterator[bytes]: ...
    def token(self, text: str, model: str) -> bytes: ...
    def tool(self, index: int, call: ToolUse, model: str) -> Iterator[bytes]: ...
    def tail(self, answer: Answer, model: str, *, include_usage: bool) -> Iterator[bytes]: ...
    def stream_error(self, kind: str) -> bytes: ...
    def comment(self) -> bytes: ...
    def failure(self, status: int, message: str) -> bytes: ...
    def listing(self, path: str) -> dict[str, Any] | None: ...


class OpenAI:
    name = "openai"
    base_path = "/v1"
    chat_path = "/v1/chat/completions"
    content_type = "text/event-stream; charset=utf-8"

    def _chunk(self, model: str, delta: dict[str, Any] | None, finish: str | None = None, **more: object) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        chunk = {
            "id": "chatcmpl-CkT4pQ0sVb8yRz2mXw7Nf1LhJd3Ga",
            "object": "chat.completion.chunk",
            "created": _MODEL_TIME,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": "fp_8b2f4c1d0e",
            "choices": choices,
            **more,
        }
        return b"data: " + _json(chunk) + b"\n\n"

    def head(self, answer: Answer, model: str) -> Iterator[bytes]:
        content = None if answer.tools and not answer.text else ""
        yield self._chunk(model, {"role": "assistant", "content": content, "refusal": None}, obfuscation="Zq1h")

    def token(self, text: str, model: str) -> bytes:
        return self._chunk(model, {"content": text}, obfuscation="k3J9")

    def tool(self, index: int, call: ToolUse, model: str) -> Iterator[bytes]:
        head = {
            "index": index,
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield self._chunk(model, {"tool_calls": [head]})
        text = call.arguments_text
        for at in range(0, len(text), 9):
            piece = {"index": index, "function": {"arguments": text[at : at + 9]}}
            yield self._chunk(model, {"tool_calls": [piece]})

    def tail(self, answer: Answer, model: str, *, include_usage: bool) -> Iterator[bytes]:
        reason = "content_filter" if answer.reason == "filtered" else answer.reason
        yield self._chunk(model, {}, reason, obfuscation="p0")
        if include_usage and answer.usage is not None:
            given, made, cached = answer.usage
            usage = {
                "prompt_tokens": given,
                "completion_tokens": made,
                "total_tokens": given + made,
                "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            }
            yield self._chunk(model, None, usage=usage)
        yield b"data: [DONE]\n\n"

    def stream_error(self, kind: str) -> bytes:
        error = {"message": "The server had an error", "type": kind, "param": None, "code": None}
        return b"data: " + _json({"error": error}) + b"\n\n"

    def comment(self) -> bytes:
        return b": keep-alive\n\n"

    def failure(self, status: int, message: str) -> bytes:
        kind = {401: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}.get(status, "server_error")
        code = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}.get(status)
        return _json({"error": {"message": message, "type": kind, "param": None, "code": code}})

    def listing(self, path: str) -> dict[str, Any] | None:
        if path != "/v1/models":
            return None
        model = {"id": "gpt-6-luna", "object": "model", "created": _MODEL_TIME, "owned_by": "system"}
        return {"object": "list", "data": [model]}


class Anthropic:
    name = "anthropic"
    base_path = ""
    chat_path = "/v1/messages"
    content_type = "text/event-stream; charset=utf-8"

    def _event(self, kind: str, **data: object) -> bytes:
        return b"event: " + kind.encode() + b"\ndata: " + _json({"type": kind, **data}) + b"\n\n"

    def head(self, answer: Answer, model: str) -> Iterator[bytes]:
        given, _, cached = answer.usage or (0, 0, 0)
        usage = {
            "input_tokens": given - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": 1,
            "service_tier": "standard",
        }
        message: dict[str, object] = {
            "id": "msg_01Hk9QvXw3rTzBd7LpYcNe5A",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            **({"usage": usage} if answer.usage else {}),
        }
        yield self._event("message_start", message=message)
        yield self._event("ping")
        if answer.pieces():
            yield self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def token(self, text: str, model: str) -> bytes:
        return self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def tool(self, index: int, call: ToolUse, model: str) -> Iterator[bytes]:
        block = index + 1
        start = {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}}
        yield self._event("content_block_start", index=block, content_block=start)
        yield self._event("content_block_delta", index=block, delta={"type": "input_json_delta", "partial_json": ""})
        text = call.arguments_text
        for at in range(0, len(text), 9):
            delta = {"type": "input_json_delta", "partial_json": text[at : at + 9]}
            yield self._event("content_block_delta", index=block, delta=delta)
        yield self._event("content_block_stop", index=block)

    def tail(self, answer: Answer, model: str, *, include_usage: bool) -> Iterator[bytes]:
        if answer.pieces():
            yield self._event("content_block_stop", index=0)
        reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "filtered": "refusal"}
        more: dict[str, object] = {} if answer.usage is None else {"usage": {"output_tokens": answer.usage[1]}}
        yield self._event("message_delta", delta={"stop_reason": reasons[answer.reason], "stop_sequence": None}, **more)
        yield self._event("message_stop")

    def stream_error(self, kind: str) -> bytes:
        return self._event("error", error={"type": kind, "message": "Overloaded"})

    def comment(self) -> bytes:
        return self._event("ping")

    def failure(self, status: int, message: str) -> bytes:
        kinds = {
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }
        error = {"type": kinds.get(status, "api_error"), "message": message}
        return _json({"type": "error", "error": error, "request_id": "req_011CVwQmZ4x"})

    def listing(self, path: str) -> dict[str, Any] | None:
        if path != "/v1/models":
            return None
        model = {
            "type": "model",
            "id": "claude-haiku-5-5",
            "display_name": "Claude Haiku 5.5",
            "created_at": "2026-10-07T00:00:00Z",
        }
        return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}


class Ollama:
    name = "ollama"
    base_path = ""
    chat_path = "/api/chat"
    content_type = "application/x-ndjson"

    def _line(self, model: str, message: dict[str, Any], *, done: bool = False, **more: object) -> bytes:
        created = "2026-11-22T09:30:21.482719Z"
        return _json({"model": model, "created_at": created, "message": message, "done": done, **more}) + b"\n"

    def head(self, answer: Answer, model: str) -> Iterator[bytes]:
        return iter(())

    def token(self, text: str, model: str) -> bytes:
        return self._line(model, {"role": "assistant", "content": text})

    def tool(self, index: int, call: ToolUse, model: str) -> Iterator[bytes]:
        if isinstance(call.arguments, str):
            raise TypeError("Ollama sends arguments as an object")
        function = {"function": {"index": index, "name": call.name, "arguments": call.arguments}}
        yield self._line(model, {"role": "assistant", "content": "", "tool_calls": [function]})

    def tail(self, answer: Answer, model: str, *, include_usage: bool) -> Iterator[bytes]:
        counts: dict[str, object] = {}
        if answer.usage is not None:
            counts = {
                "prompt_eval_count": answer.usage[0],
                "prompt_eval_duration": 107_345_292,
                "eval_count": answer.usage[1],
                "eval_duration": 1_237_043_000,
            }
        yield self._line(
            model,
            {"role": "assistant", "content": ""},
            done=True,
            done_reason="length" if answer.reason == "length" else "stop",
            total_duration=1_468_293_625,
            load_duration=62_441_709,
            **counts,
        )

    def stream_error(self, kind: str) -> bytes:
        return _json({"error": "an error was encountered while running the model: unexpected EOF"}) + b"\n"

    def comment(self) -> bytes:
        return b"\n"

    def failure(self, status: int, message: str) -> bytes:
        return _json({"error": message})

    def listing(self, path: str) -> dict[str, Any] | None:
        if path == "/api/version":
            return {"version": "0.13.5"}
        if path != "/api/tags":
            return None
        model = {
            "name": "llama3.2:latest",
            "model": "llama3.2:latest",
            "modified_at": "2026-11-02T17:31:07.901834Z",
            "size": 2_019_393_189,
            "digest": "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "3.2B",
                "quantization_level": "Q4_K_M",
            },
        }
        return {"models": [model]}


DIALECTS: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic(), "ollama": Ollama()}
