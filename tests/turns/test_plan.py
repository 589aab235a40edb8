"""What becomes of each call that a model wants made, and what a turn may spend."""

from typing import Any

import pytest

from server.llm.provider import ToolCall
from server.tools.policy import Refused, admit
from server.tools.tool import Caller, Effect, Person, Tool, Webhook
from server.tools.toolbox import Toolbox
from server.turns.budget import CALLS, MENDS, STEPS, TOKENS, Budget
from server.turns.plan import Planned, plan
from server.turns.steps import Asked, Decision, Result, replayed
from tests.turns.toolkit import SCHEMA, kept

ANA = Person("ana", "ana@example.com", None)


def tool(name: str = "look_up", effect: Effect = "read_only", **fields: Any) -> Tool:
    given: dict[str, Any] = {"proof": "session", "confirm": False, "bound": {}, "label": {}, **fields}
    source = Webhook("https://n8n.example.com", 1_000, None, {})
    return Tool(name=name, description="", parameters=SCHEMA, effect=effect, source=source, **given)


def caller(visitor: Person | None = None) -> Caller:
    return Caller(
        client_id=1,
        client_key="pk_1",
        client_name="Shop",
        conversation_id="cnv_1",
        turn_id="trn_1",
        turn_row=1,
        locale="en",
        channel="widget",
        visitor=visitor,
    )


def planned(one: Tool, arguments: str = '{"item": "x"}', *, before: Asked | None = None, name: str = "") -> Planned:
    """The plan of a step's only call."""
    asked = before or Asked(1, Decision("", (ToolCall("call_1", name or one.name, arguments),), 10))
    return plan(asked, toolbox=Toolbox([one]), caller=caller(), budget=Budget())[0]


def test_a_fresh_call_goes_out() -> None:
    """With the key of its step, which never changes."""
    call = planned(tool())
    assert (call.no, call.key, call.result, call.asks) == (2, "trn_1:2", None, False)
    assert call.arguments == {"item": "x"}


def test_a_tool_that_asks() -> None:
    """It waits for the visitor, unless the call is refused anyway."""
    assert planned(tool(confirm=True)).asks
    refused = planned(tool(confirm=True), "{}")
    assert not refused.asks
    assert refused.over.mend


@pytest.mark.parametrize(
    ("effect", "state", "over", "lost"),
    [
        ("read_only", "started", False, False),
        ("idempotent", "started", False, False),
        ("unsafe", "started", False, True),
        ("read_only", "done", True, False),
        ("unsafe", "done", True, False),
        ("unsafe", "failed", True, False),
        ("unsafe", "unknown", True, False),
    ],
)
def test_a_call_of_an_earlier_life(effect: Effect, state: str, over: bool, lost: bool) -> None:
    """What had ended is not done again; what had started only if it is safe."""
    result = None if state == "started" else Result("{}", state == "done")
    [before] = replayed(kept(("look_up", state, result)))
    call = planned(tool(effect=effect, confirm=True), before=before)
    assert (call.result is not None, call.lost, call.asks) == (over, lost, False)
    assert call.ended_before == (state != "started")


def test_a_call_of_a_tool_that_is_gone_now() -> None:
    """It may have had an effect: nobody knows any more which."""
    [before] = replayed(kept(("look_up", "started", None)))
    assert planned(tool("another"), before=before).lost


def test_one_question_of_a_kind_at_a_time() -> None:
    """A second call of a tool that asks is refused; one of another tool is asked too."""
    made = tuple(ToolCall(f"call_{n}", name, '{"item": "x"}') for n, name in enumerate(["pay", "pay", "book"]))
    box = Toolbox([tool("pay", confirm=True), tool("book", confirm=True)])
    calls = plan(Asked(1, Decision("", made, 10)), toolbox=box, caller=caller(), budget=Budget())
    assert [call.asks for call in calls] == [True, False, True]
    assert "being asked" in calls[1].over.content


def test_what_a_visitor_declined_is_not_asked_again() -> None:
    """Neither in this life of the turn nor in the next."""
    [before] = replayed(kept(("look_up", "failed", Result("{}", ok=False, declined=True))))
    budget, box = Budget(), Toolbox([tool(confirm=True)])
    plan(before, toolbox=box, caller=caller(), budget=budget)
    assert budget.withheld() == {"look_up"}
    again = Asked(9, Decision("", (ToolCall("call_1", "look_up", '{"item": "x"}'),), 10))
    [call] = plan(again, toolbox=box, caller=caller(), budget=budget)
    assert not call.asks
    assert "did not approve" in call.over.content


def test_wrong_arguments_count() -> None:
    """Two may be mended; then the tool is withheld, and every further call of it refused."""
    budget, box = Budget(), Toolbox([tool()])
    asked = Asked(1, Decision("", (ToolCall("call_1", "look_up", "{}"),), 10))
    words = [plan(asked, toolbox=box, caller=caller(), budget=budget)[0].over.content for _ in range(MENDS + 2)]
    assert ["Mend" in each for each in words] == [True] * MENDS + [False, False]
    assert budget.withheld() == {"look_up"}


def test_a_budget_ends() -> None:
    """By steps, by calls, by tokens."""
    assert Budget().may_call()
    assert not Budget(steps=STEPS).may_call()
    assert not Budget(calls=CALLS).may_call()
    assert not Budget(tokens=TOKENS).may_call()
    budget = Budget()
    assert [budget.take() for _ in range(CALLS + 1)] == [True] * CALLS + [False]


@pytest.mark.parametrize(
    ("proof", "bound", "visitor", "words"),
    [
        ("none", {}, None, None),
        ("session", {}, None, None),
        ("verified", {}, None, "signed in"),
        ("verified", {}, ANA, None),
        ("verified", {"item": "visitor.id"}, None, "signed in"),
        ("session", {"item": "visitor.id"}, None, "signed in"),
        ("verified", {"item": "visitor.name"}, ANA, "name"),
    ],
)
def test_who_may_call(proof: str, bound: dict[str, str], visitor: Person | None, words: str | None) -> None:
    """A proof that is missing is said in words that the model can pass on."""
    one = tool(proof=proof, bound=bound)
    if words is None:
        admit(one, {"item": "x"}, caller(visitor))
        return
    with pytest.raises(Refused, match=words):
        admit(one, {"item": "x"}, caller(visitor))


def test_the_server_fills_what_is_bound() -> None:
    """Over whatever stood there."""
    one = tool(proof="verified", bound={"item": "visitor.id", "mail": "visitor.email"})
    assert admit(one, {"item": "bob", "n": 1}, caller(ANA)) == {"item": "ana", "mail": "ana@example.com", "n": 1}
