"""Test cases and their runs over HTTP."""

import asyncio
from typing import Any

import pytest

from server.protocol.visitor import SessionProof
from tests.admin.console import BASE, Console
from tests.admin.setting_up import audited, done, refused
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop
from tests.staffing import hire
from tests.wire_servers import Answer, WireServer

NEEDS = {
    f"GET {BASE}/clients/{{client_id}}/cases": "admin",
    f"POST {BASE}/clients/{{client_id}}/cases": "admin",
    f"POST {BASE}/clients/{{client_id}}/cases/run": "admin",
    f"GET {BASE}/clients/{{client_id}}/runs": "admin",
    f"GET {BASE}/cases/{{case_id}}": "admin",
    f"PUT {BASE}/cases/{{case_id}}": "admin",
    f"DELETE {BASE}/cases/{{case_id}}": "admin",
    f"GET {BASE}/runs/{{run_id}}": "admin",
}
RULES: dict[str, Any] = {"must_call": [], "must_contain": ["you said"], "must_not_contain": ["sorry"]}
EDIT: dict[str, Any] = {"version": 1, "name": "Greeting", "rules": RULES}


async def talked(desk: Desk, shop: Shop, *texts: str) -> str:
    """A visitor's conversation over the widget's socket; its id."""
    async with desk.visit(shop) as (tab, welcome):
        for text in texts:
            await tab.say(text)
            await tab.end()
        return welcome.conversation_id


