"""What operators do to a conversation over HTTP: the same as over the socket, seen by who watches there."""

import pytest

from server.protocol.operator import WhisperRecorded
from server.protocol.visitor import (
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    OwnerChanged,
    ToolConfirmRequest,
    TurnStarted,
    TurnStopped,
)
from server.turns.handover import OPERATOR_COMMANDS, WHISPERS_WAITING
from tests.admin.console import BASE, Console
from tests.admin.talking import audited, get, refusal, signed_in, talk
from tests.flows.console import console as socket
from tests.flows.console import staff_of
from tests.flows.support import Desk, use_up
from tests.flows.tooling import add_tool, use
from tests.tools.webhook_server import WebhookServer, says
from tests.wire_servers import Answer, WireServer

COMMANDS = ("take", "release", "close", "reply", "whisper", "stop", "approve")
NEEDS = {f"POST {BASE}/conversations/{{conversation_id}}/{each}": "operator" for each in COMMANDS}
BODIES = {
    "reply": {"cid": "c1", "text": "Hello"},
    "whisper": {"text": "Be brief."},
    "stop": {"turn_id": "trn_1"},
    "approve": {"call_id": "trn_1:2", "approved": True},
}
ENDLESS = Answer("One two three four five six", stall_after=4)


async def test_the_way_through(desk: Desk, model: WireServer) -> None:
    """Taken mid-answer, answered, given back to the AI, closed: the visitor sees each, the log has each."""
    shop = await desk.shop()
    model.script(ENDLESS, Answer("I am back."))
    async with desk.visit(shop) as (tab, welcome), signed_in(desk, shop, name="Ana") as ana:
        at, path = welcome.conversation_id, f"/conversations/{welcome.conversation_id}"
        await tab.say("Count")
        await tab.next(MessageDelta)
        taken = await ana.post(f"{path}/take")
        assert taken.status_code == 200
        assert (taken.json()["owner"], taken.json()["operator"]["name"]) == ("human", "Ana")
        assert (await tab.next(TurnStopped)).message is not None
        assert (await tab.next(OwnerChanged)).owner == "human"
        said = await ana.post(f"{path}/reply", {"cid": "c1", "text": "Ana here."})
        again = await ana.post(f"{path}/reply", {"cid": "c1", "text": "Ana here."})
        assert (said.status_code, said.json()["duplicate"], again.json()["duplicate"]) == (200, False, True)
        assert again.json() == {**said.json(), "duplicate": True}
        seen = await tab.next(MessageCreated, lambda frame: frame.message.role == "operator")
        assert (seen.message.id, seen.seq, seen.message.text) == (
            said.json()["message_id"],
            said.json()["seq"],
            "Ana here.",
        )
        assert refusal(await ana.post(f"{path}/reply", {"cid": "c1", "text": "Another"})) == (409, "cid_reused", "cid")
        released = await ana.post(f"{path}/release")
        assert (released.json()["owner"], released.json()["operator"]) == ("ai", None)
        closed = await ana.post(f"{path}/close")
        assert (closed.json()["owner"], closed.json()["ended_at"] is not None) == ("closed", True)
        assert (await get(ana, "/conversations", owner="closed"))["rows"][0]["conversation_id"] == at
    actions = [action for action, target, _ in await audited(desk, "conversation.") if target == at]
    assert actions == [f"conversation.{each}" for each in ("take", "reply", "release", "close")]


async def test_two_who_take_it(desk: Desk) -> None:
    """The second is told who has it, and may neither answer nor close."""
    shop = await desk.shop()
    path = f"/conversations/{(await talk(desk, shop, 'Hello')).public_id}"
    async with signed_in(desk, shop, name="Ana") as ana, signed_in(desk, shop, name="Ben") as ben:
        assert (await ana.post(f"{path}/take")).status_code == 200
        answer = await ben.post(f"{path}/take")
        assert refusal(answer) == (409, "taken", None) and "Ana" in answer.json()["error"]["message"]
        for command in ("reply", "close", "release"):
            assert refusal(await ben.post(f"{path}/{command}", BODIES.get(command)))[:2] == (409, "not_yours")


