"""Who answers: an operator takes a conversation over, gives it back, closes it, speaks in it, steers the AI."""

import asyncio
import random

import msgspec
import pytest

from server.errors import Conflict, Invalid, NotFound
from server.protocol.parts import Person
from server.protocol.visitor import (
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    OwnerChanged,
    ToolConfirmRequest,
    ToolStarted,
    ToVisitor,
    TurnStarted,
    TurnStopped,
)
from server.repositories import messages, notifications
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import Settings
from server.turns import supervisor
from server.turns.handover import WHISPERS_WAITING
from tests.support import Listener, Shop, ask, eventually, listening, new_shop, rows, send, visit
from tests.tools.webhook_server import Reply, WebhookServer
from tests.turns.staff import audited, new_operator, now, owner
from tests.turns.test_context import system_prompt
from tests.turns.toolkit import add_tool, executions
from tests.wire_servers import Answer, ToolUse, WireServer

# An answer that says three pieces and then nothing more, until its reader goes away.
ENDLESS = Answer(tokens=("One", " two", " three", " four"), stall_after=3)


def shown(listener: Listener) -> str:
    """The text that a visitor has seen grow."""
    return "".join(frame.text for frame in listener.frames if isinstance(frame, MessageDelta))


def after(listener: Listener, kind: type[ToVisitor]) -> list[ToVisitor]:
    """What came after the first frame of a kind."""
    at = next(at for at, frame in enumerate(listener.frames) if isinstance(frame, kind))
    return listener.frames[at + 1 :]


# --- take


@pytest.mark.parametrize("seed", range(5))
async def test_taken_mid_word(services: Services, settings: Settings, shop: Shop, model: WireServer, seed: int) -> None:
    """Whichever instance is told, and whenever: what is kept is what visitors of both instances have been shown, to the
    letter; nothing of the answer comes after; then the person is announced."""
    words = tuple(f"w{number} " for number in range(400))
    model.script(Answer(tokens=words, tokens_per_s=200))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    pieces = random.Random(seed).randint(1, 12)
    async with (
        open_services(settings) as other,
        listening(services, session) as here,
        listening(other, session) as there,
    ):
        turn_id = (await send(services, session, "Count")).turn_id
        await there.until(lambda me: len(me.of(MessageDelta)) >= pieces)
        await (other if seed % 2 else services).handover.take(olga, session.conversation)
        stops = [await listener.frame(TurnStopped) for listener in (here, there)]
        for listener in (here, there):
            await listener.frame(OwnerChanged)
        await model.wait_for_abandoned()

        async def over() -> bool:
            return services.supervisor.running == 0

        await eventually(over, "the turn is not run any more")
    for listener, stop in zip((here, there), stops, strict=True):
        assert (stop.turn_id, stop.message.stopped) == (turn_id, True)
        assert stop.message.text == shown(listener) == "".join(words)[: len(stop.message.text)]
        [changed] = after(listener, TurnStopped)
        assert changed == OwnerChanged(seq=stop.seq + 1, owner="human", operator=Person(name="Olga"))
    assert await owner(services, session) == ("human", olga.id)
    async with reading(services.pool) as conn:
        [_, kept] = await messages.all(conn, client_id=shop.id, conversation_id=session.conversation.id)
    assert (kept.content, kept.stopped) == (stops[0].message.text, True)
    assert await audited(services) == [("conversation.take", olga.id)]
    assert (await now(services, session)).waiting_since is not None, "whoever was cut off waits for the person"


async def test_taken_before_the_first_word(services: Services, shop: Shop, model: WireServer) -> None:
    """There is nothing to keep."""
    model.script(Answer("late", first_byte_after_s=30))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "Hello")
        await model.wait_for_requests(1)
        await services.handover.take(olga, session.conversation)
        assert (await listener.frame(TurnStopped)).message is None
    assert await rows(services, "select status, gen, error from turns") == [("stopped", 2, "taken")]


