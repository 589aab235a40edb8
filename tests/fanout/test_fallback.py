"""Two instances without Redis, or one of them: notices and looks through a real Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from server.access import Session
from server.fanout import channels, fallback
from server.fanout.hub import Hub
from server.fanout.signals import Signals
from server.protocol import codec
from server.protocol.visitor import FeedbackRecorded, MessageDelta, ToolConfirmRequest
from server.repositories import notices
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import Settings
from tests.support import PATIENCE_S, Cable, Shop, cable, eventually, listening, new_shop, rows, visit

BOTH, HERE, THERE = (True, True), (True, False), (False, True)


class Pair:
    """Two instances, each with its own line to Redis."""

    def __init__(self, instances: list[Services], lines: list[Cable]) -> None:
        self.here, self.there = instances
        self.lines = lines

    async def cut(self, whose: tuple[bool, bool]) -> None:
        """Takes Redis from these, and waits until both know as much as they can."""
        for line, gone in zip(self.lines, whose, strict=True):
            if gone:
                await line.cut()
        await eventually(self._all(True), "both use the fallback")

    async def mend(self, whose: tuple[bool, bool]) -> None:
        for line, gone in zip(self.lines, whose, strict=True):
            if gone:
                await line.mend()
        await eventually(self._all(False), "both are back")

    def _all(self, active: bool) -> Callable[[], Awaitable[bool]]:
        async def told() -> bool:
            return all(is_active(each.hub) is active for each in (self.here, self.there))

        return told


def is_active(hub: Hub) -> bool:
    """Whether it takes the other way: then an event's transaction posts a notice."""
    return hub.notice("cnv_x", 1) is not None


@asynccontextmanager
async def open_pair(settings: Settings, folder: Path) -> AsyncIterator[Pair]:
    """Both running."""
    path = urlsplit(settings.redis_url).path
    async with AsyncExitStack() as stack:
        instances, lines = [], []
        for name in ("here", "there"):
            lines.append(await stack.enter_async_context(cable(Path(path), folder / name)))
            own = msgspec.structs.replace(settings, redis_url=settings.redis_url.replace(path, str(folder / name)))
            instances.append(await stack.enter_async_context(open_services(own)))
        yield Pair(instances, lines)


@pytest.fixture
async def pair(settings: Settings, tmp_path: Path) -> AsyncIterator[Pair]:
    async with open_pair(settings, tmp_path) as pair:
        yield pair


@pytest.fixture
async def shop(pair: Pair) -> Shop:
    return await new_shop(pair.here)


async def rate(services: Services, session: Session, name: str) -> None:
    """Writes one small event."""
    async with services.journal.write(client_id=session.client.id, conversation_id=session.conversation.id) as entry:
        await entry.locked()
        entry.append(FeedbackRecorded(seq=entry.next_seq, message_id=name, rating="up"))


@pytest.mark.parametrize("whose", [BOTH, HERE, THERE], ids=["both", "the writer", "the reader"])
async def test_events_arrive_in_order_and_once(pair: Pair, shop: Shop, whose: tuple[bool, bool]) -> None:
    """Whoever lost Redis; what is written before, during and after is heard, and no socket has to read again."""
    session = await visit(pair.here, shop)
    async with listening(pair.there, session) as there, listening(pair.here, session) as here:
        await rate(pair.here, session, "before")
        await there.until(lambda me: len(me.frames) == 1)
        await pair.cut(whose)
        for writer, reader, end in ((pair.here, there, 4), (pair.there, here, 7)):
            for name in ("a", "b", "c"):
                await rate(writer, session, name)
            async with asyncio.timeout(PATIENCE_S):
                await reader.until(lambda me, end=end: len(me.frames) == end)  # type: ignore[misc]  # a default
        await pair.mend(whose)
        await rate(pair.here, session, "after")
        for listener in (here, there):
            await listener.until(lambda me: me.payloads[-1][0] == 8)
            told = dict(listener.payloads)
            assert list(told) == list(range(1, 9)), "in order, whatever came twice"
            assert all(told[seq] == payload for seq, payload in listener.payloads), "the same bytes, whichever way"
            assert listener.resyncs == 0


