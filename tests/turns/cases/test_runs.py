"""Cases by the real engine: saved from conversations, asked anew, tools answered from the record, judged."""

import asyncio
from typing import Any

import msgspec
import pytest

from server.access import Session
from server.errors import Conflict, Invalid, NotFound
from server.repositories import case_runs, visitors
from server.repositories.case_runs import ResultRecord, RunRecord
from server.repositories.cases import CaseRecord
from server.repositories.pool import reading, unit_of_work
from server.services import Services, open_services
from server.settings import Settings
from server.tools.tool import RecordedCall
from server.turns.cases import running
from server.turns.cases.case import NewAnswer, Question, Rules, Verdict
from server.turns.cases.saving import QUESTIONS
from server.turns.playground import DraftSettings
from tests.support import Shop, ask, eventually, new_shop, remember, rows, visit
from tests.tools.webhook_server import WebhookServer, says
from tests.turns.toolkit import add_tool, told
from tests.wire_servers import Answer, Failure, ToolUse, WireServer


def use(name: str, **arguments: Any) -> Answer:
    """A model's step that calls one tool."""
    return Answer("", tools=(ToolUse(name, arguments, f"call_{name}"),))


async def save(services: Services, session: Session, **given: Any) -> CaseRecord:
    """A conversation as a case."""
    return await services.cases.save(
        operator_id=None,
        client_id=session.client.id,
        conversation_id=session.conversation.public_id,
        **{"name": None, "rules": None, **given},
    )


async def run(services: Services, shop: Shop, **given: Any) -> tuple[RunRecord, list[ResultRecord]]:
    """A whole run."""
    run_id = await services.case_runs.start(operator_id=None, client_id=shop.id, **given)
    async with asyncio.timeout(30):
        await services.case_runs.ended(run_id)
    return await read(services, shop, run_id)


async def read(services: Services, shop: Shop, run_id: int) -> tuple[RunRecord, list[ResultRecord]]:
    """A run as it stands."""
    async with reading(services.pool) as conn:
        row = await case_runs.find(conn, client_id=shop.id, run_id=run_id, silent_s=running.SILENT_S)
        results = await case_runs.results(conn, client_id=shop.id, run_id=run_id)
    assert row is not None
    return row, results


def answers(result: ResultRecord) -> list[NewAnswer]:
    return msgspec.convert(result.answers, list[NewAnswer])


def verdicts(result: ResultRecord) -> dict[str, Verdict]:
    """By rule; of each the last."""
    return {each.rule: each for each in msgspec.convert(result.verdicts, list[Verdict])}


@pytest.fixture
async def talked(services: Services, toolshop: Shop, model: WireServer, webhook: WebhookServer) -> Session:
    """A visitor's conversation: two questions, the first looked up with success, the second reserved in vain."""
    webhook.script(says({"stock": 3}), says({"error": "sold out"}, status=422))
    model.script(
        use("look_up", item="tea"),
        Answer("There are three."),
        use("reserve", item="tea", count=9),
        Answer("That did not work."),
    )
    session = await visit(services, toolshop)
    await ask(services, session, "Is there tea?")
    await ask(services, session, "Reserve nine, please.")
    return session


async def test_what_is_saved(services: Services, talked: Session) -> None:
    """Questions, answers, and of each call what the model read; what was called with success must be called."""
    case = await save(services, talked)
    first, second = msgspec.convert(case.questions, list[Question])
    assert (first.text, first.answer) == ("Is there tea?", "There are three.")
    assert first.calls == [RecordedCall("look_up", {"item": "tea"}, '{"stock":3}', ok=True)]
    assert (second.text, second.answer) == ("Reserve nine, please.", "That did not work.")
    [failed] = second.calls
    assert (failed.tool, failed.arguments, failed.ok) == ("reserve", {"item": "tea", "count": 9}, False)
    assert "error" in failed.content
    assert msgspec.convert(case.rules, Rules) == Rules(must_call=["look_up"])
    assert (case.name, case.locale, case.verified, case.version) == ("Is there tea?", "en", False, 1)
    assert await rows(services, "select action, target_type, target_id from audit_log order by id desc limit 1") == [
        ("case.create", "case", str(case.id))
    ]


