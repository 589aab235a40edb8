"""Test cases: conversations that a client's AI should still do well after a change, and their runs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.admin.playground import PlaygroundDraft, ToolName
from server.protocol.base import Id, Natural, Wire

CaseName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class CaseRules(Wire, frozen=True):
    """What the answers of a run must be like. Words are looked for in any letter case.

    Each of `must_call` is called in some turn; each of `must_contain` stands in some answer; none of
    `must_not_contain` stands in any.
    """

    must_call: Annotated[list[ToolName], msgspec.Meta(max_length=20)]
    must_contain: Annotated[list[Words], msgspec.Meta(max_length=20)]
    must_not_contain: Annotated[list[Words], msgspec.Meta(max_length=20)]


class CaseCreate(Wire, frozen=True):
    """Saves a conversation, of the widget or of the console. Without a `name` its first question is the name; without
    `rules` the tools that it called must be called."""

    conversation_id: Id
    name: CaseName | None = None
    rules: CaseRules | None = None


class CaseUpdate(Wire, frozen=True):
    """All that can be changed of a case. `version` is the one that was seen."""

    version: Natural
    name: CaseName
    rules: CaseRules


class RecordedToolCall(Wire, frozen=True):
    """A call as it was recorded, and what the model read of it. In a run the same call is answered with the same."""

    tool: str
    arguments: dict[str, Any]
    content: str
    ok: bool


class CaseQuestion(Wire, frozen=True):
    """What the visitor said, what they were answered, what was called for it."""

    text: str
    answer: str | None
    calls: list[RecordedToolCall]


class CaseVerdict(Wire, frozen=True):
    """How a case did in the newest run that it was in."""

    run_id: int
    status: Literal["waiting", "running", "passed", "failed"]
    at: datetime


class CaseRow(Wire, frozen=True):
    """One case in a list. `questions` is how many it has."""

    id: int
    client_id: int
    name: str
    questions: int
    rules: CaseRules
    version: int
    created_at: datetime
    updated_at: datetime
    last: CaseVerdict | None


class CasesQuery(Wire, frozen=True):
    """`before` is a page's."""

    before: Natural | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class CasePage(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none."""

    rows: list[CaseRow]
    before: int | None


class Case(Wire, frozen=True):
    """One case, whole. `verified`: its visitor was signed in."""

    id: int
    client_id: int
    name: str
    locale: str
    verified: bool
    conversation_id: str
    questions: list[CaseQuestion]
    rules: CaseRules
    version: int
    created_at: datetime
    updated_at: datetime


class CasesRun(Wire, frozen=True):
    """Runs cases again: all of the client's, or those of `case_ids`; with what is saved, or with a `draft`."""

    case_ids: Annotated[list[Natural], msgspec.Meta(min_length=1, max_length=500)] | None = None
    draft: PlaygroundDraft | None = None


RunStatus = Literal["running", "done", "interrupted"]


class RunRow(Wire, frozen=True):
    """One run. Of `total` cases `passed` and `failed` are over. `interrupted`: the instance that ran it went away.

    `started_by` is null for the command line.
    """

    id: int
    client_id: int
    status: RunStatus
    total: int
    passed: int
    failed: int
    tokens_input: int
    tokens_output: int
    cost: Decimal
    started_by: str | None
    created_at: datetime
    finished_at: datetime | None


class RunPage(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none."""

    rows: list[RunRow]
    before: int | None


class RunCall(Wire, frozen=True):
    """A call that the model made in a run. Not `matched`: the record has no such call, so it was answered with an
    error."""

    tool: str
    arguments: dict[str, Any]
    matched: bool
    ok: bool


class RunAnswer(Wire, frozen=True):
    """The new answer beside the former one. `error` says why there is none. `turn_id` leads to the raw calls."""

    question: str
    former: str | None
    answer: str | None
    calls: list[RunCall]
    turn_id: str | None
    error: str | None


class RuleVerdict(Wire, frozen=True):
    """One rule, and why it holds or does not. `answered`: every question was answered at all."""

    rule: Literal["must_call", "must_contain", "must_not_contain", "answered"]
    value: str
    passed: bool
    reason: str


class RunResult(Wire, frozen=True):
    """One case in a run. `ms` is null until its end."""

    case_id: int
    name: str
    status: Literal["waiting", "running", "passed", "failed"]
    answers: list[RunAnswer]
    verdicts: list[RuleVerdict]
    tokens_input: int
    tokens_output: int
    cost: Decimal
    ms: int | None


class Run(Wire, frozen=True):
    """A run with its results, in the order of the cases. `draft` is what it was run with; null: with what is saved."""

    run: RunRow
    draft: PlaygroundDraft | None
    results: list[RunResult]
