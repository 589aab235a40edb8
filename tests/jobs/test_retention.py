"""A whole run of retention beside a running instance."""

import asyncio
from datetime import UTC, datetime

import pytest

from server.access import Session
from server.errors import Unavailable
from server.jobs import retention
from server.jobs.retention import KINDS, Kind, Result
from server.protocol.visitor import MessageCompleted
from server.repositories import audit, usage
from server.repositories.pool import Pool, open_pool, reading
from server.services import Services
from tests.support import Shop, ask, remember, rows, visit

OLD = "now() - interval '31 days'"


async def _age(services: Services, session: Session) -> None:
    """Everything that was said in a conversation is 31 days old now; calls of tools 91."""
    where = session.conversation.id
    await rows(services, f"update messages set created_at = {OLD} where conversation_id = %s", where)
    await rows(services, f"update events set created_at = {OLD} where conversation_id = %s", where)
    await rows(
        services,
        f"update turn_steps set created_at = {OLD} where turn_id in (select id from turns where conversation_id = %s)",
        where,
    )


async def _texts(services: Services, session: Session) -> list[str | None]:
    found = await rows(
        services, "select content from messages where conversation_id = %s order by id", session.conversation.id
    )
    return [text for (text,) in found]


@pytest.fixture
async def talk(services: Services, shop: Shop) -> Session:
    """An old conversation: a question and its answer."""
    session = await visit(services, shop)
    assert isinstance(await ask(services, session, "Where is my order?"), MessageCompleted)
    await _age(services, session)
    return session


async def test_a_run(services: Services, shop: Shop, talk: Session) -> None:
    """Words go, counts stay; a younger conversation is as it was; the log says what was done; again it does nothing."""
    young = await visit(services, shop)
    await remember(services, young, ("user", "Hello"), ("assistant", "Hi"))
    today = datetime.now(UTC).date()
    async with reading(services.pool) as conn:
        before = await usage.current_period(conn, client_id=shop.id, today=today)
    assert before.message_count == 2 and before.tokens_input > 0
    result = await retention.run(services.pool)
    assert (result.rows["messages"], result.rows["events"]) == (2, 3)
    assert await _texts(services, talk) == [None, None]
    assert await _texts(services, young) == ["Hello", "Hi"]
    async with reading(services.pool) as conn:
        assert await usage.current_period(conn, client_id=shop.id, today=today) == before
        [entry] = await audit.page_of_all(conn, operator_id=None, action="retention.run", before=None, limit=5)
    assert entry.details == result.rows and entry.operator_id is None
    assert await rows(services, "select sum(tokens_input) > 0 from messages") == [(True,)]
    again = await retention.run(services.pool)
    assert again.rows == dict.fromkeys(result.rows, 0)


async def test_a_dry_run(services: Services, talk: Session) -> None:
    """Counts the same and changes nothing, not even the log."""
    dry = await retention.run(services.pool, dry_run=True)
    assert dry.dry_run and dry.rows["messages"] == 2
    assert await _texts(services, talk) == ["Where is my order?", "You said: Where is my order?"]
    assert await rows(services, "select count(*) from audit_log where action = 'retention.run'") == [(0,)]
    wet = await retention.run(services.pool)
    assert wet.rows == dry.rows


async def test_progress(services: Services, shop: Shop) -> None:
    """In batches, with a pause after each that was full; every kind is told from its beginning to its end."""
    session = await visit(services, shop)
    await remember(services, session, *[("user", f"Message {number}") for number in range(7)])
    await _age(services, session)
    told: list[tuple[str, int, int]] = []
    pauses: list[float] = []

    def progress(kind: Kind, done: int, due: int) -> None:
        told.append((kind.name, done, due))

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    result = await retention.run(services.pool, batch=3, progress=progress, pause=pause)
    assert [(done, due) for name, done, due in told if name == "messages"] == [(0, 7), (3, 7), (6, 7), (7, 7)]
    assert list(dict.fromkeys(name for name, _, _ in told)) == [kind.name for kind in KINDS]
    assert len(pauses) == 4 and all(seconds > 0 for seconds in pauses)
    assert list(result.rows) == [kind.name for kind in KINDS]


async def test_two_runs_at_once(services: Services, shop: Shop) -> None:
    """They share the work, and nobody waits."""
    session = await visit(services, shop)
    await remember(services, session, *[("user", f"Message {number}") for number in range(40)])
    await _age(services, session)
    async with asyncio.timeout(20):
        both: list[Result] = await asyncio.gather(
            *(retention.run(services.pool, batch=2) for _ in range(2)),
        )
    assert sum(each.rows["messages"] for each in both) == 40
    assert sum(each.rows["events"] for each in both) == 40
    assert await _texts(services, session) == [None] * 40


async def test_beside_a_running_answer(services: Services, shop: Shop, talk: Session) -> None:
    """An old conversation goes on while its words are removed: the new ones stay, numbers go on."""
    [(head,)] = await rows(services, "select last_seq from conversations where id = %s", talk.conversation.id)
    end, _ = await asyncio.gather(ask(services, talk, "And now?"), retention.run(services.pool))
    assert isinstance(end, MessageCompleted) and end.seq == head + 3
    assert await _texts(services, talk) == [None, None, "And now?", "You said: And now?"]


@pytest.mark.parametrize("last_seq", [0, 1, 2])
async def test_a_reader_who_missed_removed_events_gets_everything(
    services: Services, talk: Session, last_seq: int
) -> None:
    """A snapshot, with messages whose words are gone; never a part of the events as if it were all."""
    await retention.run(services.pool)
    conversation = talk.conversation
    for more in (False, True):
        if more:
            await remember(services, talk, ("operator", "Hello again"))
        recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=last_seq)
        assert not recovery.resumed and recovery.events == []
        assert recovery.snapshot is not None and recovery.snapshot.messages is not None
        texts = [message.text for message in recovery.snapshot.messages]
        assert texts == ["", "", *(["Hello again"] if more else [])]
        assert recovery.up_to == (4 if more else 3)


async def test_a_reader_who_has_seen_them_resumes(services: Services, talk: Session) -> None:
    """Nothing was missed, or only what is still there."""
    await retention.run(services.pool)
    conversation = talk.conversation
    recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=3)
    assert recovery.resumed and recovery.events == []
    await remember(services, talk, ("operator", "Hello again"))
    recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=3)
    assert recovery.resumed and [event.seq for event in recovery.events] == [4]


async def test_a_hole_in_the_middle_is_seen(services: Services, talk: Session) -> None:
    """Where clocks let a younger event be older: what is left is no replay."""
    await remember(services, talk, ("operator", "Hello again"))
    await rows(services, "delete from events where conversation_id = %s and seq = 3", talk.conversation.id)
    conversation = talk.conversation
    recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=1)
    assert not recovery.resumed
    recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=3)
    assert recovery.resumed and [event.seq for event in recovery.events] == [4]


async def test_a_database_that_goes_away(services: Services, talk: Session, database_url: str) -> None:
    """The run ends with the reason; what was done stays done, and the next run does the rest."""
    pool: Pool = await open_pool(database_url, max_size=1, application_name="test")

    def progress(kind: Kind, done: int, _due: int) -> None:
        if (kind.name, done) == ("messages", 1):
            raise Unavailable("postgres", "gone")

    try:
        with pytest.raises(Unavailable):
            await retention.run(pool, batch=1, progress=progress)
        assert sorted(text is None for text in await _texts(services, talk)) == [False, True]
        assert (await retention.run(pool)).rows["messages"] == 1
    finally:
        await pool.close()
