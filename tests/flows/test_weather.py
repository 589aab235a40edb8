"""A provider has a bad day: the visitor reads a kind sentence, the reason is kept, the next message works."""

import socket
from collections.abc import AsyncIterator
from contextlib import contextmanager

import msgspec
import psycopg
import pytest
import redis

from server.llm import transport
from server.llm.anthropic import AnthropicProvider
from server.llm.ollama import OllamaProvider
from server.llm.openai import OpenAIProvider
from server.llm.transport import Timeouts
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed
from tests.flows.fixtures import settings_for
from tests.flows.support import Desk, Shop, open_desk
from tests.services import _database
from tests.wire_servers import Answer, Failure, Raw, Step, WireServer, wire_server

# What no frame may carry: a provider's own words.
SECRET = "org-internal-7 quota of key sk-live-abcdef"
# Both kinds of retry header, in the units that let a test be quick.
SOON = {"retry-after-ms": "5", "retry-after": "0.005"}
SORRY = "Désolé, je ne peux pas répondre pour le moment. Réessayez dans un instant."
BUSY = "Il y a beaucoup de demandes. Réessayez dans un instant."
SLOW = "Désolé, cela a pris trop de temps. Veuillez réessayer."


class Weather(msgspec.Struct, frozen=True):
    """Every request gets `step`. `reason` is a part of what the turn's row says; the code may be one of two."""

    name: str
    step: Step
    codes: tuple[str, ...]
    says: str
    reason: str = ""

    def __str__(self) -> str:
        return self.name


WEATHERS = [
    Weather("slow first byte", Answer("Late", first_byte_after_s=30), ("model_timeout",), SLOW, "0.3 s"),
    Weather("idle", Answer("One two three four", stall_after=2), ("model_timeout",), SLOW, "0.3 s"),
    Weather("400", Failure(400, SECRET), ("model_refused",), SORRY, "HTTP 400"),
    Weather("401", Failure(401, SECRET), ("model_refused",), SORRY, "HTTP 401"),
    Weather("403", Failure(403, SECRET), ("model_refused",), SORRY, "HTTP 403"),
    Weather("404", Failure(404, SECRET), ("model_refused",), SORRY, "HTTP 404"),
    Weather("429", Failure(429, SECRET, SOON), ("model_busy",), BUSY, "HTTP 429"),
    Weather("500", Failure(500, SECRET, SOON), ("model_unreachable",), SORRY, "HTTP 500"),
    Weather("503", Failure(503, SECRET, SOON), ("model_unreachable",), SORRY, "HTTP 503"),
    Weather("529", Failure(529, SECRET, SOON), ("model_busy",), BUSY, "HTTP 529"),
    Weather("cut mid-token", Answer("One two three", cut_after=2), ("model_garbage", "model_unreachable"), SORRY),
    Weather("reset", Answer("One two three", cut_after=2, reset=True), ("model_garbage", "model_unreachable"), SORRY),
    Weather("ends too early", Answer("One two three", end_after=2), ("model_garbage",), SORRY, "finish"),
    Weather("garbage", Answer("One two three", garbage_after=1), ("model_garbage",), SORRY),
    Weather("an error mid-answer", Answer("One two three", error_after=2), ("model_unreachable", "model_busy"), SORRY),
    Weather("an empty answer", Answer(" \n"), ("model_garbage",), SORRY, "empty"),
    Weather("HTML", Raw(f"<html>{SECRET}</html>".encode()), ("model_garbage",), SORRY),
    Weather("HTML with an error", Raw(b"<html>Bad Gateway</html>", 502, headers=SOON), ("model_unreachable",), SORRY),
]


