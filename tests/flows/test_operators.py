"""Operators: they see an answer as it is made, take over in the middle of a word, and come back after a cut."""

import asyncio
import time

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from server.protocol import VERSION
from server.protocol.operator import (
    CommandDone,
    ConversationClose,
    ConversationFrame,
    ConversationUnwatch,
    ConversationWatched,
    OperatorError,
    OperatorHello,
    OperatorMessageSend,
    OperatorNack,
    OperatorTurnStop,
    OperatorTypingSet,
    OperatorWelcome,
    TurnTrace,
    WhisperRecorded,
    WhisperSend,
)
from server.protocol.visitor import (
    Ack,
    Drain,
    Error,
    HandoffRequest,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    Nack,
    OwnerChanged,
    Pong,
    Snapshot,
    ToVisitor,
    TurnStarted,
    TurnStopped,
    Typing,
    TypingSet,
    Welcome,
)
from server.settings import Settings
from tests.flows.console import console, dialled, staff_of
from tests.flows.support import Desk, Reader, open_desk
from tests.flows.view import View
from tests.wire_servers import Answer, WireServer

ENDLESS = Answer("One two three four five six", stall_after=4)
# Frames that are a visitor's own socket's: nobody else gets them.
OWN = (Welcome, Snapshot, Ack, Nack, Error, Drain, Pong)


def shared(frames: list[ToVisitor], payloads: list[bytes]) -> list[bytes]:
    """What everybody who reads the conversation got, to the byte."""
    return [raw for raw, frame in zip(payloads, frames, strict=True) if not isinstance(frame, OWN)]


def of(tab: Reader) -> list[bytes]:
    return shared(tab.frames, tab.payloads)


async def test_an_operator_sees_each_token(two: Desk, model: WireServer) -> None:
    """On another instance, byte by byte what the visitor gets, and beside it what the AI works with."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    text = 'bread é שלום 🙂 \\"}] ' * 12
    model.script(Answer(text, tokens_per_s=150), Answer("Short.", tokens_per_s=50))
    async with two.visit(shop) as (tab, welcome), console(sign, on=1) as desk:
        await tab.next(Snapshot)
        seen = await desk.watch(welcome.conversation_id)
        await desk.sees(welcome.conversation_id, Snapshot)
        for _ in range(2):
            await tab.say("Tell me everything")
            await tab.end()
            await desk.sees(welcome.conversation_id, MessageCompleted)
        assert shared(seen.frames, seen.payloads) == of(tab)
        assert len(seen.of(MessageDelta)) > 5 and len(seen.events()) == 6
        assert seen.view.texts == tab.view.texts
        trace = desk.of(TurnTrace)[0]
        assert trace.turn_id == tab.of(TurnStarted)[0].turn_id and trace.prompt_tokens > 0
        assert not [raw for raw in tab.payloads if b'"turn.trace"' in raw], "only operators see what the AI works with"
        assert (await desk.settle()).heads == {welcome.conversation_id: 6}


async def test_who_begins_to_watch_mid_answer_gets_what_was_said(two: Desk, model: WireServer) -> None:
    """The snapshot has the text so far, and the rest follows it without a gap."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    model.script(ENDLESS)
    async with two.visit(shop) as (tab, welcome), console(sign, on=1) as desk:
        await tab.say("Count")
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == "One two three four")
        await desk.watch(welcome.conversation_id)
        snapshot = await desk.sees(welcome.conversation_id, Snapshot)
        assert snapshot.live is not None and snapshot.live.text == "One two three four"
        assert snapshot.messages is not None and [each.text for each in snapshot.messages] == ["Count"]