async def test_a_run(
    services: Services, toolshop: Shop, talked: Session, model: WireServer, webhook: WebhookServer
) -> None:
    """The model is asked anew and reads what it read then; no tool goes out; the former answers stand beside."""
    rules = Rules(must_call=["look_up"], must_contain=["three"], must_not_contain=["sorry"])
    case = await save(services, talked, name="Tea", rules=rules)
    asked, out = len(model.requests), len(webhook.requests)
    model.script(
        use("look_up", item="tea"),
        Answer("Three of them."),
        use("reserve", count=9, item="tea"),
        Answer("Sorry, sold out."),
    )
    row, [result] = await run(services, toolshop)
    assert (row.status, row.total, row.passed, row.failed) == ("done", 1, 0, 1)
    first, second = answers(result)
    assert (first.question, first.former, first.answer) == ("Is there tea?", "There are three.", "Three of them.")
    assert [(call.tool, call.matched, call.ok) for each in (first, second) for call in each.calls] == [
        ("look_up", True, True),
        ("reserve", True, False),
    ]
    by_rule = verdicts(result)
    assert {rule: each.passed for rule, each in by_rule.items()} == {
        "answered": True,
        "must_call": True,
        "must_contain": True,
        "must_not_contain": False,
    }
    assert by_rule["must_not_contain"].reason == "in answer 2: sorry, sold out."
    assert told(model.requests[asked + 1]) == [{"stock": 3}]
    assert told(model.requests[asked + 3])[0]["error"] == told(model.requests[asked - 1])[0]["error"]
    assert len(webhook.requests) == out
    # What was said in the run is what the second question follows.
    assert [each["content"] for each in model.requests[asked + 2].body["messages"][1:]] == [
        "Is there tea?",
        "Three of them.",
        "Reserve nine, please.",
    ]
    assert (result.case_id, result.name, result.status) == (case.id, "Tea", "failed")
    assert (result.tokens_input, result.tokens_output) == (4 * 27, 4 * 9) == (row.tokens_input, row.tokens_output)
    assert first.turn_id is not None
    [(channel,)] = await rows(
        services,
        "select c.channel from turns t join conversations c on c.id = t.conversation_id where t.public_id = %s",
        first.turn_id,
    )
    assert channel == "console"


async def test_a_call_that_is_not_on_record(
    services: Services, toolshop: Shop, talked: Session, model: WireServer, webhook: WebhookServer
) -> None:
    """Reads a clear error, goes nowhere, and is noted; the rules alone decide."""
    await save(services, talked, rules=Rules())
    asked, out = len(model.requests), len(webhook.requests)
    model.script(use("look_up", item="coffee"), use("pay", item="tea"), Answer("I cannot tell."), Answer("No."))
    row, [result] = await run(services, toolshop)
    first, _ = answers(result)
    assert [(call.tool, call.arguments, call.matched, call.ok) for call in first.calls] == [
        ("look_up", {"item": "coffee"}, False, False),
        ("pay", {"item": "tea"}, False, False),
    ]
    [error] = told(model.requests[asked + 1])
    assert 'its record has no such call; recorded are the arguments {"item":"tea"}' in error["error"]
    assert len(webhook.requests) == out
    assert (row.passed, result.status) == (1, "passed")


async def test_an_unsafe_tool_that_asks_first(services: Services, model: WireServer, webhook: WebhookServer) -> None:
    """Asks nobody in a run, and does nothing."""
    shop = await new_shop(services, "careful")
    await add_tool(services, shop, webhook.url, "buy", "unsafe")
    model.script(use("buy", item="tea"), Answer("Bought."))
    session = await visit(services, shop)
    await ask(services, session, "Buy tea")
    await rows(services, "update tools set confirm = true where tool_name = 'buy'")
    await save(services, session)
    model.script(use("buy", item="tea"), Answer("Bought."))
    row, _ = await run(services, shop)
    assert (row.passed, len(webhook.requests)) == (1, 1)


