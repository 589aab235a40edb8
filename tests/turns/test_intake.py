"""How a visitor's message comes in: once, within the limits, and with its turn."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from server.cache.rate_limit import RateLimiter
from server.errors import Conflict, Invalid, RateLimited
from server.protocol.limits import MESSAGE_CHARACTERS
from server.protocol.visitor import MessageCompleted, MessageCreated, TurnStarted
from server.repositories import conversations, usage
from server.repositories.pool import reading
from server.services import Services
from server.turns.intake import ADDRESS_REQUESTS, VISITOR_MESSAGES, Intake, clean
from tests.support import Shop, ask, listening, new_shop, rows, send, visit
from tests.wire_servers import Answer, WireServer


@pytest.fixture
def one_minute(services: Services) -> Intake:
    """The instance's intake, with a clock that stands still: no test runs over the end of a minute."""
    limiter = RateLimiter(services.redis, clock=lambda: 1_800_000_012.0)
    return Intake(journal=services.journal, limiter=limiter, supervisor=services.supervisor, signals=services.signals)


async def counts(services: Services) -> tuple[int, int, int]:
    """Messages, turns and events in the database."""
    [row] = await rows(
        services, "select (select count(*) from messages), (select count(*) from turns), (select count(*) from events)"
    )
    messages, turns, events = row
    return messages, turns, events


async def test_a_message_is_stored_with_its_turn(services: Services, shop: Shop) -> None:
    """One transaction: the message, its turn, both events, the day's usage; then the answer comes."""
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        accepted = await send(services, session, "  Hello  ", cid="c1")
        end = await listener.end()
    assert (accepted.seq, accepted.duplicate) == (1, False)
    created, started = listener.frames[:2]
    assert isinstance(created, MessageCreated)
    assert (created.seq, created.message.text, created.message.cid) == (1, "Hello", "c1")
    assert created.message.id == accepted.message_id
    assert isinstance(started, TurnStarted)
    assert (started.seq, started.turn_id, started.gen) == (2, accepted.turn_id, 1)
    assert isinstance(end, MessageCompleted)
    assert (end.seq, end.turn_id, end.message.id) == (3, accepted.turn_id, started.message_id)
    async with reading(services.pool) as conn:
        total = await usage.current_period(conn, client_id=shop.id, today=datetime.now(UTC).date())
    assert (total.message_count, total.conversation_count) == (2, 1)


async def test_sent_again_it_is_the_same_message(services: Services, shop: Shop, model: WireServer) -> None:
    """A retry gets the same id and seq, and there is no second message, turn, event or answer."""
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        first = await send(services, session, "Hello", cid="c1")
        await listener.end()
    before = await counts(services)
    again = await send(services, session, " Hello ", cid="c1")
    assert (again.message_id, again.seq, again.duplicate) == (first.message_id, first.seq, True)
    assert await counts(services) == before == (2, 1, 3)
    assert len(model.requests) == 1


async def test_sent_twice_at_once_it_is_one_message(services: Services, shop: Shop, model: WireServer) -> None:
    """Ten tasks send the same cid in the same instant: one is stored, and every one gets its id."""
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        accepted = await asyncio.gather(*(send(services, session, "Hello", cid="c1") for _ in range(10)))
        await listener.end()
    assert len({(each.message_id, each.seq) for each in accepted}) == 1
    assert sorted(each.duplicate for each in accepted) == [False] + [True] * 9
    assert await counts(services) == (2, 1, 3)
    assert len(model.requests) == 1


async def test_a_cid_is_used_once(services: Services, shop: Shop) -> None:
    """With another text it is refused, and nothing changes."""
    session = await visit(services, shop)
    await ask(services, session, "Hello")
    [(cid,)] = await rows(services, "select cid from messages where role = 'user'")
    before = await counts(services)
    with pytest.raises(Conflict) as refusal:
        await send(services, session, "Something else", cid=cid)
    assert (refusal.value.code, refusal.value.field) == ("cid_reused", "cid")
    assert await counts(services) == before


async def test_two_conversations_may_use_one_cid(services: Services, shop: Shop) -> None:
    """Cids are made by browsers, so they only mean something within a conversation."""
    first, second = await visit(services, shop), await visit(services, shop)
    one = await send(services, first, "Hello", cid="c1")
    two = await send(services, second, "Other", cid="c1")
    assert not one.duplicate
    assert not two.duplicate
    assert one.message_id != two.message_id


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "empty"), (" \n\t ", "empty"), ("x" * (MESSAGE_CHARACTERS + 1), "too_long"), ("a\0b", "invalid")],
)
async def test_a_text_that_will_not_do(services: Services, shop: Shop, text: str, code: str) -> None:
    """It is refused with the field's name, and changes nothing."""
    session = await visit(services, shop)
    with pytest.raises(Invalid) as refusal:
        await send(services, session, text)
    assert (refusal.value.code, refusal.value.field) == (code, "text")
    assert await counts(services) == (0, 0, 0)


def test_the_longest_text_that_will_do() -> None:
    """5,000 characters count after trimming, whatever their bytes."""
    assert clean("  " + "漢" * MESSAGE_CHARACTERS + "\n") == "漢" * MESSAGE_CHARACTERS


async def test_the_plans_month(services: Services, model: WireServer) -> None:
    """At the plan's limit a message is refused before a model is called; last month's messages do not count."""
    shop = await new_shop(services, plan_type="free")
    session = await visit(services, shop)
    today = datetime.now(UTC).date()
    async with reading(services.pool) as conn:
        last_month = today.replace(day=1) - timedelta(days=1)
        await usage.record(conn, client_id=shop.id, day=last_month, messages=5_000)
        await usage.record(conn, client_id=shop.id, day=today, messages=998)
    assert isinstance(await ask(services, session, "the 999th, and the 1,000th answers it"), MessageCompleted)
    before = await counts(services)
    with pytest.raises(RateLimited) as refusal:
        await send(services, session, "One more")
    assert refusal.value.code == "month_over"
    assert "1,000 messages" in refusal.value.message
    assert await counts(services) == before
    assert len(model.requests) == 1


