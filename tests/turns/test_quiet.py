"""An answer that is asked to hold says nothing until it is let go, and loses nothing by it."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from server import ids
from server.protocol import codec
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnStopped
from server.repositories import conversations
from server.repositories.pool import reading, unit_of_work
from server.services import Services, open_services
from server.settings import Settings
from server.turns import quiet
from server.turns.quiet import Fenced, GoOn, Hold
from tests.support import Listener, Shop, cable, eventually, listening, rows, send, visit
from tests.turns.staff import new_operator
from tests.wire_servers import Answer, WireServer

WORDS = tuple(f"w{number} " for number in range(60))
STREAM = Answer(tokens=WORDS, tokens_per_s=300)


def text_of(listener: Listener) -> str:
    """What visitors were shown."""
    return "".join(frame.text for frame in listener.frames if isinstance(frame, MessageDelta))


def numbers_of(listener: Listener) -> list[int]:
    """The numbers of the pieces."""
    return [frame.n for frame in listener.frames if isinstance(frame, MessageDelta)]


async def more(listener: Listener) -> None:
    """Until another piece comes."""
    before = len(text_of(listener))
    await listener.until(lambda me: len(text_of(me)) > before)


async def test_held_by_one_of_two(services: Services, settings: Settings, shop: Shop, model: WireServer) -> None:
    """Asked by another instance: that one of two lets go is not enough; the answer's end brings all of it."""
    model.script(STREAM)
    session = await visit(services, shop)
    async with open_services(settings) as other, listening(services, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id or ""
        await listener.frame(MessageDelta)
        for by in ("one", "two"):
            other.hub.control(codec.encode(Hold(turn_id, by)))
        other.hub.control(codec.encode(GoOn(turn_id, "one")))
        end = await listener.end()
    assert len(text_of(listener)) < len("".join(WORDS))
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "".join(WORDS)


async def test_what_came_meanwhile_is_shown(
    services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked it to hold is gone: after its time it goes on by itself, and nothing is missing or doubled."""
    monkeypatch.setattr(quiet, "HOLD_S", 0.15)
    model.script(Answer(tokens=WORDS, tokens_per_s=100, stall_after=len(WORDS)))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id or ""
        await listener.frame(MessageDelta)
        for _ in range(3):
            services.hub.control(codec.encode(Hold(turn_id, ids.request_id())))
            live = await services.recoverer.live(session.conversation)
            assert live is not None and live.text == text_of(listener)
            await more(listener)
        await listener.until(lambda me: text_of(me) == "".join(WORDS))
        assert await services.commands.stop(session, turn_id=turn_id)
        stop = await listener.frame(TurnStopped)
    numbers = numbers_of(listener)
    assert numbers == list(range(1, len(numbers) + 1))
    assert stop.message.text == "".join(WORDS)


async def test_nothing_is_shown_between_the_look_and_the_commit(
    services: Services, shop: Shop, model: WireServer
) -> None:
    """Postgres keeps a take waiting while the model talks on: visitors see no word more than what is kept."""
    model.script(*[Answer(tokens=tuple(f"w{number} " for number in range(300)), tokens_per_s=200)] * 2)
    session, beside, olga = await visit(services, shop), await visit(services, shop), await new_operator(services, "O")
    async with listening(services, session) as listener, listening(services, beside) as clock:
        for each in (session, beside):
            await send(services, each, "Count")
        await listener.frame(MessageDelta, nth=2)
        async with unit_of_work(services.pool) as conn:
            lock = await conversations.lock(conn, client_id=shop.id, conversation_id=session.conversation.id)
            assert await lock.fetchone() is not None
            take = asyncio.create_task(services.handover.take(olga, session.conversation))

            async def waits() -> bool:
                return await rows(services, "select count(*) > 0 from pg_locks where not granted") == [(True,)]

            await eventually(waits, "the take waits for the row")
            shown = text_of(listener)
            # The other visitor's answer, at the same pace, says that there was time for several pieces.
            await clock.frame(MessageDelta, nth=len(clock.of(MessageDelta)) + 4)
            assert text_of(listener) == shown
        await take
        stop = await listener.frame(TurnStopped)
        assert stop.message.text == text_of(listener) == shown


async def test_fenced_just_before_it_begins(services: Services, shop: Shop, model: WireServer) -> None:
    """A turn that was ended between its claim and its run asks no model and shows nothing."""
    session = await visit(services, shop)
    await services.handover.request(session)
    await send(services, session, "Hello")
    turn_id = ids.turn_id()
    async with reading(services.pool) as conn:
        # The test's own statements: a queued turn.
        await conn.execute(
            "insert into turns (client_id, conversation_id, public_id, message_id, answer_id, status) "
            "select client_id, conversation_id, %s, id, 'msg_a', 'queued' from messages",
            [turn_id],
        )
    services.hub.control(codec.encode(Fenced(turn_id, 2)))
    services.supervisor.next(client_id=shop.id, conversation_id=session.conversation.id)

    async def left() -> bool:
        claimed = await rows(services, "select attempts from turns where status = 'running'") == [(1,)]
        return claimed and services.supervisor.running == 0

    await eventually(left, "the turn was claimed and left alone")
    assert model.requests == []


async def test_the_last_words_of_the_dead(
    services: Services, settings: Settings, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers for an instance that is gone: what it showed last is kept, after a moment's wait."""
    monkeypatch.setattr(quiet, "ANSWER_S", 0.1)
    model.script(Answer(tokens=("One", " two", " three", " four"), stall_after=3))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with open_services(settings) as other, listening(other, session) as listener:
        turn_id = (await send(services, session, "Count")).turn_id
        await listener.until(lambda me: text_of(me) == "One two three")
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await other.handover.take(olga, session.conversation)
        stop = await listener.frame(TurnStopped)
    assert stop.message is not None and stop.message.text == "One two three"


async def test_given_back_and_taken(services: Services, settings: Settings, shop: Shop, model: WireServer) -> None:
    """An instance that ended gave the turn back; taken before anybody began it again, what visitors see is kept."""
    model.script(Answer(tokens=("One", " two", " three", " four"), stall_after=3))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with listening(services, session) as listener:
        async with open_services(settings) as ends:
            await send(ends, session, "Count")
            await listener.until(lambda me: text_of(me) == "One two three")
            services.supervisor.drain()
        assert await rows(services, "select status, gen from turns") == [("queued", 2)]
        await services.handover.take(olga, session.conversation)
        stop = await listener.frame(TurnStopped)
    assert stop.message is not None and stop.message.text == "One two three"
    assert await rows(services, "select status, gen from turns") == [("stopped", 3)]


async def test_without_redis(
    services: Services, settings: Settings, shop: Shop, model: WireServer, tmp_path: Path
) -> None:
    """The instance that speaks is asked through Postgres, and its answer carries the text."""
    path = urlsplit(settings.redis_url).path
    model.script(Answer(tokens=("One", " two", " three", " four"), stall_after=3))
    session, olga = await visit(services, shop), await new_operator(services, "Olga")
    async with cable(Path(path), tmp_path / "redis") as line:
        cut = msgspec.structs.replace(settings, redis_url=settings.redis_url.replace(path, str(line.path)))
        async with open_services(cut) as here, open_services(cut) as there, listening(here, session) as listener:
            await line.cut()

            async def away() -> bool:
                return here.hub.bus.away and there.hub.bus.away

            await eventually(away, "both instances have lost Redis")
            await send(here, session, "Count")
            await listener.until(lambda me: text_of(me) == "One two three")
            await there.handover.take(olga, session.conversation)
            stop = await listener.frame(TurnStopped)
    assert stop.message is not None and stop.message.text == "One two three"
