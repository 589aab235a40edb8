"""What a visitor may do besides asking: stop, go on talking, send again, rate; and what a limit does."""

import asyncio

import pytest
import redis.asyncio

from server import access
from server.protocol.visitor import (
    Ack,
    Error,
    FeedbackGive,
    FeedbackRecorded,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    MessageSend,
    Nack,
    Snapshot,
    TurnStarted,
    TurnStop,
    TurnStopped,
)
from tests.flows.support import Desk, Tab, new_cid, use_up
from tests.wire_servers import Answer, WireServer


async def until_said(tab: Tab, text: str) -> TurnStarted:
    """Reads until the running answer says exactly this much."""
    await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == text)
    return tab.of(TurnStarted)[-1]


@pytest.mark.parametrize("stopper", [0, 1], ids=["the same process", "the other process"])
async def test_stop_keeps_what_was_said(two: Desk, model: WireServer, stopper: int) -> None:
    """Whichever process hears it: both tabs see the stop, the text stays, the model's stream ends, talk goes on."""
    shop = await two.shop()
    model.script(Answer("One two three four five six", stall_after=4))
    async with two.visit(shop) as (here, first), two.visit(shop, on=1, proof=first.session) as (there, _):
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        await here.say("Count")
        started, _ = await asyncio.gather(*(until_said(tab, "One two three four") for tab in (here, there)))
        await (here, there)[stopper].send(TurnStop(turn_id=started.turn_id))
        stopped, also = await asyncio.gather(here.next(TurnStopped), there.next(TurnStopped))
        await model.wait_for_abandoned()
        assert stopped == also and stopped.message is not None
        assert (stopped.message.text, stopped.message.stopped) == ("One two three four", True)
        assert stopped.message.id == started.message_id
        # Again, and of a turn that never was: nothing happens.
        await there.send(TurnStop(turn_id=started.turn_id), TurnStop(turn_id="trn_nobody"))
        await there.say("And now?")
        ends = await asyncio.gather(here.next(MessageCompleted), there.next(MessageCompleted))
        assert ends[0] == ends[1] and ends[0].message.text == "You said: And now?"
        assert here.of(Error) == there.of(Error) == []
    asked = model.requests[-1].body["messages"]
    assert [message["content"] for message in asked[1:]] == ["Count", "One two three four", "And now?"]
    assert await two.rows("select status, gen from turns order by id") == [("stopped", 2), ("done", 1)]
    assert await two.rows("select content, stopped from messages where role = 'assistant' order by id") == [
        ("One two three four", True),
        ("You said: And now?", False),
    ]


async def test_a_message_during_an_answer_is_answered_next(desk: Desk, model: WireServer) -> None:
    """It is acknowledged at once, waits for its turn, and the model then knows the first answer."""
    shop = await desk.shop()
    model.script(Answer("One two three four five six", tokens_per_s=5))
    async with desk.visit(shop) as (tab, _):
        await tab.say("first")
        await tab.next(MessageDelta)
        await tab.say("second")
        assert tab.of(MessageCompleted) == []
        first = await tab.next(MessageCompleted)
        second = await tab.next(MessageCompleted)
    assert first.message.text == "One two three four five six"
    assert second.message.text == "You said: second"
    assert [type(frame).__name__ for frame in tab.frames if hasattr(frame, "seq") and type(frame) is not Ack] == [
        "MessageCreated",
        "TurnStarted",
        "MessageCreated",
        "MessageCompleted",
        "TurnStarted",
        "MessageCompleted",
    ]
    asked = model.requests[1].body["messages"]
    assert [message["content"] for message in asked[1:]] == ["first", "One two three four five six", "second"]


async def test_a_message_whose_ack_was_lost_is_taken_once(desk: Desk, model: WireServer) -> None:
    """The widget asks which cids are stored, sends again all the same, and there is one message and one answer."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        await tab.send(MessageSend(cid="c1", text="Hello"))
        await model.wait_for_requests(1)
        tab.cut()
    async with desk.visit(shop, proof=first.session, pending=["c1", "c2"]) as (tab, welcome):
        assert welcome.pending == {"c1": 1, "c2": None}
        acks = [await tab.say("Hello", cid="c1") for _ in range(3)]
        assert {ack.seq for ack in acks} == {1} and len({ack.message_id for ack in acks}) == 1
        await tab.shows("You said: Hello")
        await tab.say("Hello again", cid="c2")
        await tab.end()
    assert [request.question for request in model.requests] == ["Hello", "Hello again"]
    assert await desk.rows("select cid from messages where role = 'user' order by id") == [("c1",), ("c2",)]
    assert await desk.rows("select count(*) from turns") == [(2,)]


async def test_the_same_message_sent_by_two_tabs_at_once_is_one(two: Desk, model: WireServer) -> None:
    """Two processes get the same cid in the same instant: one message, one turn, the same ack twice."""
    shop = await two.shop()
    async with two.visit(shop) as (here, first), two.visit(shop, on=1, proof=first.session) as (there, _):
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        for number in range(10):
            acks = await asyncio.gather(*(tab.say(f"Hello {number}", cid=f"c{number}") for tab in (here, there)))
            assert acks[0] == acks[1]
            await asyncio.gather(*(tab.shows(f"You said: Hello {number}") for tab in (here, there)))
    assert await two.rows("select count(*) from messages where role = 'user'") == [(10,)]
    assert len(model.requests) == 10


async def test_a_cid_means_one_text(desk: Desk, model: WireServer) -> None:
    """Used for another text it is refused, and nothing changes."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await tab.say("Hello", cid="c1")
        await tab.end()
        before = await desk.fingerprint()
        await tab.send(MessageSend(cid="c1", text="Something else"))
        nack = await tab.next(Nack)
        assert (nack.cid, nack.code, nack.retry_after_ms) == ("c1", "cid_reused", None)
        assert await desk.fingerprint() == before
        # Trimmed, it is the same text.
        assert (await tab.say(" Hello ", cid="c1")).seq == 1
    assert len(model.requests) == 1


