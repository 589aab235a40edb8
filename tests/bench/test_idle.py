"""Idle sockets are measured: every figure is there, and what is wrong ends the run. Nothing is timed here."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench import idle
from bench.idle import RELAY, Plan
from bench.report import OURS
from bench.rig import Rig
from bench.servers import Process
from bench.tab import Tab, TabSite

TINY = Plan(warm=10, few=20, many=(30, 40), rounds=1, beats=50, heartbeats=0.04)


class Ping(msgspec.Struct):
    type: str
    t: float


Answer = Callable[[ServerConnection, float], Awaitable[None]]


async def pong(connection: ServerConnection, t: float) -> None:
    """As Frontdesk does."""
    await connection.send(f'{{"type":"pong","t":{t},"head_seq":0}}')


@asynccontextmanager
async def page(answer: Answer) -> AsyncIterator[tuple[Tab, Process]]:
    """A page that pings 100 times a second, and its server, which answers pings its own way."""

    async def server(connection: ServerConnection) -> None:
        assert "hello" in str(await connection.recv())
        await connection.send('{"type":"welcome","conversation_id":"cnv_1","heartbeat_s":1}')
        await connection.send('{"type":"snapshot"}')
        async for said in connection:
            ping = msgspec.json.decode(said, type=Ping)
            assert ping.type == "ping"
            await answer(connection, ping.t)

    async with serve(server, "127.0.0.1", 0, compression=None) as listening:
        process = Process("frontdesk", os.getpid(), next(iter(listening.sockets)).getsockname()[1])
        tab = await TabSite(process, "pk_bench", beats=100).visit()
        try:
            yield tab, process
        finally:
            tab.close()
            await asyncio.wait_for(tab.socket.lost, 10)


def test_the_section(rig: Rig) -> None:
    """Both servers' memory and connects, Frontdesk's heartbeats, and a curve with a point for each size."""
    section = idle.measured(rig, TINY)
    small, large, connects, cpu, beats = section.rows
    for row in (small, large, connects, cpu):
        assert row.figures.keys() == {RELAY, OURS}
    assert beats.figures.keys() == {OURS}
    for row in (connects, cpu, beats):
        assert all(figure.least > 0 for figure in row.figures.values())
    assert [goal.limit for goal in small.goals] == [35]
    (curve,) = section.curves
    assert {name: [point.x for point in points] for name, points in curve.series.items()} == {
        RELAY: [20, 30, 40],
        OURS: [20, 30, 40],
    }


async def test_a_page_beats() -> None:
    """As often as its welcome says, times what was asked for, until it is hushed; each ping has its pong by then."""
    enough = asyncio.Event()

    async def answer(connection: ServerConnection, t: float) -> None:
        await pong(connection, t)
        if t == 5:
            enough.set()

    async with page(answer) as (tab, _process):
        await asyncio.wait_for(enough.wait(), 10)
        await tab.hush()
        assert tab.pings == tab.pongs >= 5
        assert not tab.socket.lost.done()


@pytest.mark.parametrize("wrong", ["closes", "answers another ping"])
async def test_a_page_that_is_cut_off_ends_the_run(wrong: str) -> None:
    """So does one that gets the answer to another ping."""

    async def answer(connection: ServerConnection, t: float) -> None:
        if wrong == "closes":
            await connection.close(4408, "silent")
        else:
            await pong(connection, t + 1)

    async with page(answer) as (tab, _process):
        await asyncio.wait_for(asyncio.shield(tab.socket.lost), 10)
        with pytest.raises(ConnectionError, match="4408 silent" if wrong == "closes" else "pong 2 where 1 was due"):
            await tab.hush()


async def test_pages_that_do_not_beat_end_the_run() -> None:
    """What they would cost is not what idle pages cost."""
    async with page(pong) as (tab, process):
        await tab.hush()
        plan = Plan(warm=0, few=1, many=(1,), rounds=1, beats=100, heartbeats=0.1)
        with pytest.raises(RuntimeError, match="1 idle pages were to ping 10 times and pinged 0 times"):
            await idle.idle(process, [tab], plan)


def test_too_few_descriptors_are_named(rig: Rig) -> None:
    """Before anything starts: a server without descriptors accepts nobody, and says nothing."""
    with pytest.raises(RuntimeError, match="open files are needed"):
        idle.measured(rig, Plan(warm=1, few=1, many=(10_000_000_000,), rounds=1, beats=1, heartbeats=1))
