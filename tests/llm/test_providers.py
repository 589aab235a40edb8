"""One body of tests for the providers that reach a network: the official clients against local wire servers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from server.errors import ModelBusy, ModelError, ModelGarbage, ModelRefused, ModelTimeout, ModelUnreachable
from server.llm.anthropic import AnthropicProvider
from server.llm.ollama import OllamaProvider
from server.llm.openai import OpenAIProvider
from server.llm.provider import (
    ChatMessage,
    Finished,
    ModelEvent,
    ModelRequest,
    Provider,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    Usage,
)
from server.llm.transport import DEFAULT_TIMEOUTS, Timeouts
from tests.wire_servers import Answer, Failure, Raw, ToolUse, WireServer, wire_server

MENU = ToolSpec("get_menu", "The menu of a day", {"type": "object", "properties": {"day": {"type": "string"}}})
# Both kinds of retry header, in the units that let a test be quick.
SOON = {"retry-after-ms": "5", "retry-after": "0.005"}


def provider_at(url: str, name: str, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> Provider:
    match name:
        case "openai":
            return OpenAIProvider(api_key="sk-test", base_url=url, timeouts=timeouts)
        case "anthropic":
            return AnthropicProvider(api_key="sk-ant-test", base_url=url, timeouts=timeouts)
        case _:
            return OllamaProvider(host=url, timeouts=timeouts)


@pytest_asyncio.fixture(params=["openai", "anthropic", "ollama"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[WireServer]:
    async with wire_server(request.param) as running:
        yield running


@pytest_asyncio.fixture
async def provider(server: WireServer) -> AsyncIterator[Provider]:
    built = provider_at(server.url, server.dialect.name)
    yield built
    await built.close()


def ask(text: str = "Hi", **more: Any) -> ModelRequest:
    return ModelRequest("some-model", (ChatMessage("system", "Be kind."), ChatMessage("user", text)), 200, **more)


async def collect(provider: Provider, request: ModelRequest) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    async with provider.stream(request) as batches:
        async for batch in batches:
            events += batch
    return events


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_an_answer_streams(server: WireServer, provider: Provider) -> None:
    """Text, usage and finish come through the official client and our decoder."""
    server.script(Answer("Hé שלום 🙂, we open at **7am**.", usage=(30, 12, 0)))
    events = await collect(provider, ask())
    assert text_of(events) == "Hé שלום 🙂, we open at **7am**."
    assert events[-2:] == [Usage(30, 12, 0), Finished("stop")]


async def test_tokens_arrive_as_they_are_sent(server: WireServer, provider: Provider) -> None:
    """The first token is here while the server still holds the others back."""
    server.script(Answer("one two three", stall_after=1))
    async with provider.stream(ask()) as batches:
        async for batch in batches:
            if text := text_of(batch):
                assert text == "one"
                break
    await server.wait_for_abandoned()


async def test_text_that_may_wait_is_read_together(server: WireServer, provider: Provider) -> None:
    """A slow stream is read a few times a second, from the first piece on; every token comes, and the connection can
    be used again."""
    words = [f"word{number} " for number in range(60)]
    server.script(Answer(tokens=tuple(words), tokens_per_s=200), Answer("two"))
    batches: list[str] = []
    async with provider.stream(ask(gather_s=0.1)) as stream:
        async for batch in stream:
            batches += [text] if (text := text_of(batch)) else []
    assert "".join(batches) == "".join(words)
    # The first leaves alone, or with what came in the same read; 300 ms are three or four reads of up to 20.
    assert len(batches[0].split()) < 10
    assert len(batches) < 15
    assert text_of(await collect(provider, ask(gather_s=0.1))) == "two"
    assert server.connections == 1


async def test_a_fast_stream_is_not_held_up(server: WireServer, provider: Provider) -> None:
    """Its reads are large by themselves: nothing waits, though it may."""
    server.script(Answer("word " * 5_000, chunk_bytes=100_000))
    async with asyncio.timeout(20):
        assert text_of(await collect(provider, ask(gather_s=30.0))) == "word " * 5_000


async def test_leaving_a_stream_that_rests(server: WireServer, provider: Provider) -> None:
    """Whoever leaves while nothing is read leaves at once."""
    server.script(Answer("word " * 500, tokens_per_s=50))

    async def read() -> None:
        async with provider.stream(ask(gather_s=30.0)) as batches:
            async for _ in batches:
                begun.set()

    begun = asyncio.Event()
    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([reading])
        await server.wait_for_abandoned()
    assert reading.cancelled()


async def test_leaving_the_stream_closes_the_connection(server: WireServer, provider: Provider) -> None:
    """A stopped turn does not let the provider go on writing, and billing."""
    server.script(Answer("word " * 500, tokens_per_s=50))
    async with provider.stream(ask()) as batches:
        await anext(batches)
    await server.wait_for_abandoned()


@pytest.mark.parametrize("size", [1, 3, 100_000])
async def test_writes_of_any_size(server: WireServer, provider: Provider, size: int) -> None:
    """One byte a write or the whole answer in one: the same text."""
    server.script(Answer("Grüße aus dem Ofen 🥐 שלום", chunk_bytes=size, crlf=True, comments=True))
    assert text_of(await collect(provider, ask())) == "Grüße aus dem Ofen 🥐 שלום"


async def test_connections_are_reused(server: WireServer, provider: Provider) -> None:
    """Three answers in a row need one connection."""
    for _ in range(3):
        await collect(provider, ask())
    assert len(server.requests) == 3
    assert server.connections == 1


async def test_a_body_that_ends_late_is_waited_for_a_moment(server: WireServer, provider: Provider) -> None:
    """The end of the body comes in a packet of its own; the connection is used again all the same."""
    server.script(Answer("one", body_ends_after_s=0.05), Answer("two"))
    assert text_of(await collect(provider, ask())) == "one"
    assert text_of(await collect(provider, ask())) == "two"
    assert server.connections == 1


async def test_a_body_that_never_ends_holds_nobody_up(server: WireServer, provider: Provider) -> None:
    """The answer is whole, so it is over."""
    server.script(Answer("one", body_ends_after_s=3600))
    async with asyncio.timeout(10):
        assert (await collect(provider, ask()))[-1] == Finished("stop")
    await server.wait_for_abandoned()


async def test_many_streams_at_once(server: WireServer, provider: Provider) -> None:
    """One instance serves all turns; no answer gets into another one."""
    answers = await asyncio.gather(*(collect(provider, ask(f"question {n}")) for n in range(30)))
    assert [text_of(events) for events in answers] == [f"You said: question {n}" for n in range(30)]


async def test_a_tool_call_and_its_result(server: WireServer, provider: Provider) -> None:
    """A call streams in; call and result go back in the provider's own shape."""
    server.script(Answer(tools=(ToolUse("get_menu", {"day": "monday"}),)), Answer("Soup."))
    first = await collect(provider, ask(tools=(MENU,)))
    calls = [event for event in first if isinstance(event, ToolCallDelta)]
    assert calls[0].name == "get_menu"
    assert calls[0].call_id
    arguments = "".join(call.arguments for call in calls)
    assert arguments == '{"day":"monday"}'
    assert first[-1] == Finished("tool_calls")
    transcript = (
        ChatMessage("user", "What is on the menu?"),
        ChatMessage("assistant", "", (ToolCall(calls[0].call_id, "get_menu", arguments),)),
        ChatMessage("tool", '{"soup": 5}', call_id=calls[0].call_id),
    )
    request = ModelRequest("some-model", transcript, 200, tools=(MENU,))
    assert text_of(await collect(provider, request)) == "Soup."
    sent = server.requests[1].body
    match server.dialect.name:
        case "openai":
            assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": "get_menu", "arguments": arguments}
            assert sent["messages"][2]["tool_call_id"] == calls[0].call_id
            assert sent["tools"][0]["function"]["parameters"] == MENU.parameters
        case "anthropic":
            use = sent["messages"][1]["content"][0]
            assert (use["type"], use["input"]) == ("tool_use", {"day": "monday"})
            assert sent["messages"][2]["content"][0]["tool_use_id"] == use["id"] == calls[0].call_id
            assert sent["tools"][0]["input_schema"] == MENU.parameters
        case "ollama":
            function = sent["messages"][1]["tool_calls"][0]["function"]
            assert function == {"name": "get_menu", "arguments": {"day": "monday"}}
            assert sent["messages"][2]["tool_name"] == "get_menu"


