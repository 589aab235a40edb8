"""What a visitor may do to an answer: stop it, rate it."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from server.errors import NotFound
from server.llm import tokens
from server.llm.pricing import seed_prices
from server.protocol.visitor import FeedbackRecorded, MessageCompleted, MessageDelta, TurnStarted, TurnStopped
from server.repositories import messages, prices, turns, usage
from server.repositories.pool import reading
from server.repositories.prices import PriceRow
from server.repositories.turns import Turn
from server.services import Services, open_services
from server.settings import Settings
from tests.support import MODEL, Shop, ask, eventually, listening, new_shop, rows, send, visit
from tests.wire_servers import Answer, WireServer

# An answer that says three pieces and then nothing more, until its reader goes away.
ENDLESS = Answer(tokens=("One", " two", " three", " four"), stall_after=3)


async def turn_row(services: Services, shop: Shop, turn_id: str | None) -> Turn:
    """A turn as the database has it."""
    assert turn_id is not None
    async with reading(services.pool) as conn:
        row = await turns.find(conn, client_id=shop.id, public_id=turn_id)
    assert row is not None
    return row


async def test_stop_keeps_what_was_said(services: Services, shop: Shop, model: WireServer) -> None:
    """The part that was streamed is the answer, marked as stopped; its cost is accounted; the model is hung up on."""
    async with reading(services.pool) as conn:
        await prices.upsert_all(
            conn, prices=[msgspec.convert(price, PriceRow, from_attributes=True) for price in seed_prices()]
        )
    model.script(ENDLESS)
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id
        assert turn_id is not None
        await listener.until(
            lambda me: "".join(f.text for f in me.frames if isinstance(f, MessageDelta)) == ENDLESS_SAID
        )
        assert await services.commands.stop(session, turn_id=turn_id)
        end = await listener.end()
    await model.wait_for_abandoned()
    assert isinstance(end, TurnStopped)
    assert end.message is not None
    assert (end.turn_id, end.message.text, end.message.stopped) == (turn_id, ENDLESS_SAID, True)
    assert end.message.id == (await listener.frame(TurnStarted)).message_id

    row = await turn_row(services, shop, turn_id)
    assert (row.status, row.gen, row.lease_until) == ("stopped", 2, None)
    async with reading(services.pool) as conn:
        [_, answer] = await messages.all(conn, client_id=shop.id, conversation_id=session.conversation.id)
        total = await usage.current_period(conn, client_id=shop.id, today=datetime.now(UTC).date())
    assert (answer.content, answer.stopped, answer.model) == (ENDLESS_SAID, True, MODEL)
    assert answer.tokens_output == tokens.count_text(MODEL, ENDLESS_SAID)
    assert answer.tokens_input > 100, "the prompt was read, so it costs"
    assert answer.cost > Decimal(0)
    assert (total.tokens_input, total.tokens_output, total.message_count, total.cost_estimate) == (
        answer.tokens_input,
        answer.tokens_output,
        2,
        answer.cost,
    )

    async def gone() -> bool:
        return not await services.redis.exists(f"live:{turn_id}:1")

    await eventually(gone, "the partial text is deleted")


ENDLESS_SAID = "One two three"


async def test_a_stop_is_heard_by_every_instance(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """The visitor's socket may be on another instance than the turn; what was said comes from Redis then."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    async with open_services(settings) as other, listening(other, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id
        assert turn_id is not None
        await listener.until(
            lambda me: "".join(f.text for f in me.frames if isinstance(f, MessageDelta)) == ENDLESS_SAID
        )
        assert await other.commands.stop(session, turn_id=turn_id)
        await model.wait_for_abandoned()
        end = await listener.end()

        async def gone() -> bool:
            return not await services.redis.exists(f"live:{turn_id}:1")

        await eventually(gone, "the partial text is deleted")
        assert await services.recoverer.live(session.conversation) is None
    assert isinstance(end, TurnStopped)
    assert end.message is not None
    assert end.message.text == ENDLESS_SAID


async def test_a_stop_before_the_first_word(services: Services, shop: Shop, model: WireServer) -> None:
    """There is nothing to keep, so there is no answer, and the next question is answered."""
    model.script(Answer("late", first_byte_after_s=30))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Hello")
        await model.wait_for_requests(1)
        assert await services.commands.stop(session, turn_id=accepted.turn_id or "")
        end = await listener.end()
    assert isinstance(end, TurnStopped)
    assert end.message is None
    assert isinstance(await ask(services, session, "Again"), MessageCompleted)


