"""What the model reads: seen where it arrives, at a server that speaks OpenAI's protocol."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.access import Session
from server.cache.context import MESSAGES, CachedContext, CachedMessage, ContextCache
from server.errors import ModelRefused
from server.llm import tokens
from server.llm.provider import ChatMessage
from server.protocol.parts import Role
from server.protocol.visitor import MessageCompleted, TurnFailed
from server.repositories import conversations
from server.repositories.pool import reading
from server.services import Services
from server.turns.context import OUTPUT_TOKENS, fit
from tests.support import Shop, ask, listening, new_shop, remember, rows, send, visit
from tests.wire_servers import Answer, WireServer

HISTORY: list[tuple[Role, str]] = [
    ("user", "one"),
    ("assistant", "two"),
    ("user", "three"),
    ("operator", "four"),
    ("assistant", "five"),
]


def read_by(model: WireServer, request: int = -1) -> list[tuple[str, str]]:
    """What the model read after its system prompt: (role, text)."""
    messages: list[dict[str, Any]] = model.requests[request].body["messages"]
    return [(message["role"], message["content"]) for message in messages[1:]]


def system_prompt(model: WireServer) -> str:
    """The system prompt of the last request."""
    [message, *_] = model.requests[-1].body["messages"]
    assert message["role"] == "system"
    return str(message["content"])


words = st.text(st.sampled_from("ab é漢🙂\n<|>"), max_size=40)
said = st.builds(
    lambda role, text, times: CachedMessage(role, text * times),
    st.sampled_from(["user", "assistant", "operator"]),
    words,
    st.integers(1, 30),
)
MODELS = ["gpt-4o", "gpt-4", "claude-haiku-5-5", "llama3.2", "demo"]


@given(
    model=st.sampled_from(MODELS),
    history=st.lists(said, max_size=20),
    system=words,
    text=words,
    room=st.integers(0, 3_000),
)
@example(model="gpt-4o", history=[CachedMessage("user", "a" * 9_000)], system="", text="", room=0)
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_request_fits_the_window(model: str, history: list[CachedMessage], system: str, text: str, room: int) -> None:
    """By count, with the room an estimate needs; the newest messages stay, and no more go than must."""

    def count(kept: list[CachedMessage]) -> int:
        chat = [ChatMessage("user" if each.role == "user" else "assistant", each.text) for each in kept]
        return tokens.count_request(model, [ChatMessage("system", system), *chat, ChatMessage("user", text)])

    factor = tokens.safety_factor(model)
    try:
        kept, counted = fit(model, system, history, text, window=room + OUTPUT_TOKENS)
    except ModelRefused:
        assert count([]) * factor > room
        return
    assert counted == count(kept)
    assert counted * factor <= room
    assert kept == history[len(history) - len(kept) :]
    if len(kept) < len(history):
        assert count(history[len(history) - len(kept) - 1 :]) * factor > room


async def test_the_model_reads_prompt_history_and_question(services: Services, model: WireServer) -> None:
    """In this order; an operator's words are the assistant's, the system's are nobody's."""
    shop = await new_shop(services, system_prompt="You sell pizza.", timezone="Asia/Jerusalem")
    session = await visit(services, shop)
    await remember(services, session, *HISTORY, ("system", "The operator left."))
    await ask(services, session, "Do you deliver?")
    assert system_prompt(model).startswith("You sell pizza.\n\nYou answer visitors")
    assert "(Asia/Jerusalem)" in system_prompt(model)
    assert read_by(model) == [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "four"),
        ("assistant", "five"),
        ("user", "Do you deliver?"),
    ]


async def test_a_time_zone_that_is_none_is_utc(services: Services, model: WireServer) -> None:
    """A wrong setting must not silence a website; without a prompt of its own a client gets a plain one."""
    shop = await new_shop(services, timezone="Mars/Olympus", system_prompt="  ")
    await ask(services, await visit(services, shop), "Hi")
    assert "(UTC)" in system_prompt(model)
    assert system_prompt(model).startswith("You are a customer service agent for pizza.")


async def chat(services: Services, session: Session, questions: int) -> None:
    """So many questions, answered."""
    for number in range(questions):
        assert isinstance(await ask(services, session, f"question {number}"), MessageCompleted)


@pytest.mark.parametrize("questions", [1, 3, 12])
async def test_redis_and_postgres_know_the_same_history(
    services: Services, shop: Shop, model: WireServer, questions: int
) -> None:
    """The model reads the same with a warm cache and with an empty one, and never more than the last 20."""
    histories = []
    for flush in (False, True):
        session = await visit(services, shop)
        await chat(services, session, questions)
        if flush:
            await services.redis.flushall()
        else:
            assert await services.redis.exists(f"conversation:{session.conversation.session_id}")
        await ask(services, session, "and now?")
        histories.append(read_by(model))
    warm, cold = histories
    assert warm == cold
    assert len(warm) == min(2 * questions, MESSAGES) + 1
    assert warm[-3:-1] == [
        ("user", f"question {questions - 1}"),
        ("assistant", f"You said: question {questions - 1}"),
    ]


async def test_a_warm_cache_is_what_is_read(services: Services, shop: Shop, model: WireServer) -> None:
    """The history comes from Redis when it knows every message; this is what makes the next tests mean something."""
    session = await visit(services, shop)
    await chat(services, session, 1)
    lie = CachedContext(shop.id, 2, [CachedMessage("user", "from redis")], datetime.now(UTC))
    await ContextCache(services.redis).put(session_id=session.conversation.session_id, context=lie)
    await ask(services, session, "and now?")
    assert read_by(model) == [("user", "from redis"), ("user", "and now?")]


@pytest.mark.parametrize(("total", "client"), [(1, 0), (3, 0), (2, 1)])
async def test_a_stale_cache_is_refused(
    services: Services, shop: Shop, model: WireServer, total: int, client: int
) -> None:
    """A value that knows fewer messages, more, or is another client's, is not what the model reads."""
    session = await visit(services, shop)
    await chat(services, session, 1)
    stale = CachedContext(shop.id + client, total, [CachedMessage("user", "stale")], datetime.now(UTC))
    await ContextCache(services.redis).put(session_id=session.conversation.session_id, context=stale)
    await ask(services, session, "and now?")
    assert read_by(model) == [("user", "question 0"), ("assistant", "You said: question 0"), ("user", "and now?")]