async def test_a_signed_in_visitors_case(services: Services, model: WireServer, webhook: WebhookServer) -> None:
    """Is run as a signed-in visitor's, who is nobody: what is bound to the person is not compared."""
    shop = await new_shop(services, "members")
    schema = {"type": "object", "properties": {"mail": {"type": "string"}}}
    await add_tool(services, shop, webhook.url, "my_orders", parameters_schema=schema, bound={"mail": "visitor.email"})
    session = await visit(services, shop)
    async with unit_of_work(services.pool) as conn:
        ann = await visitors.verify(conn, client_id=shop.id, external_id="v1", name="Ann", email="ann@x.example")
    await rows(
        services,
        "update conversations set visitor_id = %s, verified_until = now() + interval '1 hour' where id = %s",
        ann.id,
        session.conversation.id,
    )
    refreshed = await services.access.session(
        session.client, session_id=session.conversation.session_id, token=session.token
    )
    model.script(use("my_orders"), Answer("One order."))
    await ask(services, refreshed, "My orders?")
    assert webhook.requests[0].json["arguments"] == {"mail": "ann@x.example"}
    case = await save(services, refreshed)
    assert case.verified
    model.script(use("my_orders"), Answer("One order."))
    row, [result] = await run(services, shop)
    [call] = answers(result)[0].calls
    assert (row.passed, call.matched, len(webhook.requests)) == (1, True, 1)
    assert call.arguments == {"mail": "test@example.invalid"}


async def test_with_a_draft(services: Services, toolshop: Shop, talked: Session, model: WireServer) -> None:
    """What is not saved yet is tried; a draft that could not be saved is refused, and no run begins."""
    await save(services, talked, rules=Rules(must_contain=["boats"]))
    asked = len(model.requests)
    model.default = lambda request: Answer(str(request.body["messages"][0]["content"]).split("\n")[0])
    row, _ = await run(services, toolshop, settings=DraftSettings(system_prompt="We sell boats.", tools=[]))
    assert row.passed == 1 and row.draft == {"system_prompt": "We sell boats.", "model": None, "tools": []}
    assert all("tools" not in request.body for request in model.requests[asked:])
    again, _ = await run(services, toolshop)
    assert (again.failed, again.draft) == (1, None)
    with pytest.raises(Invalid) as refused:
        await run(services, toolshop, settings=DraftSettings(tools=["nothing"]))
    assert refused.value.field == "draft.tools[0]"
    assert await rows(services, "select count(*) from test_runs") == [(2,)]


async def test_a_model_that_fails(services: Services, toolshop: Shop, talked: Session, model: WireServer) -> None:
    """Fails the case with the reason, and the next question is asked all the same."""
    await save(services, talked, rules=Rules())
    model.script(Failure(400, "no such model"), Answer("Fine."))
    _, [result] = await run(services, toolshop)
    first, second = answers(result)
    assert first.answer is None and first.error is not None and "no such model" in first.error
    assert second.answer == "Fine."
    assert (result.status, verdicts(result)["answered"].passed) == ("failed", False)


async def test_use_of_a_run(services: Services, toolshop: Shop, talked: Session) -> None:
    """Is not the client's; tools that were answered from the record count nowhere."""
    await save(services, talked)
    before = await rows(services, "select * from api_usage")
    await run(services, toolshop)
    assert await rows(services, "select * from api_usage") == before
    assert await rows(services, "select message_count, tool_calls_count from console_usage") == [(4, 0)]


async def test_many_cases(services: Services, shop: Shop, model: WireServer) -> None:
    """A few at once, progress as they end, whoever listens is told; one alone by its id."""
    cases = []
    for number in range(6):
        session = await visit(services, shop)
        await remember(services, session, ("user", f"Question {number}"), ("assistant", f"Answer {number}"))
        cases.append(await save(services, session, rules=Rules(must_contain=[f"question {number % 3}"])))
    heard: list[tuple[str, bool]] = []
    row, results = await run(services, shop, told=lambda name, passed, _: heard.append((name, passed)))
    assert (row.total, row.passed, row.failed) == (6, 3, 3)
    assert [result.case_id for result in results] == [case.id for case in cases]
    assert sorted(heard) == [(f"Question {number}", number < 3) for number in range(6)]
    row, [only] = await run(services, shop, case_ids=[cases[4].id])
    assert (row.total, only.case_id) == (1, cases[4].id)


