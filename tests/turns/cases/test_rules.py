"""How answers do by a case's rules: each verdict with its reason."""

import pytest

from server.turns.cases.case import NewAnswer, NewCall, Rules, Verdict
from server.turns.cases.rules import judge


def said(answer: str | None, *tools: str) -> NewAnswer:
    """One answer of a run, with the tools that were called for it."""
    calls = [NewCall(tool, {}, matched=True, ok=True) for tool in tools]
    return NewAnswer("q", "former", answer, calls, "trn_1", None if answer else "model_busy: 429")


def verdict(rules: Rules, *answers: NewAnswer) -> Verdict:
    """The verdict of the one rule beside `answered`."""
    [_, only] = judge(rules, answers)
    return only


ANSWERS = (said("Your Order  1234 is on\nits way.", "get_order"), said("Goodbye, ÉTIENNE!", "get_order", "get_hours"))


@pytest.mark.parametrize(
    ("rules", "passed", "reason"),
    [
        (Rules(must_call=["get_hours"]), True, "called 1 time"),
        (Rules(must_call=["get_order"]), True, "called 2 times"),
        (Rules(must_call=["pay"]), False, "not called; called were get_hours, get_order"),
        (Rules(must_contain=["ORDER 1234"]), True, "in answer 1"),
        (Rules(must_contain=["on its way"]), True, "in answer 1"),
        (Rules(must_contain=["étienne"]), True, "in answer 2"),
        (Rules(must_contain=["refund"]), False, "in no answer"),
        (Rules(must_contain=["order.*way"]), False, "in no answer"),
        (Rules(must_not_contain=["refund"]), True, "in no answer"),
        (Rules(must_not_contain=["goodbye"]), False, "in answer 2: goodbye, étienne!"),
    ],
)
def test_a_rule(rules: Rules, passed: bool, reason: str) -> None:
    """Pass or fail, and why; words in any case and spacing, never as a pattern."""
    found = verdict(rules, *ANSWERS)
    assert (found.passed, found.reason) == (passed, reason)


def test_no_call_at_all() -> None:
    """Is said as such."""
    assert verdict(Rules(must_call=["pay"]), said("Hi")).reason == "not called; no tool was called"


def test_what_must_not_be_there_is_shown_with_its_surroundings() -> None:
    """Of a long answer a part."""
    found = verdict(Rules(must_not_contain=["secret"]), said("a" * 100 + " the secret is out " + "b" * 100))
    assert found.reason == f"in answer 1: ...{'a' * 35} the secret is out {'b' * 32}..."


@pytest.mark.parametrize("rules", [Rules(), Rules(must_not_contain=["x"])])
def test_a_question_without_an_answer_fails(rules: Rules) -> None:
    """Whatever the rules are: silence contains nothing bad."""
    first, *rest = judge(rules, [said("Hi"), said(None)])
    assert (first.rule, first.passed) == ("answered", False)
    assert first.reason == "question 2 has no answer: model_busy: 429"
    assert all(each.passed for each in rest)


def test_everything_in_order() -> None:
    """A verdict a rule, in the order of the rules."""
    rules = Rules(must_call=["get_order"], must_contain=["order", "way"], must_not_contain=["refund"])
    verdicts = judge(rules, ANSWERS)
    assert [(each.rule, each.value) for each in verdicts] == [
        ("answered", ""),
        ("must_call", "get_order"),
        ("must_contain", "order"),
        ("must_contain", "way"),
        ("must_not_contain", "refund"),
    ]
    assert all(each.passed for each in verdicts)
    assert verdicts[0].reason == "2 questions were answered"
