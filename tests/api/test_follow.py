"""One reader of a conversation over HTTP: in order, bounded, brought up to date whole or by every event."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server import journal
from server.access import Session
from server.api import answering, follow
from server.api.follow import Follower, Item, Position, following
from server.api.stream import position
from server.errors import Invalid, NotFound
from server.protocol import codec
from server.protocol.visitor import MessageDelta, Snapshot
from server.services import Services, open_services
from server.settings import Settings
from server.ws import connection
from tests.support import Shop, ask, rows, send, visit
from tests.wire_servers import Answer, WireServer


@pytest.fixture
async def session(services: Services, shop: Shop) -> Session:
    """A new conversation."""
    return await visit(services, shop)


@pytest.fixture
async def follower(services: Services, session: Session) -> AsyncIterator[Follower]:
    """A reader that stands at the beginning."""
    async with following(services, session.conversation) as follower:
        follower.begin(Position(session.conversation.epoch, 0))
        yield follower


def event(seq: int, size: int = 0) -> bytes:
    """A durable frame that nobody stored."""
    return b'{"type":"feedback.recorded","seq":%d,"message_id":"m","rating":"up","pad":"%s"}' % (seq, b"x" * size)


def delta(n: int, gen: int = 1, turn_id: str = "trn_1") -> bytes:
    return codec.encode(MessageDelta(turn_id=turn_id, message_id="msg_1", gen=gen, n=n, text=f"{n} "))


async def waiting(follower: Follower) -> list[Item]:
    """What it gives at once."""
    items = []
    while (item := await follower.next(within_s=0.0)) is not None:
        items.append(item)
    return items


def test_its_bounds_are_a_sockets() -> None:
    """A reader is bounded alike, whatever it reads through."""
    assert (follow.QUEUE_FRAMES, follow.QUEUE_BYTES) == (connection.QUEUE_FRAMES, connection.QUEUE_BYTES)
    assert follow.SLOW_AGAIN_S == connection.SLOW_AGAIN_S


async def test_frames_come_in_order_and_once(services: Services, session: Session, follower: Follower) -> None:
    """What was told is passed over, live frames go through, deltas only where they continue the text."""
    for seq, payload in [(1, event(1)), (1, event(1)), (2, event(2)), (0, b'{"type":"typing"}'), (1, event(1))]:
        follower.deliver(seq, payload)
    for n in (1, 1, 2, 1):
        follower.deliver(0, delta(n))
    follower.deliver(0, delta(1, gen=2))
    follower.deliver(0, delta(3))
    assert [item.payload for item in await waiting(follower)] == [
        event(1),
        event(2),
        b'{"type":"typing"}',
        delta(1),
        delta(2),
        delta(1, gen=2),
    ]


async def test_a_gap_asks_for_a_catch_up(services: Services, session: Session, follower: Follower) -> None:
    """An event too far ahead is not given; the journal has it and those before."""
    await ask(services, session, "one")
    assert (await follower.catch_up())[-1].seq == 3
    await ask(services, session, "two")
    follower._queue.clear()
    follower.deliver(6, event(6))
    assert await follower.next(within_s=5.0) is None
    assert [item.seq for item in await follower.catch_up()] == [4, 5, 6]
    assert await waiting(follower) == []


async def test_nothing_for_a_while_is_a_time_to_look(follower: Follower) -> None:
    """And what comes meanwhile ends the wait."""
    assert await follower.next(within_s=0.01) is None
    soon = asyncio.create_task(follower.next(within_s=30.0))
    await asyncio.sleep(0)
    follower.deliver(1, event(1))
    item = await soon
    assert item is not None and item.seq == 1
    soon = asyncio.create_task(follower.next(within_s=30.0))
    await asyncio.sleep(0)
    follower.resync()
    assert await soon is None


@pytest.mark.parametrize(("frames", "size"), [(follow.QUEUE_FRAMES, 0), (5, 60_000)])
async def test_a_reader_that_does_not_come_costs_no_more_than_the_bound(
    services: Services, session: Session, follower: Follower, frames: int, size: int
) -> None:
    """The queue is dropped once it is full, and nothing more is kept until the journal is read; twice is too slow."""
    for round_ in (1, 2):
        first = follower._position.seq
        for seq in range(first + 1, first + frames + 1):
            follower.deliver(seq, event(seq, size))
        assert not (size == 0 and follower._missed)
        follower.deliver(first + frames + 1, event(first + frames + 1, size))
        follower.deliver(first + frames + 2, event(first + frames + 2, size))
        assert (len(follower._queue), follower._bytes) == (0, 0)
        assert follower.too_slow == (round_ == 2)
        assert await follower.next(within_s=5.0) is None
        assert await follower.catch_up() == []


async def test_what_waited_too_long_is_dropped(
    services: Services, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old pieces of text are told in one."""
    monkeypatch.setattr(follow, "QUEUE_S", -1.0)
    follower.deliver(1, event(1))
    assert await follower.next(within_s=5.0) is None
    assert not follower.too_slow


