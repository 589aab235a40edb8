"""The journal: the only write path and the only read path of events."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest

from server.access import Session
from server.errors import NotFound
from server.fanout import channels
from server.fanout.hub import Hub
from server.journal import REPLAY_BYTES, REPLAY_EVENTS, Journal
from server.protocol.operator import InboxRow, InboxUpdated
from server.protocol.parts import Message
from server.protocol.visitor import (
    Durable,
    FeedbackRecorded,
    MessageCompleted,
    MessageCreated,
    OwnerChanged,
    ToolStarted,
    TurnFailed,
    TurnStarted,
    TurnStopped,
)
from server.repositories import conversations, events
from server.repositories.notices import Noticeboard
from server.repositories.pool import open_pool, reading
from server.services import Services, open_redis, open_services
from server.settings import Settings
from tests.repositories.wire import wire
from tests.support import Shop, cable, eventually, listening, new_shop, remember, rows, visit


async def rate(services: Services, session: Session, message_id: str) -> int:
    """Writes one small event; its seq."""
    async with services.journal.write(client_id=session.client.id, conversation_id=session.conversation.id) as entry:
        await entry.locked()
        seq = entry.next_seq
        entry.append(FeedbackRecorded(seq=seq, message_id=message_id, rating="up"))
        return seq


async def stored(services: Services, session: Session) -> list[tuple[int, bytes]]:
    """(seq, payload) of every event."""
    async with reading(services.pool) as conn:
        found = await events.after(
            conn, client_id=session.client.id, conversation_id=session.conversation.id, seq=0, limit=10_000
        )
    return [(event.seq, event.payload) for event in found]


async def test_twenty_writers_leave_no_gap(services: Services, settings: Settings, shop: Shop) -> None:
    """Two instances write at the same time: every event has a number of its own, and none is left out."""
    session = await visit(services, shop)
    async with open_services(settings) as other, listening(services, session) as listener:
        given = await asyncio.gather(*(rate(each, session, f"m{n}") for n in range(10) for each in (services, other)))
        await listener.until(lambda me: len(me.frames) == 20)
    assert sorted(given) == list(range(1, 21))
    assert [seq for seq, _ in await stored(services, session)] == list(range(1, 21))
    assert await services.heads.read([session.conversation]) == [20]


async def test_what_is_published_is_what_is_stored(services: Services, settings: Settings, shop: Shop) -> None:
    """To the byte, here and on the other instance, whatever the text holds."""
    session = await visit(services, shop)
    nasty = '\u2028\u2029</script>"\\\r\n\x7f é漢🙂 {"a": 1.0, "a": 2}'
    async with open_services(settings) as other, listening(other, session) as there:
        async with listening(services, session) as here:
            await remember(services, session, ("user", nasty), ("assistant", nasty * 2), ("operator", ""))
            await here.until(lambda me: len(me.frames) == 3)
        await there.until(lambda me: len(me.frames) == 3)
    assert here.payloads == there.payloads == await stored(services, session)
    assert here.frames[0].message.text == nasty  # type: ignore[union-attr]  # it is a MessageCreated


@pytest.mark.parametrize("error", [ZeroDivisionError, psycopg.errors.DivisionByZero])
async def test_nothing_is_published_of_what_was_not_committed(
    services: Services, shop: Shop, error: type[Exception]
) -> None:
    """An error in the block, or in a statement that nobody waited for, leaves no event, no number, no frame."""
    session = await visit(services, shop)
    keys = {"client_id": shop.id, "conversation_id": session.conversation.id}
    async with listening(services, session) as listener:
        with pytest.raises(error, match="division"):
            async with services.journal.write(**keys) as entry:
                await entry.locked()
                entry.append(FeedbackRecorded(seq=entry.next_seq, message_id="lost", rating="up"))
                if error is ZeroDivisionError:
                    _ = 1 / 0
                await entry.conn.execute("select 1 / 0")
        assert await rate(services, session, "kept") == 1, "the number was not used up"
        await listener.until(lambda me: len(me.frames) == 1)
    assert [frame.message_id for frame in listener.frames] == ["kept"]  # type: ignore[union-attr]  # feedback
    assert len(await stored(services, session)) == 1


async def test_a_seq_is_the_next_one(services: Services, shop: Shop) -> None:
    """An event with any other number is a bug, and is refused before anything is written."""
    session = await visit(services, shop)
    keys = {"client_id": shop.id, "conversation_id": session.conversation.id}
    for wrong in (0, 2, -1):
        with pytest.raises(RuntimeError, match=f"seq {wrong} is not the next, 1"):
            async with services.journal.write(**keys) as entry:
                await entry.locked()
                entry.append(FeedbackRecorded(seq=wrong, message_id="m", rating="up"))
    with pytest.raises(RuntimeError, match="locked"):
        async with services.journal.write(**keys) as entry:
            _ = entry.next_seq
    assert await stored(services, session) == []


async def test_a_write_without_events_publishes_nothing(services: Services, shop: Shop) -> None:
    """A look at a conversation changes nothing."""
    session = await visit(services, shop)
    async with (
        listening(services, session) as listener,
        services.journal.write(client_id=shop.id, conversation_id=session.conversation.id) as entry,
    ):
        assert (await entry.locked()).last_seq == 0
        assert entry.at.tzinfo is UTC
    assert listener.frames == []


async def test_another_clients_conversation_is_not_there(services: Services, shop: Shop) -> None:
    """Neither to write nor to read."""
    session = await visit(services, shop)
    await rate(services, session, "m")
    stranger = await new_shop(services, "bakery")
    with pytest.raises(NotFound):
        async with services.journal.write(client_id=stranger.id, conversation_id=session.conversation.id) as entry:
            await entry.locked()
    replay = await services.journal.replay(client_id=stranger.id, conversation_id=session.conversation.id, after=0)
    assert (replay.events, replay.complete) == ([], True)


async def test_messages_are_counted(services: Services, shop: Shop) -> None:
    """Only events that bring one count."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "a"), ("assistant", "b"))
    await rate(services, session, "m")
    assert await rows(services, "select total_messages, last_seq from conversations") == [(2, 3)]


