"""What the AI did, turn by turn, as the console reads it."""

from decimal import Decimal

from server.protocol.visitor import TurnFailed, TurnStop, TurnStopped
from tests.admin.console import BASE, Console
from tests.admin.talking import get, refused, signed_in
from tests.flows.support import Desk, Shop
from tests.flows.tooling import add_tool, use
from tests.tools.webhook_server import WebhookServer, says
from tests.wire_servers import Answer, Failure, WireServer

BILL = ("model", "tokens_input", "tokens_output", "cost")
NEEDS = {f"GET {BASE}/conversations/{{conversation_id}}/turns": "operator"}


async def test_a_turn_with_a_tool(desk: Desk, console: Console, model: WireServer, webhook: WebhookServer) -> None:
    """The model's decision, the call with what went out and came back, the times in their order, the cost."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "look_up")
    model.script(
        Answer("Let me look.", tools=(use("look_up", item="olives-4711"),), usage=(500, 50, 0)),
        Answer("Three are left.", usage=(700, 70, 0)),
    )
    webhook.script(says({"stock": 3}))
    async with desk.visit(shop) as (tab, welcome):
        asked = await tab.say("Any olives?")
        await tab.end()
    page = await get(console, f"/conversations/{welcome.conversation_id}/turns")
    [turn] = page["rows"]
    assert page["before"] is None
    assert (turn["status"], turn["attempts"], turn["error"]) == ("done", 1, None)
    assert (turn["message_id"], turn["tokens_input"], turn["tokens_output"]) == (asked.message_id, 1200, 120)
    assert turn["model"] and float(turn["cost"]) > 0
    assert turn["queued_at"] <= turn["started_at"] <= turn["finished_at"]
    decision, result = turn["steps"]
    call_id = f"{turn['turn_id']}:2"
    assert (decision["no"], decision["kind"], decision["state"]) == (1, "llm", "done")
    assert (decision["text"], decision["tokens_input"], decision["tokens_output"]) == ("Let me look.", 500, 50)
    assert decision["calls"] == [{"call_id": call_id, "name": "look_up", "arguments": '{"item":"olives-4711"}'}]
    assert (result["no"], result["kind"], result["state"], result["calls"]) == (2, "tool", "done", [])
    assert "3" in result["text"] and result["tokens_input"] is None and result["ended_at"] is not None
    [call] = turn["calls"]
    assert (call["call_id"], call["name"], call["arguments"]) == (call_id, "look_up", {"item": "olives-4711"})
    assert (call["response"], call["success"], call["error"], call["attempts"]) == ({"stock": 3}, True, None, 1)
    assert call["ms"] >= 0 and call["approval"] is None


async def test_a_huge_response_is_cut(desk: Desk, console: Console, model: WireServer, webhook: WebhookServer) -> None:
    """What is left out is said, and what is left is JSON still."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "look_up")
    model.script(Answer(tools=(use("look_up", item="x"),)), Answer("Many."))
    webhook.script(says({"items": [{"name": f"olives {number}", "price": number} for number in range(5_000)]}))
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("All of them")
        await tab.end()
    answer = await console.http.get(f"{BASE}/conversations/{welcome.conversation_id}/turns")
    assert len(answer.content) < 30_000
    [call] = answer.json()["rows"][0]["calls"]
    assert "items left out" in str(call["response"])


async def used(desk: Desk, shop: Shop) -> tuple[int, int, Decimal]:
    """What the client's days say it used."""
    [row] = await desk.rows(
        "select tokens_input, tokens_output, cost_estimate from api_usage where client_id = %s", shop.id
    )
    return row[0], row[1], row[2]


async def test_what_a_failed_turn_cost(desk: Desk, console: Console, model: WireServer, webhook: WebhookServer) -> None:
    """A call of the model that was paid before the turn failed is told by the turn, and is in the day's usage."""
    shop = await desk.shop()
    await add_tool(desk, shop, webhook.url, "look_up")
    model.script(
        Answer("Let me look.", tools=(use("look_up", item="olives"),), usage=(500, 50, 0)),
        *(Failure(status=400) for _ in range(5)),
    )
    webhook.script(says({"stock": 3}))
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("Any olives?")
        assert isinstance(await tab.end(), TurnFailed)
    [turn] = (await get(console, f"/conversations/{welcome.conversation_id}/turns"))["rows"]
    assert (turn["status"], turn["tokens_input"], turn["tokens_output"]) == ("failed", 500, 50)
    assert turn["model"] and float(turn["cost"]) > 0
    truth = await get(console, f"/turns/{turn['turn_id']}")
    assert [truth[name] for name in BILL] == [turn[name] for name in BILL]
    assert await used(desk, shop) == (500, 50, Decimal(turn["cost"]))


async def test_what_a_turn_cost_that_was_stopped_before_its_first_word(
    desk: Desk, console: Console, model: WireServer
) -> None:
    """Its prompt was read, so it costs, as that of an answer that was cut off does."""
    shop = await desk.shop()
    model.script(Answer("late", first_byte_after_s=30))
    async with desk.visit(shop) as (tab, welcome):
        await tab.say("Hello")
        await model.wait_for_requests(1)
        path = f"/conversations/{welcome.conversation_id}/turns"
        [running] = (await get(console, path))["rows"]
        assert [running[name] for name in BILL] == [None] * 4
        await tab.send(TurnStop(turn_id=running["turn_id"]))
        ended = await tab.end()
    assert isinstance(ended, TurnStopped) and ended.message is None
    [turn] = (await get(console, path))["rows"]
    assert turn["status"] == "stopped" and turn["model"]
    assert turn["tokens_input"] > 0 and turn["tokens_output"] == 0 and float(turn["cost"]) > 0
    assert await used(desk, shop) == (turn["tokens_input"], 0, Decimal(turn["cost"]))


async def test_pages_and_a_failure(desk: Desk, console: Console, model: WireServer) -> None:
    """Oldest first, backwards by pages; a turn that failed says why and has no answer to be paid."""
    shop = await desk.shop()
    model.script(Answer("One."), Answer("Two."), *(Failure(status=400) for _ in range(5)))
    async with desk.visit(shop) as (tab, welcome):
        for text in ("1", "2"):
            await tab.say(text)
            await tab.end()
        await tab.say("3")
        assert isinstance(await tab.end(), TurnFailed)
    path = f"/conversations/{welcome.conversation_id}/turns"
    page = await get(console, path, limit=2)
    second, failed = page["rows"]
    assert (second["status"], failed["status"]) == ("done", "failed")
    assert failed["error"] and (failed["model"], failed["cost"], failed["tokens_input"]) == (None, None, None)
    assert page["before"] == second["turn_id"]
    earlier = await get(console, path, limit=2, before=page["before"])
    assert [each["status"] for each in earlier["rows"]] == ["done"] and earlier["before"] is None
    assert await get(console, path, before="trn_of_nobody") == {"rows": [], "before": None}
    for asked, field in (({"limit": "21"}, "limit"), ({"limit": "0"}, "limit"), ({"before": ""}, "before")):
        assert (await refused(console, path, **asked))[::2] == (422, field)
    async with signed_in(desk, await desk.shop()) as other:
        assert (await refused(other, path))[0] == 404
