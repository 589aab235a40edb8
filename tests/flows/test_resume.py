"""A browser that comes back: resumed event by event, or told everything anew; mid-answer too, with no token lost."""

import asyncio
import random

import pytest
import redis.asyncio
from websockets.exceptions import ConnectionClosed

from server import journal
from server.protocol.visitor import (
    MessageCompleted,
    MessageDelta,
    Snapshot,
    TurnStarted,
    Welcome,
)
from tests.flows.support import Desk, Shop
from tests.flows.view import View
from tests.wire_servers import Answer, Received, WireServer

# The words of a long answer: every length of UTF-8, marks that join, a bidirectional run.
WORDS = ("bread ", "é", "שלום ", "🙂", "\u0301", "cake. ", "\n", "日本 ", "a")


async def test_a_reload_shows_the_history_and_goes_on(desk: Desk, model: WireServer) -> None:
    """A browser that remembers its session and nothing else gets everything, and the next answer knows the first."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        await tab.say("Hello")
        await tab.end()
    async with desk.visit(shop, proof=first.session) as (tab, welcome):
        snapshot = await tab.next(Snapshot)
        assert (welcome.resumed, welcome.epoch, welcome.head_seq) == (False, first.epoch, 3)
        assert snapshot.messages is not None and snapshot.up_to_seq == 3
        assert [(m.role, m.text) for m in snapshot.messages] == [("user", "Hello"), ("assistant", "You said: Hello")]
        assert welcome.conversation_id == first.conversation_id
        await tab.say("And now?")
        await tab.next(MessageCompleted)
        assert tab.view.seq == 6
    asked = model.requests[-1].body["messages"]
    assert [message["content"] for message in asked[1:]] == ["Hello", "You said: Hello", "And now?"]


async def test_every_missed_event_comes_once_and_in_order(desk: Desk) -> None:
    """From any point of the conversation on, a resume brings exactly the bytes that were sent then."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        for text in ("one", "two"):
            await tab.say(text)
            await tab.end()
        all_events = tab.events()
    assert len(all_events) == 6
    for seen in range(7):
        view = View()
        view.seq = seen
        async with desk.visit(shop, view=view, proof=first.session, epoch=first.epoch, last_seq=seen) as (tab, welcome):
            await tab.settle()
            assert (welcome.resumed, welcome.head_seq) == (True, 6)
            assert tab.events() == all_events[seen:]
            assert tab.of(Snapshot) == []


@pytest.mark.parametrize(
    ("epoch", "last_seq"),
    [(None, 2), ("right", None), ("wrong", 2), ("right", 4), ("right", 2**63 - 1), ("right", 10**30)],
)
async def test_what_cannot_be_resumed_is_told_whole(desk: Desk, epoch: str | None, last_seq: int | None) -> None:
    """Another epoch, or a seq that was never given out, gets a snapshot of everything and never a part."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        await tab.say("Hello")
        await tab.end()
    given = first.epoch if epoch == "right" else epoch
    async with desk.visit(shop, proof=first.session, epoch=given, last_seq=last_seq) as (tab, welcome):
        snapshot = await tab.next(Snapshot)
        assert (welcome.resumed, welcome.head_seq, snapshot.up_to_seq) == (False, 3, 3)
        assert snapshot.messages is not None and len(snapshot.messages) == 2
        await tab.settle()
        assert tab.events() == []


async def test_too_far_behind_is_told_whole(desk: Desk) -> None:
    """More events than a replay may hold become a snapshot; one fewer is a replay."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, first):
        await tab.say("Hello")
        await tab.end()
    await desk.flood(first.conversation_id, journal.REPLAY_EVENTS + 3)
    for seen, resumed in ((2, False), (3, True)):
        view = View()
        view.seq = seen
        async with desk.visit(shop, view=view, proof=first.session, epoch=first.epoch, last_seq=seen) as (tab, welcome):
            await tab.settle()
            assert welcome.resumed == resumed
            assert len(tab.events()) == (journal.REPLAY_EVENTS if resumed else 0)
            assert tab.view.seq == welcome.head_seq == journal.REPLAY_EVENTS + 3


async def test_two_tabs_on_two_servers_see_the_same(two: Desk, model: WireServer) -> None:
    """Same events to the byte, same deltas, whichever process runs the answer."""
    shop = await two.shop()
    text = "".join(WORDS) * 12
    model.script(Answer(text, tokens_per_s=150), Answer("Short.", tokens_per_s=50))
    async with two.visit(shop) as (here, first), two.visit(shop, on=1, proof=first.session) as (there, second):
        assert second.session.id == first.session.id
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        for speaker in (here, there):
            await speaker.say("Tell me everything")
            ends = await asyncio.gather(here.end(), there.end())
            assert ends[0] == ends[1]
        assert here.events() == there.events() and len(here.events()) == 6
        assert here.of(MessageDelta) == there.of(MessageDelta)
        assert len(here.of(MessageDelta)) > 5
        assert here.view.texts == there.view.texts
        assert text in here.view.texts.values()