async def test_what_waits_is_the_persons(services: Services, shop: Shop, model: WireServer) -> None:
    """Queued turns end with the one that runs, in order; no turn begins under a person, and messages make none."""
    model.script(ENDLESS)
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        sent = [await send(services, session, text) for text in ("one", "two", "three")]
        await listener.until(lambda me: shown(me) == "One two three")
        await services.handover.take(olga, session.conversation)
        await listener.frame(OwnerChanged)
        assert [frame.turn_id for frame in listener.of(TurnStopped) if isinstance(frame, TurnStopped)] == [
            each.turn_id for each in sent
        ]
        late = await send(services, session, "four")
        assert late.turn_id is None
        assert len(listener.of(TurnStarted)) == 1
    assert await rows(services, "select distinct status from turns") == [("stopped",)]
    assert len(model.requests) == 1


async def test_taken_while_a_tool_runs(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The call was sent, so its outcome is in doubt; the model is not told and says nothing of it."""
    webhook.script(Reply(wait_s=30))
    model.script(Answer("Let me see.", tools=(ToolUse("pay", {"item": "x"}, "call_1"),)))
    session, olga = await visit(services, toolshop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "Pay")
        await listener.frame(ToolStarted)
        await webhook.until(lambda server: len(server.requests) == 1)
        await services.handover.take(olga, session.conversation)
        stop = await listener.frame(TurnStopped)
        await webhook.until(lambda server: server.abandoned == 1)
    assert stop.message is not None and stop.message.text == "Let me see." == shown(listener)
    [row] = await executions(services, session)
    assert (row.attempt, row.success, row.error) == (1, None, "taken")
    assert len(model.requests) == 1


async def test_taken_while_a_tool_asks(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The question is closed: neither the visitor's yes nor an operator's counts any more."""
    await add_tool(services, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(Answer(tools=(ToolUse("book", {"item": "table"}, "call_1"),)))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        await services.handover.take(olga, session.conversation)
        await listener.frame(OwnerChanged)
        for answer in (
            services.commands.confirm(session, call_id=question.call_id, approved=True),
            services.handover.approve(olga, session.conversation, call_id=question.call_id, approved=True),
        ):
            with pytest.raises(NotFound):
                await answer
        assert not any(isinstance(frame, ToolConfirmRequest) for frame in after(listener, TurnStopped))
    assert webhook.requests == []
    [row] = await executions(services, session)
    assert (row.approval, row.success, row.error) == ("asked", False, "taken")


async def test_two_take_at_once(services: Services, settings: Settings, shop: Shop, model: WireServer) -> None:
    """Fifty times, over two instances: one has it, the other is told who; one announcement, one line in the log."""
    olga, piet = await new_operator(services, "Olga"), await new_operator(services, "Piet")
    async with open_services(settings) as other:
        for round_ in range(50):
            session = await visit(services, shop)
            if round_ % 5 == 0:
                model.script(ENDLESS)
                await send(services, session, "Hello")
            results = await asyncio.gather(
                services.handover.take(olga, session.conversation),
                other.handover.take(piet, session.conversation),
                return_exceptions=True,
            )
            [refused] = [result for result in results if result is not None]
            assert isinstance(refused, Conflict) and refused.code == "taken"
            has, name = (olga, "Olga") if results[0] is None else (piet, "Piet")
            assert name in refused.message
            assert await owner(services, session) == ("human", has.id)
            conversation_id = session.conversation.id
            query = "select count(*) from events where type = 'owner.changed' and conversation_id = %s"
            assert await rows(services, query, conversation_id) == [(1,)]
    assert len(await audited(services)) == 50


async def test_ones_own_again(services: Services, shop: Shop) -> None:
    """Taking what one has changes nothing; a colleague is refused everything that is the holder's."""
    session = await visit(services, shop)
    olga, piet = await new_operator(services, "Olga"), await new_operator(services, "Piet", client_id=shop.id)
    conversation = session.conversation
    await services.handover.take(olga, conversation)
    before = await now(services, session)
    await services.handover.take(olga, conversation)
    for refused, code in (
        (services.handover.take(piet, conversation), "taken"),
        (services.handover.release(piet, conversation), "not_yours"),
        (services.handover.close(piet, conversation), "not_yours"),
        (services.handover.reply(piet, conversation, cid="c1", text="Hi"), "not_yours"),
    ):
        with pytest.raises(Conflict) as refusal:
            await refused
        assert refusal.value.code == code
    assert await now(services, session) == before
    assert await audited(services) == [("conversation.take", olga.id)]


async def test_who_may_not_sign_in_holds_nothing(services: Services, shop: Shop) -> None:
    """A conversation of somebody disabled or deleted can be taken by another."""
    session = await visit(services, shop)
    olga, piet, quin = [await new_operator(services, name) for name in ("Olga", "Piet", "Quin")]
    await services.handover.take(olga, session.conversation)
    await rows(services, "update operators set status = 'disabled' where id = %s", olga.id)
    await services.handover.take(piet, session.conversation)
    assert await owner(services, session) == ("human", piet.id)
    await rows(services, "delete from operators where id = %s", piet.id)
    await services.handover.take(quin, session.conversation)
    assert await owner(services, session) == ("human", quin.id)


async def test_another_clients_conversation(services: Services, shop: Shop) -> None:
    """The client is in every statement: with another's, nothing is there and nothing changes."""
    session, bakery = await visit(services, shop), await new_shop(services, "bakery")
    await ask(services, session, "Hello")
    olga = await new_operator(services, "Olga", client_id=bakery.id)
    forged = msgspec.structs.replace(session.conversation, client_id=bakery.id)
    before = await now(services, session)
    handover = services.handover
    [(turn_id,)] = await rows(services, "select public_id from turns")
    for attempt in (
        handover.take(olga, forged),
        handover.release(olga, forged),
        handover.close(olga, forged),
        handover.reply(olga, forged, cid="c", text="x"),
        handover.whisper(olga, forged, text="x"),
        handover.stop(olga, forged, turn_id=turn_id),
        handover.approve(olga, forged, call_id="x", approved=True),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await now(services, session) == before
    assert await audited(services) == []


# --- reply


async def test_an_operator_speaks(services: Services, shop: Shop, model: WireServer) -> None:
    """In their own name, once for a cid; the AI reads it as history when it is its turn again."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    await rows(services, "update operators set avatar_url = 'https://x.example/o.png'")
    olga = msgspec.structs.replace(olga, avatar_url="https://x.example/o.png")
    await send(services, session, "Hello")
    conversation, handover = session.conversation, services.handover
    async with listening(services, session) as listener:
        await handover.take(olga, conversation)
        accepted = await handover.reply(olga, conversation, cid="c9", text="  I am here. ")
        again = await handover.reply(olga, conversation, cid="c9", text="I am here.")
        created = await listener.frame(MessageCreated)
        assert (created.seq, created.message.id) == (accepted.seq, accepted.message_id)
        assert (created.message.role, created.message.text, created.message.cid) == ("operator", "I am here.", "c9")
        assert created.message.author == Person(name="Olga", avatar_url="https://x.example/o.png")
        assert (again.message_id, again.seq, again.duplicate) == (accepted.message_id, accepted.seq, True)
        with pytest.raises(Conflict) as refusal:
            await handover.reply(olga, conversation, cid="c9", text="Something else")
        assert (refusal.value.code, refusal.value.field) == ("cid_reused", "cid")
        with pytest.raises(Invalid):
            await handover.reply(olga, conversation, cid="c10", text="  ")
        assert (await now(services, session)).waiting_since is None
        await handover.release(olga, conversation)
        end = await ask(services, session, "Thanks")
    assert isinstance(end, MessageCompleted)
    said = [(each["role"], each["content"]) for each in model.requests[-1].body["messages"][1:]]
    assert said[-2:] == [("assistant", "I am here."), ("user", "Thanks")]
    assert [action for action, _ in await audited(services)] == [
        "conversation.take",
        "conversation.reply",
        "conversation.release",
    ]


async def test_a_visitors_cid_is_not_an_operators(services: Services, shop: Shop) -> None:
    """The same words under the same cid are still somebody else's message."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    await services.handover.take(olga, session.conversation)
    await send(services, session, "Hello", cid="c1")
    with pytest.raises(Conflict) as refusal:
        await services.handover.reply(olga, session.conversation, cid="c1", text="Hello")
    assert refusal.value.code == "cid_reused"


# --- release, close, request


async def test_what_nobody_answered_is_answered(services: Services, shop: Shop, model: WireServer) -> None:
    """On release the AI reads all that was said meanwhile, and answers the last of it."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await services.handover.take(olga, session.conversation)
        for text in ("Hello?", "Anybody?"):
            await send(services, session, text)
        assert (await now(services, session)).waiting_since is not None
        await services.handover.release(olga, session.conversation)
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert [each["content"] for each in model.requests[0].body["messages"][1:]] == ["Hello?", "Anybody?"]
    found = await now(services, session)
    assert (found.owner, found.owner_operator_id, found.waiting_since) == ("ai", None, None)
    changes = [(frame.owner, frame.operator) for frame in listener.frames if isinstance(frame, OwnerChanged)]
    assert changes == [("human", Person(name="Olga")), ("ai", None)]


async def test_what_was_cut_off_is_answered(services: Services, shop: Shop, model: WireServer) -> None:
    """A question whose answer the take ended gets a new one; one that a person has answered, or that is, gets none."""
    model.script(ENDLESS)
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    conversation, handover = session.conversation, services.handover
    async with listening(services, session) as listener:
        await send(services, session, "Count")
        await listener.until(lambda me: shown(me) == "One two three")
        await handover.take(olga, conversation)
        await handover.release(olga, conversation)
        assert isinstance(await listener.end(2), MessageCompleted)
        for _ in range(2):
            await handover.take(olga, conversation)
            await handover.release(olga, conversation)
        await handover.take(olga, conversation)
        await send(services, session, "And now?")
        await handover.reply(olga, conversation, cid="c9", text="Done.")
        await handover.release(olga, conversation)
    assert len(model.requests) == 2
    assert await rows(services, "select count(*) from turns") == [(2,)]


async def test_releasing_the_ais_changes_nothing(services: Services, shop: Shop) -> None:
    """A second click is no error; a closed conversation is nobody's to release."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    await services.handover.release(olga, session.conversation)
    assert await audited(services) == []
    await services.handover.close(olga, session.conversation)
    with pytest.raises(Conflict) as refusal:
        await services.handover.release(olga, session.conversation)
    assert refusal.value.code == "not_yours"


async def test_closed_and_open_again(services: Services, shop: Shop, model: WireServer) -> None:
    """A close ends the answer; the visitor's next message finds the AI, announced before the message."""
    model.script(ENDLESS)
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "Count")
        await listener.until(lambda me: shown(me) == "One two three")
        await services.handover.close(olga, session.conversation)
        await services.handover.close(olga, session.conversation)
        closed = await now(services, session)
        assert (closed.owner, closed.owner_operator_id, closed.ended_at is not None) == ("closed", None, True)
        await send(services, session, "One more thing", cid="again")
        end = await listener.end(2)
        durable = [frame for frame in after(listener, TurnStopped) if not isinstance(frame, MessageDelta)]
    assert isinstance(end, MessageCompleted)
    assert [type(frame).__name__ for frame in durable] == [
        "OwnerChanged",
        "OwnerChanged",
        "MessageCreated",
        "TurnStarted",
        "MessageCompleted",
    ]
    assert [frame.owner for frame in durable if isinstance(frame, OwnerChanged)] == ["closed", "ai"]
    opened = await now(services, session)
    assert (opened.owner, opened.ended_at) == ("ai", None)
    assert (await send(services, session, "One more thing", cid="again")).duplicate


async def test_the_visitor_asks_for_a_person(services: Services, shop: Shop, model: WireServer) -> None:
    """The running answer ends as it would; nothing else begins; operators are notified once, with the reason."""
    model.script(Answer("An answer to its end", first_byte_after_s=0.2))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        first = await send(services, session, "Hello")
        await model.wait_for_requests(1)
        second = await send(services, session, "And this?")
        assert await services.handover.request(session, reason="  It is about money ")
        assert not await services.handover.request(session)
        stop, end = await listener.end(1), await listener.end(2)
        assert (stop.turn_id, end.turn_id) == (second.turn_id, first.turn_id)
        assert isinstance(end, MessageCompleted)
        assert (await send(services, session, "Hello?")).turn_id is None
        queued = await now(services, session)
        assert (queued.owner, queued.waiting_since is not None) == ("queued", True)
        await services.handover.take(olga, session.conversation)
        taken = await now(services, session)
        assert (taken.owner, taken.waiting_since) == ("human", queued.waiting_since)
        assert not await services.handover.request(session)
    async with reading(services.pool) as conn:
        [notification] = await notifications.list_unread(conn, client_id=shop.id, limit=5)
    assert (notification.kind, notification.details) == ("handoff_requested", {"reason": "It is about money"})
    assert notification.conversation_id == session.conversation.id
    assert await audited(services) == [("conversation.request", None), ("conversation.take", olga.id)]
    assert len(model.requests) == 1


async def test_whoever_serves_the_client_gives_a_queued_one_back(
    services: Services, shop: Shop, model: WireServer
) -> None:
    """Nobody has it yet: the AI goes on, and answers what was written to the queue."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await services.handover.request(session)
        await send(services, session, "Hello?")
        await services.handover.release(olga, session.conversation)
        assert isinstance(await listener.end(), MessageCompleted)
    assert await owner(services, session) == ("ai", None)


@pytest.mark.parametrize(("reason", "code"), [("x" * 501, "too_long"), ("a\0b", "invalid")])
async def test_a_reason_that_will_not_do(services: Services, shop: Shop, reason: str, code: str) -> None:
    """It is refused with the field's name, and nobody is called."""
    session = await visit(services, shop)
    with pytest.raises(Invalid) as refusal:
        await services.handover.request(session, reason=reason)
    assert (refusal.value.code, refusal.value.field) == (code, "reason")
    assert await owner(services, session) == ("ai", None)


# --- whisper, stop, approve


async def test_a_whisper_is_told_once(services: Services, shop: Shop, model: WireServer) -> None:
    """To the next turn and to no other, as the business's own word; visitors get no frame and no message of it."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    conversation = session.conversation
    async with listening(services, session) as listener:
        await send(services, session, "Hello")
        await listener.end()
        row = await services.handover.whisper(olga, conversation, text=" Offer 10 % off ")
        assert (row.no, row.content, row.operator_name, row.turn_id) == (1, "Offer 10 % off", "Olga", None)
        await services.handover.whisper(olga, conversation, text="Be brief")
        for number in (2, 3):
            await send(services, session, "And?")
            await listener.end(number)
        payloads = b"".join(payload for _, payload in listener.payloads)
    prompts = [request.body["messages"][0]["content"] for request in model.requests]
    assert ["- Offer 10 % off\n- Be brief" in prompt for prompt in prompts] == [False, True, False]
    assert prompts[1].startswith(prompts[0][:200]) and "colleague" in prompts[1]
    assert b"Offer" not in payloads
    async with reading(services.pool) as conn:
        said = await messages.all(conn, client_id=shop.id, conversation_id=conversation.id)
    assert not any("Offer" in (each.content or "") for each in said)
    assert [action for action, _ in await audited(services)] == ["conversation.whisper"] * 2


async def test_a_whisper_waits_for_the_next_turn(services: Services, shop: Shop, model: WireServer) -> None:
    """The running turn has read its prompt; a queued one, and one after a release, hears it."""
    model.script(Answer("first", first_byte_after_s=0.2))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "one")
        await model.wait_for_requests(1)
        await send(services, session, "two")
        await services.handover.whisper(olga, session.conversation, text="Mention the garden")
        await listener.end(2)
        await services.handover.take(olga, session.conversation)
        await services.handover.whisper(olga, session.conversation, text="Say goodbye")
        await send(services, session, "three")
        await services.handover.release(olga, session.conversation)
        await listener.end(3)
    prompts = [request.body["messages"][0]["content"] for request in model.requests]
    assert ["Mention the garden" in prompt for prompt in prompts] == [False, True, False]
    assert ["Say goodbye" in prompt for prompt in prompts] == [False, False, True]


async def test_a_whisper_outlives_its_turns_instance(
    services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the turn over tells the model the same; the turn after it is not told."""
    monkeypatch.setattr(supervisor, "SWEEP_S", 0.05)
    model.script(ENDLESS)
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    await services.handover.whisper(olga, session.conversation, text="Offer 10 % off")
    async with listening(services, session) as listener:
        turn_id = (await send(services, session, "Hello")).turn_id
        await listener.frame(MessageDelta)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rows(services, "update turns set lease_until = now() - interval '1 second'")
        assert isinstance(await listener.end(), MessageCompleted)
        await send(services, session, "And?")
        await listener.end(2)
    prompts = [request.body["messages"][0]["content"] for request in model.requests]
    assert ["Offer 10 %" in prompt for prompt in prompts] == [True, True, False]


async def test_whispers_that_wait_have_a_bound(services: Services, shop: Shop, model: WireServer) -> None:
    """Together they must leave the model room; once told they make place."""
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    for number in range(WHISPERS_WAITING):
        await services.handover.whisper(olga, session.conversation, text=f"Whisper {number}")
    with pytest.raises(Conflict) as refusal:
        await services.handover.whisper(olga, session.conversation, text="One more")
    assert refusal.value.code == "whispers_waiting"
    for bad in (" ", "x" * 5001, "a\0b"):
        with pytest.raises(Invalid):
            await services.handover.whisper(olga, session.conversation, text=bad)
    await ask(services, session, "Hello")
    assert f"Whisper {WHISPERS_WAITING - 1}" in system_prompt(model)
    assert (await services.handover.whisper(olga, session.conversation, text="One more")).no == WHISPERS_WAITING + 1


async def test_an_operator_stops_an_answer(services: Services, shop: Shop, model: WireServer) -> None:
    """As the visitor can, with a line in the log; what had ended makes none."""
    model.script(ENDLESS)
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id
        assert turn_id is not None
        await listener.until(lambda me: shown(me) == "One two three")
        assert await services.handover.stop(olga, session.conversation, turn_id=turn_id)
        stop = await listener.frame(TurnStopped)
        assert not await services.handover.stop(olga, session.conversation, turn_id=turn_id)
    assert stop.message is not None and stop.message.text == "One two three"
    assert await owner(services, session) == ("ai", None)
    assert await audited(services) == [("conversation.stop", olga.id)]


@pytest.mark.parametrize("approved", [True, False])
async def test_an_operator_answers_for_the_visitor(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer, approved: bool
) -> None:
    """A tool that asks first takes an operator's word; the log says whose it was."""
    await add_tool(services, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(Answer(tools=(ToolUse("book", {"item": "table"}, "call_1"),)), Answer("Well."))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        await services.handover.approve(olga, session.conversation, call_id=question.call_id, approved=approved)
        assert isinstance(await listener.end(), MessageCompleted)
    assert len(webhook.requests) == int(approved)
    [(details,)] = await rows(services, "select details from audit_log")
    assert details == {"call": question.call_id, "tool": "book", "approved": approved}