async def save(console: Console, shop: Shop, conversation_id: str, **more: Any) -> dict[str, Any]:
    """A conversation as a case."""
    answer = await console.send("POST", f"/clients/{shop.id}/cases", {"conversation_id": conversation_id, **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def ended(console: Console, run: dict[str, Any]) -> dict[str, Any]:
    """The run once it is over."""
    async with asyncio.timeout(PATIENCE_S):
        while run["run"]["status"] == "running":
            await asyncio.sleep(0.02)
            run = await done(console, f"GET /runs/{run['run']['id']}")
    return run


async def test_the_whole_way(desk: Desk, console: Console, model: WireServer) -> None:
    """Saved from the widget, listed, edited, run with what is saved and with a draft, read side by side, deleted."""
    shop = await desk.shop()
    conversation_id = await talked(desk, shop, "Hi", "Bye")
    case = await save(console, shop, conversation_id)
    assert (case["name"], case["version"], case["conversation_id"]) == ("Hi", 1, conversation_id)
    assert case["questions"] == [
        {"text": "Hi", "answer": "You said: Hi", "calls": []},
        {"text": "Bye", "answer": "You said: Bye", "calls": []},
    ]
    assert case["rules"] == {"must_call": [], "must_contain": [], "must_not_contain": []}
    edited = await done(console, f"PUT /cases/{case['id']}", EDIT)
    assert (edited["name"], edited["rules"], edited["version"]) == ("Greeting", RULES, 2)
    assert await done(console, f"GET /cases/{case['id']}") == edited
    answer = await console.send("POST", f"/clients/{shop.id}/cases/run", {})
    assert answer.status_code == 202 and answer.json()["run"]["status"] == "running"
    first = await ended(console, answer.json())
    [result] = first["results"]
    assert (first["run"]["passed"], first["run"]["failed"], first["draft"]) == (1, 0, None)
    assert first["run"]["started_by"] == "Olga" and first["run"]["finished_at"] is not None
    assert [(each["question"], each["former"], each["answer"]) for each in result["answers"]] == [
        ("Hi", "You said: Hi", "You said: Hi"),
        ("Bye", "You said: Bye", "You said: Bye"),
    ]
    assert [(each["rule"], each["value"], each["passed"], each["reason"]) for each in result["verdicts"]] == [
        ("answered", "", True, "2 questions were answered"),
        ("must_contain", "you said", True, "in answer 1"),
        ("must_not_contain", "sorry", True, "in no answer"),
    ]
    model.default = lambda request: Answer(f"Sorry. {request.body['messages'][0]['content'].splitlines()[0]}")
    draft = {"system_prompt": "We sell boats.", "model": None, "tools": None}
    second = await ended(
        console, await done(console, f"POST /clients/{shop.id}/cases/run", {"case_ids": [case["id"]], "draft": draft})
    )
    [result] = second["results"]
    assert second["draft"] == draft and (second["run"]["passed"], second["run"]["failed"]) == (0, 1)
    assert result["answers"][0]["answer"] == "Sorry. We sell boats."
    assert [each["passed"] for each in result["verdicts"]] == [True, False, False]
    # The raw calls of a run's turns are there too.
    truth = await done(console, f"GET /turns/{result['answers'][0]['turn_id']}")
    assert truth["channel"] == "console" and len(truth["model_calls"]) == 1
    [row] = (await done(console, f"GET /clients/{shop.id}/cases"))["rows"]
    assert (row["id"], row["questions"], row["last"]["run_id"], row["last"]["status"]) == (
        case["id"],
        2,
        second["run"]["id"],
        "failed",
    )
    runs = await done(console, f"GET /clients/{shop.id}/runs")
    assert runs == {"rows": [second["run"], first["run"]], "before": None}
    assert await done(console, f"DELETE /cases/{case['id']}") is None
    assert (await refused(console, f"GET /cases/{case['id']}"))[0] == 404
    assert [(entry[0], entry[3]) for entry in await audited(desk)] == [
        (action, shop.id) for action in ("case.create", "case.update", "case.run", "case.run", "case.delete")
    ]


async def test_from_the_playground(desk: Desk, console: Console) -> None:
    """What was tried out can be kept."""
    shop = await desk.shop()
    begun = await done(console, f"POST /clients/{shop.id}/playground", {})
    async with desk.tab(shop, origin=desk.url) as tab:
        await tab.hello(SessionProof(id=begun["session_id"], token=begun["session_token"]))
        await tab.say("Hi")
        await tab.end()
    case = await save(console, shop, begun["conversation_id"], name="From the playground", rules=RULES)
    assert (case["name"], case["rules"]) == ("From the playground", RULES)


async def test_pages(desk: Desk, console: Console) -> None:
    """Newest first, that meet without a gap."""
    shop = await desk.shop()
    conversation_id = await talked(desk, shop, "Hi")
    made = [(await save(console, shop, conversation_id, name=f"case {no}"))["id"] for no in range(5)]
    seen: list[int] = []
    path = f"/clients/{shop.id}/cases?limit=2"
    before: int | None = None
    while True:
        page = await done(console, f"GET {path}" + (f"&before={before}" if before else ""))
        seen += [row["id"] for row in page["rows"]]
        before = page["before"]
        if before is None:
            break
    assert seen == made[::-1]


async def test_two_who_edit(desk: Desk, console: Console) -> None:
    """The second is told who was quicker, and nothing is overwritten."""
    shop = await desk.shop()
    case = await save(console, shop, await talked(desk, shop, "Hi"))
    await done(console, f"PUT /cases/{case['id']}", EDIT)
    status, code, _, message = await refused(console, f"PUT /cases/{case['id']}", {**EDIT, "name": "Lost"})
    assert (status, code) == (409, "changed_meanwhile") and "by Olga at" in message
    assert (await done(console, f"GET /cases/{case['id']}"))["name"] == "Greeting"


async def test_one_run_at_a_time(desk: Desk, console: Console, model: WireServer) -> None:
    """409 while one runs; its progress can be read."""
    shop = await desk.shop()
    await save(console, shop, await talked(desk, shop, "Hi"))
    model.default = lambda _: Answer("Slow", first_byte_after_s=0.5)
    run = await done(console, f"POST /clients/{shop.id}/cases/run", {})
    assert [result["status"] for result in run["results"]] in (["waiting"], ["running"])
    assert (await refused(console, f"POST /clients/{shop.id}/cases/run", {}))[:2] == (409, "run_active")
    assert (await ended(console, run))["run"]["status"] == "done"


async def test_another_clients(desk: Desk, console: Console) -> None:
    """Cases, runs and conversations of another client are not there, in the words of those that are not."""
    shop, other = await desk.shop(), await desk.shop()
    conversation_id = await talked(desk, shop, "Hi")
    case = await save(console, shop, conversation_id)
    run = await ended(console, await done(console, f"POST /clients/{shop.id}/cases/run", {}))
    async with Console.of(desk.url) as theirs:
        await theirs.sign_in(await hire(desk.pool, desk.keyring, role="admin", client_id=other.id))
        before = await desk.fingerprint()
        for route, body, ids in (
            ("GET /cases/{}", None, (case["id"], 999_999)),
            ("PUT /cases/{}", EDIT, (case["id"], 999_999)),
            ("DELETE /cases/{}", None, (case["id"], 999_999)),
            ("GET /runs/{}", None, (run["run"]["id"], 999_999)),
        ):
            answers = [await refused(theirs, route.format(each), body) for each in ids]
            assert answers[0] == answers[1] and answers[0][0] == 404
        for route, body, field in (
            (f"POST /clients/{other.id}/cases", {"conversation_id": conversation_id}, "conversation_id"),
            (f"POST /clients/{other.id}/cases/run", {"case_ids": [case["id"]]}, "case_ids"),
        ):
            status, _, named, _ = await refused(theirs, route, body)
            assert status in {404, 422} and named == field
        assert (await done(theirs, f"GET /clients/{other.id}/cases"))["rows"] == []
        assert (await done(theirs, f"GET /clients/{other.id}/runs"))["rows"] == []
        assert await desk.fingerprint() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "conversation_id"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"conversation_id": "cnv_x", "name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"rules": {"must_call": []}}, "rules.must_contain"),
        ({"rules": {**RULES, "must_call": ["nothing"]}}, "rules.must_call[0]"),
        ({"rules": {**RULES, "must_contain": [" "]}}, "rules.must_contain[0]"),
        ({"rules": {**RULES, "must_contain": ["x"] * 21}}, "rules.must_contain"),
        ({"rules": {**RULES, "must_not_contain": ["x" * 501]}}, "rules.must_not_contain[0]"),
        ({"rules": {**RULES, "must_not_contain": ["a\0"]}}, "rules.must_not_contain[...]"),
    ],
)
async def test_bad_cases(desk: Desk, console: Console, body: dict[str, Any], field: str) -> None:
    """422 that names the field, for a new case and for an edit; nothing is kept."""
    shop = await desk.shop()
    conversation_id = await talked(desk, shop, "Hi")
    case = await save(console, shop, conversation_id)
    before = await desk.fingerprint()
    given = body if "conversation_id" in body or not body else {"conversation_id": conversation_id, **body}
    status, _, named, _ = await refused(console, f"POST /clients/{shop.id}/cases", given)
    assert (status, named) == (422, field)
    if field != "conversation_id":
        status, _, named, _ = await refused(console, f"PUT /cases/{case['id']}", {**EDIT, **body})
        assert (status, named) == (422, field)
    assert await desk.fingerprint() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"case_ids": []}, "case_ids"),
        ({"case_ids": ["x"]}, "case_ids[0]"),
        ({"case_ids": [999_999]}, "case_ids"),
        ({"draft": {"system_prompt": None, "model": None, "tools": ["nothing"]}}, "draft.tools[0]"),
        ({"draft": {}}, "draft.system_prompt"),
    ],
)
async def test_bad_runs(desk: Desk, console: Console, body: dict[str, Any], field: str) -> None:
    """422 that names the field; nothing begins."""
    shop = await desk.shop()
    await save(console, shop, await talked(desk, shop, "Hi"))
    before = await desk.fingerprint()
    status, _, named, _ = await refused(console, f"POST /clients/{shop.id}/cases/run", body)
    assert (status, named) == (422, field)
    assert await desk.fingerprint() == before


async def test_a_client_without_cases(desk: Desk, console: Console) -> None:
    """Has nothing to run, and is told what to do."""
    shop = await desk.shop()
    status, code, _, message = await refused(console, f"POST /clients/{shop.id}/cases/run", {})
    assert (status, code) == (422, "empty") and "save a conversation" in message
