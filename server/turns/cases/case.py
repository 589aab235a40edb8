"""What a case holds, and what a run of it leaves."""

from typing import Any, Literal

import msgspec

from server.tools.tool import RecordedCall

ResultStatus = Literal["waiting", "running", "passed", "failed"]
RuleName = Literal["must_call", "must_contain", "must_not_contain", "answered"]


class Question(msgspec.Struct, frozen=True):
    """What a visitor said, what they were answered, and the calls that were made for it."""

    text: str
    answer: str | None
    calls: list[RecordedCall]


class Rules(msgspec.Struct, frozen=True):
    """What the answers of a run must be like: tools that are called in some turn, words that stand in some answer,
    words that stand in none."""

    must_call: list[str] = []
    must_contain: list[str] = []
    must_not_contain: list[str] = []


class NewCall(msgspec.Struct, frozen=True):
    """A call of a run. Not `matched`: the record had no such call."""

    tool: str
    arguments: dict[str, Any]
    matched: bool
    ok: bool


class NewAnswer(msgspec.Struct, frozen=True):
    """The answer of a run beside the former one. `error` says why there is none."""

    question: str
    former: str | None
    answer: str | None
    calls: list[NewCall]
    turn_id: str | None
    error: str | None


class Verdict(msgspec.Struct, frozen=True):
    """One rule, and why it holds or does not."""

    rule: RuleName
    value: str
    passed: bool
    reason: str
