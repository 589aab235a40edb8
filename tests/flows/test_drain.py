"""An instance that ends, in good order or at once, while visitors wait for answers. Real processes, real signals."""

import asyncio
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol.visitor import Drain, MessageCompleted, MessageDelta, Snapshot, TurnReset
from server.turns.lease import LEASE_S
from server.ws.drain import RESERVE_S
from tests.flows.processes import Served, office, serve, visiting
from tests.flows.support import Desk, Tab, sse
from tests.support import eventually
from tests.wire_servers import Answer, WireServer

__all__ = ["office"]

SLOW = Answer("One two three four five six seven eight nine ten", tokens_per_s=8)
ENDLESS = Answer(tokens=("Half", " an", " answer"), stall_after=2)
# Running answers get one second instead of 25.
SHORT = "import server.ws.drain as drain; drain.END_S = 6.0"


async def _unready(desk: Desk, served: Served) -> None:
    async def unready() -> bool:
        return (await desk.http.get(f"{served.url}/readyz")).status_code == 503

    await eventually(unready, "the instance says that it is not ready")


async def _left(tab: Tab) -> int:
    """Reads on to the close, which `drain` came before."""
    code = await tab.closed()
    assert isinstance(tab.frames[-1], Drain)
    return code


async def _seen(desk: Desk) -> None:
    """Until every instance has looked who lives: a sweep is a second, and the answer runs that long."""

    async def old() -> bool:
        [(age,)] = await desk.rows("select extract(epoch from clock_timestamp() - created_at) from turns")
        return bool(age > 1.2)

    await eventually(old, "the turn is older than a sweep's second")