async def test_what_cannot_be_run(services: Services, shop: Shop) -> None:
    """No cases, one that is not there, a client that is not: nothing begins."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "Hi"), ("assistant", "Hello"))
    case = await save(services, session)
    other = await new_shop(services, "other")
    for client_id, case_ids, error, field in (
        (other.id, None, Invalid, None),
        (other.id, [case.id], Invalid, "case_ids"),
        (shop.id, [case.id, 999], Invalid, "case_ids"),
        (999, None, NotFound, None),
    ):
        with pytest.raises(error) as refused:
            await services.case_runs.start(operator_id=None, client_id=client_id, case_ids=case_ids)
        assert getattr(refused.value, "field", None) == field
    assert await rows(services, "select count(*) from test_runs") == [(0,)]


async def test_one_run_at_a_time(services: Services, shop: Shop, model: WireServer) -> None:
    """The second is refused while the first runs; a case that is deleted meanwhile is passed over."""
    for number in range(running.AT_ONCE + 1):
        session = await visit(services, shop)
        await remember(services, session, ("user", f"Question {number}"), ("assistant", "Answer"))
        case = await save(services, session, rules=Rules())
    model.default = lambda _: Answer("Slow", first_byte_after_s=0.5)
    run_id = await services.case_runs.start(operator_id=None, client_id=shop.id)
    await model.wait_for_requests(1)
    with pytest.raises(Conflict) as refused:
        await services.case_runs.start(operator_id=None, client_id=shop.id)
    assert refused.value.code == "run_active"
    row, _ = await read(services, shop, run_id)
    assert row.status == "running"
    await services.cases.delete(operator_id=None, client_id=shop.id, case_id=case.id)
    await services.case_runs.ended(run_id)
    row, results = await read(services, shop, run_id)
    assert (row.status, row.passed, len(results)) == ("done", running.AT_ONCE, running.AT_ONCE)


async def test_an_instance_that_ends(services: Services, shop: Shop, settings: Settings, model: WireServer) -> None:
    """Its run is interrupted at once, and the next may begin elsewhere."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "Hi"), ("assistant", "Hello"))
    await save(services, session)
    model.default = lambda _: Answer("Slow " * 50, tokens_per_s=10)
    async with open_services(settings) as other:
        run_id = await other.case_runs.start(operator_id=None, client_id=shop.id)
        await model.wait_for_requests(1)
    row, [result] = await read(services, shop, run_id)
    assert (row.status, result.status) == ("interrupted", "running")
    model.default = lambda request: Answer(f"You said: {request.question}")
    row, _ = await run(services, shop)
    assert (row.status, row.passed) == ("done", 1)


async def test_a_run_whose_instance_died(services: Services, shop: Shop) -> None:
    """Falls silent, counts as interrupted, and is no obstacle."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "Hi"), ("assistant", "Hello"))
    await save(services, session)
    async with unit_of_work(services.pool) as conn:
        dead = await case_runs.create(conn, client_id=shop.id, operator_id=None, draft=None, silent_s=45)
    await rows(services, "update test_runs set beat_at = now() - interval '1 minute'")
    assert (await read(services, shop, dead))[0].status == "interrupted"
    row, _ = await run(services, shop)
    assert (row.status, row.passed) == ("done", 1)


async def test_a_run_beats(services: Services, shop: Shop, model: WireServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow case is no silence."""
    monkeypatch.setattr(running, "BEAT_S", 0.05)
    session = await visit(services, shop)
    await remember(services, session, ("user", "Hi"), ("assistant", "Hello"))
    await save(services, session)
    model.default = lambda _: Answer("Slow", first_byte_after_s=1.0)
    run_id = await services.case_runs.start(operator_id=None, client_id=shop.id)
    await model.wait_for_requests(1)
    [(began,)] = await rows(services, "select beat_at from test_runs")

    async def beat() -> bool:
        [(now,)] = await rows(services, "select beat_at from test_runs where status = 'running'") or [(began,)]
        return bool(now > began)

    await eventually(beat, "the run beats")
    await services.case_runs.ended(run_id)


