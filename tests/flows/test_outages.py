"""Postgres or Redis goes away while visitors chat, and comes back."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from server.embedded.postgres import Postgres
from server.errors import Unavailable
from server.protocol.visitor import (
    Ack,
    Error,
    MessageCompleted,
    MessageDelta,
    MessageSend,
    Nack,
    Snapshot,
    ToolConfirm,
    ToolStarted,
    TurnReset,
    TurnStarted,
    TurnStop,
    TurnStopped,
)
from server.repositories.migrations import upgrade
from server.services import open_services
from server.settings import Settings
from server.turns import claims, intake, lease, supervisor
from tests.flows.support import Desk, Tab, open_desk, running, sse
from tests.flows.tooling import add_tool, asked, use
from tests.support import PATIENCE_S, Cable, cable, eventually
from tests.tools.webhook_server import WebhookServer
from tests.wire_servers import Answer, WireServer

# Whose line to Redis is cut, of two instances.
WHOSE = pytest.mark.parametrize(
    "whose", [(True, True), (True, False), (False, True)], ids=["both", "the first", "the second"]
)
COME_BACK = "Wir haben eine kurze technische Störung. Ihre Nachricht wird danach gesendet."


@asynccontextmanager
async def postgres_behind_a_cable(settings: Settings, folder: Path) -> AsyncIterator[tuple[Desk, Cable]]:
    """An instance whose way to Postgres can be cut; the test's own cannot."""
    url = settings.database_url
    here = parse_qs(urlsplit(url).query)["host"][0]
    async with cable(Path(here) / ".s.PGSQL.5432", folder / ".s.PGSQL.5432") as wire:
        cut = msgspec.structs.replace(settings, database_url=url.replace(here, str(folder)))
        async with open_desk(cut, database_url=url) as desk:
            yield desk, wire


@asynccontextmanager
async def redis_behind_a_cable(
    settings: Settings, folder: Path, *, instances: int = 1
) -> AsyncIterator[tuple[Desk, Cable]]:
    """Instances whose way to Redis can be cut."""
    path = urlsplit(settings.redis_url).path
    async with cable(Path(path), folder / "redis.sock") as wire:
        cut = msgspec.structs.replace(settings, redis_url=settings.redis_url.replace(path, str(wire.path)))
        async with open_desk(cut, instances=instances) as desk:
            yield desk, wire


class Lines:
    """Two instances' lines to Redis."""

    def __init__(self, cables: list[Cable]) -> None:
        self._cables = cables

    async def cut(self, whose: tuple[bool, bool]) -> None:
        """Takes Redis from these."""
        await asyncio.gather(*(line.cut() for line, gone in zip(self._cables, whose, strict=True) if gone))

    async def mend(self, whose: tuple[bool, bool]) -> None:
        """Gives it back to them."""
        await asyncio.gather(*(line.mend() for line, gone in zip(self._cables, whose, strict=True) if gone))


@asynccontextmanager
async def two_on_lines_of_their_own(settings: Settings, folder: Path) -> AsyncIterator[tuple[Desk, Lines]]:
    """Two instances whose ways to Redis can be cut one by one."""
    path = urlsplit(settings.redis_url).path
    async with AsyncExitStack() as stack:
        cables = [await stack.enter_async_context(cable(Path(path), folder / name)) for name in ("r1", "r2")]
        first, second = (
            msgspec.structs.replace(settings, redis_url=settings.redis_url.replace(path, str(line.path)))
            for line in cables
        )
        desk = await stack.enter_async_context(open_desk(first))
        other = await stack.enter_async_context(running(second))
        desk.instances.append(other)
        try:
            yield desk, Lines(cables)
        finally:
            desk.instances.remove(other)


async def insist(tab: Tab, text: str, cid: str) -> Ack:
    """Sends a message as a widget does: again, with its cid, for as long as it is told to come back."""
    while True:
        await tab.send(MessageSend(cid=cid, text=text))
        while not isinstance(frame := await tab.read(), Ack | Nack):
            pass
        if isinstance(frame, Ack):
            return frame
        assert frame.code == "unavailable"


