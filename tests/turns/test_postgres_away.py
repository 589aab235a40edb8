"""Postgres goes away under a running answer: it waits, and goes on while it is still its instance's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import psycopg
import pytest

from server.access import Session
from server.errors import Unavailable
from server.llm.provider import ModelRequest, ModelStream, Provider
from server.protocol.visitor import (
    MessageCompleted,
    MessageDelta,
    ToolFinished,
    TurnFailed,
    TurnReset,
    TurnStarted,
)
from server.repositories import pool, turn_leases
from server.repositories import presence as locks
from server.services import Services, open_services
from server.settings import Settings
from server.turns import engine, lease, presence, supervisor
from tests.support import (
    Cable,
    Listener,
    cable,
    eventually,
    listening,
    new_shop,
    send,
    visit,
)
from tests.tools.webhook_server import Reply, WebhookServer
from tests.turns.toolkit import add_tool
from tests.wire_servers import Answer, ToolUse, WireServer

TEXT = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
EXPIRE = "update turns set lease_until = now() - interval '1 minute' where status = 'running'"


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is gone is noticed within tenths of seconds."""
    monkeypatch.setattr(supervisor, "EXTEND_S", 0.05)
    monkeypatch.setattr(supervisor, "SWEEP_S", 0.1)
    monkeypatch.setattr(supervisor, "RETRY_S", 0.05)
    monkeypatch.setattr(lease, "RETRY_S", 0.05)
    monkeypatch.setattr(pool, "_CHECKOUT_S", 0.2)


class Site(msgspec.Struct, frozen=True):
    """A database with instances whose lines to it can be cut one by one; `sql` has a line of its own."""

    services: list[Services]
    lines: list[Cable]
    direct: psycopg.AsyncConnection

    @property
    def here(self) -> Services:
        return self.services[0]

    async def sql(self, query: str) -> list[tuple[object, ...]]:
        cursor = await self.direct.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []

    async def turn(self) -> tuple[object, ...]:
        """Status, gen, owner and attempts of the only turn."""
        [row] = await self.sql("select status, gen, owner, attempts from turns")
        return row

    async def paused(self, on: int = 0) -> None:
        """Until no answer of an instance is surely its own."""

        async def doubted() -> bool:
            running = self.services[on].supervisor._running.values()
            return bool(running) and not any(each.job.lease.holds for each in running)

        await eventually(doubted, "the instance has noticed")


@asynccontextmanager
async def site(settings: Settings, folder: Path, *, instances: int = 1) -> AsyncIterator[Site]:
    host = parse_qs(urlsplit(settings.database_url).query)["host"][0]
    async with AsyncExitStack() as stack:
        lines, services = [], []
        for number in range(instances):
            place = folder / f"{number}"
            place.mkdir()
            lines.append(await stack.enter_async_context(cable(Path(host) / ".s.PGSQL.5432", place / ".s.PGSQL.5432")))
            url = settings.database_url.replace(f"host={host}", f"host={place}")
            services.append(
                await stack.enter_async_context(open_services(msgspec.structs.replace(settings, database_url=url)))
            )
        direct = await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True)
        await stack.enter_async_context(direct)
        yield Site(services, lines, direct)


async def begun(services: Services, session: Session, listener: Listener) -> None:
    """A turn that has said something."""
    await send(services, session, "Count")
    await listener.frame(MessageDelta)


def said(listener: Listener) -> str:
    return "".join(frame.text for frame in listener.of(MessageDelta) if isinstance(frame, MessageDelta))