async def test_of_two_who_take_it_in_the_middle_of_a_word_one_does(two: Desk, model: WireServer) -> None:
    """The other is told who has it; what the AI had said is kept, and it says nothing more."""
    shop = await two.shop()
    ana, ben = await staff_of(two, shop, name="Ana"), await staff_of(two, shop, name="Ben")
    model.script(ENDLESS)
    async with (
        two.visit(shop) as (tab, welcome),
        console(ana) as hers,
        console(ben, on=1) as his,
    ):
        at = welcome.conversation_id
        await asyncio.gather(hers.watch(at), his.watch(at))
        await tab.say("Count")
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == "One two three four")
        started = tab.of(TurnStarted)[0]
        answers = await asyncio.gather(hers.take(at), his.take(at))
        assert sorted(type(each).__name__ for each in answers) == ["CommandDone", "OperatorError"]
        winner, loser = (hers, his) if isinstance(answers[0], CommandDone) else (his, hers)
        refusal = next(each for each in answers if isinstance(each, OperatorError))
        assert refusal.code == "taken" and winner.sign.operator.name in refusal.message

        stopped = await tab.next(TurnStopped)
        assert stopped.turn_id == started.turn_id
        assert stopped.message is not None and stopped.message.text == "One two three four"
        changed = await tab.next(OwnerChanged)
        assert changed.owner == "human" and changed.operator is not None
        assert changed.operator.name == winner.sign.operator.name
        for each in (hers, his):
            assert (await each.settle()).heads[at] == changed.seq
            assert each.of_conversation[at].events() == tab.events()
        await model.wait_for_abandoned()

        assert isinstance(await winner.take(at), CommandDone), "one's own is taken again without a word"
        cid = "from-the-other"
        await loser.send(OperatorMessageSend(conversation_id=at, cid=cid, text="Me too"))
        assert (await loser.next(OperatorNack)).code == "not_yours"
        await tab.settle()
        assert tab.view.seq == changed.seq
    assert await two.rows("select status, gen from turns") == [("stopped", 2)]


async def test_a_person_answers_and_gives_it_back(desk: Desk, model: WireServer) -> None:
    """Taken, answered, released: the AI answers again, knows what was whispered to it, and the visitor does not."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop, name="Ana")
    async with desk.visit(shop) as (tab, welcome), console(sign) as hers:
        at = welcome.conversation_id
        await hers.watch(at)
        await hers.take(at)
        await tab.next(OwnerChanged)
        await tab.say("Is anybody there?")
        ack = await hers.say(at, "  I am.  ")
        said = await tab.next(MessageCreated, lambda frame: frame.message.role == "operator")
        assert (said.message.id, said.seq, said.message.text) == (ack.message_id, ack.seq, "I am.")
        assert said.message.author is not None and said.message.author.name == "Ana"
        assert model.requests == [], "the AI keeps silent"

        again = OperatorMessageSend(conversation_id=at, cid=said.message.cid or "", text="I am.")
        await hers.send(again)
        assert (await hers.next(type(ack))).message_id == ack.message_id, "the same cid is the same message"

        assert isinstance(await hers.do(WhisperSend(conversation_id=at, text="Offer free delivery.")), CommandDone)
        whisper = hers.of(WhisperRecorded)[-1]
        assert (whisper.no, whisper.text) == (1, "Offer free delivery.")
        assert whisper.operator is not None and whisper.operator.name == "Ana"
        await hers.release(at)
        assert (await tab.next(OwnerChanged)).owner == "ai"
        await tab.say("And the delivery?")
        await tab.end()
        assert "Offer free delivery." in str(model.requests[0].body)
        await tab.say("Thanks")
        await tab.end()
        assert "Offer free delivery." not in str(model.requests[1].body), "a whisper is told to one turn"
        assert not [raw for raw in tab.payloads if b"free delivery" in raw]

        assert isinstance(await hers.do(ConversationClose(conversation_id=at)), CommandDone)
        assert (await tab.next(OwnerChanged)).owner == "closed"
        await tab.say("One more thing")
        await tab.end()
        assert [each.owner for each in tab.of(OwnerChanged)] == ["human", "ai", "closed", "ai"]
        async with console(sign) as late:
            await late.watch(at)
            snapshot = await late.sees(at, Snapshot)
            assert snapshot.messages is not None
            assert [each.author.name for each in snapshot.messages if each.author] == ["Ana"]
            assert [each.text for each in late.of(ConversationWatched)[0].whispers] == ["Offer free delivery."]


async def test_an_operator_stops_an_answer(desk: Desk, model: WireServer) -> None:
    """As a visitor may; what was said is kept. Once more is no error: there is nothing left to do."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop)
    model.script(ENDLESS)
    async with desk.visit(shop) as (tab, welcome), console(sign) as hers:
        await tab.say("Count")
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == "One two three four")
        stop = OperatorTurnStop(conversation_id=welcome.conversation_id, turn_id=tab.of(TurnStarted)[0].turn_id)
        assert isinstance(await hers.do(stop), CommandDone)
        stopped = await tab.next(TurnStopped)
        assert stopped.message is not None and stopped.message.text == "One two three four"
        assert isinstance(await hers.do(stop), CommandDone)


