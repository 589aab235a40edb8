"""The benchmark's parts work: its upstream, its relay, its client and its table. Nothing is timed here."""

import asyncio
import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench import measure, report, tool_step, upstream
from bench.client import Socket
from bench.measure import Load
from bench.report import Figure, Report, Row
from bench.servers import Process, free_port, process, split_cores
from bench.speakers import FrontdeskSite, RelaySite
from bench.tool_step import Done, Step, Steps
from bench.world import frontdesk_world, serving
from server.llm.openai import OpenAIProvider
from server.llm.provider import (
    ChatMessage,
    Finished,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    Usage,
)


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


@pytest.fixture(scope="module")
def with_tools(model: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontdeskSite]:
    """Frontdesk in front of it, and the client that has tools."""
    home = tmp_path_factory.mktemp("frontdesk")
    with (
        frontdesk_world(home / "data", model.port) as frontdesk,
        serving(frontdesk, cores=split_cores(), log=home / "log") as running,
    ):
        yield FrontdeskSite(running, frontdesk.tools_key)


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


async def _events(model: Process, request: ModelRequest) -> list[ModelEvent]:
    provider = OpenAIProvider(api_key="bench", base_url=f"http://127.0.0.1:{model.port}/v1")
    try:
        async with provider.stream(request) as stream:
            return [event async for batch in stream for event in batch]
    finally:
        await provider.close()


def _call_webhook(model: Process, call: ToolCall) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    arguments = msgspec.json.decode(call.arguments)
    body = msgspec.json.encode({"tool": call.name, "arguments": arguments, "call": {"id": f"trn_1:{call.call_id}"}})
    connection.request("POST", f"/webhook/{call.name}", body)
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "application/json"
    text = answer.read().decode()
    connection.close()
    return text


async def test_upstream_is_a_model_with_tools_and_their_webhook(model: Process) -> None:
    """It asks for the calls that the visitor's words name, answers them, and then has something to say; the step that
    it recorded has the webhook's own time in it."""
    specs = tuple(ToolSpec(name, "A tool.", tool_step.SCHEMA) for name in tool_step.TOOLS)
    asked = ChatMessage("user", tool_step.question([1, 30, 2, 3]))
    before = len(tool_step.steps(model.port))
    events = await _events(model, ModelRequest("bench", (asked,), 100, tools=specs))
    assert events[-1] == Finished("tool_calls")
    arguments: dict[int, str] = {}
    for delta in events:
        if isinstance(delta, ToolCallDelta):
            arguments[delta.index] = arguments.get(delta.index, "") + delta.arguments
    calls = tuple(
        ToolCall(event.call_id, event.name, arguments[event.index])
        for event in events
        if isinstance(event, ToolCallDelta) and event.call_id and event.name
    )
    assert [call.name for call in calls] == [*tool_step.TOOLS, tool_step.TOOLS[0]]
    assert [msgspec.json.decode(call.arguments)["wait_ms"] for call in calls] == [1, 30, 2, 3]

    results = [ChatMessage("tool", _call_webhook(model, call), call_id=call.call_id) for call in calls]
    transcript = (asked, ChatMessage("assistant", "", tool_calls=calls), *results)
    events = await _events(model, ModelRequest("bench", transcript, 100, tools=specs))
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "".join(upstream.answer(upstream.AFTER_TOOLS))

    (step,) = tool_step.steps(model.port)[before:]
    step.check()
    assert [each.call_id for each in step.done] == [f"trn_1:{call.call_id}" for call in calls]
    # Timers of the upstream's loop count in whole milliseconds.
    assert step.slowest_s >= 0.029
    # One after the other: the step took longer than its slowest call.
    assert step.times_slowest > 1
    assert step.overhead_ms > 0