async def test_a_cid_belongs_to_its_conversation(desk: Desk) -> None:
    """Another visitor may use the same one."""
    shop = await desk.shop()
    for text in ("Hello", "Bonjour"):
        async with desk.visit(shop) as (tab, _):
            await tab.say(text, cid="c1")
            assert (await tab.next(MessageCompleted)).message.text == f"You said: {text}"


async def test_feedback_is_recorded_and_shows_in_the_history(two: Desk) -> None:
    """Every tab hears of it, a later one replaces it, the history has it."""
    shop = await two.shop()
    async with two.visit(shop) as (here, first), two.visit(shop, on=1, proof=first.session) as (there, _):
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        ack = await here.say("Hello")
        answer = await here.next(MessageCompleted)
        for rating in ("up", "down"):
            await here.send(FeedbackGive(message_id=answer.message.id, rating=rating, comment=f"It was {rating}."))
            recorded, also = await asyncio.gather(here.next(FeedbackRecorded), there.next(FeedbackRecorded))
            assert recorded == also and (recorded.message_id, recorded.rating) == (answer.message.id, rating)
        # One's own words are not to be rated.
        await here.send(FeedbackGive(message_id=ack.message_id, rating="up"))
        refusal = await here.next(Error)
        assert (refusal.code, refusal.field) == ("not_found", "message_id")
    assert await two.rows("select rating, rating_comment from messages order by id") == [
        (None, None),
        ("down", "It was down."),
    ]
    response = await two.http.get(
        f"{two.url}/api/v1/sessions/{first.session.id}/messages",
        headers={"authorization": f"Bearer {first.session.token}"},
    )
    assert [message.get("rating") for message in response.json()["messages"]] == [None, "down"]


async def test_the_plans_month_is_over(desk: Desk, model: WireServer) -> None:
    """The visitor reads a kind sentence in his language, nothing is stored, and the model is not called."""
    shop = await desk.shop(plan_type="free")
    await desk.rows(
        "insert into api_usage (client_id, date, message_count) values (%s, date_trunc('month', now()), 999)", shop.id
    )
    async with desk.visit(shop, locale="fr-CA") as (tab, _):
        await tab.say("The last one")
        await tab.end()
        before = await desk.fingerprint()
        await tab.send(MessageSend(cid="c9", text="One more"))
        nack = await tab.next(Nack)
        assert (nack.cid, nack.code) == ("c9", "month_over")
        assert nack.message == "Ce chat a atteint sa limite du mois. Contactez-nous directement."
        assert await desk.fingerprint() == before
        await tab.settle()
        assert len(tab.of(MessageCreated)) == 1
    assert [request.question for request in model.requests] == ["The last one"]


@pytest.mark.parametrize(
    ("limit", "most"), [("client", 600), ("address", 120), ("visitor", 20)], ids=["client", "address", "visitor"]
)
async def test_a_minutes_limit_is_told_and_passes(desk: Desk, model: WireServer, limit: str, most: int) -> None:
    """Over it: a nack that says when to come back, a kind sentence, the socket stays. The next minute it works."""
    shop = await desk.shop()
    async with desk.visit(shop, locale="es") as (tab, welcome):
        key = {"client": "", "address": ":ip:127.0.0.1", "visitor": f":visitor:{welcome.session.id}"}[limit]
        await use_up(desk, f"{shop.id}{key}", most - 1)
        await tab.say("The last one")
        await tab.end()
        await use_up(desk, f"{shop.id}{key}", most)
        before = await desk.fingerprint()
        await tab.send(MessageSend(cid="c9", text="One more"))
        nack = await tab.next(Nack)
        assert (nack.cid, nack.code) == ("c9", f"rate_limited_{limit}")
        assert nack.message == "Son muchos mensajes. Espere un momento."
        assert nack.retry_after_ms is not None and 0 < nack.retry_after_ms <= 60_001
        assert await desk.fingerprint() == before
        async with redis.asyncio.Redis.from_url(desk.settings.redis_url) as cache:
            await cache.flushall()
        await tab.say("One more", cid="c9")
        await tab.end()
    assert [request.question for request in model.requests] == ["The last one", "One more"]


async def test_a_client_is_suspended_while_a_socket_is_open(
    desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next message is refused, the socket closed for good, and nothing is stored; lifted, it works again."""
    monkeypatch.setattr(access, "CLIENT_AGE_S", 0.0)
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        await tab.say("Hello")
        await tab.end()
        await desk.rows("update clients set status = 'suspended' where id = %s", shop.id)
        before = await desk.fingerprint()
        await tab.send(MessageSend(cid=new_cid(), text="Are you there?"))
        assert (await tab.next(Nack)).code == "client_suspended"
        assert await tab.closed() == 4403
        assert await desk.fingerprint() == before
    await desk.rows("update clients set status = 'active' where id = %s", shop.id)
    async with desk.visit(shop, proof=first.session) as (tab, _):
        await tab.say("Hello again")
        await tab.end()
    assert [request.question for request in model.requests] == ["Hello", "Hello again"]
