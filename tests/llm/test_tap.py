"""What a tap shows of a model's call: what went over the wire, bounded, without credentials."""

import msgspec
import pytest

from server.errors import ModelError, ModelRefused
from server.llm import tap as taps
from server.llm.demo import DemoProvider
from server.llm.openai import OpenAIProvider
from server.llm.provider import ChatMessage, ModelRequest, Provider, TextDelta
from server.llm.tap import REQUEST_BYTES, RESPONSE_BYTES, Tap
from tests.llm.test_providers import MENU, SOON, ask, provider, server
from tests.wire_servers import Answer, Failure, Raw, WireServer

__all__ = ["provider", "server"]


async def said(provider: Provider, request: ModelRequest) -> str:
    """The whole text of an answer."""
    async with provider.stream(request) as stream:
        return "".join([event.text async for batch in stream for event in batch if isinstance(event, TextDelta)])


def _url(server: WireServer, path: str) -> str:
    return "/".join(server.url.split("/")[:3]) + path


async def test_the_bytes_of_a_call(server: WireServer, provider: Provider) -> None:
    """The body as the server got it, the stream as it sent it, when it began; no header and no key."""
    server.script(Answer("Hello there, how are you?"))
    tap = Tap()
    assert await said(provider, ask("Anything new?", tools=(MENU,), tap=tap)) == "Hello there, how are you?"
    [received] = server.requests
    assert msgspec.json.decode(tap.request()) == received.body
    assert tap.request_bytes == len(tap.request().encode())
    assert "Hello" in tap.response() and tap.response_bytes == len(tap.response().encode())
    [tried] = tap.tries
    assert (tried.method, tried.url, tried.status) == (received.method, _url(server, received.path), 200)
    assert tap.first_ms is not None and 0 <= tap.first_ms <= tap.ms
    for shown in (tap.request(), tap.response(), tried.url):
        assert "sk-" not in shown and "uthorization" not in shown


async def test_a_call_without_a_tap_is_the_same(server: WireServer, provider: Provider) -> None:
    """To the byte: nobody is asked anything else because somebody listens in."""
    for tap in (None, Tap()):
        await said(provider, ask("The same?", tap=tap))
    first, second = server.requests
    assert first.body == second.body


async def test_every_try(server: WireServer, provider: Provider) -> None:
    """Each is listed with its status; the last one's bytes are kept."""
    server.script(Failure(503, headers=SOON), Answer("Second time lucky"))
    tap = Tap()
    assert await said(provider, ask(tap=tap)) == "Second time lucky"
    assert [tried.status for tried in tap.tries] == [503, 200]
    assert "lucky" in tap.response() and "had an error" not in tap.response()


async def test_a_refusal(server: WireServer, provider: Provider) -> None:
    """Its body is kept, and the error is what it is without a tap."""
    server.script(Failure(400, "This model knows no such thing."))
    tap = Tap()
    with pytest.raises(ModelRefused, match="knows no such thing"):
        await said(provider, ask(tap=tap))
    assert "knows no such thing" in tap.response()
    assert tap.tries[-1].status == 400


async def test_nobody_there() -> None:
    """The try is listed without a status, and nothing came back."""
    provider, tap = OpenAIProvider(api_key="sk-test", base_url="http://127.0.0.1:9/v1"), Tap()
    try:
        with pytest.raises(ModelError):
            await said(provider, ask(deadline_s=0.2, tap=tap))
    finally:
        await provider.close()
    assert tap.tries and all(tried.status is None for tried in tap.tries)
    assert (tap.response(), tap.first_ms) == ("", None)


def test_a_key_that_a_server_repeats() -> None:
    """Is hidden, also at the cut; so is what stands in the address."""
    key = "sk-secret-0123456789"
    tap = Tap()
    tap.asked("POST", f"https://user:{key}@api.example:8443/v1/chat?api-key={key}#x", f'{{"a": "{key}"}}'.encode())
    tap.heard(b"x" * (RESPONSE_BYTES - 5) + f"{key} is wrong".encode())
    assert tap.tries[0].url == "https://api.example:8443/v1/chat"
    assert tap.request([key]) == '{"a": "[hidden]"}'
    assert "sk-" not in tap.response([key])


def test_what_is_too_much() -> None:
    """Is cut, and its whole size is known; nothing but text comes out."""
    tap = Tap()
    tap.asked("POST", "https://api.example/", b"q" * (REQUEST_BYTES + 7))
    for _ in range(3):
        tap.heard(b"\xff\x00" + b"r" * RESPONSE_BYTES)
    assert (len(tap.request()), tap.request_bytes) == (REQUEST_BYTES, REQUEST_BYTES + 7)
    assert (len(tap.response()), tap.response_bytes) == (RESPONSE_BYTES, 3 * (RESPONSE_BYTES + 2))
    assert tap.response().startswith("\ufffd\ufffdrrr")
    assert len(tap._response) <= RESPONSE_BYTES + taps._MARGIN


async def test_the_demo_model() -> None:
    """Shows what it was asked and said, though nothing goes over a wire."""
    tap = Tap()
    request = ModelRequest("demo", (ChatMessage("user", "Hello"),), 50, tap=tap)
    text = await said(DemoProvider(tokens_per_s=None), request)
    shown = msgspec.json.decode(tap.request())
    assert shown["messages"][0]["text"] == "Hello" and shown["tap"] is None
    lines = [msgspec.json.decode(line) for line in tap.response().splitlines()]
    assert "".join(line["TextDelta"]["text"] for line in lines if "TextDelta" in line) == text
    assert "Finished" in lines[-1]


async def test_an_answer_that_is_no_stream(server: WireServer, provider: Provider) -> None:
    """Is shown all the same: that is when somebody looks."""
    server.script(Raw(b"<h1>Gateway</h1>"))
    tap = Tap()
    with pytest.raises(ModelError):
        await said(provider, ask(tap=tap))
    assert "Gateway" in tap.response()
