"""The turn loop with tools: a real model client, a real webhook, Postgres and Redis."""

import asyncio
from typing import Any

import msgspec
import pytest

from server.errors import NotFound
from server.protocol.visitor import (
    MessageCompleted,
    MessageDelta,
    ToolConfirmRequest,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnStopped,
)
from server.repositories import visitors
from server.repositories.pool import reading
from server.services import Services, open_services
from server.settings import Settings
from server.tools.webhook.callbacks import ToolSaid
from server.turns import approval, budget
from tests.support import Shop, ask, listening, rows, send, visit
from tests.tools.webhook_server import Received as Hook
from tests.tools.webhook_server import Reply, WebhookServer, says, text
from tests.turns.toolkit import add_tool, executions, recorded_steps, told
from tests.wire_servers import Answer, Failure, ToolUse, WireServer


def use(name: str, call_id: str = "call_1", **arguments: Any) -> ToolUse:
    return ToolUse(name, arguments, call_id)


async def test_a_tool_is_used(services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """The visitor sees it start and end, the model reads its result, the record has all of it, and it is billed."""
    model.script(
        Answer("Let me look.", tools=(use("look_up", item="olives"),), usage=(100, 10, 0)),
        Answer("We have three.", usage=(150, 5, 0)),
    )
    webhook.script(says({"stock": 3}))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "Any olives?")
        end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "Let me look.\n\nWe have three."
    assert end.message.usage is not None
    assert (end.message.usage.input_tokens, end.message.usage.output_tokens) == (250, 15)
    [started] = listener.of(ToolStarted)
    [finished] = listener.of(ToolFinished)
    assert isinstance(started, ToolStarted)
    assert isinstance(finished, ToolFinished)
    assert (started.name, started.label) == ("look_up", "Doing look_up")
    assert (finished.ok, finished.summary, finished.call_id) == (True, None, started.call_id)
    assert "".join(frame.text for frame in listener.frames if isinstance(frame, MessageDelta)) in end.message.text
    kinds = [type(frame) for frame in listener.frames]
    assert kinds.index(ToolStarted) < kinds.index(ToolFinished) < kinds.index(MessageCompleted)
    second = model.requests[1].body["messages"]
    assert second[-2]["tool_calls"][0]["function"]["name"] == "look_up"
    assert (second[-1]["role"], second[-1]["tool_call_id"]) == ("tool", "call_1")
    assert told(model.requests[1]) == [{"stock": 3}]
    [row] = await executions(services, session)
    assert (row.tool_name, row.parameters, row.n8n_response, row.success) == (
        "look_up",
        {"item": "olives"},
        {"stock": 3},
        True,
    )
    assert (row.attempt, row.error) == (1, None)
    assert row.call_id == started.call_id == f"{end.turn_id}:2"
    [hook] = webhook.requests
    assert (hook.headers["idempotency-key"], hook.headers["webhook-id"]) == (row.call_id, row.call_id)
    assert await rows(services, "select tool_calls_count, tokens_input, tokens_output from api_usage") == [(1, 250, 15)]
    assert await recorded_steps(services) == [(1, "llm", "done"), (2, "tool", "done")]


async def test_what_the_model_is_offered(services: Services, toolshop: Shop, shop: Shop, model: WireServer) -> None:
    """The client's tools with their schemas and how to use them; a client without tools is offered none."""
    await ask(services, await visit(services, toolshop), "Hello")
    await ask(services, await visit(services, shop), "Hello")
    with_tools, without = model.requests
    assert [each["function"]["name"] for each in with_tools.body["tools"]] == ["look_up", "pay", "reserve"]
    assert "You have tools" in with_tools.body["messages"][0]["content"]
    assert "tools" not in without.body
    assert "You have tools" not in without.body["messages"][0]["content"]
    assert await recorded_steps(services) == [], "an answer without tools writes no step"


