"""A turn whose instance dies between two steps: what was committed is replayed, an effect never happens twice."""

import asyncio

import pytest

from server.protocol.visitor import (
    MessageCompleted,
    ToolConfirmRequest,
    ToolFinished,
    ToolStarted,
    TurnReset,
    TurnStarted,
)
from server.services import Services
from server.turns import supervisor
from tests.support import Shop, listening, rows, send, visit
from tests.tools.webhook_server import Received, Reply, WebhookServer, says
from tests.turns.toolkit import add_tool, executions, recorded_steps, told
from tests.wire_servers import Answer, ToolUse, WireServer


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep comes every 50 ms instead of every two seconds."""
    monkeypatch.setattr(supervisor, "SWEEP_S", 0.05)


async def die(services: Services, turn_id: str, meanwhile: str = "select 1") -> None:
    """What kill -9 leaves of a turn: nothing more is written, `meanwhile` happens, and its lease runs out."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {turn_id}"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await rows(services, meanwhile)
    await rows(services, "update turns set lease_until = now() - interval '1 second' where public_id = %s", turn_id)


def asks(name: str) -> Answer:
    return Answer("Let me see.", tools=(ToolUse(name, {"item": "x"}, "call_1"),), usage=(100, 10, 0))


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("name", ["look_up", "reserve"])
async def test_a_call_cut_off_goes_out_again_with_its_key(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer, name: str
) -> None:
    """The model is not asked again for what it had decided; what it had said is there again, once."""
    webhook.script(Reply(wait_s=30), says({"stock": 3}))
    model.script(asks(name), Answer("Three.", usage=(150, 5, 0)))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "x?")
        turn_id = (await listener.frame(TurnStarted)).turn_id
        await webhook.until(lambda server: len(server.requests) == 1)
        await die(services, turn_id)
        end = await listener.end()
        assert len(listener.of(TurnReset)) == 1
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "Let me see.\n\nThree."
    assert end.message.usage is not None
    assert (end.message.usage.input_tokens, end.message.usage.output_tokens) == (250, 15), "each step is paid once"
    first, second = webhook.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == f"{turn_id}:2"
    assert (first.json["call"]["attempt"], second.json["call"]["attempt"]) == (1, 2)
    assert len(model.requests) == 2
    assert told(model.requests[1]) == [{"stock": 3}]
    [row] = await executions(services, session)
    assert (row.attempt, row.success) == (2, True)
    assert await rows(services, "select kind from notifications") == []
    assert await recorded_steps(services) == [(1, "llm", "done"), (2, "tool", "done")]


