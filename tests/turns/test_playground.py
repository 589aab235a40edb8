"""Chats of the console: the same engine with a draft, raw calls that are kept, use that no plan counts."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from server.access import Session
from server.errors import Invalid, NotFound, RateLimited
from server.fanout import channels
from server.llm.pricing import seed_prices
from server.protocol.client_config import ModelChoice, ModelConfig
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed
from server.repositories import client_tools, console_usage, model_traffic, prices, tools, turns, usage
from server.repositories.model_traffic import Exchange
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.services import Services
from server.turns.intake import limits_of
from server.turns.playground import DraftSettings, settings_of
from tests.support import Shop, ask, eventually, listening, new_shop, rows, send, visit
from tests.tools.webhook_server import WebhookServer
from tests.turns.toolkit import executions
from tests.wire_servers import Answer, Failure, ToolUse, WireServer

TODAY = date(2000, 1, 1)


async def begin(services: Services, shop: Shop, **settings: Any) -> Session:
    """A chat of the playground with this draft."""
    return await services.playground.begin(
        operator_id=None, client_id=shop.id, settings=DraftSettings(**settings), locale=None
    )


async def redraft(services: Services, session: Session, **settings: Any) -> None:
    """Another draft."""
    found = await services.playground.find(session.conversation.session_id)
    assert found is not None
    await services.playground.redraft(operator_id=None, found=found, settings=DraftSettings(**settings))


async def kept(services: Services, session: Session, turn_id: str | None) -> list[Exchange]:
    """The raw calls of a turn."""
    async with reading(services.pool) as conn:
        turn = await turns.find(conn, client_id=session.client.id, public_id=turn_id or "")
        assert turn is not None
        return await model_traffic.of_turn(conn, client_id=session.client.id, turn_id=turn.id)


def system(model: WireServer, at: int = -1) -> str:
    """The system prompt of a request."""
    return str(model.requests[at].body["messages"][0]["content"])


def offered(model: WireServer, at: int = -1) -> list[str]:
    """The tools of a request."""
    return [each["function"]["name"] for each in model.requests[at].body.get("tools", [])]


async def test_the_draft_is_used(services: Services, toolshop: Shop, model: WireServer) -> None:
    """Its prompt, its model and its tools, by the playground's turns alone; also a tool that is off for visitors."""
    async with reading(services.pool) as conn:
        [pay] = [each for each in await tools.list_all(conn) if each.tool_name == "pay"]
        await client_tools.disable(conn, client_id=toolshop.id, tool_id=pay.id)
    session = await begin(
        services,
        toolshop,
        system_prompt="You sell boats.",
        model=ModelConfig(model="gpt-4o", temperature=0.5),
        tools=["pay", "look_up"],
    )
    assert isinstance(await ask(services, session, "Hi"), MessageCompleted)
    request = model.requests[-1].body
    assert system(model).startswith("You sell boats.") and offered(model) == ["look_up", "pay"]
    assert (request["model"], request["temperature"]) == ("gpt-4o", 0.5)
    assert isinstance(await ask(services, await visit(services, toolshop), "Hi"), MessageCompleted)
    assert "boats" not in system(model) and offered(model) == ["look_up", "reserve"]
    assert model.requests[-1].body["model"] != "gpt-4o"


async def test_what_the_draft_leaves_out_is_as_saved(services: Services, toolshop: Shop, model: WireServer) -> None:
    """An empty draft asks as a visitor's turn does, to the byte; no tools at all are a choice too."""
    await ask(services, await visit(services, toolshop), "Hi")
    session = await begin(services, toolshop)
    await ask(services, session, "Hi")
    assert model.requests[0].body == model.requests[1].body
    await redraft(services, session, tools=[])
    await ask(services, session, "And now?")
    assert offered(model) == []


async def test_another_draft(services: Services, shop: Shop, model: WireServer) -> None:
    """Is used from the next turn on, in the same chat, which goes on."""
    session = await begin(services, shop, system_prompt="One.")
    await ask(services, session, "First")
    await redraft(services, session, system_prompt="Two.")
    await ask(services, session, "Second")
    assert [system(model, at).split("\n")[0] for at in (0, 1)] == ["One.", "Two."]
    assert [each["content"] for each in model.requests[1].body["messages"][1:]] == [
        "First",
        "You said: First",
        "Second",
    ]
    found = await services.playground.find(session.conversation.session_id)
    assert found is not None and settings_of(found) == DraftSettings(system_prompt="Two.")


