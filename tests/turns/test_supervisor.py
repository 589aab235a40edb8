"""Who runs a turn: leases, takeovers, hand-overs between instances."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from server import journal
from server.access import Session
from server.errors import Unavailable
from server.protocol.visitor import MessageCompleted, MessageDelta, TurnFailed, TurnReset, TurnStarted, TurnStopped
from server.repositories import presence as locks
from server.repositories import turn_leases, turns
from server.repositories.pool import Conn, unit_of_work
from server.services import Services, open_services
from server.settings import Settings
from server.turns import phrases, presence, supervisor
from server.turns.claims import ATTEMPTS
from server.turns.lease import LEASE_S
from tests.support import Shop, eventually, listening, new_shop, rows, send, visit
from tests.wire_servers import Answer, WireServer

ENDLESS = Answer(tokens=("Half", " an", " answer"), stall_after=2)
EXPIRED = "update turns set lease_until = now() - interval '1 second' where public_id = %s"


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances that look after their turns every 50 ms instead of every few seconds, and spare nobody at the start."""
    monkeypatch.setattr(supervisor, "EXTEND_S", 0.05)
    monkeypatch.setattr(supervisor, "SWEEP_S", 0.05)
    monkeypatch.setattr(presence, "FAIR_S", 0.05)


async def begun(services: Services, session: Session) -> str:
    """A turn that said something and will never end by itself; its id."""
    async with listening(services, session) as listener:
        turn_id = (await send(services, session, "Hello")).turn_id
        await listener.frame(MessageDelta)
    assert turn_id is not None
    return turn_id


async def state(services: Services, turn_id: str) -> tuple[str, int, str | None, int]:
    """Status, gen, owner and attempts of a turn."""
    [row] = await rows(services, "select status, gen, owner, attempts from turns where public_id = %s", turn_id)
    status, gen, owner, attempts = row
    return status, gen, owner, attempts


async def answers(services: Services) -> list[str]:
    """Every answer there is."""
    return [text for (text,) in await rows(services, "select content from messages where role = 'assistant'")]


@pytest.mark.usefixtures("brisk")
async def test_a_running_turn_keeps_its_lease(services: Services, shop: Shop, model: WireServer) -> None:
    """The instance extends it again and again, well before it runs out."""
    model.script(ENDLESS)
    turn_id = await begun(services, await visit(services, shop))
    query = "select extract(epoch from lease_until - now()) from turns where public_id = %s"
    await rows(services, "update turns set lease_until = now() + interval '3 seconds' where public_id = %s", turn_id)

    async def extended() -> bool:
        [(left,)] = await rows(services, query, turn_id)
        return bool(left > LEASE_S - 2)

    await eventually(extended, "the lease is extended")
    assert await state(services, turn_id) == ("running", 1, services.instance, 1)


