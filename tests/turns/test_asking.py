"""A client's fallback: asked when its model fails before the first word, and paid for as what it is."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed
from server.repositories import prices
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.services import Services, open_services
from server.settings import Settings
from server.turns import asking
from server.turns.turn import Spent, Turn
from tests.support import MODEL, ask, listening, new_shop, rows, send, visit
from tests.tools.webhook_server import WebhookServer
from tests.turns.toolkit import add_tool
from tests.wire_servers import Answer, Failure, Raw, Step, ToolUse, WireServer, anthropic_server

OTHER = "claude-haiku-5-5"
CHOICE: dict[str, Any] = {"temperature": 0.5, "fallback": {"provider": "anthropic"}}
GONE = Failure(404, "no such model")


@pytest.fixture
async def other() -> AsyncIterator[WireServer]:
    """A server that speaks Anthropic's stream. Unscripted it answers `You said: ...`."""
    async with anthropic_server() as server:
        yield server


@pytest.fixture
async def both(settings: Settings, other: WireServer) -> AsyncIterator[Services]:
    """An instance that has both providers; OpenAI's is the deployment's own choice."""
    llm = msgspec.structs.replace(settings.llm, anthropic_api_key="sk-ant", anthropic_base_url=other.url)
    async with open_services(msgspec.structs.replace(settings, llm=llm)) as services:
        async with reading(services.pool) as conn:
            listed = [("openai", MODEL, "1"), ("anthropic", OTHER, "100")]
            await prices.upsert_all(
                conn,
                prices=[
                    PriceRow(provider, model, Decimal(price), None, Decimal(price), date(2024, 1, 1))
                    for provider, model, price in listed
                ],
            )
        yield services


@pytest.mark.parametrize(
    "failure",
    [
        GONE,
        Failure(401, "Incorrect API key provided"),
        Raw(b"<html>hello</html>"),
        Answer("Hi", error_after=0),
        Answer("Hi", cut_after=0),
    ],
)
async def test_the_fallback_answers(both: Services, model: WireServer, other: WireServer, failure: Step) -> None:
    """In the same turn, without a word of the failure; the answer says who it was and costs what that one costs."""
    shop = await new_shop(both, model_config=CHOICE)
    model.script(failure)
    other.script(Answer("With olives.", usage=(1_000, 10, 0)))
    session = await visit(both, shop)
    async with listening(both, session) as listener:
        await send(both, session, "A pizza?")
        end = await listener.end()
    assert isinstance(end, MessageCompleted), end
    assert (end.message.text, end.message.model) == ("With olives.", OTHER)
    assert "".join(frame.text for frame in listener.of(MessageDelta) if isinstance(frame, MessageDelta)) == (
        "With olives."
    )
    assert model.requests[0].body["temperature"] == 0.5
    assert "temperature" not in other.requests[0].body
    [(used, cost)] = await rows(both, "select model, cost from messages where role = 'assistant'")
    assert (used, cost) == (OTHER, Decimal("0.101"))


async def test_a_model_that_is_slow_to_begin(
    both: Services, model: WireServer, other: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for as long as one without a fallback."""
    monkeypatch.setattr(asking, "PATIENCE_S", 0.1)
    shop = await new_shop(both, model_config=CHOICE)
    model.script(Answer("Late", first_byte_after_s=30))
    end = await ask(both, await visit(both, shop), "Hello")
    assert isinstance(end, MessageCompleted) and end.message.model == OTHER
    assert len(other.requests) == 1


async def test_words_that_were_shown_stay(both: Services, model: WireServer, other: WireServer) -> None:
    """A model that fails in the middle of its answer is not replaced by another one's answer."""
    shop = await new_shop(both, model_config=CHOICE)
    model.script(Answer("One two three", cut_after=2))
    end = await ask(both, await visit(both, shop), "Count")
    assert isinstance(end, TurnFailed) and other.requests == []


async def test_both_fail(both: Services, model: WireServer, other: WireServer) -> None:
    """The turn fails once, by what the last one said; each was asked once."""
    shop = await new_shop(both, model_config=CHOICE)
    model.script(GONE)
    other.script(Failure(404, "none here"))
    end = await ask(both, await visit(both, shop), "Hello")
    assert isinstance(end, TurnFailed)
    assert (len(model.requests), len(other.requests)) == (1, 1)
    [(error,)] = await rows(both, "select error from turns")
    assert "model_refused" in error


async def test_without_a_fallback(both: Services, model: WireServer, other: WireServer) -> None:
    """Nobody else is asked: it is the client's to choose."""
    shop = await new_shop(both)
    model.script(GONE)
    end = await ask(both, await visit(both, shop), "Hello")
    assert isinstance(end, TurnFailed) and other.requests == []


USE = ToolUse("look_up", {"item": "x"})


async def test_in_the_middle_of_a_turn(
    both: Services, model: WireServer, other: WireServer, webhook: WebhookServer
) -> None:
    """After a tool ran: the fallback reads what it gave, and each call is paid by its own price."""
    shop = await new_shop(both, model_config=CHOICE)
    await add_tool(both, shop, webhook.url, "look_up")
    model.script(Answer("", tools=(USE,), usage=(100, 10, 0)), GONE)
    other.script(Answer("It is there.", usage=(1_000, 10, 0)))
    end = await ask(both, await visit(both, shop), "Is x there?")
    assert isinstance(end, MessageCompleted) and end.message.model == OTHER
    assert len(webhook.requests) == 1
    assert '{\\"ok\\":true}' in msgspec.json.encode(other.requests[0].body).decode()
    assert await rows(both, "select cost from messages where role = 'assistant'") == [(Decimal("0.10111"),)]


async def test_the_fallback_uses_tools(
    both: Services, model: WireServer, other: WireServer, webhook: WebhookServer
) -> None:
    """It stays for the rest of the turn, and its steps say whose they are, for whoever takes the turn over."""
    shop = await new_shop(both, model_config=CHOICE)
    await add_tool(both, shop, webhook.url, "look_up")
    model.script(GONE)
    other.script(Answer("", tools=(USE,), usage=(100, 10, 0)), Answer("It is there.", usage=(1_000, 10, 0)))
    end = await ask(both, await visit(both, shop), "Is x there?")
    assert isinstance(end, MessageCompleted) and end.message.model == OTHER
    assert (len(model.requests), len(other.requests), len(webhook.requests)) == (1, 2, 1)
    assert await rows(both, "select result->'by' from turn_steps where kind = 'llm'") == [(["anthropic", OTHER],)]
    assert await rows(both, "select cost from messages where role = 'assistant'") == [(Decimal("0.112"),)]


def test_a_replayed_step_is_paid_as_what_it_was() -> None:
    """What an earlier life of the turn was told by the fallback keeps that price."""
    turn = Turn()
    turn.replayed("", Spent(7, "", None, by=("anthropic", OTHER)))
    turn.asked(9)
    turn.given_up(by=("openai", MODEL))
    assert turn.spent == [
        Spent(7, "", None, by=("anthropic", OTHER)),
        Spent(0, "", None, whole=False, by=("openai", MODEL)),
    ]
    assert turn.phase == "waiting"