@pytest.mark.parametrize(
    ("draft", "field", "words"),
    [
        (DraftSettings(tools=["look_up", "no such"]), "draft.tools[1]", "it has: look_up, pay, reserve"),
        (DraftSettings(model=ModelConfig(provider="anthropic")), "draft.model.provider", "not configured"),
        (DraftSettings(model=ModelConfig(model="a b")), "draft.model.model", "without spaces"),
        (DraftSettings(system_prompt="a\0b"), "draft.system_prompt", "U+0000"),
    ],
)
async def test_a_bad_draft(services: Services, toolshop: Shop, draft: DraftSettings, field: str, words: str) -> None:
    """Is refused at both ends, with the field and what is allowed; nothing begins."""
    session = await begin(services, toolshop)
    found = await services.playground.find(session.conversation.session_id)
    assert found is not None
    before = await rows(services, "select * from console_drafts")
    for work in (
        services.playground.begin(operator_id=None, client_id=toolshop.id, settings=draft, locale=None),
        services.playground.redraft(operator_id=None, found=found, settings=draft),
    ):
        with pytest.raises(Invalid, match=words.replace("+", r"\+")) as refused:
            await work
        assert refused.value.field == field
    assert await rows(services, "select * from console_drafts") == before


async def test_nobodys_playground(services: Services) -> None:
    """A client that is not there has none."""
    with pytest.raises(NotFound):
        await services.playground.begin(operator_id=None, client_id=999, settings=DraftSettings(), locale=None)


async def test_the_raw_calls(services: Services, toolshop: Shop, model: WireServer) -> None:
    """Each call of the model as it went over the wire, with tokens and times; a visitor's turn leaves none."""
    model.script(Answer("One moment.", tools=(ToolUse("look_up", {"item": "tea"}),)), Answer("There is tea."))
    session = await begin(services, toolshop)
    end = await ask(services, session, "Is there tea?")
    assert isinstance(end, MessageCompleted)
    first, second = await kept(services, session, end.turn_id)
    for no, exchange in enumerate((first, second), 1):
        assert msgspec.json.decode(exchange.request) == model.requests[no - 1].body
        assert (exchange.no, exchange.gen, exchange.provider, exchange.error) == (no, 1, "openai", None)
        assert (exchange.tokens_input, exchange.tokens_output, exchange.tokens_cached) == (27, 9, 0)
        assert exchange.first_ms is not None and exchange.first_ms <= exchange.ms
        assert exchange.tries == [{"method": "POST", "url": f"{model.url}/chat/completions", "status": 200}]
        assert "sk-test" not in str(exchange)
    assert "look_up" in first.response and "There" in second.response
    assert second.started_at > first.started_at
    await ask(services, await visit(services, toolshop), "Is there tea?")
    assert await rows(services, "select count(*) from model_traffic") == [(2,)]


async def test_a_key_in_a_refusal(services: Services, shop: Shop, model: WireServer) -> None:
    """A server that repeats the key does not get it into the database."""
    model.script(Failure(401, "Incorrect API key provided: sk-test."))
    session = await begin(services, shop)
    end = await ask(services, session, "Hi")
    assert isinstance(end, TurnFailed)
    [exchange] = await kept(services, session, end.turn_id)
    assert "Incorrect API key provided: [hidden]." in exchange.response
    assert exchange.error is not None and exchange.error.startswith("model_refused: HTTP 401")
    assert "sk-test" not in exchange.response + exchange.request


async def test_a_fallback_model(services: Services, shop: Shop, model: WireServer) -> None:
    """Both are there: the one that failed, and the one that answered instead."""
    model.script(Failure(400, "no such model"))
    fallback = ModelChoice(provider="demo")
    session = await begin(services, shop, model=ModelConfig(model="gpt-nothing", fallback=fallback))
    end = await ask(services, session, "Hi")
    assert isinstance(end, MessageCompleted)
    first, second = await kept(services, session, end.turn_id)
    assert (first.provider, first.model, first.no) == ("openai", "gpt-nothing", 1)
    assert first.error is not None and "no such model" in first.response
    assert (second.provider, second.model, second.error) == ("demo", "demo", None)


async def test_a_call_that_was_cut_off(services: Services, shop: Shop, model: WireServer) -> None:
    """Is kept as far as it came."""
    model.script(Answer("One two three four five six", tokens_per_s=20))
    session = await begin(services, shop)
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.frame(MessageDelta)
        assert accepted.turn_id is not None
        assert await services.commands.stop(session, turn_id=accepted.turn_id)
    await model.wait_for_abandoned()

    async def written() -> bool:
        return bool(await kept(services, session, accepted.turn_id))

    await eventually(written, "the call that was cut off is kept")
    [exchange] = await kept(services, session, accepted.turn_id)
    assert exchange.error == "cut off" and "One" in exchange.response and "six" not in exchange.response