async def test_who_was_cut_off_gets_what_was_missed(two: Desk, model: WireServer) -> None:
    """By epoch and seq, event by event, on either instance; from another life of the conversation, all of it."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    async with two.visit(shop) as (tab, welcome):
        at = welcome.conversation_id
        async with console(sign) as first:
            seen = await first.watch(at)
            await tab.say("one")
            await tab.end()
            await first.sees(at, MessageCompleted)
            epoch = first.of(ConversationWatched)[0].epoch
            first.cut()
        await tab.say("two")
        await tab.end()
        for on in (0, 1):
            view = View()
            view.seq = seen.view.seq
            async with console(sign, on=on) as back:
                again = await back.watch(at, view=view, epoch=epoch)
                await back.settle()
                assert back.of(ConversationWatched)[0].resumed
                assert seen.events() + again.events() == tab.events()
        async with console(sign) as other:
            await other.watch(at, epoch="ep_of_another_life")
            assert not other.of(ConversationWatched)[0].resumed
            snapshot = await other.sees(at, Snapshot)
            assert snapshot.up_to_seq == 6


async def test_a_ping_tells_the_heads_and_fills_a_gap(desk: Desk) -> None:
    """An event that was committed and never published, as when a process dies between the two."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop)
    async with desk.visit(shop) as (_, welcome), console(sign) as hers:
        at = welcome.conversation_id
        await hers.watch(at)
        await hers.sees(at, Snapshot)
        await desk.rows(
            """
            with one as (
                insert into events (conversation_id, seq, client_id, type, payload)
                select id, 1, client_id, 'owner.changed',
                       '{"type":"owner.changed","seq":1,"owner":"human"}'::json from conversations returning seq
            )
            update conversations set last_seq = 1
            """
        )
        assert (await hers.settle()).heads == {at: 1}
        assert (await hers.sees(at, OwnerChanged)).seq == 1


async def test_one_socket_watches_many_and_lets_go(desk: Desk) -> None:
    """Each frame says whose it is; after `conversation.unwatch` nothing more comes of that one."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop)
    async with (
        desk.visit(shop) as (one, first),
        desk.visit(shop) as (two, second),
        console(sign) as hers,
    ):
        await hers.watch(first.conversation_id)
        await hers.watch(second.conversation_id)
        await asyncio.gather(one.say("I am one"), two.say("I am two"))
        await asyncio.gather(one.end(), two.end())
        heads = (await hers.settle()).heads
        assert heads == {first.conversation_id: 3, second.conversation_id: 3}
        assert hers.of_conversation[first.conversation_id].events() == one.events()
        assert hers.of_conversation[second.conversation_id].events() == two.events()
        await hers.do(ConversationUnwatch(conversation_id=first.conversation_id))
        before = len(hers.of(ConversationFrame))
        await one.say("Once more")
        await one.end()
        assert (await hers.settle()).heads == {second.conversation_id: 3}
        assert len(hers.of(ConversationFrame)) == before


async def test_typing_is_seen_by_the_other_side(two: Desk) -> None:
    """A visitor's by who watches, an operator's by the visitor once the operator has taken the conversation."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    async with two.visit(shop) as (tab, welcome), console(sign, on=1) as hers:
        at = welcome.conversation_id
        await hers.watch(at)
        await tab.settle()
        seen = asyncio.create_task(hers.sees(at, Typing))
        while not seen.done():
            # The visitor's instance hears by Redis that somebody watches. Until it has, nobody sees one type.
            await tab.send(TypingSet(on=True))
            await asyncio.wait({seen}, timeout=0.1)
        assert seen.result() == Typing(who="visitor", on=True)
        early = await hers.do(OperatorTypingSet(conversation_id=at, on=True))
        assert isinstance(early, OperatorError) and early.code == "not_yours"
        await hers.take(at)
        typing = asyncio.create_task(tab.next(Typing))
        while not typing.done():
            # What is typed faster than twice a second is dropped.
            await hers.send(OperatorTypingSet(conversation_id=at, on=True))
            await asyncio.wait({typing}, timeout=0.1)
        assert typing.result() == Typing(who="operator", on=True)