async def test_postgres_away_and_back(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """No ack without a commit; the socket stays; alive but not ready; afterwards the same cid is taken once."""
    async with postgres_behind_a_cable(settings, tmp_path) as (desk, wire):
        shop = await desk.shop()
        async with desk.visit(shop, locale="de") as (tab, welcome):
            await tab.say("Hallo")
            await tab.end()
            await wire.cut()

            await tab.send(MessageSend(cid="c2", text="Noch da?"))
            nack = await tab.next(Nack)
            assert (nack.cid, nack.code, nack.message) == ("c2", "unavailable", COME_BACK)
            assert nack.retry_after_ms == 2_000
            pong = await tab.settle()
            assert pong.head_seq == 3
            alive = await desk.http.get(f"{desk.url}/healthz")
            assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
            ready = await desk.http.get(f"{desk.url}/readyz")
            assert ready.status_code == 503 and ready.json()["ready"] is False
            assert ready.json()["checks"]["postgres"]["ok"] is False
            assert ready.json()["checks"]["redis"] == {"ok": True}
            refused = await desk.http.post(
                f"{desk.url}/api/v1/chat",
                headers={"authorization": f"Bearer {shop.secret_key}"},
                json={"message": "Hallo"},
            )
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            error = refused.json()["error"]
            assert (error["code"], error["retry_after_ms"]) == ("unavailable", 2_000)
            assert error["request_id"] == refused.headers["x-request-id"]
            assert "psycopg" not in refused.text and "SQL" not in refused.text and str(tmp_path) not in refused.text

            await wire.mend()
            ack = await insist(tab, "Noch da?", "c2")
            again = await insist(tab, "Noch da?", "c2")
            assert ack == again
            await tab.shows("You said: Noch da?")
            assert (await desk.http.get(f"{desk.url}/readyz")).status_code == 200
        assert [request.question for request in model.requests] == ["Hallo", "Noch da?"]
        assert await desk.rows("select cid, seq from messages where role = 'user' order by id") == [
            (tab.of(Ack)[0].cid, 1),
            ("c2", ack.seq),
        ]
        assert await desk.rows("select last_seq from conversations where public_id = %s", welcome.conversation_id) == [
            (6,)
        ]


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of 2.5 s, extended every half second, so that an outage can be longer than one."""
    for module in (lease, claims, intake, supervisor):
        monkeypatch.setattr(module, "LEASE_S", 2.5)
    monkeypatch.setattr(lease, "MARGIN_S", 0.5)
    monkeypatch.setattr(supervisor, "EXTEND_S", 0.5)


@contextmanager
def own_postgres(directory: Path) -> Iterator[Postgres]:
    """A server that keeps what it commits, not started yet."""
    server = Postgres(directory, durable=True)
    try:
        yield server
    finally:
        server.stop()
        server.remove()


def kill(server: Postgres) -> None:
    """At once, nothing is finished, as by `pg_ctl stop -m immediate`."""
    assert server.child is not None
    server.child.send_signal(signal.SIGQUIT)
    server.child.wait()


COUNT = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


@pytest.mark.usefixtures("short_leases")
@pytest.mark.parametrize("away_s", [0.5, 4.0], ids=["shorter than the lease", "longer than the lease"])
async def test_an_answer_outlives_a_missing_postgres(
    settings: Settings, model: WireServer, tmp_path: Path, away_s: float
) -> None:
    """It waits, goes on when the database is back, and is one answer; the visitor never sees another text."""
    model.script(Answer(COUNT, tokens_per_s=8))
    async with postgres_behind_a_cable(settings, tmp_path) as (desk, wire):
        shop = await desk.shop()
        async with desk.visit(shop) as (tab, _):
            await tab.say("Count")
            await tab.next(MessageDelta)
            await wire.cut()
            await asyncio.sleep(away_s)  # the outage's length is what is tested
            await tab.settle()
            shown = next(iter(tab.view.live.values()))[2]
            assert COUNT.startswith(shown) and len(shown) < len(COUNT) and tab.of(MessageCompleted) == []
            await wire.mend()
            completed = await tab.next(MessageCompleted)
            assert tab.of(TurnReset) == []
        assert completed.message.text == COUNT
        assert len(model.requests) == 1
        assert await desk.rows("select content from messages where role = 'assistant'") == [(COUNT,)]
        assert await desk.rows("select gen, attempts from turns") == [(1, 1)]


@pytest.mark.parametrize("away_s", [0.5, 4.0], ids=["shorter than the lease", "longer than the lease"])
async def test_a_postgres_that_is_killed_and_started(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    model: WireServer,
    tmp_path: Path,
    away_s: float,
) -> None:
    """A real one, under answers of two instances: each is whole, once, from whoever owned it; nothing acked is lost."""
    monkeypatch.setattr(supervisor, "EXTEND_S", 0.5)  # so that extensions fail meanwhile
    if away_s > 1:
        # Not for the other: a busy machine takes seconds to start a server, as long as a short lease.
        request.getfixturevalue("short_leases")
    model.default = lambda _: Answer(COUNT, tokens_per_s=8)
    with own_postgres(tmp_path / "own") as postgres:
        url = await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(upgrade, url)
        own = msgspec.structs.replace(settings, database_url=url)
        async with open_desk(own, instances=2) as desk, AsyncExitStack() as stack:
            shop = await desk.shop()
            tabs = [(await stack.enter_async_context(desk.visit(shop, on=number % 2)))[0] for number in range(6)]
            for tab in tabs:
                await tab.say("Count")
                await tab.next(MessageDelta)
            await asyncio.to_thread(kill, postgres)
            await asyncio.sleep(away_s)  # the outage's length is what is tested
            assert await asyncio.to_thread(postgres.start) == url
            ends = await asyncio.gather(*(tab.next(MessageCompleted) for tab in tabs))
            assert [end.message.text for end in ends] == [COUNT] * 6
            assert await desk.rows("select content from messages where role = 'assistant'") == [(COUNT,)] * 6
            assert await desk.rows("select distinct gen, attempts from turns") == [(1, 1)]
        assert len(model.requests) == 6


async def test_hello_while_postgres_is_away(settings: Settings, tmp_path: Path) -> None:
    """A socket that comes in meanwhile is told to come back, and is not left half open."""
    async with postgres_behind_a_cable(settings, tmp_path) as (desk, wire):
        shop = await desk.shop()
        async with desk.tab(shop) as tab, desk.visit(shop) as (open_tab, first):
            await open_tab.next(Snapshot)
            await wire.cut()
            await tab.raw(msgspec.json.encode({"type": "hello", "v": 1, "key": shop.key}))
            error = await tab.next(Error)
            assert (error.code, error.temporary) == ("unavailable", True)
            assert await tab.closed() == 4002
            # A hello on a socket that has its session costs it nothing.
            await open_tab.raw(
                msgspec.json.encode(
                    {"type": "hello", "v": 1, "key": shop.key, "session": msgspec.to_builtins(first.session)}
                )
            )
            assert (await open_tab.next(Error)).code == "unavailable"
            await wire.mend()
            await insist(open_tab, "Hello", "c1")
            assert (await open_tab.next(MessageCompleted)).message.text == "You said: Hello"
        async with desk.visit(shop, proof=first.session) as (tab, _):
            await tab.settle()
            assert list(tab.view.texts.values()) == ["Hello", "You said: Hello"]


async def test_redis_away_and_back(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """On one instance a whole conversation works without it, streamed, stopped and reloaded; limits hold."""
    async with redis_behind_a_cable(settings, tmp_path) as (desk, wire):
        shop = await desk.shop()
        async with desk.visit(shop) as (before, _):
            await before.say("Before")
            await before.end()
            await wire.cut()
            await before.say("During")
            assert (await before.next(MessageCompleted)).message.text == "You said: During"
            model.script(Answer("One two three four five six seven", tokens_per_s=20))
            async with desk.visit(shop) as (tab, first):
                await tab.say("Count")
                await tab.next(MessageDelta)
                async with desk.visit(shop, proof=first.session) as (late, _):
                    await late.shows("One two three four five six seven")
                    await tab.shows("One two three four five six seven")
                    assert late.view.texts == tab.view.texts and len(tab.of(MessageDelta)) > 1
            ready = await desk.http.get(f"{desk.url}/readyz")
            assert ready.status_code == 200 and ready.json()["ready"] is True
            assert ready.json()["checks"]["redis"]["ok"] is False
            reply = await desk.http.post(
                f"{desk.url}/api/v1/chat",
                headers={"authorization": f"Bearer {shop.secret_key}", "accept": "text/event-stream"},
                json={"message": "Over HTTP"},
            )
            completed = next(frame for _, frame in sse(reply.text) if isinstance(frame, MessageCompleted))
            assert completed.message.text == "You said: Over HTTP"
            for number in range(18):
                await before.say(f"{number}")
                await before.end()
            # Counted here meanwhile: 19 messages without Redis, the 20th is the last of the visitor's minute.
            nacks = []
            for number in range(25):
                await before.send(MessageSend(cid=f"n{number}", text="More"))
                while not isinstance(frame := await before.read(), Ack | Nack):
                    pass
                if isinstance(frame, Nack):
                    nacks.append(frame.code)
            assert nacks and set(nacks) == {"rate_limited_visitor"}
            await wire.mend()
        async with desk.visit(shop) as (tab, _):
            await tab.say("After")
            assert (await tab.next(MessageCompleted)).message.text == "You said: After"

        async def is_back() -> bool:
            return bool((await desk.http.get(f"{desk.url}/readyz")).json()["checks"]["redis"]["ok"])

        await eventually(is_back, "Redis is back")


async def test_two_instances_find_each_other_again(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """What was missed while Redis was away comes with the subscription, without a reload or a ping."""
    async with redis_behind_a_cable(settings, tmp_path, instances=2) as (desk, wire):
        shop = await desk.shop()
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await there.next(Snapshot)
            await here.say("One")
            await there.next(MessageCompleted)
            await wire.cut()
            await here.say("Two")
            await here.next(MessageCompleted)
            await wire.mend()
            missed = await there.next(MessageCompleted, lambda frame: frame.message.text == "You said: Two")
            assert missed.seq == 6
            await here.say("Three")
            await there.next(MessageCompleted, lambda frame: frame.message.text == "You said: Three")
            await here.next(MessageCompleted, lambda frame: frame.message.text == "You said: Three")
            assert here.events() == there.events()


async def test_a_ping_fills_the_gap_while_redis_is_away(settings: Settings, tmp_path: Path) -> None:
    """Postgres is the truth: a tab on another instance learns by its own ping what nobody could tell it."""
    async with redis_behind_a_cable(settings, tmp_path, instances=2) as (desk, wire):
        shop = await desk.shop()
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await there.next(Snapshot)
            await wire.cut()
            await here.say("One")
            await here.next(MessageCompleted)
            assert (await there.settle()).head_seq == 3
            await there.shows("You said: One")
            assert here.events() == there.events()


@WHOSE
async def test_another_instance_sees_the_end_of_an_answer(
    settings: Settings, model: WireServer, tmp_path: Path, whose: tuple[bool, bool]
) -> None:
    """Within a second, both ways, without a ping; when Redis is back text streams there again, and nothing twice."""
    clock = asyncio.get_running_loop().time
    async with two_on_lines_of_their_own(settings, tmp_path) as (desk, lines):
        shop = await desk.shop()
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
            await lines.cut(whose)
            for speaker, watcher in ((here, there), (there, here), (here, there)):
                reading = asyncio.create_task(watcher.next(MessageCompleted))
                await speaker.say("One")
                await speaker.next(MessageCompleted)
                ended = clock()
                await reading
                assert clock() - ended < PATIENCE_S
            await lines.mend(whose)
            streamed = False
            # Until both have noticed; each answer is whole and comes once all the same (the view checks).
            while not streamed:
                before = len(there.of(MessageDelta))
                model.script(Answer("One two three four five six", tokens_per_s=30))
                reading = asyncio.create_task(there.next(MessageCompleted))
                await here.say("Again")
                await here.next(MessageCompleted)
                await reading
                streamed = len(there.of(MessageDelta)) > before + 1
            await here.settle()
            await there.settle()
            assert here.events() == there.events()
            assert here.view.texts == there.view.texts


@WHOSE
async def test_a_stop_reaches_the_other_instance_without_redis(
    settings: Settings, model: WireServer, tmp_path: Path, whose: tuple[bool, bool]
) -> None:
    """The model is left at once, and both tabs see the same stop."""
    async with two_on_lines_of_their_own(settings, tmp_path) as (desk, lines):
        shop = await desk.shop()
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
            await lines.cut(whose)
            # Also makes sure that each knows of the other's loss.
            await here.say("Hello")
            await there.next(MessageCompleted)
            model.script(Answer("word " * 500, tokens_per_s=20))
            await here.say("Talk")
            started = await there.next(TurnStarted)
            await here.next(MessageDelta)
            await there.send(TurnStop(turn_id=started.turn_id))
            async with asyncio.timeout(PATIENCE_S):
                stops = [await each.next(TurnStopped) for each in (there, here)]
            assert stops[0] == stops[1]
            async with asyncio.timeout(PATIENCE_S):
                await model.wait_for_abandoned()
            await there.say("Next")
            assert (await here.next(MessageCompleted)).message.text == "You said: Next"


@WHOSE
async def test_a_yes_reaches_the_other_instance_without_redis(
    settings: Settings, model: WireServer, webhook: WebhookServer, tmp_path: Path, whose: tuple[bool, bool]
) -> None:
    """The question is seen on both, the yes given on the second counts on the first at once, and the tool runs once."""
    async with two_on_lines_of_their_own(settings, tmp_path) as (desk, lines):
        shop = await desk.shop()
        await add_tool(desk, shop, webhook.url, "book", "unsafe", confirm=True)
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await asyncio.gather(here.next(Snapshot), there.next(Snapshot))
            await lines.cut(whose)
            await here.say("Hello")
            await there.next(MessageCompleted)
            model.script(Answer(tools=(use("book", item="table"),)), Answer("Booked."))
            await here.say("Book")
            question = await asked(there)
            assert question.call_id == (await asked(here)).call_id
            await there.send(ToolConfirm(call_id=question.call_id, approved=True))
            # The next look by itself would be up to 3 s away.
            async with asyncio.timeout(PATIENCE_S):
                await there.next(ToolStarted)
            ends = [await each.next(MessageCompleted) for each in (here, there)]
            assert ends[0] == ends[1] and ends[0].message.text == "Booked."
    assert len(webhook.requests) == 1


async def test_limits_are_shared_without_redis(settings: Settings, model: WireServer, tmp_path: Path) -> None:
    """Two instances count for themselves, each its half: together no more than the limit, and never without one."""
    async with two_on_lines_of_their_own(settings, tmp_path) as (desk, lines):
        shop = await desk.shop()
        async with desk.visit(shop) as (here, first), desk.visit(shop, on=1, proof=first.session) as (there, _):
            await lines.cut((True, True))
            await here.say("Hello")
            await there.next(MessageCompleted)
            taken = 0
            for tab in (here, there):
                refused = 0
                for number in range(30):
                    await tab.send(MessageSend(cid=f"{tab is here}{number}", text="More"))
                    while not isinstance(frame := await tab.read(), Ack | Nack):
                        pass
                    taken += isinstance(frame, Ack)
                    refused += isinstance(frame, Nack) and frame.code == "rate_limited_visitor"
                assert refused >= 10
            # Half of 20 each; twice that where the minute ended in between.
            assert 18 <= taken <= 40


@pytest.mark.parametrize("missing", ["postgres", "redis"])
async def test_missing_at_the_start(settings: Settings, tmp_path: Path, missing: str) -> None:
    """Nothing starts half: the application's start fails and names what is missing."""
    wrong = (
        msgspec.structs.replace(settings, database_url=f"postgresql://p@/x?host={tmp_path}")
        if missing == "postgres"
        else msgspec.structs.replace(settings, redis_url=f"unix://{tmp_path}/redis.sock?db=0")
    )
    with pytest.raises(Unavailable) as refusal:
        async with open_services(wrong):
            pass
    assert refusal.value.dependency == missing