async def test_a_stop_begins_the_turn_that_waits(services: Services, shop: Shop, model: WireServer) -> None:
    """A question that came meanwhile is answered at once."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        one = await send(services, session, "one")
        await listener.frame(MessageDelta)
        two = await send(services, session, "two")
        assert await services.commands.stop(session, turn_id=one.turn_id or "")
        stopped, completed = await listener.end(1), await listener.end(2)
    assert stopped.turn_id == one.turn_id
    assert isinstance(completed, MessageCompleted)
    assert completed.turn_id == two.turn_id


async def test_a_turn_that_waits_can_be_stopped(services: Services, shop: Shop, model: WireServer) -> None:
    """It never begins; the one that runs goes on."""
    model.script(Answer("first answer", first_byte_after_s=0.3))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        one = await send(services, session, "one")
        await model.wait_for_requests(1)
        two = await send(services, session, "two")
        assert await services.commands.stop(session, turn_id=two.turn_id or "")
        stopped, completed = await listener.end(1), await listener.end(2)
        await send(services, session, "three")
        await listener.end(3)
    assert isinstance(stopped, TurnStopped)
    assert (stopped.turn_id, stopped.message) == (two.turn_id, None)
    assert isinstance(completed, MessageCompleted)
    assert completed.turn_id == one.turn_id
    assert [request.question for request in model.requests] == ["one", "three"]


async def test_stopped_twice_it_is_stopped_once(services: Services, shop: Shop, model: WireServer) -> None:
    """The second stop, and one that comes after the end, say that there was nothing to stop, and change nothing."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.frame(MessageDelta)
        assert await services.commands.stop(session, turn_id=accepted.turn_id or "")
        assert not await services.commands.stop(session, turn_id=accepted.turn_id or "")
        assert (await turn_row(services, shop, accepted.turn_id)).gen == 2
        done = await send(services, session, "Hello")
        completed = await listener.end(2)
        assert not await services.commands.stop(session, turn_id=done.turn_id or "")
    assert isinstance(completed, MessageCompleted)
    assert len(listener.of(TurnStopped)) == 1
    assert await rows(services, "select count(*) from events where type = 'turn.stopped'") == [(1,)]


async def test_nobody_stops_somebody_elses_turn(services: Services, shop: Shop, model: WireServer) -> None:
    """Neither another session of the client, nor another client, nor with an id that is none."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    neighbour = await visit(services, shop)
    stranger = await visit(services, await new_shop(services, "bakery"))
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.frame(MessageDelta)
        for other in (neighbour, stranger):
            assert not await services.commands.stop(other, turn_id=accepted.turn_id or "")
        assert not await services.commands.stop(session, turn_id="trn_none")
    assert (await turn_row(services, shop, accepted.turn_id)).status == "running"


@pytest.mark.parametrize("comment", [None, "Very kind"])
async def test_an_answer_is_rated(services: Services, shop: Shop, comment: str | None) -> None:
    """A later rating replaces an earlier one; each is an event."""
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Hello")
        end = await listener.end()
        assert isinstance(end, MessageCompleted)
        await services.commands.rate(session, message_id=end.message.id, rating="up", comment=None)
        await services.commands.rate(session, message_id=end.message.id, rating="down", comment=comment)
        recorded = listener.of(FeedbackRecorded)
    assert recorded == [
        FeedbackRecorded(seq=4, message_id=end.message.id, rating="up"),
        FeedbackRecorded(seq=5, message_id=end.message.id, rating="down"),
    ]
    kept = await rows(services, "select rating, rating_comment from messages where role = 'assistant'")
    assert kept == [("down", comment)]


async def test_only_an_answer_of_ones_own_is_rated(services: Services, shop: Shop) -> None:
    """A question, another conversation's answer and an unknown id get the same refusal, and change nothing."""
    session, other = await visit(services, shop), await visit(services, shop)
    end = await ask(services, other, "Hello")
    assert isinstance(end, MessageCompleted)
    question = (await send(services, session, "Hello")).message_id
    for message_id in (question, end.message.id, "msg_none"):
        with pytest.raises(NotFound) as refusal:
            await services.commands.rate(session, message_id=message_id, rating="up", comment=None)
        assert (refusal.value.field, refusal.value.message) == ("message_id", "no such answer in this conversation")
    assert await rows(services, "select count(*) from messages where rating is not null") == [(0,)]
    assert await rows(services, "select count(*) from events where type = 'feedback.recorded'") == [(0,)]