async def test_a_visitor_asks_for_a_person(desk: Desk, model: WireServer) -> None:
    """The conversation waits for one, the AI keeps silent, and asking twice is asking once."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await tab.say("Hello")
        await tab.end()
        await tab.send(HandoffRequest(reason="I want a person"), HandoffRequest())
        assert (await tab.next(OwnerChanged)).owner == "queued"
        await tab.say("Is anybody there?")
        await tab.settle()
        assert len(tab.of(OwnerChanged)) == 1 and tab.of(Error) == []
    assert len(model.requests) == 1
    assert await desk.rows("select kind, details ->> 'reason' from notifications") == [
        ("handoff_requested", "I want a person")
    ]
    assert await desk.rows("select owner, waiting_since is not null from conversations") == [("queued", True)]


# --- who may come in


@pytest.mark.parametrize("how", ["signed out", "disabled"])
async def test_a_revoked_operator_is_out_within_five_seconds(desk: Desk, how: str) -> None:
    """The socket that the session opened is closed with 4401; another operator's stays."""
    shop = await desk.shop()
    ana, ben = await staff_of(desk, shop), await staff_of(desk, shop)
    async with console(ana) as hers, console(ben) as his:
        if how == "signed out":
            await ana.staff.sign_out(ana.token)
        else:
            await desk.rows("update operators set status = 'disabled' where id = %s", ana.operator.id)
        began = time.monotonic()
        assert await hers.closed() == 4401
        assert time.monotonic() - began < 5.0
        await his.settle()


async def test_an_operator_with_other_rights_begins_anew(desk: Desk) -> None:
    """Moved to another client, one is told to come back, and sees nothing of the first any more."""
    shop, other = await desk.shop(), await desk.shop()
    sign = await staff_of(desk, shop)
    async with desk.visit(shop) as (_, welcome), console(sign) as hers:
        await hers.watch(welcome.conversation_id)
        await desk.rows("update operators set client_id = %s where id = %s", other.id, sign.operator.id)
        assert await hers.closed() == 4002
        async with console(sign) as back:
            refused = await back.take(welcome.conversation_id)
            assert isinstance(refused, OperatorError) and refused.code == "not_found"


async def test_a_ticket_opens_one_socket(two: Desk) -> None:
    """Used, made up or left too long, it opens none, on either instance."""
    shop = await two.shop()
    sign = await staff_of(two, shop)
    ticket, late = await sign.ticket(), await sign.ticket()
    async with dialled(sign) as first:
        await first.send(OperatorHello(v=VERSION, ticket=ticket))
        welcome = await first.next(OperatorWelcome)
        assert (welcome.operator.id, welcome.role, welcome.client_id) == (sign.operator.id, "operator", shop.id)
        await two.rows("update operator_tickets set expires_at = now() - interval '1 second'")
        for on in (0, 1):
            for given in (ticket, "wst_made_up", late):
                async with dialled(sign, on=on) as second:
                    await second.send(OperatorHello(v=VERSION, ticket=given))
                    assert (await second.next(OperatorError)).code == "bad_ticket"
                    assert await second.closed() == 4401
        await first.settle()


@pytest.mark.parametrize("origin", ["https://shop.example", "null", "", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_another_page_gets_no_socket(desk: Desk, origin: str) -> None:
    """Not even with a good ticket: 403 before anything is said."""
    sign = await staff_of(desk, await desk.shop())
    with pytest.raises(InvalidStatus) as refused:
        async with dialled(sign, origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_a_shops_own_page_gets_no_operators_socket(desk: Desk) -> None:
    """A website that is allowed to chat is not one that may answer."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop)
    with pytest.raises(InvalidStatus):
        async with dialled(sign, origin=shop.origin):
            pass


async def test_the_page_of_the_public_address_alone(settings: Settings) -> None:
    """Where it is known, that of the console's own host and no other, however the server is reached."""
    async with open_desk(msgspec.structs.replace(settings, public_url="https://desk.example/front")) as desk:
        sign = await staff_of(desk, await desk.shop())
        async with dialled(sign, origin="https://desk.example") as hers:
            await hers.send(OperatorHello(v=VERSION, ticket=await sign.ticket()))
            await hers.next(OperatorWelcome)
        for origin in (
            desk.url,
            "https://desk.example:444",
            "http://desk.example",
            "https://desk.example.evil.example",
        ):
            with pytest.raises(InvalidStatus):
                async with dialled(sign, origin=origin):
                    pass
