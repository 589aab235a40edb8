"""Bringing a reader up to date: whole, or not at all."""

import asyncio
import random

import msgspec
import pytest
from msgspec.structs import replace

from server.access import Session
from server.errors import NotFound
from server.journal import REPLAY_EVENTS
from server.protocol.visitor import MessageCompleted, MessageDelta
from server.recovery import SNAPSHOT_BYTES, SNAPSHOT_MESSAGES, Recovery
from server.repositories import conversations
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import Settings
from tests.support import Shop, ask, eventually, listening, new_shop, remember, rows, send, visit
from tests.wire_servers import Answer, WireServer

ENDLESS = Answer(tokens=("One", " two", " three", " four"), stall_after=3)


@pytest.fixture
async def session(services: Services, shop: Shop) -> Session:
    """A new conversation."""
    return await visit(services, shop)


async def recover(services: Services, session: Session, last_seq: int | None, *, epoch: str | None = None) -> Recovery:
    """As the socket asks, with the right epoch unless told."""
    epoch = session.conversation.epoch if epoch is None else epoch
    return await services.recoverer.recover(session.conversation, epoch=epoch, last_seq=last_seq)


async def test_a_new_conversation_is_empty(services: Services, session: Session) -> None:
    """A snapshot of nothing."""
    found = await recover(services, session, None)
    assert (found.resumed, found.events, found.up_to) == (False, [], 0)
    assert found.snapshot is not None
    assert (found.snapshot.messages, found.snapshot.owner, found.snapshot.live) == ([], "ai", None)


async def test_what_was_missed_comes_in_order(services: Services, session: Session) -> None:
    """From any point on; at the head there is nothing to bring."""
    await ask(services, session, "one")
    await ask(services, session, "two")
    for seen in range(7):
        found = await recover(services, session, seen)
        assert (found.resumed, found.snapshot, found.up_to) == (True, None, 6)
        assert [event.seq for event in found.events] == list(range(seen + 1, 7))
        assert [msgspec.json.decode(event.payload)["seq"] for event in found.events] == list(range(seen + 1, 7))


@pytest.mark.parametrize(("last_seq", "epoch"), [(None, None), (3, "another0"), (4, None), (10**12, None)])
async def test_who_cannot_resume_gets_everything(
    services: Services, session: Session, last_seq: int | None, epoch: str | None
) -> None:
    """Without a seq, from another life of the conversation, or from its future."""
    end = await ask(services, session, "one")
    assert isinstance(end, MessageCompleted)
    found = await recover(services, session, last_seq, epoch=epoch)
    assert (found.resumed, found.events, found.up_to) == (False, [], 3)
    assert found.snapshot is not None
    assert found.snapshot.messages is not None
    question, answer = found.snapshot.messages
    assert (question.role, question.text, question.cid is not None) == ("user", "one", True)
    assert answer == end.message, "the same message as was sent when it was new"


async def test_too_far_behind(services: Services, session: Session) -> None:
    """More than a replay may hold: a snapshot of the last 50 messages."""
    await remember(services, session, *(("user", f"m{number}") for number in range(60)))
    await rows(
        services,
        """
        insert into events (conversation_id, seq, client_id, type, payload)
        select conversation_id, n, client_id, type, payload from events, generate_series(61, %s) n where seq = 1
        """,
        REPLAY_EVENTS + 1,
    )
    await rows(services, "update conversations set last_seq = %s", REPLAY_EVENTS + 1)
    assert (await recover(services, session, 1)).resumed
    found = await recover(services, session, 0)
    assert (found.resumed, found.up_to) == (False, REPLAY_EVENTS + 1)
    assert found.snapshot is not None
    assert [message.text for message in found.snapshot.messages or []] == [
        f"m{number}" for number in range(60 - SNAPSHOT_MESSAGES, 60)
    ]


async def test_the_owner_is_told(services: Services, session: Session) -> None:
    """Who answers now, from Postgres and not as the caller remembers it."""
    async with reading(services.pool) as conn:
        await conversations.set_owner(
            conn, client_id=session.client.id, conversation_id=session.conversation.id, owner="human"
        )
    found = await recover(services, session, None)
    assert found.snapshot is not None
    assert found.snapshot.owner == "human"