async def test_a_month_over_still_knows_its_duplicates(services: Services) -> None:
    """The retry of a message that was the last one allowed is answered as before."""
    shop = await new_shop(services, plan_type="free")
    session = await visit(services, shop)
    first = await send(services, session, "Hello", cid="c1")
    async with reading(services.pool) as conn:
        await usage.record(conn, client_id=shop.id, day=datetime.now(UTC).date(), messages=1_000)
    assert (await send(services, session, "Hello", cid="c1")).message_id == first.message_id


@pytest.mark.parametrize("limit", [("visitor", VISITOR_MESSAGES, 1), ("address", ADDRESS_REQUESTS, 7)])
async def test_the_minutes_limits(
    services: Services, one_minute: Intake, shop: Shop, limit: tuple[str, int, int]
) -> None:
    """A visitor and an address have limits of their own; the refusal says which, and when to come back."""
    name, most, visitors = limit
    sessions = [await visit(services, shop) for _ in range(visitors)]
    for number in range(most):
        await one_minute.accept(
            sessions[number % visitors], cid=f"c{number}", text="Hi", address="192.0.2.1", channel="widget"
        )
    with pytest.raises(RateLimited) as refusal:
        await one_minute.accept(
            sessions[most % visitors], cid="last", text="One more", address="192.0.2.1", channel="widget"
        )
    assert refusal.value.code == f"rate_limited_{name}"
    assert refusal.value.retry_after_ms == 48_001
    [(kept,)] = await rows(services, "select count(*) from messages where content = 'One more'")
    assert kept == 0


async def test_a_clients_minute_is_its_plans(services: Services, one_minute: Intake) -> None:
    """60 requests a minute on the free plan, over all its visitors and addresses."""
    shop = await new_shop(services, plan_type="free")
    for number in range(60):
        session = await visit(services, shop)
        await one_minute.accept(session, cid="c", text="Hi", address=f"192.0.2.{number}", channel="widget")
    with pytest.raises(RateLimited) as refusal:
        await one_minute.accept(session, cid="d", text="Hi", address="192.0.2.99", channel="widget")
    assert refusal.value.code == "rate_limited_client"


async def test_a_message_while_an_answer_runs_waits(services: Services, shop: Shop, model: WireServer) -> None:
    """It is stored at once, and answered when the running answer is over; never two at the same time."""
    model.script(Answer("first", first_byte_after_s=0.3))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        one = await send(services, session, "one")
        await model.wait_for_requests(1)
        two = await send(services, session, "two")
        assert (two.seq, two.duplicate) == (3, False)
        assert two.turn_id is not None
        [(status,)] = await rows(services, "select status from turns where public_id = %s", two.turn_id)
        assert status == "queued"
        await listener.end(2)
    durable = [frame for frame in listener.frames if isinstance(frame, MessageCreated | TurnStarted | MessageCompleted)]
    assert [(type(frame).__name__, getattr(frame, "turn_id", None)) for frame in durable] == [
        ("MessageCreated", None),
        ("TurnStarted", one.turn_id),
        ("MessageCreated", None),
        ("MessageCompleted", one.turn_id),
        ("TurnStarted", two.turn_id),
        ("MessageCompleted", two.turn_id),
    ]
    assert [frame.seq for frame in durable] == [1, 2, 3, 4, 5, 6]


async def test_a_question_never_overtakes_one_that_waits(services: Services, shop: Shop, model: WireServer) -> None:
    """Between the end of one turn and the begin of the next, the conversation has a queue and nothing that runs."""
    session = await visit(services, shop)
    model.script(Answer("first", tokens_per_s=1))
    async with listening(services, session) as listener:
        one = await send(services, session, "one")
        await model.wait_for_requests(1)
        two = await send(services, session, "two")
        # As right after the commit of the first turn's end.
        await rows(services, "update turns set status = 'done', lease_until = null where public_id = %s", one.turn_id)
        three = await send(services, session, "three")
        started = [await listener.frame(TurnStarted, nth=nth) for nth in (2, 3)]
    assert [frame.turn_id for frame in started] == [two.turn_id, three.turn_id]


@pytest.mark.parametrize("owner", ["human", "queued"])
async def test_nobody_but_a_human_answers(services: Services, shop: Shop, model: WireServer, owner: str) -> None:
    """While an operator owns the conversation, or is called for, a message makes no turn."""
    session = await visit(services, shop)
    async with reading(services.pool) as conn:
        await conversations.set_owner(conn, client_id=shop.id, conversation_id=session.conversation.id, owner=owner)
    accepted = await send(services, session, "Is anybody there?")
    assert (accepted.turn_id, accepted.duplicate) == (None, False)
    assert await counts(services) == (1, 0, 1)
    assert model.requests == []


async def test_usage_counts_for_the_day_in_utc(services: Services, shop: Shop) -> None:
    """Whatever time zone the database speaks in: the plan's month begins on the 1st, UTC."""
    here = datetime.now(UTC)
    # Far enough that it is another day there.
    zone = "Etc/GMT-14" if here.hour >= 11 else "Etc/GMT+12"
    [(name,)] = await rows(services, "select current_database()")
    await rows(services, f"alter database \"{name}\" set timezone to '{zone}'")
    await services.pool.drain()
    await ask(services, await visit(services, shop), "Hi")
    days: list[tuple[date]] = await rows(services, "select date from api_usage")
    assert days == [(datetime.now(UTC).date(),)]