@pytest.mark.parametrize("outage", ["shorter than the lease", "longer than the lease"])
async def test_it_waits_and_goes_on(settings: Settings, model: WireServer, tmp_path: Path, outage: str) -> None:
    """Nothing is shown while it is in doubt whose answer it is; then the rest comes, in the same gen. However long the
    lease has run out: nobody took it."""
    model.script(Answer(TEXT, tokens_per_s=20))
    async with site(settings, tmp_path) as there:
        session = await visit(there.here, await new_shop(there.here))
        async with listening(there.here, session) as listener:
            await begun(there.here, session, listener)
            await there.lines[0].cut()
            await there.paused()
            shown = said(listener)
            assert shown and len(shown) < len(TEXT)
            if outage == "longer than the lease":
                await there.sql(EXPIRE)
            # Longer than the model talks.
            await model_has_said(model)
            assert said(listener) == shown and listener.of(MessageCompleted, TurnFailed) == []
            with pytest.raises(Unavailable):
                await send(there.here, session, "And now?")
            await there.lines[0].mend()
            end = await listener.end()
        assert isinstance(end, MessageCompleted) and (end.seq, end.message.text) == (3, TEXT)
        assert TEXT.startswith(said(listener)) and listener.of(TurnReset) == []
        assert await there.turn() == ("done", 1, there.here.instance, 1)
        assert await there.sql("select content from messages where role = 'assistant'") == [(TEXT,)]
    assert len(model.requests) == 1


async def model_has_said(model: WireServer) -> None:
    """Until it has sent all it had to say, to whoever reads or does not."""

    async def sent() -> bool:
        return model.ended == 1

    await eventually(sent, "the model's answer is on its way")


class Counted:
    """A provider whose reads are counted."""

    def __init__(self, provider: Provider) -> None:
        self.name = provider.name
        self.reads = 0
        self._provider = provider

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        async with self._provider.stream(request) as stream:
            yield self._counted(stream)

    async def _counted(self, stream: ModelStream) -> ModelStream:
        async for batch in stream:
            self.reads += 1
            yield batch

    async def check(self) -> str | None:
        return await self._provider.check()

    async def close(self) -> None:
        await self._provider.close()


