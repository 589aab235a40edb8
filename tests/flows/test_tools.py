"""A turn with tools as those see it who watch: over the socket, over HTTP, on another instance, after coming back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from server.protocol.visitor import (
    Ack,
    Error,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    Snapshot,
    ToolConfirm,
    ToolConfirmRequest,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnStarted,
    TurnStop,
    TurnStopped,
)
from server.settings import Settings
from tests.flows.support import Desk, open_desk
from tests.flows.test_chat import post
from tests.flows.tooling import Gate, add_tool, asked, confirm, streaming, use, within
from tests.flows.view import View
from tests.tools.instance import signed
from tests.tools.webhook_server import Received, Reply, WebhookServer, says, text
from tests.wire_servers import Answer, WireServer

YES = {"type": "result", "result": {"table": 4}}


@pytest.fixture
async def called_back(settings: Settings) -> AsyncIterator[Desk]:
    """Two instances that know where they are reached: callbacks go to either."""
    async with open_desk(msgspec.structs.replace(settings, public_url="https://desk.example"), instances=2) as desk:
        yield desk


# --- over the socket


async def test_the_frames_of_a_turn(desk: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """Each step in its place among the words, numbered without gaps; what goes to the shop is not shown to the page."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "look_up")
    model.script(
        Answer("Let me look.", tools=(use("look_up", item="olives-4711"),)),
        Answer("We have three of them left.", tokens_per_s=20),
    )
    webhook.script(says({"stock": 3, "supplier": "secret-supplier"}))
    async with desk.visit(shop) as (tab, _):
        await tab.say("Any olives?")
        end = await tab.next(MessageCompleted)
    kinds = [type(frame) for frame in tab.frames if not isinstance(frame, Ack)][2:]
    without_repeats = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] is not kind]
    assert without_repeats == [
        MessageCreated,
        TurnStarted,
        MessageDelta,
        ToolStarted,
        ToolFinished,
        MessageDelta,
        MessageCompleted,
    ]
    [started], [finished] = tab.of(ToolStarted), tab.of(ToolFinished)
    assert (started.turn_id, started.name, started.label) == (end.turn_id, "look_up", "Doing look_up")
    assert (finished.call_id, finished.ok, finished.summary) == (started.call_id, True, None)
    assert finished.ms >= 0
    assert end.message.text == "Let me look.\n\nWe have three of them left."
    everything = b"".join(tab.payloads)
    assert b"4711" not in everything and b"secret-supplier" not in everything


@pytest.mark.parametrize("on", [0, 1], ids=["the same process", "the other process"])
async def test_coming_back_while_a_tool_runs(two: Desk, model: WireServer, webhook: WebhookServer, on: int) -> None:
    """Told whole or event by event, on either process, the step is there and its end comes; nothing runs twice."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "look_up")
    gate = Gate({"stock": 3})
    webhook.default = gate
    model.script(Answer("Let me look.", tools=(use("look_up", item="x"),)), Answer("Three."))
    async with two.visit(shop) as (tab, first):
        await tab.say("Any x?")
        started = await tab.next(ToolStarted)
        view = View()
        view.seq = 1
        async with (
            two.visit(shop, on=on, proof=first.session) as (anew, _),
            two.visit(shop, on=on, view=view, proof=first.session, epoch=first.epoch, last_seq=1) as (back, welcome),
        ):
            whole, rest = await anew.next(Snapshot), await back.next(Snapshot)
            assert welcome.resumed and rest.messages is None
            assert [each.call_id for each in back.of(ToolStarted)] == [started.call_id]
            for live in (whole.live, rest.live):
                assert live is not None and live.text == "Let me look."
                [tool] = live.tools
                assert (tool.call_id, tool.label, tool.state) == (started.call_id, "Doing look_up", "running")
            gate.open.set()
            ends = [await each.next(MessageCompleted) for each in (tab, anew, back)]
            assert ends[0] == ends[1] == ends[2]
            assert [each.of(ToolFinished) for each in (anew, back)] == [tab.of(ToolFinished)] * 2
    assert len(webhook.requests) == 1


async def test_coming_back_after_a_tool_ran(two: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """While the answer is still being said the finished steps are in the snapshot, each with how it ended."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "look_up")
    webhook.script(says({"stock": 3}), text("gone", 404))
    model.script(
        Answer(tools=(use("look_up", item="x"), use("look_up", item="y"))), Answer("One two three", stall_after=2)
    )
    async with two.visit(shop) as (tab, first):
        await tab.say("Any x?")
        await tab.next(MessageDelta)
        async with two.visit(shop, on=1, proof=first.session) as (late, _):
            snapshot = await late.next(Snapshot)
            assert snapshot.live is not None
            assert sorted(tool.state for tool in snapshot.live.tools) == ["done", "failed"]
            [failed] = [tool for tool in snapshot.live.tools if tool.state == "failed"]
            assert failed.text and "404" not in failed.text and "gone" not in failed.text