async def test_an_answer_ends_before_the_instance_does(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """Idle sockets go at once, the one that reads an answer when it has it; nobody new comes in; it ends with 0."""
    shop = await office.shop()
    async with serve(office.settings, tmp_path / "log") as served:
        async with visiting(served, shop) as (busy, _), visiting(served, shop) as (idle, _):
            model.script(SLOW)
            await busy.say("Count")
            await busy.next(MessageDelta)
            began = time.monotonic()
            served.signal()
            assert await _left(idle) == 4001
            [drain] = idle.of(Drain)
            assert 0 <= drain.retry_after_ms <= 10_000
            await _unready(office, served)
            body = (await office.http.get(f"{served.url}/readyz")).json()
            assert body["ready"] is False and body["checks"]["instance"]["ok"] is False
            assert body["checks"]["postgres"] == {"ok": True}
            assert (await office.http.get(f"{served.url}/healthz")).status_code == 200
            with pytest.raises(ConnectionClosed) as late:
                async with visiting(served, shop):
                    pass
            assert late.value.rcvd is not None and late.value.rcvd.code == 4001
            assert busy.of(Drain) == [] and busy.of(MessageCompleted) == []
            assert (await busy.next(MessageCompleted)).message.text == SLOW.text
            assert await _left(busy) == 4001
        assert await served.ended() == 0
        assert time.monotonic() - began < 10
    assert len(model.requests) == 1
    assert await office.rows("select status, gen, attempts from turns") == [("done", 1, 1)]
    assert "ERROR" not in (tmp_path / "log").read_text().upper()


async def test_requests_under_way_are_answered(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """As JSON and as a stream, to their ends."""
    shop = await office.shop()
    headers = {"authorization": f"Bearer {shop.secret_key}"}
    async with serve(office.settings, tmp_path / "log") as served, httpx.AsyncClient(trust_env=False) as http:
        model.script(SLOW, SLOW)
        url, stream = f"{served.url}/api/v1/chat", {**headers, "accept": "text/event-stream"}
        asked = [
            asyncio.create_task(http.post(url, headers=headers, json={"message": "Count"}, timeout=20)),
            asyncio.create_task(http.post(url, headers=stream, json={"message": "Count"}, timeout=20)),
        ]
        await model.wait_for_requests(2)
        served.signal()
        whole, streamed = await asyncio.gather(*asked)
        assert whole.json()["reply"] == SLOW.text
        completed = [frame for _, frame in sse(streamed.text) if isinstance(frame, MessageCompleted)]
        assert [frame.message.text for frame in completed] == [SLOW.text]
        assert await served.ended() == 0


async def test_an_answer_too_long_ends_elsewhere(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """What is not finished in time is given back, and begun again at once by the other instance; nothing is lost."""
    shop = await office.shop()
    async with (
        serve(office.settings, tmp_path / "one", first=SHORT) as leaving,
        serve(office.settings, tmp_path / "two") as staying,
        visiting(leaving, shop) as (tab, welcome),
        visiting(staying, shop, proof=welcome.session) as (watching, _),
    ):
        model.script(ENDLESS, Answer("The whole answer"))
        await tab.say("Hello")
        await tab.next(MessageDelta)
        began = time.monotonic()
        leaving.signal()
        assert await _left(tab) == 4001
        reset = await watching.next(TurnReset)
        assert (await watching.next(MessageCompleted)).message.text == "The whole answer"
        assert await leaving.ended() == 0
        assert time.monotonic() - began < LEASE_S, "without waiting for a lease"
        assert reset.gen == 2
        async with visiting(staying, shop, proof=welcome.session) as (back, _):
            await back.settle()
            assert list(back.view.texts.values()) == ["Hello", "The whole answer"]
    assert await office.rows("select status, gen, attempts from turns") == [("done", 2, 1)]


async def test_a_question_that_waits_is_begun_elsewhere(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """An instance that ends finishes the answer that runs, and leaves the next one to the others."""
    shop = await office.shop()
    async with (
        serve(office.settings, tmp_path / "one") as leaving,
        serve(office.settings, tmp_path / "two") as staying,
        visiting(leaving, shop) as (tab, welcome),
        visiting(staying, shop, proof=welcome.session) as (watching, _),
    ):
        model.script(SLOW)
        await tab.say("Count")
        await tab.next(MessageDelta)
        leaving.signal()
        await _unready(office, leaving)
        await tab.say("And then?")
        assert await _left(tab) == 4001
        assert await leaving.ended() == 0
        await watching.shows("You said: And then?")
    owners = await office.rows("select owner from turns order by id")
    assert len({owner for (owner,) in owners}) == 2


async def test_workers_drain_each(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches the parent and its workers, and then the parent tells them again: once is meant."""
    shop = await office.shop()
    async with serve(office.settings, tmp_path / "log", "--workers", "2") as served:
        async with visiting(served, shop) as (tab, _):
            model.script(SLOW)
            await tab.say("Count")
            await tab.next(MessageDelta)
            for worker in psutil.Process(served.process.pid).children():
                worker.send_signal(signal.SIGINT)
            served.signal(signal.SIGINT)
            assert (await tab.next(MessageCompleted)).message.text == SLOW.text
            assert await _left(tab) == 4001
        assert await served.ended() == 0
    assert await office.rows("select status, gen from turns") == [("done", 1)]


async def test_a_second_signal_ends_at_once(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """Whoever cannot wait need not; the lease, or the lock, makes another instance go on."""
    shop = await office.shop()
    async with serve(office.settings, tmp_path / "log") as served, visiting(served, shop) as (tab, _):
        model.script(ENDLESS)
        await tab.say("Hello")
        await tab.next(MessageDelta)
        served.signal()
        await _unready(office, served)
        began = time.monotonic()
        served.signal()
        assert await served.ended() == -signal.SIGTERM
        assert time.monotonic() - began < RESERVE_S + 5, "no answer was waited for"


async def test_a_death_is_noticed_within_seconds(office: Desk, model: WireServer, tmp_path: Path) -> None:
    """kill -9 of one of two in the middle of an answer: the other begins it anew, long before the lease runs out."""
    shop = await office.shop()
    async with (
        serve(office.settings, tmp_path / "one") as dying,
        serve(office.settings, tmp_path / "two") as living,
        visiting(dying, shop) as (tab, welcome),
        visiting(living, shop, proof=welcome.session) as (watching, _),
    ):
        await watching.next(Snapshot)
        model.script(ENDLESS, Answer("The whole answer"))
        await tab.say("Hello")
        await tab.next(MessageDelta)
        await _seen(office)
        killed = time.monotonic()
        dying.signal(signal.SIGKILL)
        reset = await watching.next(TurnReset)
        took = time.monotonic() - killed
        assert (await watching.next(MessageCompleted)).message.text == "The whole answer"
        assert reset.gen == 2
        assert took < LEASE_S
    assert await office.rows("select status, gen, attempts from turns") == [("done", 2, 2)]
    assert await office.rows("select content from messages where role = 'assistant'") == [("The whole answer",)]
