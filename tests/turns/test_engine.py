"""One turn against a model that speaks OpenAI's stream, with all that may go wrong with it."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

from server.access import Session
from server.llm import tokens
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed
from server.repositories import messages, prices, usage
from server.repositories.messages import MessageRow
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.repositories.usage import UsageTotal
from server.services import Services, open_services
from server.settings import Settings
from server.turns import engine, phrases
from tests.support import MODEL, Shop, ask, eventually, listening, new_shop, rows, send, visit
from tests.wire_servers import Answer, Failure, Raw, Step, ToolUse, WireServer

PRICE = PriceRow("openai", MODEL, Decimal("0.15"), Decimal("0.075"), Decimal("0.60"), date(2024, 1, 1))


async def answer_row(services: Services, session: Session) -> MessageRow:
    """The only answer of a conversation."""
    async with reading(services.pool) as conn:
        found = await messages.all(conn, client_id=session.client.id, conversation_id=session.conversation.id)
    [row] = [row for row in found if row.role == "assistant"]
    return row


async def used(services: Services, shop: Shop) -> UsageTotal:
    """The client's usage this month."""
    async with reading(services.pool) as conn:
        return await usage.current_period(conn, client_id=shop.id, today=datetime.now(UTC).date())


async def test_an_answer_comes_with_its_cost(services: Services, shop: Shop, model: WireServer) -> None:
    """Tokens as the provider reported them; money by the price table, as decimal, to the tenth digit."""
    async with reading(services.pool) as conn:
        await prices.upsert_all(conn, prices=[PRICE])
    model.script(Answer("We are open until nine.", usage=(1_234, 56, 1_000)))
    session = await visit(services, shop)
    end = await ask(services, session, "When do you close?")
    assert isinstance(end, MessageCompleted)
    assert (end.message.text, end.message.model) == ("We are open until nine.", MODEL)
    assert end.message.usage is not None
    assert (end.message.usage.input_tokens, end.message.usage.output_tokens) == (1_234, 56)
    row = await answer_row(services, session)
    cost = (234 * Decimal("0.15") + 1_000 * Decimal("0.075") + 56 * Decimal("0.60")) / 1_000_000
    assert type(row.cost) is Decimal
    assert row.cost == cost == Decimal("0.0001437")
    assert (row.tokens_input, row.tokens_output, row.tokens_used) == (1_234, 56, 1_290)
    total = await used(services, shop)
    assert (total.tokens_input, total.tokens_output, total.cost_estimate) == (1_234, 56, cost)
    assert await rows(services, "select status, error, lease_until from turns") == [("done", None, None)]


async def test_the_answer_and_its_usage_are_one_transaction(services: Services, shop: Shop, model: WireServer) -> None:
    """All that a turn's end writes has the same transaction id."""
    await ask(services, await visit(services, shop), "Hello")
    written = await rows(
        services,
        """
        select xmin::text from messages where role = 'assistant'
        union all select xmin::text from turns union all select xmin::text from api_usage
        union all select xmin::text from events where type = 'message.completed'
        union all select xmin::text from conversations
        """,
    )
    assert len(written) == 5
    assert len(set(written)) == 1


async def test_usage_that_is_missing_is_counted(services: Services, shop: Shop, model: WireServer) -> None:
    """A server that reports none: tiktoken counts the request as it was sent, and the answer."""
    model.script(Answer("Certainly, with olives.", usage=None))
    session = await visit(services, shop)
    await ask(services, session, "A pizza, please")
    row = await answer_row(services, session)
    [request] = model.requests
    texts = [str(message["content"]) for message in request.body["messages"]]
    # 3 to begin with and 4 a message: what wraps them.
    assert row.tokens_input == sum(tokens.count_text(MODEL, text) + 4 for text in texts) + 3
    assert row.tokens_output == tokens.count_text(MODEL, "Certainly, with olives.")
    assert row.cost == 0, "no price is known"