async def test_a_text_whose_start_redis_lost_is_left_out(services: Services, session: Session) -> None:
    """Never a part: its deltas are passed over, and the journal is asked once a second and not for each of them."""
    async with following(services, session.conversation) as follower:
        follower.begin(Position(session.conversation.epoch, 0))
        assert await follower.catch_up() == []
        follower.deliver(0, delta(7))
        assert await follower.next(within_s=5.0) is None
        assert await follower.catch_up() == []
        for n in range(8, 20):
            follower.deliver(0, delta(n))
        assert await waiting(follower) == []
        assert not follower._missed


async def test_a_running_answer_is_told_once_and_never_backwards(
    services: Services, session: Session, settings: Settings, model: WireServer
) -> None:
    """Its text first, then only what is news; when Redis has lost it, what was told stands. On another instance."""
    model.script(Answer(tokens=("One", " two", " three"), stall_after=2))
    async with open_services(settings) as other, following(other, session.conversation) as late:
        await send(services, session, "Count")
        late.begin(Position(session.conversation.epoch, 0))
        text = ""
        while text != "One two":
            item = await late.next(within_s=0.01)
            for each in await late.catch_up() if item is None else [item]:
                frame = codec.decode_to_visitor(each.payload)
                if isinstance(frame, MessageDelta):
                    text += frame.text
                elif isinstance(frame, Snapshot) and frame.live is not None:
                    assert not each.whole and each.seq == 0
                    text = frame.live.text
        # A delta that the snapshot has in it may come after it, and is asked about once.
        while await late.catch_up():
            pass
        late.resync()
        [again] = await late.catch_up()
        snapshot = codec.decode_to_visitor(again.payload)
        assert isinstance(snapshot, Snapshot) and snapshot.live is not None, "its tools may be further"
        assert snapshot.live.text == "One two" and snapshot.messages is None
        await other.redis.flushdb()
        late.resync()
        assert await late.catch_up() == []
        await services.commands.stop(session, turn_id=snapshot.live.turn_id)
        assert [item.seq for item in await late.catch_up()] == [3]


async def test_too_many_events_are_one_whole_snapshot(services: Services, session: Session) -> None:
    """It moves the reader to the head, and frames go on from there."""
    await ask(services, session, "one")
    await rows(
        services,
        """
        with many as (
            insert into events (conversation_id, seq, client_id, type, payload)
            select id, n, client_id, 'feedback.recorded', '{}' from conversations, generate_series(4, %s) n
            returning seq
        )
        update conversations set last_seq = (select max(seq) from many)
        """,
        head := journal.REPLAY_EVENTS + 4,
    )
    async with following(services, session.conversation) as follower:
        follower.begin(Position(session.conversation.epoch, 3))
        [item] = await follower.catch_up()
        assert item.whole and item.seq == head
        follower.deliver(head + 1, event(head + 1))
        assert [item.seq for item in await waiting(follower)] == [head + 1]


async def test_a_conversation_that_is_no_more(services: Services, session: Session, follower: Follower) -> None:
    """Is an error before the first part, and the end after it."""
    accepted = await send(services, session, "Hello")
    parts = answering.until_ended(services, session, accepted, follower, None)
    await anext(parts)
    await rows(services, "delete from events")
    await rows(services, "delete from turns")
    await rows(services, "delete from messages")
    await rows(services, "delete from conversations")
    follower.resync()
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(parts)
    with pytest.raises(NotFound):
        await anext(answering.until_ended(services, session, accepted, follower, None))


@pytest.mark.parametrize(
    "text", ["three", ":3", "e:", "e:-1", "e:3.0", "e:٣", "e:" + "1" * 20, "x" * 65 + ":1", "e:3 "]
)
def test_what_is_no_position(text: str) -> None:
    """An id that no stream gave names the header."""
    with pytest.raises(Invalid) as refusal:
        position(text)
    assert refusal.value.field == "Last-Event-ID"


def test_what_is_a_position() -> None:
    """An id as a stream gives it, and none at all."""
    assert position("e1:17") == Position("e1", 17)
    assert position("e:1:17") == Position("e:1", 17)
    assert position(None) is None and position("") is None