def test_a_step_that_went_wrong_is_not_measured() -> None:
    """A call that was lost, one that came twice, and results that are not the webhook's."""
    wanted = tool_step.uses(tool_step.question([5, 5]))
    assert wanted is not None
    right = [tool_step.result(f"baguette {at}").decode() for at in range(2)]

    def step(ids: list[str], results: list[str]) -> Step:
        steps = Steps()
        steps.ask(wanted)
        for name in ids:
            steps.call(tool_step.Request("t", tool_step.Arguments("i", 5), tool_step.Named(name)), 1.0).ended = 2.0
        steps.tell(results, 3.0)
        return steps.done[0]

    step(["a", "b"], right).check()
    for ids in (["a"], ["a", "a"], ["a", "b", "b"]):
        with pytest.raises(RuntimeError, match="2 calls were asked for"):
            step(ids, right).check()
    for results in (right[:1], right[::-1], [right[0], "{}"]):
        with pytest.raises(RuntimeError, match="did not read"):
            step(["a", "b"], results).check()


def test_steps_do_not_mix() -> None:
    """Only one visitor at a time is measured; anything else ends the run."""
    steps, wanted = Steps(), tool_step.uses(tool_step.question([5]))
    assert wanted is not None
    with pytest.raises(RuntimeError, match="outside"):
        steps.call(tool_step.Request("t", tool_step.Arguments("i", 5), tool_step.Named("a")), 1.0)
    with pytest.raises(RuntimeError, match="did not ask"):
        steps.tell([], 1.0)
    steps.ask(wanted)
    with pytest.raises(RuntimeError, match="had ended"):
        steps.ask(wanted)


def test_what_a_step_took() -> None:
    """The slowest call is the one that took longest, not the one that ended last."""
    done = [Done("a", 10.0, 10.3), Done("b", 10.1, 10.35)]
    step = Step(2, asked_at=9.997, told_at=10.36, told=True, done=done)
    assert step.slowest_s == pytest.approx(0.3)
    assert step.overhead_ms == pytest.approx(63)
    assert step.times_slowest == pytest.approx(1.21)


async def test_tool_steps_of_frontdesk(model: Process, with_tools: FrontdeskSite) -> None:
    """Tools run through a whole Frontdesk: every call reaches the webhook, every result the model."""
    one = await measure.tool_steps(with_tools, model.port, [5], visitors=2, questions=2)
    ten = await measure.tool_steps(with_tools, model.port, range(10, 101, 10), visitors=1, questions=1)
    assert [len(step.done) for step in [*one, *ten]] == [1, 1, 1, 1, 10]
    assert all(step.overhead_ms > 0 for step in one)
    assert ten[0].times_slowest > 1


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


async def test_a_snapshot_in_the_middle_is_no_answer() -> None:
    """The first one is the end of hello. A later one makes good what was missed, and the answer's end still comes."""

    async def frontdesk(connection: ServerConnection) -> None:
        assert "hello" in str(await connection.recv())
        await connection.send('{"type":"snapshot"}')
        assert "message.send" in str(await connection.recv())
        for frame in ('{"type":"snapshot"}', '{"type":"message.completed","message":{"text":"Fresh."}}'):
            await connection.send(frame)
        await connection.wait_closed()

    async with serve(frontdesk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        visitor = await FrontdeskSite(Process("frontdesk", os.getpid(), port), "pk_bench").visit()
        assert (await visitor.ask("Bread?")).text == "Fresh."
        visitor.close()
        assert await asyncio.wait_for(visitor.socket.lost, 10)


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


def test_table_of_what_only_frontdesk_does() -> None:
    """The relay's cell is empty, and there is no ratio to reach."""
    row = Row("ten tools", "x slowest", None, Figure.over([1.04, 1.061], 1.05), 1.1, decimals=2)
    lines = report.table(Report("2026-01-01T00:00+00:00", "a machine", 2, [row])).splitlines()
    assert " ".join(lines[2].split()) == "ten tools, x slowest - 1.05 (1.04 to 1.06) - <= 1.1 reached"
    assert len(lines[2]) == len(f"{'':36}{'':24}{'':24}{'':7}  <= 1.1 reached")
    with pytest.raises(ValueError, match="held against the relay"):
        _ = Row("ten tools", "x slowest", None, row.frontdesk, 1.1, relative=True).reached


def test_percentiles() -> None:
    """Of a hundred and one even steps."""
    values = [float(number) for number in range(101)]
    assert report.percentile(values, 50) == 50
    assert report.percentile(values, 99) == 99
