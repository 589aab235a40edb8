"""The benchmark's parts work: its upstream, its relay, its client and its table. Nothing is timed here."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench import measure, report, upstream
from bench.client import Socket
from bench.measure import Load
from bench.report import Figure, Report, Row
from bench.servers import Process, free_port, process, split_cores
from bench.speakers import RelaySite
from server.llm.openai import OpenAIProvider
from server.llm.provider import ChatMessage, Finished, ModelEvent, ModelRequest, TextDelta, Usage


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The upstream, running."""
    port, log = free_port(), tmp_path_factory.mktemp("bench") / "upstream.log"
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with process("upstream", command, port, cores=split_cores().others, log=log, environ={}) as running:
        yield running


@pytest.fixture(scope="module")
def relay(model: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelaySite]:
    """The relay in front of it."""
    port, log = free_port(), tmp_path_factory.mktemp("bench") / "relay.log"
    environ = {"OPENAI_BASE_URL": f"http://127.0.0.1:{model.port}/v1"}
    command = [sys.executable, "-m", "bench.relay", str(port)]
    with process("relay", command, port, cores=split_cores().server, log=log, environ=environ) as running:
        yield RelaySite(running)


@pytest.mark.parametrize("rate", [0, 1000])
async def test_upstream_is_read_by_the_real_client(model: Process, rate: int) -> None:
    """Frontdesk's provider, over OpenAI's client, reads every token, the usage and the finish."""
    provider = OpenAIProvider(api_key="bench", base_url=f"http://127.0.0.1:{model.port}/v1")
    request = ModelRequest("bench", (ChatMessage("user", upstream.question(50, rate)),), 100)
    events: list[ModelEvent] = []
    async with provider.stream(request) as stream:
        async for batch in stream:
            events += batch
    await provider.close()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "".join(upstream.answer(50))
    assert Usage(1200, 50, 0) in events
    assert events[-1] == Finished("stop")


async def test_relay_is_measured(relay: RelaySite, model: Process) -> None:
    """Whole answers come through the relay, and each measurement gives a figure that can be."""
    load = Load(streams=3, answers=2, tokens=40, rate=0)
    assert 0 < await measure.cpu_per_token(relay, load) < 100_000
    waits = await measure.first_tokens(relay, visitors=2, questions=3, tokens=10)
    assert len(waits) == 6
    assert min(waits) > 0
    assert await measure.own_first_token(model.port, 5, 10) > 0
    assert await measure.idle_socket(relay, 20) < 10 * 1024 * 1024


async def test_an_answer_that_is_not_whole_fails_the_run(relay: RelaySite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a server that loses text would be worth nothing."""
    monkeypatch.setattr(upstream, "answer", lambda tokens: ["something else"] * tokens)
    with pytest.raises(RuntimeError, match="arrived with"):
        await measure.cpu_per_token(relay, Load(streams=1, answers=1, tokens=5, rate=0))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
async def test_client_reads_frames_of_every_length(size: int) -> None:
    """The three encodings of a length, whatever pieces the network makes of them."""

    async def send_back(connection: ServerConnection) -> None:
        asked = int(await connection.recv())
        await connection.send("x" * asked)
        await connection.wait_closed()

    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with serve(send_back, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await Socket.open(port, "/", {}, got.set_result)
        socket.send(str(size).encode())
        assert await asyncio.wait_for(got, 10) == b"x" * size
        socket.close()
        assert await asyncio.wait_for(socket.lost, 10)


async def test_client_says_why_it_was_not_let_in(relay: RelaySite) -> None:
    """The status line of a refusal."""
    with pytest.raises(ConnectionError, match="403"):
        await Socket.open(relay.process.port, "/nowhere", {}, lambda _payload: None)


def test_a_program_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    """With the end of its log."""
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    broken = process("broken", command, free_port(), cores=split_cores().others, log=tmp_path / "log", environ={})
    with pytest.raises(RuntimeError, match="broken did not come up; its log ends: no such thing"), broken:
        pass


def test_table_says_what_was_reached() -> None:
    """A ratio is held against a ratio, an absolute figure against the figure."""
    rows = [
        Row("CPU", "us", Figure.of([10, 12, 11]), Figure.of([15, 14, 20]), 1.5, relative=True),
        Row("memory", "KB", Figure.of([25]), Figure.of([41]), 40),
    ]
    lines = report.table(Report("2026-01-01T00:00+00:00", "a machine", 3, rows)).splitlines()
    squeezed = [" ".join(line.split()) for line in lines]
    assert squeezed[2] == "CPU, us 11.0 (10.0 to 12.0) 15.0 (14.0 to 20.0) 1.36 ratio <= 1.5 reached"
    assert squeezed[3] == "memory, KB 25.0 (25.0 to 25.0) 41.0 (41.0 to 41.0) 1.64 <= 40 MISSED"


def test_percentiles() -> None:
    """Of a hundred and one even steps."""
    values = [float(number) for number in range(101)]
    assert report.percentile(values, 50) == 50
    assert report.percentile(values, 99) == 99