async def test_the_request_says_what_was_asked_for(server: WireServer, provider: Provider) -> None:
    """Model, limits, system prompt and key stand where the provider looks for them."""
    await collect(provider, ask("Hello", temperature=0.5))
    request = server.requests[0]
    assert request.body["model"] == "some-model"
    assert request.body["stream"] is True
    assert request.headers["accept-encoding"] == "identity"
    match server.dialect.name:
        case "openai":
            assert request.headers["authorization"] == "Bearer sk-test"
            assert request.body["max_tokens"] == 200
            assert request.body["temperature"] == 0.5
            assert request.body["messages"][0] == {"role": "system", "content": "Be kind."}
        case "anthropic":
            assert "sk-ant-test" in request.headers["authorization"] + request.headers.get("x-api-key", "")
            assert (request.body["max_tokens"], request.body["system"]) == (200, "Be kind.")
            assert "temperature" not in request.body
        case "ollama":
            assert request.body["options"] == {"num_predict": 200, "num_ctx": 8192, "temperature": 0.5}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again(server: WireServer, provider: Provider, status: int) -> None:
    """429 and 5xx are retried, after the pause the server asks for."""
    server.script(Failure(status, headers=SOON), Failure(status, headers=SOON), Answer("There you are."))
    assert text_of(await collect(provider, ask())) == "There you are."
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ModelBusy), (500, ModelUnreachable), (503, ModelUnreachable), (529, ModelBusy)],
)
async def test_retries_end(server: WireServer, provider: Provider, status: int, error: type[ModelError]) -> None:
    """After the last try the error is the one that the status means."""
    server.script(*(Failure(status, headers=SOON) for _ in range(3)))
    with pytest.raises(error) as caught:
        await collect(provider, ask())
    assert caught.value.temporary
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_will_not_pass_is_not_tried_again(server: WireServer, provider: Provider, status: int) -> None:
    """A wrong key or model is a matter of configuration."""
    server.script(Failure(status, "No such thing"))
    with pytest.raises(ModelRefused, match=str(status)) as caught:
        await collect(provider, ask())
    assert not caught.value.temporary
    assert len(server.requests) == 1