async def test_a_whisper_is_seen_where_it_is_watched(desk: Desk, model: WireServer) -> None:
    """Whoever watches over the socket gets it, the visitor does not, the AI's next turn reads it; so many may wait."""
    shop = await desk.shop()
    sign = await staff_of(desk, shop)
    model.script(Answer("Yes."))
    async with (
        desk.visit(shop) as (tab, welcome),
        socket(sign) as watching,
        signed_in(desk, shop, name="Ana") as ana,
    ):
        path = f"/conversations/{welcome.conversation_id}/whisper"
        await watching.watch(welcome.conversation_id)
        made = await ana.post(path, {"text": "  Offer a discount. "})
        assert (made.status_code, made.json()["no"], made.json()["text"]) == (201, 1, "Offer a discount.")
        assert made.json()["operator"]["name"] == "Ana"
        seen = await watching.next(WhisperRecorded)
        assert (seen.no, seen.text) == (1, "Offer a discount.")
        await tab.say("Too expensive")
        await tab.end()
        assert "Offer a discount." in str(model.requests[-1].body)
        assert b"discount" not in b"".join(tab.payloads)
        for _ in range(WHISPERS_WAITING):
            assert (await ana.post(path, {"text": "More"})).status_code == 201
        assert refusal(await ana.post(path, {"text": "More"}))[:2] == (409, "whispers_waiting")


async def test_stop(desk: Desk, model: WireServer) -> None:
    """Ends the turn and keeps what was said; a second time there is nothing to stop."""
    shop = await desk.shop()
    model.script(ENDLESS)
    async with desk.visit(shop) as (tab, welcome), signed_in(desk, shop) as ana:
        await tab.say("Count")
        await tab.next(MessageDelta)
        [started] = tab.of(TurnStarted)
        path = f"/conversations/{welcome.conversation_id}/stop"
        assert (await ana.post(path, {"turn_id": started.turn_id})).json() == {"stopped": True}
        await tab.next(TurnStopped)
        assert (await ana.post(path, {"turn_id": started.turn_id})).json() == {"stopped": False}


async def test_approve(desk: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """A tool that asks first is answered in the visitor's place; the first answer counts."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "book", "idempotent", confirm=True)
    model.script(Answer("", tools=(use("book", item="table"),)), Answer("It is booked."))
    webhook.script(says({"table": 4}))
    async with desk.visit(shop) as (tab, welcome), signed_in(desk, shop) as ana:
        await tab.say("A table")
        question = await tab.next(ToolConfirmRequest)
        path = f"/conversations/{welcome.conversation_id}/approve"
        yes = {"call_id": question.call_id, "approved": True}
        answer = await ana.post(path, yes)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await tab.next(MessageCompleted)).message.text == "It is booked."
        assert refusal(await ana.post(path, yes)) == (404, "unknown_call", "call_id")


@pytest.mark.parametrize("command", COMMANDS)
async def test_another_clients(desk: Desk, command: str) -> None:
    """The same 404 as for a conversation that never was, and nothing is changed."""
    made = await talk(desk, await desk.shop(), "Hello")
    async with signed_in(desk, await desk.shop(), "admin") as console:
        before = await desk.fingerprint()
        for public_id in (made.public_id, "cnv_00000000000000000000000000"):
            answer = await console.post(f"/conversations/{public_id}/{command}", BODIES.get(command))
            assert refusal(answer) == (404, "not_found", "conversation_id")
        assert await desk.fingerprint() == before


@pytest.mark.parametrize(
    ("command", "body", "field"),
    [
        *[("reply", {"cid": "c", "text": each}, "text") for each in ("", "  ", "x" * 5001, 1, None)],
        *[("reply", {"cid": each, "text": "x"}, "cid") for each in ("", "x" * 65, None)],
        ("reply", {"text": "x"}, "cid"),
        *[("whisper", {"text": each}, "text") for each in ("", "x" * 5001, 7)],
        ("whisper", {}, "text"),
        *[("stop", {"turn_id": each}, "turn_id") for each in ("", "x" * 65, 1)],
        ("approve", {"call_id": "x"}, "approved"),
        ("approve", {"call_id": "x", "approved": "yes"}, "approved"),
        ("approve", {"approved": True}, "call_id"),
    ],
)
async def test_bad_bodies(desk: Desk, console: Console, command: str, body: object, field: str) -> None:
    """Each names the field that is wrong."""
    made = await talk(desk, await desk.shop(), "Hello")
    await console.post(f"/conversations/{made.public_id}/take")
    before = await desk.fingerprint()
    answer = await console.post(f"/conversations/{made.public_id}/{command}", body)
    assert (answer.status_code, answer.json()["error"].get("field")) == (422, field)
    assert await desk.fingerprint() == before


async def test_a_minutes_commands(desk: Desk, console: Console) -> None:
    """They count together with those over the socket."""
    me = (await console.me()).json()["operator"]["id"]
    made = await talk(desk, await desk.shop(), "Hello")
    await use_up(desk, f"operator:{me}", OPERATOR_COMMANDS)
    answer = await console.post(f"/conversations/{made.public_id}/take")
    assert answer.status_code == 429 and "retry-after" in answer.headers