async def test_a_tab_that_opens_mid_answer_gets_what_was_said(two: Desk, model: WireServer) -> None:
    """Its snapshot has the text so far, on the process that runs the answer and on the other one."""
    shop = await two.shop()
    model.script(Answer("One two three four five six", stall_after=4))
    async with two.visit(shop) as (tab, first):
        await tab.say("Count")
        await tab.next(MessageDelta, lambda _: tab.view.live[_.turn_id][2] == "One two three four")
        started = tab.of(TurnStarted)[0]
        for on in (0, 1):
            async with two.visit(shop, on=on, proof=first.session) as (late, _):
                snapshot = await late.next(Snapshot)
                assert snapshot.live is not None and snapshot.messages is not None
                assert (snapshot.live.turn_id, snapshot.live.message_id) == (started.turn_id, started.message_id)
                assert (snapshot.live.gen, snapshot.live.text) == (1, "One two three four")
                assert snapshot.live.n == tab.of(MessageDelta)[-1].n
                assert [message.text for message in snapshot.messages] == ["Count"]


VISITORS = 12
CUTS_EACH = 20


async def test_cut_again_and_again_no_token_is_lost_or_doubled(two: Desk, model: WireServer) -> None:
    """The network goes away at random moments mid-answer; every text ends equal to the byte, on either server."""
    dice = random.Random(20_261_122)
    texts = ["".join(dice.choices(WORDS, k=400)).strip() for _ in range(VISITORS)]

    def answer(request: Received) -> Answer:
        return Answer(texts[int(request.question.split()[0])], tokens_per_s=110)

    model.default = answer
    # One shop each: the limit of requests a minute from one address is a shop's.
    shops = [await two.shop() for _ in texts]
    await asyncio.gather(
        *(_cut_and_return(two, shops[number], number, text, dice) for number, text in enumerate(texts))
    )


async def _cut_and_return(desk: Desk, shop: Shop, number: int, text: str, dice: random.Random) -> None:
    """One visitor's story: he asks again once an answer is whole, until he was cut off often enough mid-answer."""
    view, cuts, asked = View(), 0, 0
    welcome: Welcome | None = None
    while cuts < CUTS_EACH or len(view.texts) < 2 * asked:
        known = {"proof": welcome.session, "epoch": welcome.epoch, "last_seq": view.seq} if welcome else {}
        async with desk.visit(shop, on=dice.randrange(2), view=view, **known) as (tab, welcome):
            assert welcome.resumed == bool(known)
            if len(view.texts) == 2 * asked:
                asked += 1
                await tab.say(f"{number} {asked}")
            for _ in range(dice.randint(1, 6)):
                await tab.read()
                if len(view.texts) == 2 * asked:
                    break
            else:
                cuts += 1
            tab.cut()
    assert list(view.texts.values())[1::2] == [text] * asked


async def test_lost_pubsub_is_found_and_filled(two: Desk, model: WireServer) -> None:
    """Redis drops every subscription mid-answer; both tabs still end with the same events and the whole text."""
    shop = await two.shop()
    text = "".join(WORDS) * 20
    model.script(Answer(text, tokens_per_s=150))
    async with (
        redis.asyncio.Redis.from_url(two.settings.redis_url) as cache,
        two.visit(shop) as (here, first),
        two.visit(shop, on=1, proof=first.session) as (there, _),
    ):
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        await here.say("Tell me everything")
        for _ in range(4):
            await there.read()
            await cache.client_kill_filter(_type="pubsub")
        await asyncio.gather(here.shows(text), there.shows(text))
        assert here.events() == there.events()
        assert here.view.texts == there.view.texts


async def test_a_ping_tells_the_head_and_fills_a_gap(two: Desk, model: WireServer) -> None:
    """A tab whose instance hears nothing of Redis any more learns from its own ping that it is behind, and why."""
    shop = await two.shop()
    async with two.visit(shop) as (here, first), two.visit(shop, on=1, proof=first.session) as (there, _):
        await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
        assert (await there.settle()).head_seq == 0
        # An event that was committed and never published, as when a process dies between the two.
        await two.rows(
            """
            with one as (
                insert into events (conversation_id, seq, client_id, type, payload)
                select id, 1, client_id, 'owner.changed',
                       '{"type":"owner.changed","seq":1,"owner":"human"}'::json from conversations returning seq
            )
            update conversations set last_seq = 1
            """
        )
        pong = await there.settle()
        assert pong.head_seq == 1
        while there.view.seq < 1:
            await there.read()
        assert there.events() == [b'{"type":"owner.changed","seq":1,"owner":"human"}']


async def test_hello_again_on_an_open_socket(desk: Desk, model: WireServer) -> None:
    """A widget that saw a gap may ask on the same socket; another session may not come over it."""
    shop: Shop = await desk.shop()
    model.script(Answer("One two three four five six", stall_after=4))
    async with desk.visit(shop) as (tab, first), desk.visit(shop) as (_, other):
        await tab.say("Count")
        await tab.next(MessageDelta, lambda _: tab.view.live[_.turn_id][2] == "One two three four")
        again = await tab.hello(proof=first.session, epoch=first.epoch, last_seq=2)
        assert (again.resumed, again.session, again.head_seq) == (True, first.session, 2)
        snapshot = await tab.next(Snapshot)
        assert snapshot.messages is None
        assert snapshot.live is not None and snapshot.live.text == "One two three four"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await tab.hello(proof=other.session)
        refusal = tab.frames[-1]
        assert getattr(refusal, "code", None) == "other_session"
        assert (await tab.settle()).head_seq == 2


async def test_the_server_goes_away_and_the_browser_hears_it(desk: Desk) -> None:
    """A server that stops closes its sockets with a code after which a widget comes back."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, _):
        await tab.next(Snapshot)
        await desk.instances[0].stop()
        assert await tab.closed() in {1001, 1012}
    with pytest.raises((ConnectionClosed, OSError)):
        async with desk.visit(shop):
            pass