async def test_the_provider_is_not_read_meanwhile(
    settings: Settings, model: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read that was under way, and no other: what the model goes on saying waits in the network."""
    model.script(Answer(TEXT, tokens_per_s=20))
    async with site(settings, tmp_path) as there:
        registry = there.here.registry
        counted = Counted(registry.default_provider)
        monkeypatch.setattr(type(registry), "choose", lambda *_, **__: (counted, registry.default_model))
        session = await visit(there.here, await new_shop(there.here))
        async with listening(there.here, session) as listener:
            await begun(there.here, session, listener)
            await there.lines[0].cut()
            await there.paused()
            reads = counted.reads
            await model_has_said(model)
            assert reads <= counted.reads <= reads + 1
            reads = counted.reads
            await there.lines[0].mend()
            assert isinstance(await listener.end(), MessageCompleted)
        # However few: what waited comes with one read.
        assert counted.reads > reads


async def test_somebody_else_took_it(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """Its instance alone has no Postgres: another one answers, the first stops at once and writes nothing."""
    model.script(Answer(tokens=("Mine", " mine", " mine"), stall_after=2), Answer("Theirs"))
    async with site(settings, tmp_path, instances=2) as there:
        here, other = there.services
        session = await visit(here, await new_shop(here))
        async with listening(other, session) as listener, listening(here, session) as mine:
            await begun(here, session, mine)
            await eventually(lambda: has_seen(other, here), "the other one knows that it lives")
            await there.lines[0].cut()
            await there.paused()
            end = await listener.end()
            # Told by the other one, while Postgres is still away for it.
            await model.wait_for_abandoned()
            await eventually(lambda: idle(here), "nothing runs there")
            await there.lines[0].mend()
        assert isinstance(end, MessageCompleted) and end.message.text == "Theirs"
        reset = listener.frames.index(TurnReset(turn_id=end.turn_id or "", gen=2))
        late = [frame for frame in listener.frames[reset:] if isinstance(frame, MessageDelta) and frame.gen == 1]
        assert late == []
        assert await there.turn() == ("done", 2, other.instance, 2)
        assert await there.sql("select content from messages where role = 'assistant'") == [("Theirs",)]


async def has_seen(services: Services, other: Services) -> bool:
    return locks.key(other.instance) in services.supervisor._presence._seen


async def idle(services: Services) -> bool:
    return services.supervisor.running == 0


async def test_it_learns_by_itself_that_somebody_else_took_it(
    settings: Settings, model: WireServer, tmp_path: Path
) -> None:
    """Nobody could tell it: the first thing that Postgres says when it is back is that the turn is not its own."""
    model.script(Answer(TEXT, tokens_per_s=20))
    async with site(settings, tmp_path) as there:
        session = await visit(there.here, await new_shop(there.here))
        async with listening(there.here, session) as listener:
            await begun(there.here, session, listener)
            await there.lines[0].cut()
            await there.paused()
            shown = said(listener)
            await there.sql("update turns set gen = 2, owner = 'ins_other', lease_until = now() + interval '1 minute'")
            await there.lines[0].mend()
            await eventually(lambda: idle(there.here), "it has stopped")
            assert said(listener) == shown and listener.of(MessageCompleted, TurnFailed) == []
        assert await there.turn() == ("running", 2, "ins_other", 1)


async def test_owners_come_first_after_an_outage(
    settings: Settings, model: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were without Postgres for longer than a lease: whoever sweeps first leaves the answer to whom it belongs."""
    model.script(Answer(TEXT, tokens_per_s=20))
    async with site(settings, tmp_path, instances=2) as there:
        here, other = there.services
        session = await visit(here, await new_shop(here))
        async with listening(here, session) as listener:
            await begun(here, session, listener)
            await asyncio.gather(*(line.cut() for line in there.lines))
            await there.paused()
            await eventually(lambda: blind(other), "the other one has noticed too")
            await there.sql(EXPIRE)
            # The other is back first, and sweeps.
            looks = counted_looks(monkeypatch)
            await there.lines[1].mend()
            await eventually(lambda: at_least(looks, 3), "the other one sweeps again")
            await there.lines[0].mend()
            end = await listener.end()
        assert isinstance(end, MessageCompleted) and end.message.text == TEXT
        assert await there.turn() == ("done", 1, here.instance, 1)
    assert len(model.requests) == 1


async def blind(services: Services) -> bool:
    return services.supervisor._presence._was_blind


def counted_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of orphans that each look found from now on."""
    looks, orphans = [], turn_leases.orphans

    async def counted(*args: Any, **named: Any) -> list[turn_leases.Orphan]:
        found = await orphans(*args, **named)
        looks.append(len(found))
        return found

    monkeypatch.setattr(turn_leases, "orphans", counted)
    return looks


async def at_least(looks: list[int], count: int) -> bool:
    return len(looks) >= count


async def test_who_died_in_the_outage_is_taken_over(
    settings: Settings, model: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner does not come back: its turn is not left to it for ever."""
    monkeypatch.setattr(presence, "RETURN_S", 0.3)
    monkeypatch.setattr(presence, "FAIR_S", 0.6)
    model.script(Answer(tokens=("Half", " an"), stall_after=1), Answer("The whole answer"))
    async with site(settings, tmp_path, instances=2) as there:
        here, other = there.services
        session = await visit(here, await new_shop(here))
        async with listening(other, session) as listener:
            async with listening(here, session) as mine:
                await begun(here, session, mine)
            await asyncio.gather(*(line.cut() for line in there.lines))
            await there.paused()
            await eventually(lambda: blind(other), "the other one has noticed too")
            await there.sql(EXPIRE)
            await there.lines[1].mend()
            end = await listener.end()
        assert isinstance(end, MessageCompleted) and end.message.text == "The whole answer"
        assert await there.turn() == ("done", 2, other.instance, 2)


async def test_an_outage_does_not_use_up_a_turns_time(
    settings: Settings, model: WireServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's own patience ends while the answer waits: it is begun again, in a new gen, and not failed. That
    is no attempt."""
    monkeypatch.setattr(engine, "DEADLINE_S", 1.5)
    model.script(Answer(TEXT, tokens_per_s=20), Answer("The whole answer"))
    async with site(settings, tmp_path) as there:
        session = await visit(there.here, await new_shop(there.here))
        async with listening(there.here, session) as listener:
            await begun(there.here, session, listener)
            await there.lines[0].cut()
            await there.paused()
            await asyncio.sleep(1.5)  # the time itself is what is tested
            assert listener.of(TurnFailed) == []
            await there.lines[0].mend()
            end = await listener.end()
        assert isinstance(end, MessageCompleted) and end.message.text == "The whole answer"
        assert [frame.gen for frame in listener.of(TurnReset) if isinstance(frame, TurnReset)] == [2]
        assert await there.turn() == ("done", 2, there.here.instance, 1)
        assert await there.sql("select type from events order by seq") == [
            ("message.created",),
            ("turn.started",),
            ("message.completed",),
        ]


async def test_a_tool_goes_out_when_it_is_on_record(
    settings: Settings, model: WireServer, webhook: WebhookServer, tmp_path: Path
) -> None:
    """The model wants it while Postgres is away: nothing is called before the record is there, and then it is, once."""
    model.script(
        Answer("Let me see.", tools=(ToolUse("pay", {"item": "x"}, "call_1"),), tokens_per_s=10), Answer("Paid.")
    )
    async with site(settings, tmp_path) as there:
        shop = await new_shop(there.here)
        await add_tool(there.here, shop, webhook.url, "pay", "unsafe")
        session = await visit(there.here, shop)
        async with listening(there.here, session) as listener:
            await begun(there.here, session, listener)
            await there.lines[0].cut()
            await there.paused()
            await model_has_said(model)
            assert webhook.requests == []
            await there.lines[0].mend()
            assert isinstance(await listener.end(), MessageCompleted)
        assert len(webhook.requests) == 1
        assert await there.sql("select attempt, success from tool_executions") == [(1, True)]


async def test_a_tools_result_outlives_the_outage(
    settings: Settings, model: WireServer, webhook: WebhookServer, tmp_path: Path
) -> None:
    """It comes while Postgres is away: it is written and told to the model afterwards; the tool is called once."""
    webhook.script(Reply(body=b'{"paid": 7}', wait_s=0.5))
    model.script(Answer("Let me see.", tools=(ToolUse("pay", {"item": "x"}, "call_1"),)), Answer("Paid."))
    async with site(settings, tmp_path) as there:
        shop = await new_shop(there.here)
        await add_tool(there.here, shop, webhook.url, "pay", "unsafe")
        session = await visit(there.here, shop)
        async with listening(there.here, session) as listener:
            await send(there.here, session, "Pay")
            await webhook.until(lambda server: len(server.requests) == 1)
            await there.lines[0].cut()
            await there.paused()
            await there.sql(EXPIRE)
            await there.lines[0].mend()
            end = await listener.end()
            assert isinstance(end, MessageCompleted) and end.message.text == "Let me see.\n\nPaid."
            [finished] = listener.of(ToolFinished)
            assert isinstance(finished, ToolFinished) and finished.ok
        assert len(webhook.requests) == 1
        assert await there.sql("select success, n8n_response from tool_executions") == [(True, {"paid": 7})]


async def test_a_turn_that_had_not_begun_to_answer(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """Postgres goes with the ack: the visitor sees no error, only a late answer."""
    async with site(settings, tmp_path) as there:
        session = await visit(there.here, await new_shop(there.here))
        async with listening(there.here, session) as listener:
            await send(there.here, session, "Hello")
            await there.lines[0].cut()
            await listener.frame(TurnStarted)
            await there.paused()
            await there.lines[0].mend()
            end = await listener.end()
        assert isinstance(end, MessageCompleted) and end.message.text == "You said: Hello"
        assert await there.turn() == ("done", 1, there.here.instance, 1)