async def test_a_turn_that_ends_while_its_lease_is_extended_is_heard_of(
    services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extension waits for the row that the end holds and finds the turn ended: no reason to cut it off before it
    has published."""
    model.script(Answer("Done.", first_byte_after_s=0.2))
    session = await visit(services, shop)
    ended, held = asyncio.Event(), asyncio.Event()
    finish = turns.finish

    async def slowly(*args: Any, **named: Any) -> None:
        await finish(*args, **named)
        ended.set()
        await held.wait()

    # The end of the turn stops between its statement and its commit, as a slow disk would make it.
    monkeypatch.setattr(turns, "finish", slowly)
    async with listening(services, session) as listener:
        await send(services, session, "Hello")
        await ended.wait()
        extending = asyncio.create_task(services.supervisor._extend())
        await waiting_for_a_lock(services)
        held.set()
        await extending
        assert isinstance(await listener.end(), MessageCompleted)


async def waiting_for_a_lock(services: Services) -> None:
    """Until some statement waits for another transaction."""

    query = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    async def waits() -> bool:
        return bool(await rows(services, query))

    await eventually(waits, "a statement waits for a row")


@pytest.mark.usefixtures("brisk")
async def test_a_turn_that_was_taken_stops(services: Services, shop: Shop, model: WireServer) -> None:
    """As soon as the lease is somebody else's the model is hung up on, and nothing is written."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    turn_id = await begun(services, session)
    await rows(services, "update turns set owner = 'ins_other', gen = gen + 1 where public_id = %s", turn_id)
    await model.wait_for_abandoned()
    assert await state(services, turn_id) == ("running", 2, "ins_other", 1)
    assert await answers(services) == []


async def test_a_zombie_writes_nothing(services: Services, shop: Shop, model: WireServer) -> None:
    """An instance that was away and finishes its answer after the turn was taken is fenced off at the commit."""
    model.script(Answer("Too late", first_byte_after_s=0.3))
    session = await visit(services, shop)
    turn_id = (await send(services, session, "Hello")).turn_id
    assert turn_id is not None
    await model.wait_for_requests(1)
    await rows(services, "update turns set owner = 'ins_other', gen = gen + 1 where public_id = %s", turn_id)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
    await task
    assert await state(services, turn_id) == ("running", 2, "ins_other", 1)
    assert await answers(services) == []
    assert await rows(services, "select type from events order by seq") == [("message.created",), ("turn.started",)]
    assert await rows(services, "select message_count, tokens_output from api_usage") == [(1, 0)]


async def test_a_zombie_whose_lease_ran_out_writes_nothing(services: Services, shop: Shop, model: WireServer) -> None:
    """Also when nobody took the turn yet: it might be taken in the next instant."""
    model.script(Answer("Too late", first_byte_after_s=0.3))
    turn_id = (await send(services, await visit(services, shop), "Hello")).turn_id
    assert turn_id is not None
    await model.wait_for_requests(1)
    await rows(services, EXPIRED, turn_id)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
    await task
    assert await answers(services) == []
    assert (await state(services, turn_id))[:2] == ("running", 1)


async def test_what_a_zombie_said_is_not_shown(services: Services, shop: Shop, model: WireServer) -> None:
    """Its partial text is forgotten where it ran, so that a browser there gets the new owner's from Redis."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    turn_id = await begun(services, session)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
    await rows(services, "update turns set owner = 'ins_other', gen = gen + 1 where public_id = %s", turn_id)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    text = b'{"turn_id":"%b","message_id":"m","gen":2,"n":7,"text":"anew","provider":"p","model":"m","tokens_input":1}'
    # Behind what the zombie has still under way.
    services.hub.bus.command("SET", f"live:{turn_id}:2", text % turn_id.encode())

    async def shown() -> bool:
        live = await services.recoverer.live(session.conversation)
        return live is not None and (live.gen, live.n, live.text) == (2, 7, "anew")

    await eventually(shown, "the new owner's text is shown")


@pytest.mark.usefixtures("brisk")
async def test_another_instance_takes_a_dead_ones_turn(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """When the lease runs out: gen + 1, `turn.reset` for whoever watches, and one answer, whole."""
    model.script(ENDLESS, Answer("The whole answer"))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        turn_id = await begun(services, session)
        # The first instance is frozen: it neither extends nor notices.
        for task in asyncio.all_tasks():
            if task.get_name() in {"lease keeper", "turn sweeper"}:
                task.cancel()
        await rows(services, EXPIRED, turn_id)
        async with open_services(settings) as other:
            end = await listener.end()
            assert await state(services, turn_id) == ("done", 2, other.instance, 2)
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "The whole answer"
    assert await answers(services) == ["The whole answer"]
    [reset] = listener.of(TurnReset)
    assert reset == TurnReset(turn_id=turn_id, gen=2)
    at = listener.frames.index(reset)
    assert {frame.gen for frame in listener.frames[:at] if isinstance(frame, MessageDelta)} == {1}
    later = [frame for frame in listener.frames[at:] if isinstance(frame, MessageDelta)]
    assert {frame.gen for frame in later} == {2}
    assert [frame.n for frame in later] == list(range(1, len(later) + 1)), "numbered anew within the gen"
    assert len(listener.of(TurnStarted)) == 1
    assert await rows(services, "select type from events order by seq") == [
        ("message.created",),
        ("turn.started",),
        ("message.completed",),
    ]


@pytest.mark.usefixtures("brisk")
async def test_a_lease_that_ran_out_is_renewed_while_nobody_took_it(
    services: Services, shop: Shop, model: WireServer
) -> None:
    """The same answer goes on, in its gen: the sweep of the instance that runs it leaves it alone."""
    model.script(Answer("One two three four five six seven eight nine", tokens_per_s=40))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        turn_id = await begun(services, session)
        await rows(services, EXPIRED, turn_id)

        async def renewed() -> bool:
            query = "select lease_until > now() or status <> 'running' from turns"
            return await rows(services, query) == [(True,)]

        await eventually(renewed, "the lease is whole again")
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "One two three four five six seven eight nine"
    assert await state(services, turn_id) == ("done", 1, services.instance, 1)
    assert listener.of(TurnReset) == [] and len(model.requests) == 1


@pytest.mark.usefixtures("brisk")
async def test_a_turn_of_ones_own_that_does_not_run_is_taken_at_once(
    services: Services, shop: Shop, model: WireServer
) -> None:
    """Its task broke, or its commit was never heard of: nobody waits for the lease of whoever is here."""
    model.script(ENDLESS, Answer("The whole answer"))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        turn_id = await begun(services, session)
        await let_go(turn_id)
        # As long ago as the sweep wants a claim to be.
        await rows(services, "update turns set lease_until = lease_until - interval '1 second'")
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert await state(services, turn_id) == ("done", 2, services.instance, 2)
    assert await answers(services) == ["The whole answer"]


@pytest.mark.usefixtures("brisk")
async def test_a_claim_that_was_not_heard_of_is_no_attempt(
    services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit went through and the answer to it got lost, again and again: nobody has tried the turn, so it is not
    given up."""
    model.script(ENDLESS, Answer("The whole answer"))
    session = await visit(services, shop)
    unheard = 0
    claimed = False
    take_over = turn_leases.take_over

    async def claiming(*args: Any, **named: Any) -> turns.Turn | None:
        nonlocal claimed
        row = await take_over(*args, **named)
        claimed = row is not None
        return row

    @asynccontextmanager
    async def cut_after_commit(*args: Any, **named: Any) -> AsyncIterator[Conn]:
        nonlocal claimed, unheard
        async with unit_of_work(*args, **named) as conn:
            yield conn
        if claimed and unheard <= ATTEMPTS:
            claimed = False
            unheard += 1
            raise Unavailable("postgres", "cut after the commit")

    async with listening(services, session) as listener:
        turn_id = await begun(services, session)
        monkeypatch.setattr(turn_leases, "take_over", claiming)
        monkeypatch.setattr(journal, "unit_of_work", cut_after_commit)
        await let_go(turn_id)
        await rows(services, EXPIRED, turn_id)
        while unheard <= ATTEMPTS:
            # As long ago as the sweep wants a claim to be.
            await rows(services, "update turns set lease_until = lease_until - interval '1 second'")
            await services.supervisor._sweep()
        await rows(services, "update turns set lease_until = lease_until - interval '1 second'")
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert await state(services, turn_id) == ("done", ATTEMPTS + 3, services.instance, 2)


async def let_go(turn_id: str) -> None:
    """The turn's task ends, and says nothing of it."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("brisk")
async def test_a_turn_begins_in_one_transaction(services: Services, shop: Shop, model: WireServer) -> None:
    """One that nobody took: the claim and the event that shows it are committed together, so a crash parts them not."""
    model.default = lambda _: ENDLESS
    session = await visit(services, shop)
    first = await begun(services, session)
    # A younger one that waits; the first one goes away.
    waiting = await send(services, session, "And this?")
    assert waiting.turn_id is not None
    # From here on nothing is extended, and nothing begun but by hand.
    await supervisor._cancel([*services.supervisor._keepers, *services.supervisor._background])
    await let_go(first)
    await rows(services, "delete from turns where public_id <> %s", waiting.turn_id)
    await rows(services, "update turns set created_at = now() - interval '3 seconds'")
    await services.supervisor._sweep()
    assert (await state(services, waiting.turn_id))[:2] == ("running", 1)
    together = """
        select t.xmin = e.xmin from turns t join events e on e.turn_id = t.id
        where e.type = 'turn.started' and t.public_id = %s
    """
    assert await rows(services, together, waiting.turn_id) == [(True,)]


@pytest.mark.usefixtures("brisk")
async def test_after_so_many_attempts_a_turn_is_given_up(services: Services, shop: Shop, model: WireServer) -> None:
    """What takes its instance down every time is not begun again; the visitor reads a kind sentence."""
    model.script(ENDLESS)
    session = await visit(services, shop, locale="de-AT")
    async with listening(services, session) as listener:
        turn_id = await begun(services, session)
        waiting = await send(services, session, "And this?")
        await rows(services, "update turns set attempts = %s where public_id = %s", ATTEMPTS, turn_id)
        await let_go(turn_id)
        await rows(services, EXPIRED, turn_id)
        end, answered = await listener.end(1), await listener.end(2)
    assert isinstance(end, TurnFailed)
    assert (end.turn_id, end.code, end.retryable) == (turn_id, "attempts", True)
    assert end.message == phrases.say("unavailable", "de")
    assert (await state(services, turn_id))[0] == "failed"
    assert await rows(services, "select error from turns where public_id = %s", turn_id) == [("attempts",)]
    assert isinstance(answered, MessageCompleted)
    assert answered.turn_id == waiting.turn_id, "the conversation goes on"
    told = "select n.kind, n.details, n.xmin = t.xmin from notifications n join turns t on t.public_id = %s"
    details = {"turn_id": turn_id, "code": "attempts", "attempts": ATTEMPTS + 1}
    assert await rows(services, told, turn_id) == [("turn_failed", details, True)], "operators are told, once"


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances that find nothing by themselves."""
    monkeypatch.setattr(supervisor, "SWEEP_S", 3_600.0)


@pytest.mark.usefixtures("no_sweeps")
async def test_an_instance_that_stops_hands_its_turns_over(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """The lease is given back, and the other instance answers at once: it is told, and need not look."""
    model.script(ENDLESS, Answer("The whole answer"))
    session = await visit(services, shop)
    async with listening(services, session) as listener, open_services(settings) as leaving:
        turn_id = await begun(leaving, session)
        await leaving.supervisor.stop()
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "The whole answer"
    assert await state(services, turn_id) == ("done", 2, services.instance, 1)
    assert [frame.gen for frame in listener.of(TurnReset) if isinstance(frame, TurnReset)] == [2]


async def test_an_instance_that_stops_lets_answers_end(settings: Settings, model: WireServer) -> None:
    """Within its grace a running answer ends as if nothing were."""
    model.script(Answer("In time", first_byte_after_s=0.2))
    async with open_services(settings) as leaving:
        session = await visit(leaving, await new_shop(leaving))
        await send(leaving, session, "Hello")
        await leaving.supervisor.stop(grace_s=10)
        assert await answers(leaving) == ["In time"]
        assert await rows(leaving, "select status from turns") == [("done",)]


@pytest.mark.usefixtures("no_sweeps")
async def test_an_instance_that_drains_begins_nothing(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """The answer that runs there ends there; the question behind it, and one that another instance passes on, go on
    elsewhere."""
    model.script(Answer("The first", first_byte_after_s=0.2))
    async with open_services(settings) as draining:
        session = await visit(services, shop)
        async with listening(services, session) as listener:
            first = await send(draining, session, "One?")
            draining.supervisor.drain()
            second = await send(draining, session, "Two?")
            assert draining.supervisor.answering == {session.conversation.id} and draining.supervisor.running == 1
            ends = [await listener.end(1), await listener.end(2)]
        assert [end.turn_id for end in ends] == [first.turn_id, second.turn_id]
        assert draining.supervisor.answering == set() and draining.supervisor.running == 0
        owners = await rows(services, "select owner from turns order by id")
        assert owners == [(draining.instance,), (services.instance,)]


@pytest.mark.usefixtures("brisk")
async def test_a_dead_instances_turn_is_taken_before_its_lease_ends(
    services: Services, settings: Settings, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody holds its lock any more; one whose lock was never seen is left to its lease."""
    monkeypatch.setattr(presence, "MISSING_S", 0.2)
    model.script(ENDLESS, ENDLESS, Answer("The whole answer"))
    dead, unknown = await visit(services, shop), await visit(services, shop)
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(open_services(settings))
        listener = await stack.enter_async_context(listening(services, dead))
        turn_id, kept = await begun(other, dead), await begun(services, unknown)
        await rows(services, "update turns set owner = 'ins_unknown' where public_id = %s", kept)

        async def seen() -> bool:
            return locks.key(other.instance) in services.supervisor._presence._seen

        await eventually(seen, "the one has seen the other alive")
        # All that a killed process does: its connection ends. It hears nothing, extends nothing, takes nothing.
        for task in [*other.supervisor._keepers, other.supervisor._presence._task]:
            assert task is not None
            task.cancel()
        await rows(services, "update turns set lease_until = lease_until - interval '1 second'")
        end = await listener.end()
        assert isinstance(end, MessageCompleted)
        assert await state(services, turn_id) == ("done", 2, services.instance, 2)
        assert await state(services, kept) == ("running", 1, "ins_unknown", 1)


@pytest.mark.usefixtures("brisk")
async def test_instances_that_sweep_at_once_run_each_turn_once(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """Three instances, ten conversations with a queued turn and nobody to run it: ten answers, ten model calls."""
    sessions = [await visit(services, shop) for _ in range(10)]
    async with AsyncExitStack() as stack:
        # Nobody claims while the queue is filled: the row says that somebody else is at it.
        for session in sessions:
            accepted = await send(services, session, "Hello")
            assert accepted.turn_id
        await eventually(lambda: _all_done(services, 10), "the first ten")
        await rows(services, "delete from messages where role = 'assistant'")
        for _ in range(2):
            await stack.enter_async_context(open_services(settings))
        model.requests.clear()
        await rows(
            services,
            """
            update turns set status = 'queued', owner = null, attempts = 0, created_at = now() - interval '3 seconds',
                             finished_at = null
            """,
        )
        await eventually(lambda: _all_done(services, 10), "ten turns of the queue")
    assert len(model.requests) == 10
    assert await rows(services, "select distinct attempts from turns") == [(1,)]
    assert await answers(services) == ["You said: Hello"] * 10


async def _all_done(services: Services, count: int) -> bool:
    return await rows(services, "select count(*) from turns where status = 'done'") == [(count,)]


async def test_a_control_message_that_is_none_of_its_own_is_ignored(
    services: Services, settings: Settings, shop: Shop, model: WireServer
) -> None:
    """Garbage, other kinds and older gens on the control channel stop nothing, and the next real one is heard."""
    model.script(ENDLESS)
    session = await visit(services, shop)
    async with listening(services, session) as listener, open_services(settings) as other:
        turn_id = await begun(services, session)
        for payload in (b"", b"{", b'{"type":"other"}', b'{"type":"turn.fenced"}'):
            other.hub.control(payload)
        other.supervisor.fence(turn_id, 1)
        assert await other.commands.stop(session, turn_id=turn_id)
        await model.wait_for_abandoned()
        assert isinstance(await listener.end(), TurnStopped)
    assert model.abandoned == 1