async def test_deltas_are_a_beginning_of_the_answer(services: Services, shop: Shop, model: WireServer) -> None:
    """Numbered from 1, the first one the first token, and together what was streamed so far."""
    text = " ".join(f"word{number}" for number in range(60))
    model.script(Answer(text, tokens_per_s=200))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Talk")
        end = await listener.end()
    deltas = [frame for frame in listener.frames if isinstance(frame, MessageDelta)]
    assert [frame.n for frame in deltas] == list(range(1, len(deltas) + 1))
    assert text.startswith("".join(frame.text for frame in deltas))
    assert 3 < len(deltas) < 60, "coalesced"
    assert {(frame.gen, frame.turn_id, frame.message_id) for frame in deltas} == {
        (1, end.turn_id, end.message.id if isinstance(end, MessageCompleted) and end.message else "")
    }


FAILURES: dict[str, tuple[Step, str, str]] = {
    "refused": (Failure(401, "Incorrect API key provided"), "model_refused", "unavailable"),
    "no such model": (Failure(404, "no such model"), "model_refused", "unavailable"),
    "busy": (Failure(429, "slow down", {"retry-after-ms": "1"}), "model_busy", "busy"),
    "broken": (Failure(500, "oh", {"retry-after-ms": "1"}), "model_unreachable", "unavailable"),
    "a web page": (Raw(b"<html>502</html>", 502, headers={"retry-after-ms": "1"}), "model_unreachable", "unavailable"),
    "a page, and fine": (Raw(b"<html>hello</html>"), "model_garbage", "unavailable"),
    "cut": (Answer("One two three", cut_after=2), "model_garbage", "unavailable"),
    "reset": (Answer("One two three", cut_after=2, reset=True), "model_garbage", "unavailable"),
    "ended early": (Answer("One two three", end_after=2), "model_garbage", "unavailable"),
    "garbage": (Answer("One two three", garbage_after=2), "model_garbage", "unavailable"),
    "error within": (Answer("One two three", error_after=2), "model_unreachable", "unavailable"),
    "empty": (Answer("", tokens=()), "model_garbage", "unavailable"),
    "blank": (Answer("  \n"), "model_garbage", "unavailable"),
    "filtered": (Answer("", tokens=(), finish="filtered"), "model_filtered", "filtered"),
    "a tool": (Answer(tools=(ToolUse("look", {}),)), "model_garbage", "unavailable"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failing_model(services: Services, shop: Shop, model: WireServer, failure: str) -> None:
    """The visitor reads a kind sentence in their language, the turn has the reason, and the next message works."""
    step, code, phrase = FAILURES[failure]
    model.default = lambda _request: step
    session = await visit(services, shop, locale="he-IL")
    end = await ask(services, session, "Hello")
    assert isinstance(end, TurnFailed)
    [(status, error)] = await rows(services, "select status, error from turns")
    assert (end.code, status) == (code, "failed")
    assert error.startswith(f"{code}: ")
    assert len(error) > len(code) + 5
    assert end.message == phrases.say(phrase, "he")  # type: ignore[arg-type]  # of the table
    assert end.retryable == (code != "model_filtered")
    model.default = lambda _request: Answer("Now it works.")
    again = await ask(services, session, "Hello?")
    assert isinstance(again, MessageCompleted)
    assert again.message.text == "Now it works."
    assert await rows(services, "select count(*) from messages") == [(3,)], "a failed turn has no answer"


async def test_what_a_failed_turn_used_is_accounted_for(services: Services, shop: Shop, model: WireServer) -> None:
    """Half an answer was paid for; it counts as tokens and as no message."""
    model.script(Answer("One two three", cut_after=2))
    session = await visit(services, shop)
    await ask(services, session, "Hello")
    total = await used(services, shop)
    assert total.message_count == 1, "the visitor's"
    assert total.tokens_output == tokens.count_text(MODEL, "One two")
    assert total.tokens_input > 100


async def test_a_turns_deadline(
    services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that stops talking and keeps the line fails the turn at its deadline, and is hung up on."""
    monkeypatch.setattr(engine, "DEADLINE_S", 0.3)
    model.script(Answer("Hm, let me think", stall_after=2))
    end = await ask(services, await visit(services, shop), "Hello")
    assert isinstance(end, TurnFailed)
    assert (end.code, end.message) == ("model_timeout", phrases.say("too_slow", "en"))
    await model.wait_for_abandoned()


async def test_an_endless_answer_is_cut_off(services: Services, shop: Shop, model: WireServer) -> None:
    """At 64,000 characters it is whole, and the model is hung up on instead of read to its end."""
    model.script(Answer(tokens=("lorem ipsum " * 1_000,) * 20, stall_after=15))
    end = await ask(services, await visit(services, shop), "Talk")
    assert isinstance(end, MessageCompleted)
    assert len(end.message.text) == 64_000
    await model.wait_for_abandoned()


async def test_text_that_postgres_cannot_hold(services: Services, shop: Shop, model: WireServer) -> None:
    """A NUL from a model becomes a mark, not a turn that never ends; the rest comes through to the character."""
    model.script(Answer(tokens=("Hel\0lo", "\0", " 🍕 \u2028", '"}{\\')))
    session = await visit(services, shop)
    end = await ask(services, session, "Hello")
    assert isinstance(end, MessageCompleted)
    assert end.message.text == 'Hel\ufffdlo\ufffd 🍕 \u2028"}{\\'
    assert (await answer_row(services, session)).content == end.message.text


async def test_no_connection_is_held_while_a_model_talks(services: Services, shop: Shop, model: WireServer) -> None:
    """More answers run at once than there are connections, and every connection is idle meanwhile."""
    model.default = lambda _request: Answer("One two three", stall_after=2)
    sessions = [await visit(services, shop) for _ in range(40)]
    for session in sessions:
        await send(services, session, "Hello")
    await model.wait_for_requests(40)
    await eventually(lambda: _running(services, 40), "40 answers run")
    stats = services.pool.get_stats()
    assert stats["pool_available"] == stats["pool_size"]
    assert stats.get("requests_waiting", 0) == 0
    active = "select count(*) from pg_stat_activity where state <> 'idle' and application_name = 'frontdesk'"
    name = "and datname = current_database() and pid <> pg_backend_pid()"
    assert await rows(services, f"{active} {name}") == [(0,)]


async def _running(services: Services, count: int) -> bool:
    live = [await services.redis.get(key) async for key in services.redis.scan_iter("live:*")]
    return len(live) == count


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        ({"model": "gpt-6-luna"}, "gpt-6-luna"),
        ({"provider": "anthropic", "model": "claude-haiku-5-5"}, MODEL),
        ({"provider": "nobody"}, MODEL),
        ({"temperature": "hot"}, MODEL),
    ],
)
async def test_a_client_chooses_among_what_is_configured(
    services: Services, model: WireServer, config: dict[str, str], asked: str
) -> None:
    """A choice that is not there, or makes no sense, leaves the deployment's default: the website is not silenced."""
    shop = await new_shop(services, model_config=config)
    end = await ask(services, await visit(services, shop), "Hello")
    assert isinstance(end, MessageCompleted)
    assert end.message.model == asked
    assert model.requests[0].body["model"] == asked


async def test_the_demo_model_answers_without_any_key(settings: Settings) -> None:
    """The whole way with the scripted provider, which says what it is."""
    demo = msgspec.structs.replace(settings, llm=msgspec.structs.replace(settings.llm, provider="demo"))
    async with open_services(demo) as services:
        end = await ask(services, await visit(services, await new_shop(services)), "Hi")
    assert isinstance(end, MessageCompleted)
    assert (end.message.model, bool(end.message.text)) == ("demo", True)