async def test_a_pause_longer_than_the_deadline_is_not_waited_for(server: WireServer, provider: Provider) -> None:
    """The visitor hears at once that the model is busy."""
    server.script(Failure(429, headers={"retry-after": "100"}))
    async with asyncio.timeout(5):
        with pytest.raises(ModelBusy):
            await collect(provider, ask(deadline_s=20))
    assert len(server.requests) == 1


async def test_the_deadline_holds_before_the_first_byte(server: WireServer, provider: Provider) -> None:
    """A provider that takes its time does not get more than the turn has."""
    server.script(Answer("late", first_byte_after_s=60))
    with pytest.raises(ModelTimeout, match="deadline"):
        await collect(provider, ask(deadline_s=0.2))


async def test_the_deadline_holds_mid_answer(server: WireServer, provider: Provider) -> None:
    """One token a second, for ever, ends too; what came before it came."""
    server.script(Answer("word " * 1000, tokens_per_s=50))
    events: list[ModelEvent] = []
    with pytest.raises(ModelTimeout, match="deadline"):
        async with provider.stream(ask(deadline_s=0.4)) as batches:
            async for batch in batches:
                events += batch
    assert text_of(events).startswith("word")
    await server.wait_for_abandoned()


async def test_a_slow_first_byte_times_out(server: WireServer) -> None:
    """First byte: its own patience, then a timeout. The official clients try it again, ours for Ollama does not."""
    provider = provider_at(server.url, server.dialect.name, Timeouts(first_byte_s=0.2))
    server.script(*(Answer("late", first_byte_after_s=60) for _ in range(3)))
    with pytest.raises(ModelTimeout, match=r"0\.2 s"):
        await collect(provider, ask())
    await provider.close()