@pytest.mark.usefixtures("brisk")
async def test_an_unsafe_call_cut_off_is_in_doubt(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """It is never made again; the model, the visitor and the record say that nobody knows."""
    webhook.script(Reply(wait_s=30))
    model.script(asks("pay"), Answer("A person will check."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "Pay")
        turn_id = (await listener.frame(TurnStarted)).turn_id
        await webhook.until(lambda server: len(server.requests) == 1)
        await die(services, turn_id)
        end = await listener.end()
        [finished] = listener.of(ToolFinished)
    assert isinstance(end, MessageCompleted)
    assert isinstance(finished, ToolFinished)
    assert (finished.ok, finished.summary) == (False, "It is not sure whether this was done.")
    assert len(webhook.requests) == 1
    assert "not known" in told(model.requests[1])[0]["error"]
    [row] = await executions(services, session)
    assert (row.success, row.attempt) == (None, 1)
    assert row.error
    assert await recorded_steps(services) == [(1, "llm", "done"), (2, "tool", "unknown")]
    told_operators = """
        select n.kind, n.client_id, n.conversation_id, n.details, n.xmin = s.xmin
        from notifications n join turn_steps s on s.no = 2
    """
    details = {"turn_id": turn_id, "call_id": f"{turn_id}:2", "tool_name": "pay"}
    assert await rows(services, told_operators) == [
        ("tool_in_doubt", toolshop.id, session.conversation.id, details, True)
    ], "with the step, once"


@pytest.mark.usefixtures("brisk")
async def test_a_result_that_came_while_nobody_ran_the_turn(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """A callback was taken between two owners: an unsafe call is then not in doubt, and its result is told."""
    webhook.script(Reply(wait_s=30))
    model.script(asks("pay"), Answer("It is paid."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "Pay")
        turn_id = (await listener.frame(TurnStarted)).turn_id
        await webhook.until(lambda server: len(server.requests) == 1)
        await die(
            services,
            turn_id,
            "update tool_executions set success = true, n8n_response = '{\"paid\": 7}', execution_time_ms = 40",
        )
        assert isinstance(await listener.end(), MessageCompleted)
        [finished] = listener.of(ToolFinished)
    assert isinstance(finished, ToolFinished)
    assert (finished.ok, finished.ms) == (True, 40)
    assert len(webhook.requests) == 1
    assert told(model.requests[1]) == [{"paid": 7}]
    assert await recorded_steps(services) == [(1, "llm", "done"), (2, "tool", "done")]


@pytest.mark.usefixtures("brisk")
async def test_a_result_that_was_committed_is_not_fetched_again(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The instance dies while the model words the result: only that call of the model is made again."""
    webhook.script(says({"stock": 3}))
    model.script(asks("pay"), Answer(tokens=("Thr",), stall_after=1), Answer("Three."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "x?")
        turn_id = (await listener.frame(TurnStarted)).turn_id
        await model.wait_for_requests(2)
        await die(services, turn_id)
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "Let me see.\n\nThree."
    assert len(webhook.requests) == 1
    assert told(model.requests[1]) == told(model.requests[2]) == [{"stock": 3}]


@pytest.mark.usefixtures("brisk")
async def test_a_question_survives(services: Services, shop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """Asked before the crash, answered after it: it is asked again and runs once."""
    await add_tool(services, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(asks("book"), Answer("Booked."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        await die(services, question.turn_id)
        again = await listener.frame(ToolConfirmRequest, nth=2)
        assert (again.call_id, again.expires_at) == (question.call_id, question.expires_at)
        await services.commands.confirm(session, call_id=question.call_id, approved=True)
        assert isinstance(await listener.end(), MessageCompleted)
    assert len(webhook.requests) == 1
    [row] = await executions(services, session)
    assert (row.approval, row.attempt, row.success) == ("approved", 1, True)


@pytest.mark.usefixtures("brisk")
async def test_a_yes_while_nobody_ran_the_turn(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """What the visitor approved between two owners goes out under the new one."""
    await add_tool(services, shop, webhook.url, "book", "unsafe", confirm=True)
    model.script(asks("book"), Answer("Booked."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"turn {question.turn_id}"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await services.commands.confirm(session, call_id=question.call_id, approved=True)
        await rows(services, "update turns set lease_until = now() - interval '1 second'")
        assert isinstance(await listener.end(), MessageCompleted)
        assert len(listener.of(ToolStarted)) == 1
    assert len(webhook.requests) == 1


@pytest.mark.usefixtures("brisk")
async def test_several_calls_of_a_step(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Of three one had ended, one may run again, one must not: each as it is."""
    replies = {"done": says("done"), "again": Reply(wait_s=30), "never": Reply(wait_s=30)}

    async def answer(received: Received) -> Reply:
        item = received.json["arguments"]["item"]
        return replies.get(item, says("?"))

    webhook.default = answer
    calls = (
        ToolUse("look_up", {"item": "done"}, "call_1"),
        ToolUse("reserve", {"item": "again"}, "call_2"),
        ToolUse("pay", {"item": "never"}, "call_3"),
    )
    model.script(Answer(tools=calls), Answer("So."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "x?")
        turn_id = (await listener.frame(TurnStarted)).turn_id
        await listener.frame(ToolFinished)
        await webhook.until(lambda server: len(server.requests) == 3)
        replies["again"] = says("done now")
        await die(services, turn_id)
        assert isinstance(await listener.end(), MessageCompleted)
    done, again, never = told(model.requests[1])
    assert (done, again) == ("done", "done now")
    assert "not known" in never["error"]
    assert dict(webhook.effects) == {f"{turn_id}:2": 1, f"{turn_id}:3": 2, f"{turn_id}:4": 1}