async def test_a_question_is_answered_on_another_instance(two: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """Whoever comes back finds it with what would be done, and their yes counts; it goes out once."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(Answer(tools=(use("book", item="table", count=2),)), Answer("Booked."))
    async with two.visit(shop) as (tab, first):
        await tab.say("Book")
        question = await asked(tab)
        assert (question.label, question.text) == ("Doing book", "Item: table, Count: 2")
        async with two.visit(shop, on=1, proof=first.session) as (late, _):
            snapshot = await late.next(Snapshot)
            assert snapshot.live is not None
            [tool] = snapshot.live.tools
            assert (tool.call_id, tool.state, tool.text) == (question.call_id, "confirm", "Item: table, Count: 2")
            # It is asked again for those who came meanwhile.
            again = await asked(late)
            assert again == question
            assert webhook.requests == [] and tab.of(ToolStarted) == []
            yes = ToolConfirm(call_id=question.call_id, approved=True)
            await late.send(yes)
            ends = [await each.next(MessageCompleted) for each in (tab, late)]
            assert ends[0] == ends[1]
            # Both tabs pressed the button: the second press is told that nothing waits, and does nothing.
            await tab.send(yes)
            refused = await tab.next(Error)
            assert (refused.code, refused.temporary) == ("unknown_call", False)
    assert len(webhook.requests) == 1
    assert await two.rows("select approval, success, attempt from tool_executions") == [("approved", True, 1)]


async def test_a_stop_on_another_instance(two: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """The call is cut off, both tabs see the stop, and the conversation goes on."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "look_up")
    webhook.default = Reply(wait_s=30)
    model.script(Answer("Let me look.", tools=(use("look_up", item="x"),)), Answer("Yes?"))
    async with two.visit(shop) as (tab, first), two.visit(shop, on=1, proof=first.session) as (other, _):
        await asyncio.gather(tab.next(Snapshot), other.next(Snapshot))
        await tab.say("Any x?")
        started = await other.next(ToolStarted)
        await webhook.until(lambda server: len(server.requests) == 1)
        await other.send(TurnStop(turn_id=started.turn_id))
        stops = [await each.next(TurnStopped) for each in (tab, other)]
        assert stops[0] == stops[1] and stops[0].message is not None
        assert stops[0].message.text == "Let me look."
        await webhook.until(lambda server: server.abandoned == 1)
        await tab.say("Hello?")
        assert (await tab.next(MessageCompleted)).message.text == "Yes?"
    assert await two.rows("select success, error from tool_executions") == [(None, "stopped by the visitor")]


async def test_a_result_called_back_to_another_instance(
    called_back: Desk, model: WireServer, webhook: WebhookServer
) -> None:
    """The turn waits on one process, progress and result reach the other one, and everybody sees both."""
    shop = await called_back.shop()
    secret = await add_tool(called_back, shop, webhook.url, "book", "idempotent")
    webhook.script(says({"accepted": True}, 202))
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Table four."))

    async def report(received: Received, body: dict[str, Any]) -> dict[str, Any]:
        raw = msgspec.json.encode(body)
        url = called_back.instances[1].url + urlsplit(received.json["callback"]["url"]).path
        response = await called_back.http.post(url, content=raw, headers=signed(secret, raw))
        assert response.status_code == 200, response.text
        taken: dict[str, Any] = response.json()
        return taken

    async with (
        called_back.visit(shop) as (tab, first),
        called_back.visit(shop, on=1, proof=first.session) as (other, _),
    ):
        await asyncio.gather(tab.next(Snapshot), other.next(Snapshot))
        await tab.say("Book")
        await tab.next(ToolStarted)
        await webhook.until(lambda server: len(server.requests) == 1)
        [call] = webhook.requests
        assert call.json["callback"]["url"].startswith("https://desk.example/api/v1/tools/callbacks/")
        assert await report(call, {"type": "progress", "text": "Looking for\na place"}) == {"status": "shown"}
        for each in (tab, other):
            progress = await each.next(ToolProgress)
            assert (progress.call_id, progress.text) == (call.headers["webhook-id"], "Looking for a place")
        assert await report(call, YES) == {"status": "finished"}
        ends = [await each.next(MessageCompleted) for each in (tab, other)]
        assert ends[0] == ends[1] and ends[0].message.text == "Table four."
        assert tab.of(ToolFinished) == other.of(ToolFinished) and tab.of(ToolFinished)[0].ok
    read = model.requests[1].body["messages"][-1]
    assert (read["role"], msgspec.json.decode(read["content"])) == ("tool", {"table": 4})
    assert len(webhook.requests) == 1


# --- over HTTP


async def test_a_backend_reads_which_tools_were_used(desk: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """Name, success and time of each that went out, in order; what was refused before is not among them."""
    shop = await desk.shop()
    for name in ("look_up", "reserve"):
        await add_tool(desk, shop, webhook.url, name)

    async def answer(received: Received) -> Reply:
        await asyncio.sleep(0.03)  # so that its milliseconds can be told
        return says({"stock": 3}) if received.json["tool"] == "look_up" else text("no", 422)

    webhook.default = answer
    model.script(
        Answer(tools=(use("look_up", item="x"), use("look_up", wrong="x"), use("nothing", item="x"))),
        Answer(tools=(use("reserve", item="x"),)),
        Answer("Three."),
    )
    body = (await post(desk, shop, message="Any x?")).json()
    assert body["reply"] == "Three."
    assert [(call["name"], call["ok"]) for call in body["tool_calls"]] == [("look_up", True), ("reserve", False)]
    assert all(30 <= call["ms"] < 20_000 for call in body["tool_calls"])


@pytest.mark.parametrize("who", ["the visitor", "the backend"])
async def test_a_question_over_http(two: Desk, model: WireServer, webhook: WebhookServer, who: str) -> None:
    """The stream carries it, the answer comes on another connection to another process, and the stream goes on."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "book", "unsafe", confirm=True)
    webhook.script(says({"reference": "BK-1"}))
    model.script(Answer("One moment.", tools=(use("book", item="table"),)), Answer("Booked."))
    async with two.visit(shop) as (_, first):
        session = first.session
    async with streaming(two, shop.secret_key, message="Book", session_id=session.id) as stream:
        question = await stream.next(ToolConfirmRequest)
        assert (question.text, webhook.requests) == ("Item: table", [])
        given = {"call_id": question.call_id, "approved": True}
        credential = session.token if who == "the visitor" else shop.secret_key
        response = await confirm(two, session.id, credential, given, on=1)
        assert (response.status_code, response.json()) == (200, given)
        assert response.headers["cache-control"] == "no-store"
        started = await stream.next(ToolStarted)
        finished = await stream.next(ToolFinished)
        assert started.call_id == finished.call_id == question.call_id and finished.ok
        end = await stream.next(MessageCompleted)
        assert end.message.text == "One moment.\n\nBooked."
    assert len(webhook.requests) == 1


async def test_a_question_while_a_backend_waits(desk: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """A request for the whole answer waits as long as the visitor thinks; a no is one of its tool's outcomes."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Then not."))
    async with desk.visit(shop) as (tab, first):
        await tab.next(Snapshot)
        waiting = asyncio.create_task(post(desk, shop, message="Book", session_id=first.session.id))
        question = await asked(tab)
        assert not waiting.done()
        no = {"call_id": question.call_id, "approved": False}
        assert (await confirm(desk, first.session.id, shop.secret_key, no)).status_code == 200
        body = (await within(waiting)).json()
    assert (body["reply"], body["failed"]) == ("Then not.", None)
    assert webhook.requests == []