@pytest.mark.parametrize("whose", [BOTH, HERE, THERE], ids=["both", "the sender", "the waiter"])
async def test_signals_arrive(pair: Pair, whose: tuple[bool, bool]) -> None:
    """At once, in both directions."""
    await pair.cut(whose)
    for source, sink in ((pair.here, pair.there), (pair.there, pair.here)):
        with sink.signals.listening("key") as heard:
            source.signals.send("key")
            async with asyncio.timeout(PATIENCE_S):
                await heard.wait()
    await pair.mend(whose)
    with pair.there.signals.listening("key") as heard:
        pair.here.signals.send("key")
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()


async def test_control_is_not_doubled(pair: Pair, settings: Settings, tmp_path: Path) -> None:
    """Two that have Redis hear each other once although a third has lost it, and what waited is not said again."""
    (tmp_path / "third").mkdir()
    path = urlsplit(settings.redis_url).path
    async with cable(Path(path), tmp_path / "third" / "s") as line:
        own = msgspec.structs.replace(settings, redis_url=settings.redis_url.replace(path, str(line.path)))
        async with open_services(own) as third:
            said: dict[str, list[bytes]] = {"here": [], "there": [], "third": []}
            for name, each in (("here", pair.here), ("there", pair.there), ("third", third)):
                each.hub.on_control(said[name].append)
            await line.cut()
            await eventually(lambda: _true(is_active(pair.here.hub) and is_active(third.hub)), "known")
            pair.here.hub.control(b'"one"')
            third.hub.control(b'"two"')
            await eventually(lambda: _true(all(len(each) >= 2 for each in said.values())), "heard by all")
            await line.mend()
            await eventually(lambda: _true(not is_active(pair.here.hub) and not is_active(third.hub)), "back")
            third.hub.control(b'"three"')
            await eventually(lambda: _true(all(b'"three"' in each for each in said.values())), "heard by all")
    for heard in said.values():
        assert sorted(heard) == [b'"one"', b'"three"', b'"two"']


async def _true(value: bool) -> bool:
    return value


async def test_frames_of_tools_arrive_and_deltas_do_not(pair: Pair, shop: Shop) -> None:
    """A question needs its visitor wherever they are; text comes with the end."""
    session = await visit(pair.here, shop)
    channel = channels.conversation(session.conversation.public_id)
    until = datetime.now(UTC)
    question = codec.encode(ToolConfirmRequest(turn_id="trn_1", call_id="trn_1:1", label="Book", expires_at=until))
    async with listening(pair.there, session) as there:
        await pair.cut(BOTH)
        delta = MessageDelta(turn_id="trn_1", message_id="msg_1", gen=1, n=1, text="x")
        pair.here.hub.publish(channel, 0, codec.encode(delta))
        pair.here.hub.publish(channel, 0, question)
        await rate(pair.here, session, "end")
        await there.until(lambda me: len(me.frames) == 2)
        assert [payload for seq, payload in there.payloads if seq == 0] == [question]


async def test_what_no_notice_tells_is_looked_for(pair: Pair, shop: Shop) -> None:
    """An event written by somebody who did not know yet arrives within a look."""
    session = await visit(pair.here, shop)
    async with listening(pair.there, session) as there:
        await pair.cut(BOTH)
        await rows(
            pair.here,
            "insert into events (conversation_id, client_id, seq, type, payload) values (%s, %s, 1, 'x', %s)",
            session.conversation.id,
            shop.id,
            '{"type":"feedback.recorded","seq":1,"message_id":"m","rating":"up"}',
        )
        await rows(pair.here, "update conversations set last_seq = 1")
        async with asyncio.timeout(PATIENCE_S):
            await there.until(lambda me: len(me.frames) == 1)


async def test_events_of_the_last_moment_are_found(pair: Pair, shop: Shop) -> None:
    """Written after Redis broke and before anybody knew, for a reader that had heard nothing yet."""
    session = await visit(pair.here, shop)
    async with listening(pair.there, session) as there:
        for line in pair.lines:
            await line.cut()
        await rate(pair.here, session, "lost")
        async with asyncio.timeout(PATIENCE_S):
            await there.until(lambda me: len(me.frames) == 1)


