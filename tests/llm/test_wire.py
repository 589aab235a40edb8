"""The decoders, against bytes in the providers' own shapes."""

import itertools
import json
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ModelBusy, ModelError, ModelGarbage, ModelRefused, ModelUnreachable
from server.llm.provider import Finished, ModelEvent, TextDelta, ToolCallDelta, Usage
from server.llm.wire import MAX_LINE_BYTES, MAX_STREAM_BYTES, LineDecoder
from server.llm.wire_anthropic import AnthropicDecoder
from server.llm.wire_ollama import OllamaDecoder
from server.llm.wire_openai import OpenAIDecoder
from tests.wire_servers import Answer, ToolUse
from tests.wire_servers.dialects import DIALECTS

DECODERS: dict[str, Callable[..., LineDecoder]] = {
    "openai": OpenAIDecoder,
    "anthropic": AnthropicDecoder,
    "ollama": OllamaDecoder,
}
PROVIDERS = tuple(DECODERS)
TEXT = 'Hé! שלום 🙂\n\n**bold** data: [DONE] "quoted" \\u0041 event: x'


def decoder_of(provider: str) -> LineDecoder:
    """A decoder whose made-up call ids are the same in each run."""
    numbers = itertools.count()
    return DECODERS[provider](lambda: f"call_{next(numbers)}")


def recorded(provider: str, answer: Answer, *, crlf: bool = False, comments: bool = False) -> bytes:
    """A whole stream as a provider sends it."""
    dialect = DIALECTS[provider]
    parts = list(dialect.head(answer, "m"))
    for piece in answer.pieces():
        parts += [dialect.comment(), dialect.token(piece, "m")] if comments else [dialect.token(piece, "m")]
    for index, call in enumerate(answer.tools):
        parts += dialect.tool(index, call, "m")
    parts += dialect.tail(answer, "m", include_usage=True)
    data = b"".join(parts)
    return data.replace(b"\n", b"\r\n") if crlf else data


def decode(provider: str, chunks: Iterable[bytes]) -> list[ModelEvent]:
    """All events, with neighbours merged that a chunk's border had cut apart."""
    decoder = decoder_of(provider)
    events: list[ModelEvent] = []
    for chunk in chunks:
        events += decoder.feed(chunk)
        if decoder.failure is not None:
            raise decoder.failure
    events += decoder.close()
    if decoder.failure is not None:
        raise decoder.failure
    return merge(events)


def merge(events: list[ModelEvent]) -> list[ModelEvent]:
    out: list[ModelEvent] = []
    for event in events:
        last = out[-1] if out else None
        match last, event:
            case TextDelta(), TextDelta():
                out[-1] = TextDelta(last.text + event.text)
            case ToolCallDelta(), ToolCallDelta() if last.index == event.index and event.name is None:
                out[-1] = ToolCallDelta(last.index, last.call_id, last.name, last.arguments + event.arguments)
            case _:
                out.append(event)
    return out