async def test_a_replay_begins_after_what_was_seen(services: Services, shop: Shop) -> None:
    """In order; at the head there is nothing."""
    session = await visit(services, shop)
    for number in range(5):
        await rate(services, session, f"m{number}")
    for after in range(6):
        replay = await services.journal.replay(client_id=shop.id, conversation_id=session.conversation.id, after=after)
        assert [event.seq for event in replay.events] == list(range(after + 1, 6))
        assert replay.complete


async def many(services: Services, session: Session, count: int, text: str = "") -> None:
    """So many events in one transaction."""
    async with services.journal.write(client_id=session.client.id, conversation_id=session.conversation.id) as entry:
        await entry.locked()
        for number in range(count):
            message = Message(id=f"m{number}", role="user", text=text, created_at=entry.at)
            entry.append(MessageCreated(seq=entry.next_seq, message=message))


@pytest.mark.parametrize(("count", "complete"), [(REPLAY_EVENTS, True), (REPLAY_EVENTS + 1, False)])
async def test_a_replay_has_so_many_events(services: Services, shop: Shop, count: int, complete: bool) -> None:
    """All of them or none: past the cap a reader gets a snapshot."""
    session = await visit(services, shop)
    await many(services, session, count)
    replay = await services.journal.replay(client_id=shop.id, conversation_id=session.conversation.id, after=0)
    assert (len(replay.events), replay.complete) == (count if complete else 0, complete)


@pytest.mark.parametrize(("more", "complete"), [(0, True), (1, False)])
async def test_a_replay_has_so_many_bytes(services: Services, shop: Shop, more: int, complete: bool) -> None:
    """256 KB and not one more."""
    session = await visit(services, shop)
    await many(services, session, 4)
    empty = sum(len(payload) for _, payload in await stored(services, session))
    await rows(services, "delete from events")
    await rows(services, "update conversations set last_seq = 0")
    await many(services, session, 3, "x" * 60_000)
    await rows(services, "update conversations set last_seq = 3")
    await many(services, session, 1, "x" * (REPLAY_BYTES - empty - 180_000 + more))
    assert sum(len(payload) for _, payload in await stored(services, session)) == REPLAY_BYTES + more
    replay = await services.journal.replay(client_id=shop.id, conversation_id=session.conversation.id, after=0)
    assert replay.complete == complete


async def test_published_again(services: Services, settings: Settings, shop: Shop) -> None:
    """What was committed after a conversation was read goes out once more, as it was stored."""
    session = await visit(services, shop)
    await rate(services, session, "m1")
    async with listening(services, session) as listener:
        await services.journal.republish(shop.id, session.conversation)
        await listener.until(lambda me: len(me.frames) == 1)
    assert listener.payloads == await stored(services, session)
    assert msgspec.json.decode(listener.payloads[0][1])["seq"] == 1