class Sky(msgspec.Struct, frozen=True):
    """An installation that asks one provider, and a shop."""

    desk: Desk
    model: WireServer
    shop: Shop


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patience of tenths of seconds, and one retry."""
    _be_quick(monkeypatch)


def _be_quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transport, "MAX_RETRIES", 1)
    timeouts = Timeouts(connect_s=0.5, first_byte_s=0.3, idle_s=0.3)
    for provider in (OpenAIProvider, AnthropicProvider, OllamaProvider):
        defaults = provider.__init__.__kwdefaults__
        assert defaults is not None
        patch.setitem(defaults, "timeouts", timeouts)


@pytest.fixture(scope="module", params=["openai", "anthropic", "ollama"])
async def shared_sky(
    request: pytest.FixtureRequest,
    postgres_url: str,
    admin: psycopg.Connection,
    template_database: str,
    worker_redis_url: str,
) -> AsyncIterator[Sky]:
    """One installation a provider: whatever the weather was, the next test finds it well."""
    with (
        contextmanager(_database)(postgres_url, admin, template_database) as database_url,
        pytest.MonkeyPatch.context() as patch,
    ):
        _be_quick(patch)
        async with (
            wire_server(request.param) as model,
            open_desk(settings_for(database_url, worker_redis_url, model)) as desk,
        ):
            yield Sky(desk, model, await desk.shop())


@pytest.fixture
def sky(shared_sky: Sky, redis_url: str) -> Sky:
    """The shared installation, with nothing counted against anybody."""
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
    return shared_sky


@pytest.mark.parametrize("weather", WEATHERS, ids=str)
async def test_the_visitor_is_told_kindly_and_goes_on(sky: Sky, weather: Weather) -> None:
    """`turn.failed` in his language, retryable, no word of the reason; then the same socket gets an answer."""
    fair = sky.model.default
    async with sky.desk.visit(sky.shop, locale="fr-CA") as (tab, welcome):
        sky.model.default = lambda _: weather.step
        try:
            await tab.say("Bonjour")
            failed = await tab.end()
        finally:
            sky.model.default = fair
        assert isinstance(failed, TurnFailed)
        assert failed.code in weather.codes
        assert (failed.message, failed.retryable) == (
            BUSY if failed.code == "model_busy" else weather.says,
            True,
        )
        await tab.say("Encore")
        answer = await tab.next(MessageCompleted)
        # To Anthropic, two messages of one side go as one.
        assert answer.message.text in {"You said: Encore", "You said: Bonjour Encore"}
    for payload in tab.payloads:
        for word in (b"HTTP", b"sk-live", b"org-internal", b"html", b"openai", b"anthropic", b"ollama"):
            assert word not in payload
    [(status, error), (again, no_error)] = await sky.desk.rows(
        """
        select t.status, t.error from turns t join conversations c on c.id = t.conversation_id
        where c.public_id = %s order by t.id
        """,
        welcome.conversation_id,
    )
    assert (status, again, no_error) == ("failed", "done", None)
    assert error.startswith(f"{failed.code}: ") and weather.reason in error
    # What the model is told next has the question that failed, and not half an answer to it.
    asked = [
        message["content"] for message in sky.model.requests[-1].body["messages"] if message["role"] == "assistant"
    ]
    assert asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_shower_is_not_noticed(sky: Sky, status: int) -> None:
    """One refusal that passes is tried again, and the visitor sees nothing but the answer."""
    sky.model.script(Failure(status, SECRET, SOON))
    before = len(sky.model.requests)
    async with sky.desk.visit(sky.shop) as (tab, _):
        await tab.say("Hello")
        answer = await tab.next(MessageCompleted)
    assert answer.message.text == "You said: Hello"
    assert tab.of(TurnFailed) == [] and len(sky.model.requests) == before + 2


async def test_a_message_that_waited_is_answered_after_a_failure(sky: Sky) -> None:
    """The turn that fails does not take the next one with it."""
    sky.model.script(Answer("One two three four five six", tokens_per_s=20, cut_after=5))
    async with sky.desk.visit(sky.shop) as (tab, _):
        await tab.say("first")
        await tab.next(MessageDelta)
        await tab.say("second")
        assert isinstance(await tab.end(), TurnFailed)
        answer = await tab.next(MessageCompleted)
    assert answer.message.text in {"You said: second", "You said: first second"}


async def test_a_failed_turn_does_not_show_after_a_reload(sky: Sky) -> None:
    """What had been streamed of it is gone, the question stays, and no live answer is told."""
    sky.model.script(Answer("One two three", cut_after=2))
    async with sky.desk.visit(sky.shop) as (tab, first):
        await tab.say("Hello")
        await tab.next(TurnFailed)
    async with sky.desk.visit(sky.shop, proof=first.session) as (tab, _):
        await tab.settle()
        assert list(tab.view.texts.values()) == ["Hello"] and tab.view.live == {}


async def test_words_that_were_paid_for_are_counted(sky: Sky) -> None:
    """A provider that breaks off mid-answer has been paid: tokens and cost are on the day's account."""
    await sky.desk.rows("delete from api_usage")
    sky.model.script(Answer("One two three four five", cut_after=4))
    async with sky.desk.visit(sky.shop) as (tab, _):
        await tab.say("Hello")
        await tab.next(TurnFailed)
    [(messages, given, made)] = await sky.desk.rows(
        "select message_count, tokens_input, tokens_output from api_usage where client_id = %s", sky.shop.id
    )
    # Anthropic says "1" at the start of a stream and the truth at its end, which did not come.
    assert messages == 1 and given > 10 and made >= (1 if sky.model.dialect.name == "anthropic" else 3)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
async def test_nobody_listens_where_the_model_should_be(
    quick: None, database_url: str, redis_url: str, provider: str
) -> None:
    """Provider down at the start and during a turn; up again, the same instance answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with wire_server(provider, port=port) as model:
        settings = settings_for(database_url, redis_url, model)
    async with open_desk(settings) as desk:
        shop = await desk.shop()
        async with desk.visit(shop, locale="fr") as (tab, _):
            await tab.say("Bonjour")
            failed = await tab.next(TurnFailed)
            assert (failed.code, failed.message, failed.retryable) == ("model_unreachable", SORRY, True)
            async with wire_server(provider, port=port):
                await tab.say("Encore")
                assert (await tab.next(MessageCompleted)).message.text.endswith("Encore")
        [(error,)] = await desk.rows("select error from turns where status = 'failed'")
        assert error.startswith("model_unreachable: no connection to the provider")