def cut(data: bytes, at: list[int]) -> list[bytes]:
    borders = [0, *sorted(set(at)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(borders) if b > a]


def sse(*events: object) -> bytes:
    return b"".join(
        b"data: " + (e.encode() if isinstance(e, str) else json.dumps(e).encode()) + b"\n\n" for e in events
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_is_text_then_usage_then_finished(provider: str) -> None:
    """Text, usage and the finish of a whole answer come out, in this order, with nothing lost."""
    events = decode(provider, [recorded(provider, Answer(TEXT, usage=(31, 12, 0)))])
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == TEXT
    assert events[-2:] == [Usage(31, 12, 0), Finished("stop")]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_cached_input_is_a_part_of_the_input(provider: str) -> None:
    """Both providers' ways to report cached input come to the same."""
    events = decode(provider, [recorded(provider, Answer("x", usage=(1200, 5, 1024)))])
    assert [event for event in events if isinstance(event, Usage)][-1] == Usage(1200, 5, 1024)


def test_anthropic_cache_writes_count_as_input() -> None:
    """What was written to the prompt cache was read by the model too."""
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 500, "cache_read_input_tokens": 90, "output_tokens": 1}
    decoder = AnthropicDecoder()
    assert decoder.feed(sse({"type": "message_start", "message": {"usage": usage}})) == [Usage(600, 1, 90)]


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(deadline=None)
@given(data=st.data())
def test_any_split_of_the_stream_gives_the_same_events(provider: str, data: st.DataObject) -> None:
    """Chunks may end anywhere: in a line, a CRLF, a UTF-8 character or a tool's arguments."""
    text = data.draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
    tools = (ToolUse("book", {"who": text, "n": 3}, "call_1"), ToolUse("look", {}, "call_2"))
    answer = Answer(
        tokens=tuple(text[i : i + 7] for i in range(0, len(text), 7)), tools=data.draw(st.sampled_from(((), tools)))
    )
    stream = recorded(provider, answer, crlf=data.draw(st.booleans()), comments=data.draw(st.booleans()))
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=40))
    events = decode(provider, cut(stream, at))
    assert events == decode(provider, [stream])
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_byte_by_byte(provider: str) -> None:
    """The extreme split: each byte a chunk of its own."""
    stream = recorded(provider, Answer(TEXT, tools=(ToolUse("book", {"n": 4}),)))
    assert decode(provider, [bytes([byte]) for byte in stream]) == decode(provider, [stream])


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(deadline=None)
@given(data=st.data())
def test_a_stream_cut_anywhere_ends_in_an_error(provider: str, data: st.DataObject) -> None:
    """However much of a stream came: without the model's finish it is no answer."""
    stream = recorded(provider, Answer("Hello there, how are you?"))
    mark = {"openai": b'"finish_reason":"stop"', "anthropic": b'"stop_reason":"end_turn"', "ollama": b'"done":true'}
    length = data.draw(st.integers(0, stream.index(mark[provider])))
    with pytest.raises(ModelGarbage):
        decode(provider, [stream[:length]])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_tool_calls(provider: str) -> None:
    """Two calls keep their index, name and whole arguments; ids come through where the wire has them."""
    tools = (ToolUse("book_table", {"people": 4, "note": "ליד החלון"}, "call_1"), ToolUse("get_menu", {}, "call_2"))
    events = decode(provider, [recorded(provider, Answer(tools=tools))])
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [(call.index, call.name) for call in calls] == [(0, "book_table"), (1, "get_menu")]
    assert [json.loads(call.arguments) for call in calls] == [tools[0].arguments, {}]
    assert [call.call_id for call in calls] == (["call_0", "call_1"] if provider == "ollama" else ["call_1", "call_2"])
    assert events[-1] == Finished("tool_calls")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_broken_arguments_pass_as_written(provider: str) -> None:
    """Whether arguments are JSON is for the one who runs the tool to say."""
    events = decode(provider, [recorded(provider, Answer(tools=(ToolUse("book", '{"people": 4,,'),)))])
    assert [e.arguments for e in events if isinstance(e, ToolCallDelta)] == ['{"people": 4,,']


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("finish", "expected"), [("length", "length"), ("stop", "stop")])
def test_finish_reasons(provider: str, finish: str, expected: str) -> None:
    """Each provider's reasons in our words."""
    answer = Answer("x", finish="length" if finish == "length" else "stop")
    event = decode(provider, [recorded(provider, answer)])[-1]
    assert isinstance(event, Finished)
    assert event.reason == expected


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_filtered_answer(provider: str) -> None:
    """A content filter and a refusal are the same to us."""
    assert decode(provider, [recorded(provider, Answer("x", finish="filtered"))])[-1] == Finished("filtered")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_may_be_missing(provider: str) -> None:
    """Many compatible servers report none; the answer is whole all the same."""
    events = decode(provider, [recorded(provider, Answer("Hello", usage=None))])
    assert events == [TextDelta("Hello"), Finished("stop")]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>\n",
        b"data: {broken\n\n",
        b'data: {"choices":[{"delta":{"content":7}}], "type":"content_block_delta","delta":{"text":7}}\n\n',
        b"data: [1,2]\n\n",
        b'data: {"hello":"world"}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xff"}}],"type":"x","delta":{"text":"\xff"}}\n\n',
        b"\x00\x01\x02\n",
        b"null\n",
        b"{\n",
    ],
)
def test_what_is_not_the_protocol_raises_garbage(provider: str, garbage: bytes) -> None:
    """No line is passed over in silence."""
    with pytest.raises(ModelGarbage):
        decoder_of(provider).feed(garbage)


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(deadline=None)
@given(noise=st.binary(max_size=300))
def test_random_bytes_never_raise_anything_else(provider: str, noise: bytes) -> None:
    """Whatever comes, it ends in events or in a ModelError."""
    decoder = decoder_of(provider)
    try:
        decoder.feed(noise)
        decoder.close()
    except ModelError:
        return
    assert decoder.failure is not None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_text_before_an_error_in_the_same_read_is_not_lost(provider: str) -> None:
    """The error comes after the events that stood before it."""
    decoder = decoder_of(provider)
    events = decoder.feed(DIALECTS[provider].token("Hello", "m") + b"{broken\n")
    assert events == [TextDelta("Hello")]
    assert isinstance(decoder.failure, ModelGarbage)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_line_without_end_is_refused(provider: str) -> None:
    """Memory stays bounded although no line break ever comes, in big chunks and in small ones."""
    with pytest.raises(ModelGarbage, match="line is longer"):
        decoder_of(provider).feed(b"data: " + b"x" * MAX_LINE_BYTES)
    decoder = decoder_of(provider)
    with pytest.raises(ModelGarbage, match="line is longer"):
        for _ in range(MAX_LINE_BYTES):
            decoder.feed(b"xx")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_endless_answer_is_refused(provider: str) -> None:
    """10 MB of perfect tokens end in an error."""
    decoder = decoder_of(provider)
    token = DIALECTS[provider].token("x" * 1000, "m") * 50
    with pytest.raises(ModelGarbage, match=f"longer than {MAX_STREAM_BYTES}"):
        for _ in range(10_000_000 // len(token) + 1):
            decoder.feed(token)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nul_is_replaced(provider: str) -> None:
    """PostgreSQL cannot hold it."""
    assert decoder_of(provider).feed(DIALECTS[provider].token("a\0b", "m")) == [TextDelta("a\ufffdb")]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_is_read_after_the_end(provider: str) -> None:
    """What a server appends to a finished answer is no part of it."""
    decoder = decoder_of(provider)
    decoder.feed(recorded(provider, Answer("x")) + b"garbage that nobody asked for\n")
    assert decoder.done
    assert decoder.failure is None
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}, ModelBusy),
        ({"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}, ModelRefused),
        ({"message": "broken", "type": "server_error", "code": None}, ModelUnreachable),
        ({"message": "vllm", "type": "BadRequestError", "code": 400}, ModelRefused),
        ("just words", ModelUnreachable),
    ],
)
def test_openai_errors_in_the_stream(error: object, expected: type[ModelError]) -> None:
    """An error object means what its type and code say."""
    with pytest.raises(expected):
        OpenAIDecoder().feed(sse({"error": error}))