async def test_a_message_that_redis_never_heard_of_is_read(services: Services, shop: Shop, model: WireServer) -> None:
    """What an operator said in between is only in Postgres, so the cache is behind and refused."""
    session = await visit(services, shop)
    await chat(services, session, 1)
    await remember(services, session, ("operator", "I am Olga."))
    await ask(services, session, "Who are you?")
    assert read_by(model)[-2:] == [("assistant", "I am Olga."), ("user", "Who are you?")]


async def test_questions_that_wait_are_left_out(services: Services, shop: Shop, model: WireServer) -> None:
    """Each question is answered by itself, in order, and the model does not read those that come later."""
    model.script(Answer("first answer", first_byte_after_s=0.5))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "first")
        await model.wait_for_requests(1)
        await send(services, session, "second")
        await send(services, session, "third")
        await listener.end(3)
    assert [request.question for request in model.requests] == ["first", "second", "third"]
    assert read_by(model, 0) == [("user", "first")]
    assert read_by(model, 1) == [("user", "first"), ("assistant", "first answer"), ("user", "second")]
    assert ("user", "second") in read_by(model, 2)
    await ask(services, session, "fourth")
    history = read_by(model)
    assert sorted(history) == sorted(
        [
            *[("user", each) for each in ("first", "second", "third", "fourth")],
            ("assistant", "first answer"),
            ("assistant", "You said: second"),
            ("assistant", "You said: third"),
        ]
    ), "afterwards nothing is missing, whatever was cached in between"


async def test_a_question_whose_turn_failed_stays_in_the_history(
    services: Services, shop: Shop, model: WireServer
) -> None:
    """Also when it waited behind another: the context cached by the turn before it must not hide it."""
    model.script(Answer("first answer", first_byte_after_s=0.3), Answer(""), Answer("third answer"))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "first")
        await model.wait_for_requests(1)
        await send(services, session, "second")
        assert isinstance(await listener.end(2), TurnFailed)
    await ask(services, session, "third")
    assert ("user", "second") in read_by(model)


async def test_the_summary_goes_into_the_system_prompt(services: Services, shop: Shop, model: WireServer) -> None:
    """After the client's own words and our rules."""
    session = await visit(services, shop)
    async with reading(services.pool) as conn:
        await conversations.set_summary(
            conn,
            client_id=shop.id,
            conversation_id=session.conversation.id,
            summary="Ann wants a refund.",
            summary_through=1,
        )
    await ask(services, session, "So?")
    assert system_prompt(model).endswith("Earlier in this conversation, in short:\nAnn wants a refund.")


async def test_a_prompt_that_cannot_fit_fails_the_turn(services: Services, model: WireServer) -> None:
    """No model is called, the visitor reads a kind sentence, the reason is on the turn."""
    shop = await new_shop(services, system_prompt="pizza " * 9_000, model_config={"model": "gpt-4"})
    end = await ask(services, await visit(services, shop), "Hi")
    assert isinstance(end, TurnFailed)
    assert end.code == "model_refused"
    assert "gpt-4" not in end.message
    assert model.requests == []
    [(error,)] = await rows(services, "select error from turns")
    assert "gpt-4 has room for 6144" in error


async def test_a_long_history_is_cut_to_the_window(services: Services, model: WireServer) -> None:
    """The newest part is read, in order, and the request fits a small model."""
    shop = await new_shop(services, model_config={"model": "gpt-4"})
    session = await visit(services, shop)
    await remember(services, session, *(("user", f"{number} " + "pizza " * 600) for number in range(20)))
    await ask(services, session, "Hi")
    chat = read_by(model)
    sent = [ChatMessage("system", system_prompt(model)), *(ChatMessage("user", text) for _, text in chat)]
    assert tokens.count_request("gpt-4", sent) <= 8_192 - OUTPUT_TOKENS
    numbers = [int(text.split()[0]) for _, text in chat[:-1]]
    assert numbers[-1] == 19
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))
    assert 5 < len(numbers) < 20


async def test_a_message_that_retention_emptied_is_left_out(services: Services, shop: Shop, model: WireServer) -> None:
    """Its row is still there, its words are not."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "old"), ("assistant", "answer"))
    await rows(services, "update messages set content = null where content = 'old'")
    await ask(services, session, "Hi")
    assert read_by(model) == [("assistant", "answer"), ("user", "Hi")]