async def test_calls_of_one_step_run_at_the_same_time(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Each of three waits until all three have come."""
    everybody = asyncio.Barrier(3)

    async def together(received: Hook) -> Reply:
        await everybody.wait()
        return says({"of": received.json["arguments"]["item"]})

    webhook.default = together
    calls = tuple(use("look_up", f"call_{item}", item=item) for item in "abc")
    model.script(Answer(tools=calls), Answer("Done."))
    end = await ask(services, await visit(services, toolshop), "All of them?")
    assert isinstance(end, MessageCompleted)
    assert told(model.requests[1]) == [{"of": "a"}, {"of": "b"}, {"of": "c"}], "in the order they were asked for"


async def test_steps_follow_one_another(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """What one tool found leads to the next; keys count on."""
    webhook.script(says({"item": "knots"}), says("reserved"))
    model.script(
        Answer(tools=(use("look_up", item="bread"),)),
        Answer(tools=(use("reserve", "call_2", item="knots"),)),
        Answer("Ok."),
    )
    end = await ask(services, await visit(services, toolshop), "Bread?")
    assert isinstance(end, MessageCompleted)
    assert [hook.headers["idempotency-key"] for hook in webhook.requests] == [f"{end.turn_id}:2", f"{end.turn_id}:4"]
    assert told(model.requests[2]) == [{"item": "knots"}, "reserved"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"item": ', "JSON"),
        ("[1]", "object"),
        ('{"count": 1}', "item"),
        ('{"item": 7}', "item"),
        ('{"item": "x", "price": 1}', "price"),
    ],
)
async def test_wrong_arguments_are_mended(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer, arguments: str, problem: str
) -> None:
    """The model reads what is wrong and tries again; nothing had gone out, the visitor saw nothing of it."""
    model.script(
        Answer(tools=(ToolUse("look_up", arguments),)), Answer(tools=(use("look_up", item="x"),)), Answer("There.")
    )
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "x?")
        assert isinstance(await listener.end(), MessageCompleted)
    [refusal] = told(model.requests[1])
    assert problem in refusal["error"]
    assert len(webhook.requests) == 1
    assert len(listener.of(ToolStarted)) == 1
    wrong, right = await executions(services, session)
    assert (wrong.success, right.success) == (False, True)
    assert wrong.parameters == {"as_written": arguments}


async def test_a_model_that_cannot_mend(services: Services, toolshop: Shop, model: WireServer) -> None:
    """Twice it may; then the tool is not offered any more, and it answers without."""
    model.script(
        *[Answer(tools=(ToolUse("look_up", "{}", f"call_{n}"),)) for n in range(3)], Answer("I could not check.")
    )
    end = await ask(services, await visit(services, toolshop), "x?")
    assert isinstance(end, MessageCompleted)
    offered = [[each["function"]["name"] for each in request.body["tools"]] for request in model.requests]
    assert [("look_up" in names) for names in offered] == [True, True, True, False]


async def test_a_tool_that_is_not_there(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The model made it up, or it is another client's: it reads which there are."""
    model.script(Answer(tools=(use("refund\0 all", item="x"),)), Answer("Sorry."))
    session = await visit(services, toolshop)
    assert isinstance(await ask(services, session, "x?"), MessageCompleted)
    [refusal] = told(model.requests[1])
    assert "look_up, pay, reserve" in refusal["error"]
    assert webhook.requests == []
    [row] = await executions(services, session)
    assert row.success is False


async def test_a_model_that_goes_round_in_circles(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """After eight steps it must answer with what it has."""
    model.default = lambda request: (
        Answer("That is all I found.")
        if request.body.get("tool_choice") == "none"
        else Answer(tools=(use("look_up", f"call_{len(request.body['messages'])}", item="x"),))
    )
    end = await ask(services, await visit(services, toolshop), "x?")
    assert isinstance(end, MessageCompleted)
    assert end.message.text == "That is all I found."
    assert len(webhook.requests) == budget.STEPS
    assert len(model.requests) == budget.STEPS + 1


async def test_too_many_calls_in_one_step(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """What is over the limit does not go out, and the model is told."""
    calls = tuple(use("look_up", f"call_{n}", item=str(n)) for n in range(budget.STEP_CALLS + 4))
    model.script(Answer(tools=calls), Answer("Done."))
    assert isinstance(await ask(services, await visit(services, toolshop), "All?"), MessageCompleted)
    assert len(webhook.requests) == budget.STEP_CALLS
    assert sum("too many" in str(said) for said in told(model.requests[1])) == 4


async def test_a_tool_that_fails(services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """The model is told so and answers; the visitor's step says so in their language; the operator has the reason."""
    webhook.default = text("<html>Bad gateway</html>", 502, content_type="text/html")
    model.script(Answer(tools=(use("pay", item="x"),)), Answer("I could not do that."))
    session = await visit(services, toolshop, locale="he-IL")
    async with listening(services, session) as listener:
        await send(services, session, "Pay")
        assert isinstance(await listener.end(), MessageCompleted)
    [started], [finished] = listener.of(ToolStarted), listener.of(ToolFinished)
    assert isinstance(started, ToolStarted)
    assert isinstance(finished, ToolFinished)
    assert (finished.ok, started.label) == (False, "עובדים על זה")
    assert finished.summary
    assert "html" not in str(told(model.requests[1])).lower()
    [row] = await executions(services, session)
    assert row.success is None, "an unsafe effect may have happened"
    assert "502" in (row.error or "")
    assert len(webhook.requests) == 1, "and is never tried again"


async def test_a_huge_result(services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """The model reads 16 KB of it, the record has it whole."""
    whole = {"rows": [{"n": n, "text": "x" * 90} for n in range(2_000)]}
    webhook.script(says(whole))
    model.script(Answer(tools=(use("look_up", item="x"),)), Answer("Many."))
    session = await visit(services, toolshop)
    assert isinstance(await ask(services, session, "x?"), MessageCompleted)
    [said] = [each["content"] for each in model.requests[1].body["messages"] if each["role"] == "tool"]
    assert 8_000 < len(said.encode()) <= 16 * 1024
    [row] = await executions(services, session)
    assert row.n8n_response == whole


async def test_a_model_that_fails_after_a_tool(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The turn fails in sight; what was asked before is paid."""
    model.script(Answer(tools=(use("look_up", item="x"),), usage=(100, 10, 0)), Failure(401, "no"))
    session = await visit(services, toolshop)
    assert isinstance(await ask(services, session, "x?"), TurnFailed)
    assert await rows(services, "select tokens_input, tool_calls_count from api_usage") == [(100, 1)]


async def test_what_a_long_tool_says_is_kept(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Progress that came to any instance is in the snapshot of whoever comes later."""
    go = asyncio.Event()

    async def slowly(_received: Hook) -> Reply:
        await go.wait()
        return says("found")

    webhook.default = slowly
    model.script(Answer(tools=(use("look_up", item="x"),)), Answer("Found."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "x?")
        started = await listener.frame(ToolStarted)
        await webhook.until(lambda server: len(server.requests) == 1)
        services.hub.control(msgspec.json.encode(ToolSaid(started.call_id, "In the cellar")))
        live = await services.recoverer.live(session.conversation)
        assert live is not None
        assert [(tool.state, tool.text) for tool in live.tools] == [("running", "In the cellar")]
        go.set()
        assert isinstance(await listener.end(), MessageCompleted)


async def test_calls_that_end_together_are_written_together(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Ten results that come at once are few transactions; each is recorded and seen, in order."""
    everybody = asyncio.Barrier(10)

    async def together(received: Hook) -> Reply:
        await everybody.wait()
        return says({"of": received.json["arguments"]["item"]})

    webhook.default = together
    model.script(Answer(tools=tuple(use("look_up", f"call_{n}", item=str(n)) for n in range(10))), Answer("Done."))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "All of them?")
        assert isinstance(await listener.end(), MessageCompleted)
    assert listener.resyncs == 0
    assert [seq for seq, _ in listener.payloads if seq] == list(range(1, 24))
    assert all(row.success for row in await executions(services, session))
    written = await rows(services, "select count(distinct xmin::text) from events where type = 'tool.finished'")
    assert written[0][0] < 10
    assert await rows(services, "select tool_calls_count from api_usage") == [(10,)]


# --- tools that ask first


async def confirming(services: Services, shop: Shop, webhook: WebhookServer) -> None:
    await add_tool(services, shop, webhook.url, "book", "unsafe", confirm=True)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_yes_lets_it_run(
    services: Services, settings: Settings, shop: Shop, model: WireServer, webhook: WebhookServer, elsewhere: bool
) -> None:
    """Nothing goes out before it; it may be said to any instance."""
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Booked."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        assert (question.label, webhook.requests) == ("Doing book", [])
        assert listener.of(ToolStarted) == []
        late = await services.recoverer.live(session.conversation)
        assert late is not None
        assert [(tool.call_id, tool.state) for tool in late.tools] == [(question.call_id, "confirm")]
        if elsewhere:
            async with open_services(settings) as other:
                await other.commands.confirm(session, call_id=question.call_id, approved=True)
                end = await listener.end()
        else:
            await services.commands.confirm(session, call_id=question.call_id, approved=True)
            end = await listener.end()
    assert isinstance(end, MessageCompleted)
    assert len(webhook.requests) == 1
    assert len(listener.of(ToolStarted)) == len(listener.of(ToolFinished)) == 1
    [row] = await executions(services, session)
    assert (row.approval, row.success, row.attempt) == ("approved", True, 1)


async def test_a_no(services: Services, shop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """It never goes out; the model is told, and so is the visitor."""
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Then not."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        await services.commands.confirm(session, call_id=question.call_id, approved=False)
        assert isinstance(await listener.end(), MessageCompleted)
        [finished] = listener.of(ToolFinished)
        assert isinstance(finished, ToolFinished)
        assert (finished.ok, finished.summary) == (False, "You declined, so it was not done.")
        with pytest.raises(NotFound):
            await services.commands.confirm(session, call_id=question.call_id, approved=True)
    assert webhook.requests == []
    assert "declined" in told(model.requests[1])[0]["error"]
    [row] = await executions(services, session)
    assert (row.approval, row.success, row.attempt) == ("declined", False, 0)
    assert await rows(services, "select tool_calls_count from api_usage") == [(0,)]


async def test_no_answer_is_a_no(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time a yes does not count any more."""
    monkeypatch.setattr("server.turns.record.APPROVAL_S", 0.3)
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Then not."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        assert isinstance(await listener.end(), MessageCompleted)
        with pytest.raises(NotFound):
            await services.commands.confirm(session, call_id=question.call_id, approved=True)
    assert webhook.requests == []
    assert "did not answer" in told(model.requests[1])[0]["error"]


async def test_writing_instead_is_a_no(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Whoever writes wants an answer to what they write, and does not wait for the question to run out."""
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Then not."), Answer("We open at nine."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        await listener.frame(ToolConfirmRequest)
        await send(services, session, "Wait, when do you open?")
        second = await listener.end(nth=2)
    assert isinstance(second, MessageCompleted)
    assert second.message.text == "We open at nine."
    assert webhook.requests == []


async def test_only_the_visitor_of_the_conversation_decides(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Another session of the same client, and another client's, are told that nothing waits."""
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Then not."))
    session, stranger = await visit(services, shop), await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest)
        with pytest.raises(NotFound):
            await services.commands.confirm(stranger, call_id=question.call_id, approved=True)
        await services.commands.confirm(session, call_id=question.call_id, approved=False)
        await listener.end()
    assert webhook.requests == []


async def test_a_question_is_asked_again(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever came meanwhile sees it, whatever Redis lost; and an answer that Redis lost is found."""
    monkeypatch.setattr(approval, "LOOK_S", 0.05)
    await confirming(services, shop, webhook)
    model.script(Answer(tools=(use("book", item="table"),)), Answer("Booked."))
    session = await visit(services, shop)
    async with listening(services, session) as listener:
        await send(services, session, "Book")
        question = await listener.frame(ToolConfirmRequest, nth=3)
        await rows(services, "update tool_executions set approval = 'approved' where call_id = %s", question.call_id)
        assert isinstance(await listener.end(), MessageCompleted)
    assert len(webhook.requests) == 1


# --- on whose behalf


async def test_a_bound_argument_is_the_visitors(
    services: Services, shop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """Whatever the model writes for it, also when a text in a result told it to."""
    schema = {
        "type": "object",
        "properties": {"customer": {"type": "string"}, "item": {"type": "string"}},
        "required": ["customer", "item"],
    }
    await add_tool(
        services,
        shop,
        webhook.url,
        "my_orders",
        parameters_schema=schema,
        proof="verified",
        bound={"customer": "visitor.id"},
    )
    session = await visit(services, shop)
    model.script(Answer(tools=(use("my_orders", item="x"),)), Answer("Please sign in."))
    assert isinstance(await ask(services, session, "My orders?"), MessageCompleted)
    assert webhook.requests == []
    assert "signed in" in told(model.requests[1])[0]["error"]
    properties = model.requests[0].body["tools"][0]["function"]["parameters"]["properties"]
    assert "customer" not in properties, "the model is not even asked for it"
    async with reading(services.pool) as conn:
        ana = await visitors.verify(conn, client_id=shop.id, external_id="ana", name="Ana", email="ana@example.com")
        cursor = await conn.execute(
            "update conversations set visitor_id = %s, verified_until = now() + interval '1 hour' where id = %s",
            (ana.id, session.conversation.id),
        )
        assert cursor.rowcount == 1
    model.script(Answer(tools=(use("my_orders", "call_2", item="x", customer="bob"),)), Answer("Here."))
    assert isinstance(await ask(services, session, "And now?"), MessageCompleted)
    [hook] = webhook.requests
    assert hook.json["arguments"] == {"customer": "ana", "item": "x"}
    assert hook.json["visitor"] == {"id": "ana", "email": "ana@example.com", "name": "Ana"}


async def test_a_proof_runs_out(services: Services, shop: Shop, model: WireServer, webhook: WebhookServer) -> None:
    """What the backend signed has an end, and from there on the visitor is nobody."""
    await add_tool(services, shop, webhook.url, "my_orders", proof="verified")
    session = await visit(services, shop)
    async with reading(services.pool) as conn:
        ana = await visitors.verify(conn, client_id=shop.id, external_id="ana", name=None, email=None)
        await conn.execute(
            "update conversations set visitor_id = %s, verified_until = now() - interval '1 second' where id = %s",
            (ana.id, session.conversation.id),
        )
    model.script(Answer(tools=(use("my_orders", item="x"),)), Answer("Please sign in."))
    assert isinstance(await ask(services, session, "My orders?"), MessageCompleted)
    assert webhook.requests == []


# --- stopped


async def test_a_stop_while_a_tool_runs(
    services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer
) -> None:
    """The call is cut off and its record says that nobody knows."""
    webhook.default = Reply(wait_s=30)
    model.script(Answer("Let me see.", tools=(use("pay", item="x"),)))
    session = await visit(services, toolshop)
    async with listening(services, session) as listener:
        await send(services, session, "Pay")
        started = await listener.frame(ToolStarted)
        await webhook.until(lambda server: len(server.requests) == 1)
        assert await services.commands.stop(session, turn_id=started.turn_id)
        end = await listener.end()
    assert isinstance(end, TurnStopped)
    assert end.message is not None
    assert end.message.text == "Let me see."
    await webhook.until(lambda server: server.abandoned == 1)
    [row] = await executions(services, session)
    assert (row.success, row.error) == (None, "stopped by the visitor")