@pytest.mark.parametrize("comments", [False, True])
async def test_an_idle_stream_times_out(server: WireServer, comments: bool) -> None:
    """Silence mid-answer ends it, and is not retried: the visitor saw text. The first byte's patience is over."""
    provider = provider_at(server.url, server.dialect.name, Timeouts(first_byte_s=60, idle_s=0.3))
    server.script(Answer("one two three", stall_after=2, comments=comments))
    events: list[ModelEvent] = []
    async with asyncio.timeout(10):
        with pytest.raises(ModelTimeout, match=r"0\.3 s"):
            async with provider.stream(ask()) as batches:
                async for batch in batches:
                    events += batch
    await provider.close()
    assert text_of(events) == "one two"
    assert len(server.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_cut_mid_token(server: WireServer, provider: Provider, reset: bool) -> None:
    """Closed or reset in the middle of a line: an error after the whole tokens, no retry."""
    server.script(Answer("one two three", cut_after=2, reset=reset))
    events: list[ModelEvent] = []
    with pytest.raises((ModelGarbage, ModelUnreachable)):
        async with provider.stream(ask()) as batches:
            async for batch in batches:
                events += batch
    assert text_of(events) == "one two"
    assert len(server.requests) == 1


async def test_a_body_that_ends_too_early(server: WireServer, provider: Provider) -> None:
    """An orderly end of the body is not the model's finish."""
    server.script(Answer("one two three", end_after=2))
    with pytest.raises(ModelGarbage, match="without the model's finish"):
        await collect(provider, ask())


@pytest.mark.parametrize(
    "step",
    [
        Answer("one two", garbage_after=1),
        Raw(b"<html><body>Sign in to the Wi-Fi</body></html>\n"),
        Raw(b"", content_type="text/event-stream"),
        Raw(b'{"choices":\n[]}\n', content_type="application/json"),
    ],
    ids=["garbage mid-answer", "html", "nothing", "json"],
)
async def test_what_is_not_the_protocol(server: WireServer, provider: Provider, step: Answer | Raw) -> None:
    """A captive portal or a broken proxy ends in one kind of error."""
    server.script(step)
    with pytest.raises(ModelGarbage):
        await collect(provider, ask())


async def test_an_error_inside_the_stream(server: WireServer, provider: Provider) -> None:
    """The provider's own error object, after text, keeps the text."""
    server.script(Answer("one two", error_after=1))
    events: list[ModelEvent] = []
    with pytest.raises(ModelUnreachable):
        async with provider.stream(ask()) as batches:
            async for batch in batches:
                events += batch
    assert text_of(events) == "one"


async def test_a_huge_answer_ends_in_an_error(server: WireServer, provider: Provider) -> None:
    """10 MB are refused on the way, not collected."""
    server.script(Answer(tokens=("x" * 10_000,) * 1_000))
    with pytest.raises(ModelGarbage, match="longer than"):
        await collect(provider, ask())


async def test_nobody_there(server: WireServer) -> None:
    """A port that nobody listens on is unreachable, not slow."""
    async with wire_server(server.dialect.name) as gone:
        url = gone.url
    provider = provider_at(url, server.dialect.name)
    try:
        with pytest.raises(ModelUnreachable):
            await collect(provider, ask(deadline_s=10))
        assert await provider.check() is not None
    finally:
        await provider.close()


async def test_check_of_a_provider_that_is_there(provider: Provider) -> None:
    """Nothing to say about a provider that answers."""
    assert await provider.check() is None


async def test_cancelling_a_turn(server: WireServer, provider: Provider) -> None:
    """A cancelled task leaves no connection behind, and the provider goes on working."""
    server.script(Answer("one two three", stall_after=1))
    task = asyncio.create_task(collect(provider, ask()))
    await server.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.wait_for_abandoned()
    assert text_of(await collect(provider, ask("again"))) == "You said: again"


async def test_openai_leaves_out_what_a_server_refuses() -> None:
    """A server that does not know `stream_options` is asked again without them, and never with them again."""
    async with wire_server("openai") as server:
        provider = OpenAIProvider(api_key=None, base_url=server.url)
        server.script(Failure(422, "stream_options: Extra inputs are not permitted"))
        assert text_of(await collect(provider, ask())) == "You said: Hi"
        await collect(provider, ask())
        await provider.close()
        assert ["stream_options" in request.body for request in server.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("base_url", "field"),
    [
        (None, "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://bakery.openai.azure.com/openai/v1/", "max_completion_tokens"),
        ("https://api.groq.com/openai/v1", "max_tokens"),
        ("http://localhost:8000/v1", "max_tokens"),
        ("https://evil-openai.com.example/v1", "max_tokens"),
    ],
)
async def test_openai_names_the_limit_as_the_host_knows_it(base_url: str | None, field: str) -> None:
    """OpenAI and Azure know the newer name only, others the older one."""
    provider = OpenAIProvider(api_key="sk-test", base_url=base_url)
    body = provider.body(ask())
    await provider.close()
    assert body[field] == 200
    assert len({"max_tokens", "max_completion_tokens"} & set(body)) == 1


async def test_anthropic_wants_turns_in_alternation() -> None:
    """Neighbours of one role are one turn, the first turn is the user's, empty ones are left out."""
    async with wire_server("anthropic") as server:
        provider = AnthropicProvider(api_key="k", base_url=server.url)
        messages = (
            ChatMessage("system", "One."),
            ChatMessage("assistant", "Welcome!"),
            ChatMessage("user", "a"),
            ChatMessage("user", "b"),
            ChatMessage("assistant", " "),
            ChatMessage("system", "Two."),
        )
        await collect(provider, ModelRequest("claude-haiku-5-5", messages, 50))
        await provider.close()
    body = server.requests[0].body
    assert body["system"] == "One.\n\nTwo."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert [block["text"] for block in body["messages"][2]["content"]] == ["a", "b"]
    assert body["thinking"] == {"type": "disabled"}