async def test_the_fallback_costs_a_write_nothing(
    services: Services, shop: Shop, settings: Settings, tmp_path: Path
) -> None:
    """Two round trips a write: with Redis no notice is posted, and without it the notice travels with the events."""
    session = await visit(services, shop)
    keys = {"client_id": shop.id, "conversation_id": session.conversation.id}
    path = urlsplit(settings.redis_url).path
    async with wire(settings.database_url, tmp_path) as (counted, url), cable(Path(path), tmp_path / "redis") as line:
        pool = await open_pool(url, max_size=1, application_name="test")
        ears = await open_pool(settings.database_url, max_size=1, application_name="test")
        redis = open_redis(f"unix://{line.path}?db=0")
        # Its looks go another way: what is counted is the writes alone.
        hub = Hub(redis, "ins_test", Noticeboard(services.pool, ears))
        bare = Hub(redis, "ins_bare")
        await hub.start()

        async def write(by: Hub) -> int:
            before = counted.round_trips
            async with Journal(pool, by).write(**keys) as entry:
                await entry.locked()
                entry.append(FeedbackRecorded(seq=entry.next_seq, message_id="m", rating="up"))
            return counted.round_trips - before

        try:
            await write(bare)
            assert [await write(bare), await write(hub), await write(hub)] == [2, 2, 2]
            assert hub.notice("cnv_1", 1) is None
            await line.cut()

            async def lost() -> bool:
                return hub.notice("cnv_1", 1) is not None

            await eventually(lost, "the hub knows")
            async with listening(services, session) as listener:
                await write(hub)
                assert await write(hub) == 2
                # Both: one look may find the two of them.
                await listener.until(lambda me: {5, 6} <= {seq for seq, _ in me.payloads})
        finally:
            await hub.stop()
            await redis.aclose()
            await ears.close()
            await pool.close()


class Rows:
    """A subscriber of an inbox."""

    def __init__(self) -> None:
        self.rows: list[InboxRow] = []

    def deliver(self, seq: int, payload: bytes) -> None:
        assert seq == 0
        self.rows += msgspec.json.decode(payload, type=InboxUpdated).rows

    def resync(self) -> None:
        """Nothing is lost within one process."""


async def test_the_inbox_hears_what_it_shows(
    services: Services, settings: Settings, shop: Shop, tmp_path: Path
) -> None:
    """A message, an end, an owner: one row each to the client's inbox and to that of all, for no round trip more."""
    session = await visit(services, shop)
    keys = {"client_id": shop.id, "conversation_id": session.conversation.id}
    own, everybody, other = Rows(), Rows(), Rows()
    for client_id, reader in ((shop.id, own), (None, everybody), (shop.id + 1, other)):
        await services.hub.join(channels.inbox(client_id), reader)
    frames: list[Callable[[int, datetime], Durable]] = [
        lambda seq, at: FeedbackRecorded(seq=seq, message_id="m", rating="up"),
        lambda seq, at: MessageCreated(seq=seq, message=Message(id="m", role="user", text="x" * 300, created_at=at)),
        lambda seq, at: TurnStarted(seq=seq, turn_id="t", message_id="a", gen=1),
        lambda seq, at: ToolStarted(seq=seq, turn_id="t", call_id="c", name="n", label="l"),
        lambda seq, at: MessageCompleted(
            seq=seq, turn_id="t", message=Message(id="a", role="assistant", text="Yes.", created_at=at)
        ),
        lambda seq, at: TurnFailed(seq=seq, turn_id="t", code="c", message="m", retryable=True),
        lambda seq, at: TurnStopped(seq=seq, turn_id="t"),
        lambda seq, at: OwnerChanged(seq=seq, owner="queued"),
    ]
    async with wire(settings.database_url, tmp_path) as (counted, url):
        pool = await open_pool(url, max_size=1, application_name="test")
        try:
            for frame in frames:
                before = counted.round_trips
                async with Journal(pool, services.hub).write(**keys) as entry:
                    await entry.locked()
                    event = frame(entry.next_seq, entry.at)
                    if isinstance(event, OwnerChanged):
                        await conversations.set_owner(entry.conn, **keys, owner="queued", waiting=True)
                    entry.append(event)
                assert event.seq == 1 or counted.round_trips - before == 2
        finally:
            await pool.close()
    assert other.rows == [] and own.rows == everybody.rows
    assert [(row.seq, row.preview, row.owner) for row in own.rows] == [
        (2, "x" * 200, "ai"),
        (5, "Yes.", "ai"),
        (6, None, "ai"),
        (7, None, "ai"),
        (8, None, "queued"),
    ]
    assert {row.conversation_id for row in own.rows} == {session.conversation.public_id}
    assert [row.waiting_since is not None for row in own.rows] == [False, False, False, False, True]