async def test_running_answers_are_read_again_on_return(pair: Pair, shop: Shop) -> None:
    """Only they can have lost what no event brings: a thousand quiet sockets do not ask Postgres at once."""
    quiet, busy = await visit(pair.here, shop), await visit(pair.here, shop)
    await rows(
        pair.here,
        """
        with m as (insert into messages (public_id, client_id, conversation_id, role, content, seq)
                   values ('msg_q', %s, %s, 'user', 'x', 1) returning id)
        insert into turns (public_id, answer_id, client_id, conversation_id, message_id, status, gen, owner,
                           lease_until, deadline)
        select 'trn_q', 'msg_a', %s, %s, m.id, 'running', 1, 'ins_other', now() + interval '1 h', now() + interval '1 h'
        from m
        """,
        shop.id,
        busy.conversation.id,
        shop.id,
        busy.conversation.id,
    )
    async with listening(pair.there, quiet) as resting, listening(pair.there, busy) as watching:
        await pair.cut(BOTH)
        await pair.mend(BOTH)
        await watching.until(lambda me: me.resyncs == 1)
        assert resting.resyncs == 0


async def test_instances_are_counted(pair: Pair, settings: Settings, tmp_path: Path) -> None:
    """A limit is divided by those that live: one more, one less."""
    await pair.cut(BOTH)
    await eventually(lambda: _true(pair.here.hub.instances() == pair.there.hub.instances() == 2), "two")
    async with open_services(settings):
        await eventually(lambda: _true(pair.here.hub.instances() == 3), "three")
    await eventually(lambda: _true(pair.here.hub.instances() == 2), "two again")


async def test_without_both_it_comes_back(pair: Pair, shop: Shop) -> None:
    """The listener's connection is lost as well: it is opened again, and what was said meanwhile is found."""
    session = await visit(pair.here, shop)
    async with listening(pair.there, session) as there:
        await pair.cut(BOTH)
        await rows(
            pair.here,
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and application_name like 'frontdesk listener%%'",
        )
        await rate(pair.here, session, "meanwhile")
        await there.until(lambda me: len(me.frames) == 1)
        with pair.there.signals.listening("key") as heard:

            async def hears() -> bool:
                pair.here.signals.send("key")
                return heard.is_set()

            await eventually(hears, "notices again")


async def test_junk_is_dropped(pair: Pair, shop: Shop) -> None:
    """Whoever has the database's password can post anything; the next real notice is heard all the same."""
    await pair.cut(BOTH)
    async with reading(pair.here.pool) as conn:
        junk = ["", "{", "[]", '{"t":"event"}', '{"t":"said","origin":"x","channel":1}', "\u2028", "x" * 7_999]
        await notices.post(conn, notices=junk)
    with pair.there.signals.listening("key") as heard:
        pair.here.signals.send("key")
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()


async def test_memory_is_bounded(pair: Pair) -> None:
    """Whatever is said while neither Redis nor Postgres takes it: the newest stay, and a giant is refused."""
    await pair.cut(BOTH)
    signals = Signals(pair.here.hub)
    waiting = pair.here.hub._fallback
    assert waiting is not None
    for number in range(fallback.OUTBOX * 3):
        signals.send(f"key{number}")
    pair.here.hub.control(b'"' + b"x" * fallback.NOTICE_BYTES + b'"')
    assert len(waiting._outbox) == fallback.OUTBOX
    assert b"key2999" in waiting._outbox[-1].encode() and "key2000" in waiting._outbox[0]
    assert len(pair.here.hub.bus._outbox) < 100, "nothing of it waits for Redis too"


async def test_what_an_instance_says_last_is_said(settings: Settings, tmp_path: Path) -> None:
    """Without Redis too: a control message of an instance that ends at once is heard by the other."""
    heard: list[bytes] = []
    async with open_pair(settings, tmp_path) as pair:
        await pair.cut(BOTH)
        pair.there.hub.on_control(heard.append)
        pair.here.hub.control(b'{"type":"last"}')
        await pair.here.hub.stop()

        async def told() -> bool:
            return b'{"type":"last"}' in heard

        await eventually(told, "the last word")