@pytest.mark.parametrize("resumes", [True, False])
async def test_a_running_answer_is_brought_too(
    services: Services, settings: Settings, session: Session, model: WireServer, resumes: bool
) -> None:
    """Its text up to delta n, here and on another instance."""
    model.script(ENDLESS)
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.until(lambda me: said(me.frames) == "One two three")
        n = max(frame.n for frame in listener.frames if isinstance(frame, MessageDelta))
    async with open_services(settings) as other:

        async def arrived() -> bool:
            live = await other.recoverer.live(session.conversation)
            return live is not None and live.n == n

        await eventually(arrived, "the text reaches redis")
        for instance in (services, other):
            found = await recover(instance, session, 1 if resumes else None)
            assert (found.resumed, found.up_to) == (resumes, 2)
            assert found.snapshot is not None
            assert found.snapshot.live is not None
            live = found.snapshot.live
            assert (live.turn_id, live.gen, live.n, live.text) == (accepted.turn_id, 1, n, "One two three")
            assert (found.snapshot.messages is None) == resumes


def said(frames: object) -> str:
    """The deltas so far."""
    assert isinstance(frames, list)
    return "".join(frame.text for frame in frames if isinstance(frame, MessageDelta))


@pytest.mark.parametrize("lost", ["flushed", "older gen"])
async def test_a_running_answer_whose_text_is_lost(
    services: Services, settings: Settings, session: Session, model: WireServer, lost: str
) -> None:
    """Redis forgot, or knows an older gen's: there is an answer, and nothing of its text."""
    model.script(Answer(tokens=("One", " two", " three"), stall_after=1))
    async with listening(services, session) as listener:
        accepted = await send(services, session, "Count")
        await listener.frame(MessageDelta)
    async with open_services(settings) as other:

        async def arrived() -> bool:
            return bool(await services.redis.exists(f"live:{accepted.turn_id}:1"))

        await eventually(arrived, "the text reaches redis")
        if lost == "flushed":
            await services.redis.flushall()
        else:
            await rows(services, "update turns set gen = 2, owner = 'ins_other'")
        live = await other.recoverer.live(session.conversation)
    assert live is not None
    assert (live.turn_id, live.n, live.text) == (accepted.turn_id, 0, "")
    assert live.gen == (1 if lost == "flushed" else 2)


async def test_an_erased_conversation(services: Services, session: Session) -> None:
    """Whoever still holds it is told so."""
    await rows(services, "delete from conversations")
    for last_seq in (None, 0):
        with pytest.raises(NotFound) as refusal:
            await recover(services, session, last_seq)
        assert refusal.value.code == "erased"


async def test_another_clients_conversation_has_nothing(services: Services, session: Session) -> None:
    """Tenancy is in the query: with another client's id the same conversation is not there."""
    await ask(services, session, "one")
    stranger = await new_shop(services, "bakery")
    theirs = replace(session.conversation, client_id=stranger.id)
    with pytest.raises(NotFound):
        await services.recoverer.recover(theirs, epoch=theirs.epoch, last_seq=0)
    assert await services.recoverer.live(theirs) is None


async def test_a_snapshot_of_long_messages_is_short(services: Services, session: Session) -> None:
    """The newest, and what begins within its room; a message that is longer than all of it comes alone. The others come
    by the page."""
    half = "x" * (SNAPSHOT_BYTES // 2)
    await remember(services, session, ("user", "old"), ("assistant", half), ("user", ""), ("assistant", half))
    for most, texts in (("", [half, "", half]), ("y", [half, "", half, "y"]), (4 * half + "z", [4 * half + "z"])):
        if most:
            await remember(services, session, ("user", most))
        snapshot = (await recover(services, session, None)).snapshot
        assert snapshot is not None and snapshot.messages is not None
        assert [message.text for message in snapshot.messages] == texts


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_comes_and_goes_misses_nothing(
    services: Services, settings: Settings, session: Session, model: WireServer, seed: int
) -> None:
    """Subscribe, recover, merge by seq, at random moments of a busy conversation, on either instance."""
    chance = random.Random(seed)
    model.default = lambda _request: Answer("One two three four five", tokens_per_s=400)
    seen: list[int] = []
    async with open_services(settings) as other:

        async def talk() -> None:
            for number in range(8):
                await send(chance.choice([services, other]), session, f"question {number}")
                await asyncio.sleep(chance.random() * 0.02)

        talking = asyncio.create_task(talk())
        async with asyncio.timeout(20):
            while len(seen) < 24:
                instance = chance.choice([services, other])
                async with listening(instance, session) as listener:
                    found = await recover(instance, session, seen[-1] if seen else 0)
                    assert found.resumed
                    seen += [event.seq for event in found.events]
                    for _ in range(chance.randint(0, 4)):
                        await asyncio.sleep(0)
                for seq, _ in listener.payloads:
                    if seq == (seen[-1] if seen else 0) + 1:
                        seen.append(seq)
        await talking
    assert seen == list(range(1, 25))