# --- what can be saved


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([], "empty"),
        ([("assistant", "Hello")], "empty"),
        ([("user", "Hi")] * (QUESTIONS + 1), "too_long"),
    ],
)
async def test_what_is_no_case(services: Services, shop: Shop, said: list[Any], code: str) -> None:
    """Nothing asked, or too much."""
    session = await visit(services, shop)
    await remember(services, session, *said)
    with pytest.raises(Invalid) as refused:
        await save(services, session)
    assert (refused.value.code, refused.value.field) == (code, "conversation_id")


async def test_words_that_are_not_kept_any_more(services: Services, shop: Shop) -> None:
    """Cannot be asked again."""
    session = await visit(services, shop)
    await remember(services, session, ("user", "Hi"), ("assistant", "Hello"))
    await rows(services, "update messages set content = null")
    with pytest.raises(Invalid) as refused:
        await save(services, session)
    assert refused.value.code == "removed"


async def test_a_persons_answer(services: Services, shop: Shop) -> None:
    """Counts as the former one where the AI gave none."""
    session = await visit(services, shop)
    await remember(
        services, session, ("user", "Hi"), ("operator", "I am Olga."), ("operator", "Hello!"), ("user", "Bye")
    )
    case = await save(services, session)
    assert [each["answer"] for each in case.questions] == ["I am Olga.\n\nHello!", None]


async def test_another_clients_conversation(services: Services, shop: Shop) -> None:
    """Is not there."""
    other = await new_shop(services, "other")
    session = await visit(services, other)
    with pytest.raises(NotFound) as refused:
        await services.cases.save(
            operator_id=None,
            client_id=shop.id,
            conversation_id=session.conversation.public_id,
            name=None,
            rules=None,
        )
    assert refused.value.field == "conversation_id"


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Rules(must_call=["look_up", "no_such"]), "rules.must_call[1]"),
        (Rules(must_call=["  "]), "rules.must_call[0]"),
        (Rules(must_contain=["x", " "]), "rules.must_contain[1]"),
        (Rules(must_not_contain=["\n"]), "rules.must_not_contain[0]"),
    ],
)
async def test_bad_rules(services: Services, talked: Session, rules: Rules, field: str) -> None:
    """Are refused with the field, for a new case and for one that is there."""
    case = await save(services, talked)
    with pytest.raises(Invalid) as refused:
        await save(services, talked, rules=rules)
    assert refused.value.field == field
    with pytest.raises(Invalid) as refused:
        await services.cases.edit(
            operator_id=None, client_id=talked.client.id, case_id=case.id, seen=1, name="n", rules=rules
        )
    assert refused.value.field == field


async def test_two_who_edit(services: Services, talked: Session) -> None:
    """The second is told, and nothing of the first's is lost; a tool that is gone may stay in the rules."""
    case = await save(services, talked)
    await rows(services, "delete from client_tools")
    names: dict[str, Any] = {"operator_id": None, "client_id": talked.client.id, "case_id": case.id, "seen": 1}
    edited = await services.cases.edit(**names, name="  Tea  first ", rules=Rules(must_call=[" look_up", "look_up"]))
    assert (edited.name, edited.version) == ("Tea first", 2)
    assert edited.rules["must_call"] == ["look_up"]
    with pytest.raises(Conflict, match="the command line at") as refused:
        await services.cases.edit(**names, name="Lost", rules=Rules())
    assert refused.value.code == "changed_meanwhile"
    await services.cases.delete(operator_id=None, client_id=talked.client.id, case_id=case.id)
    for work in (
        services.cases.edit(**{**names, "seen": 2}, name="Gone", rules=Rules()),
        services.cases.delete(operator_id=None, client_id=talked.client.id, case_id=case.id),
    ):
        with pytest.raises(NotFound):
            await work