def test_openai_old_vllm_error() -> None:
    """vLLM once sent the error's fields without a wrapper."""
    with pytest.raises(ModelUnreachable, match="out of memory"):
        OpenAIDecoder().feed(sse({"object": "error", "message": "out of memory"}))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("overloaded_error", ModelBusy), ("api_error", ModelUnreachable), ("invalid_request_error", ModelRefused)],
)
def test_anthropic_errors_in_the_stream(kind: str, expected: type[ModelError]) -> None:
    """The same for Anthropic's error event."""
    with pytest.raises(expected):
        AnthropicDecoder().feed(sse({"type": "error", "error": {"type": kind, "message": "m"}}))


def test_openai_without_done_marker() -> None:
    """Some servers just end the body after the finish."""
    stream = sse({"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]})
    assert decode("openai", [stream]) == [TextDelta("Hi"), Finished("stop")]


def test_openai_done_without_finish_is_garbage() -> None:
    """[DONE] alone says that the stream is over, not that the answer is whole."""
    with pytest.raises(ModelGarbage, match="finish_reason"):
        OpenAIDecoder().feed(sse("[DONE]"))


def test_openai_usage_in_the_finishing_chunk() -> None:
    """Groq and others put usage beside the finish instead of into a chunk of its own."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    stream = sse({"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}, "[DONE]")
    assert decode("openai", [stream]) == [TextDelta("Hi"), Usage(3, 1, 0), Finished("stop")]


def test_openai_tool_calls_of_careless_servers() -> None:
    """No index, no id, the name repeated, "stop" as the finish: still one call, whole."""
    stream = sse(
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "book", "arguments": '{"n":'}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "book", "arguments": "4}"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        "[DONE]",
    )
    assert decode("openai", [stream]) == [ToolCallDelta(0, "call_0", "book", '{"n":4}'), Finished("tool_calls")]


def test_openai_skips_what_it_does_not_know() -> None:
    """Azure's empty first chunk, reasoning text and unknown fields carry nothing."""
    stream = sse(
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"choices": [{"delta": {"reasoning_content": "hm"}, "content_filter_results": {}}], "x_groq": {"id": "r"}},
        {"choices": [{"delta": {"content": "Hi"}, "finish_reason": ""}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    )
    assert decode("openai", [stream + b"data:[DONE]\n\n"]) == [TextDelta("Hi"), Finished("stop")]


def test_anthropic_thinking_is_not_shown() -> None:
    """Blocks of thinking, and events of types to come, leave no trace."""
    stream = sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "secret"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "abc"}},
        {"type": "something_new", "payload": 1},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    )
    assert decode("anthropic", [stream]) == [TextDelta("Hi"), Finished("stop")]
