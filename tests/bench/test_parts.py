"""The benchmark's parts work: its upstream and its client. Nothing is timed here."""

import asyncio
import http.client
import os
import sys
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench import tool_step, upstream
from bench.client import Socket
from bench.rig import Rig
from bench.servers import Process, free_port, process, split_cores
from bench.speakers import FrontdeskSite
from bench.tool_step import Done, Step, Steps
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


@pytest.fixture(scope="package")
def model(rig: Rig) -> Process:
    """The upstream, running."""
    return rig.model


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


async def test_client_says_why_it_was_not_let_in(model: Process) -> None:
    """The status line of a refusal."""
    with pytest.raises(ConnectionError, match="404"):
        await Socket.open(model.port, "/nowhere", {}, lambda _payload: None)


def test_a_program_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    """With the end of its log."""
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    broken = process("broken", command, free_port(), cores=split_cores().others, log=tmp_path / "log", environ={})
    with pytest.raises(RuntimeError, match="broken did not come up; its log ends: no such thing"), broken:
        pass
