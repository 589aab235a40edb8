"""Tools as an operator sees them: what goes out and what comes back, and a yes in the visitor's place."""

from server.protocol.operator import CommandDone, OperatorError, ToolApprove, ToolTrace
from server.protocol.visitor import MessageCompleted, Snapshot, ToolConfirmRequest
from tests.flows.console import console, staff_of
from tests.flows.support import Desk
from tests.flows.tooling import add_tool, use
from tests.tools.webhook_server import WebhookServer, says
from tests.wire_servers import Answer, WireServer


async def test_only_operators_see_arguments_and_results(two: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """On another instance, while it happens; the visitor's own tab gets neither."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "look_up")
    sign = await staff_of(two, shop)
    model.script(Answer("", tools=(use("look_up", item="olives-4711"),)), Answer("We have three of them."))
    webhook.script(says({"stock": 3, "supplier": "secret-supplier"}))
    async with two.visit(shop) as (tab, welcome), console(sign, on=1) as hers:
        await hers.watch(welcome.conversation_id)
        await tab.say("Any olives?")
        await tab.end()
        await hers.sees(welcome.conversation_id, MessageCompleted)
        out, back = hers.of(ToolTrace)
        assert (out.name, out.arguments, out.result) == ("look_up", {"item": "olives-4711"}, None)
        assert back.call_id == out.call_id and "secret-supplier" in (back.result or "")
        everything = b"".join(tab.payloads)
        assert b"4711" not in everything and b"secret-supplier" not in everything


async def test_an_operator_approves_in_the_visitors_place(two: Desk, model: WireServer, webhook: WebhookServer) -> None:
    """Who begins to watch while a tool asks sees that it does; the first answer counts."""
    shop = await two.shop()
    await add_tool(two, shop, webhook.url, "book", "idempotent", confirm=True)
    sign = await staff_of(two, shop)
    model.script(Answer("", tools=(use("book", item="table"),)), Answer("It is booked."))
    webhook.script(says({"table": 4}))
    async with two.visit(shop) as (tab, welcome), console(sign, on=1) as hers:
        at = welcome.conversation_id
        await tab.say("A table")
        question = await tab.next(ToolConfirmRequest)
        await hers.watch(at)
        live = (await hers.sees(at, Snapshot)).live
        assert live is not None and [tool.state for tool in live.tools] == ["confirm"]
        yes = ToolApprove(conversation_id=at, call_id=question.call_id, approved=True)
        assert isinstance(await hers.do(yes), CommandDone)
        assert (await tab.next(MessageCompleted)).message.text == "It is booked."
        late = await hers.do(yes)
        assert isinstance(late, OperatorError) and late.code == "unknown_call"
    assert len(webhook.requests) == 1