async def _used(services: Services, shop: Shop) -> tuple[Any, Any]:
    """The client's own use and the console's, since ever."""
    async with reading(services.pool) as conn:
        apart = await console_usage.since(conn, client_id=shop.id, start=TODAY)
        whole = await usage.period(conn, client_id=shop.id, start=TODAY, end=date(2999, 1, 1))
    return whole, apart


async def test_use_apart(services: Services, toolshop: Shop, model: WireServer) -> None:
    """All that a console's turn uses is counted, and not on the client's bill: answers, failures, stops, tools."""
    model.script(
        Answer("", tools=(ToolUse("look_up", {"item": "tea"}),)),
        Answer("Yes."),
        Failure(400, "no"),
        Answer("One two three four", tokens_per_s=20),
    )
    async with reading(services.pool) as conn:
        listed = [msgspec.convert(each, PriceRow, from_attributes=True) for each in seed_prices()]
        await prices.upsert_all(conn, prices=listed)
    session = await begin(services, toolshop)
    await ask(services, session, "Tea?")
    await ask(services, session, "Coffee?")
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.frame(MessageDelta)
        await services.commands.stop(session, turn_id=accepted.turn_id or "")
    whole, apart = await _used(services, toolshop)
    assert whole == []
    assert (apart.conversation_count, apart.message_count, apart.tool_calls_count) == (1, 5, 1)
    assert apart.tokens_input > 54 and apart.tokens_output > 18 and apart.cost_estimate > 0
    await ask(services, await visit(services, toolshop), "Hi")
    whole, again = await _used(services, toolshop)
    assert again == apart
    assert [(day.conversation_count, day.message_count) for day in whole] == [(1, 2)]


async def test_the_plans_month_is_the_visitors(services: Services, model: WireServer) -> None:
    """Once it is used up the playground still answers."""
    shop = await new_shop(services, "small", plan_type="free")
    async with reading(services.pool) as conn:
        await usage.record(conn, client_id=shop.id, day=datetime.now(UTC).date(), messages=1_000)
    with pytest.raises(RateLimited):
        await send(services, await visit(services, shop), "Hi")
    assert isinstance(await ask(services, await begin(services, shop), "Hi"), MessageCompleted)


def test_the_minute_is_counted_apart(shop: Shop) -> None:
    """No key of the console's is one of the visitors'."""
    keys = [
        {limit.key for limit in limits_of(shop.client, visitor="ses_1", address="192.0.2.1", console=console)}
        for console in (False, True)
    ]
    assert len(keys[0]) == len(keys[1]) == 3 and not keys[0] & keys[1]


async def test_no_inbox_hears_of_it(services: Services, shop: Shop) -> None:
    """The visitors' chats are there, the console's are not."""

    class Inbox:
        def __init__(self) -> None:
            self.told: list[bytes] = []

        def deliver(self, seq: int, payload: bytes) -> None:
            self.told.append(payload)

        def resync(self) -> None:
            raise AssertionError("nothing was missed")

    inbox, channel = Inbox(), channels.inbox(shop.id)
    await services.hub.join(channel, inbox)
    try:
        await ask(services, await begin(services, shop), "Hi")
        session = await visit(services, shop)
        await ask(services, session, "Hi")
    finally:
        await services.hub.leave(channel, inbox)
    assert inbox.told and all(session.conversation.public_id.encode() in each for each in inbox.told)


async def test_tools_are_really_called(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """As a visitor's are: with the workflow told that it is the console."""
    model.script(Answer("", tools=(ToolUse("look_up", {"item": "tea"}),)), Answer("Yes."))
    session = await begin(services, toolshop)
    await ask(services, session, "Tea?")
    [request] = webhook.requests
    assert request.json["arguments"] == {"item": "tea"} and request.json["conversation"]["channel"] == "console"
    [row] = await executions(services, session)
    assert row.success is True


async def test_without_its_draft_nothing_is_asked(services: Services, shop: Shop, model: WireServer) -> None:
    """Nobody knows what such a chat may do: the turn is tried, given up, and the model never called."""
    session = await begin(services, shop)
    await rows(services, "delete from console_drafts")
    async with listening(services, session) as listener, asyncio.timeout(30):
        await send(services, session, "Hi")
        while not listener.of(TurnFailed):
            await rows(services, "update turns set lease_until = now() - interval '1 s' where status = 'running'")
            await asyncio.sleep(0.1)
    assert model.requests == []
