"""A stream of server-sent events that is cut: whoever asks again with the last `id` has it all, and nothing twice."""

import asyncio
import random
from functools import partial

import pytest
import redis.asyncio

from server import journal
from server.api import answering, follow, stream
from server.protocol.parts import Owner
from server.protocol.visitor import (
    Ack,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    Snapshot,
    TurnStarted,
    TurnStop,
    TurnStopped,
    Welcome,
)
from server.turns import intake
from tests.flows.streams import Source
from tests.flows.support import Desk, Shop, use_up
from tests.flows.view import View
from tests.support import eventually
from tests.wire_servers import Answer, Received, WireServer

WORDS = ("bread ", "é", "שלום ", "🙂", "cake. ", "\n", "日本 ")
TEXT = "".join(WORDS).strip()
# As long as an answer may be, about: four of its events are more than a replay may hold.
LONG = tuple(f"{number:02} {'x' * 995} " for number in range(60))


@pytest.fixture
async def patient(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An installation that lets one visitor ask thousands of times a minute."""
    monkeypatch.setattr(intake, "VISITOR_MESSAGES", 1_000_000)
    monkeypatch.setattr(intake, "ADDRESS_REQUESTS", 1_000_000)
    await desk.rows("update plans set requests_per_minute = 1000000")
    return desk


def asking(shop: Shop, welcome: Welcome, text: str = "Count", cid: str = "c1", view: View | None = None) -> Source:
    """A stream of the widget's own, for this session."""
    headers = {"authorization": f"Bearer {welcome.session.token}", "x-frontdesk-key": shop.key, "origin": shop.origin}
    return Source(headers, {"message": text, "session_id": welcome.session.id, "cid": cid}, view=view)


async def begun(desk: Desk, shop: Shop) -> Welcome:
    """A new session."""
    async with desk.visit(shop) as (_, welcome):
        return welcome


async def test_a_finished_stream_cut_at_every_byte(patient: Desk, model: WireServer) -> None:
    """Whichever byte was the last one to arrive, what was not whole yet comes, and a 204 when nothing is left."""
    model.script(Answer(TEXT))
    shop = await patient.shop()
    welcome = await begun(patient, shop)
    sample = asking(shop, welcome)
    await sample.connect(patient.url)
    await sample.rest()
    assert sample.ended and sample.parser.retry_ms is not None
    statuses: set[int] = set()
    cut, cut_short = 0, True
    while cut_short:
        source = asking(shop, welcome)
        await source.connect(patient.url)
        cut_short = await source.read_exactly(cut)
        source.cut()
        had_all, in_head = source.ended, source.parser.status == 0
        await source.connect(patient.url)
        await source.rest()
        statuses.add(source.parser.status)
        assert (source.parser.status, source.parser.whole) == (204 if had_all else 200, True), cut
        assert source.events == sample.events, cut
        assert list(source.view.texts.values()) == ["Count", TEXT], cut
        # Within the HTTP head every cut is the same.
        cut += 8 if in_head else 1
    assert cut > 600 and statuses == {200, 204}
    assert await patient.rows("select role, count(*) from messages group by role order by role") == [
        ("assistant", 1),
        ("user", 1),
    ]


async def test_a_running_stream_cut_at_every_byte(patient: Desk, model: WireServer) -> None:
    """Mid-answer the text so far comes back whole, whatever of it had been read, and no answer begins anew."""
    said = "One שתיים three 🙂 five"
    model.script(Answer(f"{said} six", stall_after=5))
    shop = await patient.shop()
    welcome = await begun(patient, shop)

    def shown(source: Source) -> bool:
        return any(text == said for _, _, text in source.view.live.values())

    sample = asking(shop, welcome)
    await sample.connect(patient.url)
    await sample.until(lambda: shown(sample))
    # What one who comes now is sent until the stream stalls; `retry` may have a digit less than here.
    size = asking(shop, welcome)
    await size.connect(patient.url)
    await size.until(lambda: shown(size))
    size.cut()
    assert size.bytes > 600
    for cut in range(size.parser.head_bytes, size.bytes - 1):
        source = asking(shop, welcome)
        await source.connect(patient.url)
        assert await source.read_exactly(cut)
        source.cut()
        await source.connect(patient.url)
        source.view.live.clear()
        await source.until(partial(shown, source))
        assert source.view.seq == 2 and source.events == sample.events, cut
        source.cut()
    last = asking(shop, welcome)
    await last.connect(patient.url)
    await last.until(lambda: shown(last))
    async with patient.visit(shop, proof=welcome.session) as (tab, _):
        snapshot = await tab.next(Snapshot)
        assert snapshot.live is not None
        await tab.send(TurnStop(turn_id=snapshot.live.turn_id))
    await asyncio.gather(last.rest(), sample.rest())
    for each in (last, sample):
        assert isinstance(each.frames[-1], TurnStopped) and list(each.view.texts.values()) == ["Count", said]
    assert len(model.requests) == 1


VISITORS = 6
CUTS_EACH = 12


async def test_cut_at_random_on_either_server_the_text_is_whole(two: Desk, model: WireServer) -> None:
    """A reader that reconnects as an EventSource does, until 204, has each event once and the text to the byte."""
    dice = random.Random(20_261_123)
    texts = ["".join(dice.choices(WORDS, k=150)).strip() for _ in range(VISITORS)]

    def answer(request: Received) -> Answer:
        return Answer(texts[int(request.question)], tokens_per_s=80)

    model.default = answer
    shops = [await two.shop() for _ in texts]
    cuts = await asyncio.gather(
        *(_read_with_cuts(two, shops[number], number, text, dice) for number, text in enumerate(texts))
    )
    assert sum(cuts) >= VISITORS * CUTS_EACH // 2
    assert len(model.requests) == VISITORS


async def _read_with_cuts(desk: Desk, shop: Shop, number: int, text: str, dice: random.Random) -> int:
    """How often it was cut off."""
    welcome = await begun(desk, shop)
    source = asking(shop, welcome, text=f"{number}")
    cuts = 0
    while source.parser.status != 204:
        await source.connect(desk.instances[dice.randrange(2)].url)
        if cuts < CUTS_EACH:
            for _ in range(dice.randint(1, 8)):
                if not await source.read(dice.randint(1, 400)):
                    break
            else:
                cuts += 1
        else:
            await source.rest()
        source.cut()
    async with desk.visit(shop, proof=welcome.session, epoch=welcome.epoch, last_seq=0) as (tab, _):
        await tab.settle()
        assert source.events == tab.events()
    assert list(source.view.texts.values()) == [f"{number}", text]
    return cuts


async def test_a_stream_follows_a_lost_subscription(two: Desk, model: WireServer) -> None:
    """Redis drops every subscription mid-answer; a stream on the other instance still has every event and the text."""
    shop = await two.shop()
    text = "".join(WORDS) * 12
    model.script(Answer(text, tokens_per_s=100))
    async with (
        redis.asyncio.Redis.from_url(two.settings.redis_url) as cache,
        two.visit(shop) as (tab, welcome),
    ):
        source = asking(shop, welcome)
        await tab.next(Snapshot)
        await tab.say("Count", cid="c1")
        await source.connect(two.instances[1].url)
        for _ in range(4):
            await source.read()
            await cache.client_kill_filter(_type="pubsub")
        await source.rest()
        await tab.end()
        assert source.ended and source.events == tab.events()
        assert text in source.view.texts.values()


@pytest.mark.parametrize(
    "last_id", ["other:3", "{epoch}:99", "{epoch}:9223372036854775807", "{epoch}:9999999999999999999"]
)
async def test_where_the_conversation_never_was(desk: Desk, last_id: str) -> None:
    """Another life of the conversation, or its future: everything, never a part; its id is a place to go on from."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("Hello", cid="c0")
        await tab.end()
        await tab.say("Count", cid="c1")
        await tab.end()
    source = asking(shop, welcome)
    source.last_id = last_id.format(epoch=welcome.epoch)
    await source.connect(desk.url)
    await source.rest()
    [snapshot] = source.of(Snapshot)
    assert source.events == [] and snapshot.up_to_seq == 6 and source.parser.status == 200
    assert list(source.view.texts.values()) == ["Hello", "You said: Hello", "Count", "You said: Count"]
    assert source.last_id == f"{welcome.epoch}:6"
    await source.connect(desk.url)
    await source.rest()
    assert source.parser.status == 204


async def test_every_position_of_a_finished_answer(desk: Desk) -> None:
    """What was missed comes, up to the answer's end and no further; one that stands there or later has it all."""
    shop = await desk.shop()
    async with desk.visit(shop) as (tab, welcome):
        for cid in ("c0", "c1", "c2"):
            await tab.say("Count", cid=cid)
            await tab.end()
        told = tab.events()
    assert len(told) == 9
    for seen in range(10):
        view = View()
        view.seq = seen
        source = asking(shop, welcome, view=view)
        source.last_id = f"{welcome.epoch}:{seen}"
        await source.connect(desk.url)
        await source.rest()
        assert source.events == told[seen:6] and source.of(Snapshot) == []
        assert source.parser.status == (200 if seen < 6 else 204)
        assert [ack.seq for ack in source.of(Ack)] == ([4] if seen < 6 else [])


async def test_too_far_behind_is_told_whole(desk: Desk, model: WireServer) -> None:
    """More events than a replay may hold become one snapshot, mid-answer too, and the stream ends with the answer."""
    shop = await desk.shop()
    model.script(Answer("Hello"), Answer("One two three four five six", stall_after=4))
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("Hello")
        await tab.end()
        head = journal.REPLAY_EVENTS + 3
        await desk.flood(welcome.conversation_id, head)
        source = asking(shop, welcome)
        source.last_id = f"{welcome.epoch}:2"
        await source.connect(desk.url)
        await source.until(lambda: any(text == "One two three four" for _, _, text in source.view.live.values()))
        [whole, *_] = source.of(Snapshot)
        assert whole.messages is not None and whole.up_to_seq >= head + 1
        assert [message.text for message in whole.messages] == ["Hello", "Hello", "Count"]
        started = whole.live.turn_id if whole.live else source.of(TurnStarted)[0].turn_id
        async with desk.visit(shop, proof=welcome.session) as (other, _):
            await other.send(TurnStop(turn_id=started))
            await source.rest()
    assert isinstance(source.frames[-1], TurnStopped)
    assert list(source.view.texts.values()) == ["Hello", "Hello", "Count", "One two three four"]


@pytest.mark.parametrize("owner", ["human", "queued"])
async def test_while_people_answer_a_reader_learns_to_stop(desk: Desk, owner: Owner) -> None:
    """The message itself, and 204 from then on: nobody asks again for ever."""
    shop = await desk.shop()
    welcome = await begun(desk, shop)
    await desk.rows("update conversations set owner = %s", owner)
    source = asking(shop, welcome, text="Anybody?")
    for status in (200, 204, 204):
        await source.connect(desk.url)
        await source.rest()
        assert source.parser.status == status
    assert [type(frame) for frame in source.frames[1:]] == [MessageCreated]
    assert await desk.rows("select count(*) from messages") == [(1,)]


async def test_coming_back_is_not_counted_as_saying_something(desk: Desk) -> None:
    """A bad network does not use up the visitor's messages; a message that was never stored still counts."""
    shop = await desk.shop()
    welcome = await begun(desk, shop)
    source = asking(shop, welcome)
    await source.connect(desk.url)
    await source.rest()
    await use_up(desk, f"{shop.id}:visitor:{welcome.session.id}", intake.VISITOR_MESSAGES)
    source.last_id = f"{welcome.epoch}:1"
    source.view = View()
    source.view.seq = 1
    await source.connect(desk.url)
    await source.rest()
    assert source.parser.status == 200 and source.ended
    other = asking(shop, welcome, cid="c2")
    other.last_id = source.last_id
    await other.connect(desk.url)
    await other.rest()
    assert other.parser.status == 429
    again = asking(shop, welcome, text="Something else")
    again.last_id = f"{welcome.epoch}:1"
    await use_up(desk, f"{shop.id}:visitor:{welcome.session.id}", 0)
    await again.connect(desk.url)
    await again.rest()
    assert again.parser.status == 409


async def test_a_stream_goes_on_only_by_the_name_it_began_with(desk: Desk) -> None:
    """Without its cid a reader that comes back would ask anew each time: it is told so, and nothing is stored."""
    shop = await desk.shop()
    welcome = await begun(desk, shop)
    answer = await desk.http.post(
        f"{desk.url}/api/v1/chat",
        headers={
            "authorization": f"Bearer {shop.secret_key}",
            "accept": "text/event-stream",
            "last-event-id": f"{welcome.epoch}:1",
        },
        json={"message": "Count", "session_id": welcome.session.id},
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, "missing", "cid")
    assert "Idempotency-Key" in error["message"]
    assert await desk.rows("select id from messages") == []


async def test_the_document_says_how_a_stream_goes_on(desk: Desk) -> None:
    """What a reader must know is where it looks for it."""
    found = (await desk.http.get(f"{desk.url}/openapi.json")).json()["paths"]["/api/v1/chat"]["post"]
    says = found["responses"]["200"]["content"]["text/event-stream"]["schema"]["description"]
    for word in ("`Last-Event-ID`", "`cid`", "`Idempotency-Key`", "`snapshot`", "204", "`retry`", "comment"):
        assert word in says, word
    assert "content" not in found["responses"]["204"]
    assert {"name": "Last-Event-ID", "in": "header"}.items() <= found["parameters"][2].items()


async def test_silence_is_filled_with_comments(desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that thinks for long: comments show that the link lives, and are no events."""
    monkeypatch.setattr(answering, "SILENCE_S", 1.0)  # longer than the words take to come
    model.script(Answer("One two three four five six", stall_after=4))
    shop = await desk.shop()
    source = asking(shop, await begun(desk, shop))
    await source.connect(desk.url)
    await source.until(lambda: any(text == "One two three four" for _, _, text in source.view.live.values()))
    told, silent = len(source.frames), source.parser.comments
    monkeypatch.setattr(answering, "SILENCE_S", 0.05)
    await source.until(lambda: source.parser.comments >= silent + 5)
    assert len(source.frames) == told, "from here on there is no news"
    assert source.of(MessageCompleted) == [] and len(source.of(Snapshot)) <= 1
    source.cut()


async def test_a_reader_that_takes_nothing_is_given_up(
    desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off, others are told as ever, and it finds everything when it comes back."""
    monkeypatch.setattr(stream, "STUCK_S", 0.3)
    shop = await desk.shop()
    model.script(*[Answer(tokens=LONG)] * 3, Answer("One two three four five six", stall_after=4))
    async with desk.visit(shop) as (tab, welcome):
        for number in range(3):
            await tab.say(f"{number}")
            await tab.end()
        stuck = asking(shop, welcome)
        stuck.last_id = f"{welcome.epoch}:0"
        before = await _streams_over(desk)
        await stuck.connect(desk.url, small=True)

        async def given_up() -> bool:
            return await _streams_over(desk) > before

        await eventually(given_up, "the server gives up on a reader that takes nothing")
        await tab.next(MessageDelta, lambda delta: tab.view.live[delta.turn_id][2] == "One two three four")
        await stuck.rest()
        assert stuck.parser.status == 200 and not stuck.parser.whole, "cut off, not ended"
        await tab.send(TurnStop(turn_id=tab.of(TurnStarted)[-1].turn_id))
        await tab.next(TurnStopped)
        await stuck.connect(desk.url)
        await stuck.rest()
    assert stuck.ended and stuck.events == tab.events()


async def test_a_reader_that_falls_behind_catches_up_once(
    desk: Desk, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited too long is dropped and told again in one piece; the text is whole and no event is missing."""
    monkeypatch.setattr(follow, "QUEUE_FRAMES", 8)
    shop = await desk.shop()
    model.script(*[Answer(tokens=LONG)] * 3, Answer("".join(WORDS) * 12, tokens_per_s=80))
    async with desk.visit(shop) as (tab, welcome):
        for number in range(3):
            await tab.say(f"{number}")
            await tab.end()
        slow = asking(shop, welcome)
        slow.last_id = f"{welcome.epoch}:0"
        await slow.connect(desk.url, small=True)
        # Before this answer's deltas it has 200 KB to read, and has read nothing when they are all told.
        await tab.end()
        await slow.rest()
    assert slow.ended and slow.events == tab.events()
    turn_id = tab.of(TurnStarted)[-1].turn_id
    told, all_told = ([d for d in each.of(MessageDelta) if d.turn_id == turn_id] for each in (slow, tab))
    assert len(told) <= 8 < len(all_told)


async def _streams_over(desk: Desk) -> float:
    """How many requests to chat have ended, whatever their end."""
    counted = 'frontdesk_http_requests_total{method="POST",route="/api/v1/chat",status="200"}'
    lines = (await desk.http.get(f"{desk.url}/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counted))
