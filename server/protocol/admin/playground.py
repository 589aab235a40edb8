"""The playground: a chat with a draft, and the whole truth of a turn."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.base import Id, Locale, Wire
from server.protocol.client_config import ModelConfig

ToolName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class PlaygroundDraft(Wire, frozen=True):
    """What the playground's turns are run with. Each is the client's saved one where it is null.

    `model` is as a client's; `tools` are the names of those that are on, also such as are off for visitors.
    """

    system_prompt: Annotated[str, msgspec.Meta(max_length=20_000)] | None
    model: ModelConfig | None
    tools: Annotated[list[ToolName], msgspec.Meta(max_length=128)] | None


class PlaygroundStart(Wire, frozen=True):
    """Begins a chat. Without a `draft` with what is saved; without a `locale` in the client's language."""

    draft: PlaygroundDraft | None = None
    locale: Locale | None = None


class PlaygroundSession(Wire, frozen=True):
    """A chat that was just begun. The page says `hello` on `/api/v1/ws` with `public_key`, `session_id` and
    `session_token`, as a visitor's does."""

    session_id: str
    session_token: str
    public_key: str
    client_id: int
    conversation_id: str
    locale: str
    draft: PlaygroundDraft


class PlaygroundState(Wire, frozen=True):
    """A chat and the draft that its next turn is run with."""

    session_id: str
    client_id: int
    conversation_id: str
    draft: PlaygroundDraft
    updated_at: datetime


class PlaygroundTurnsQuery(Wire, frozen=True):
    """`before` is a page's."""

    before: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


TurnStatus = Literal["queued", "running", "done", "failed", "stopped"]


class PlaygroundTurn(Wire, frozen=True):
    """One question and what became of it. `ms` is from the question to the end; null while it runs."""

    turn_id: str
    status: TurnStatus
    question: str | None
    answer: str | None
    model: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    ms: int | None
    tokens_input: int
    tokens_output: int
    cost: Decimal
    model_calls: int
    tool_calls: int


class PlaygroundTurns(Wire, frozen=True):
    """Newest first. `before` fetches the page after this one; null: there is none."""

    rows: list[PlaygroundTurn]
    before: str | None


class ModelTry(Wire, frozen=True):
    """One HTTP request of a model's call: more than one where it was tried again. No status: nothing came back."""

    method: str
    url: str
    status: int | None


class ModelCallTruth(Wire, frozen=True):
    """One call of the model. `request` and `response` are as they went over the wire, the beginning of each, without
    headers; `request_bytes` and `response_bytes` are their whole sizes.

    `no` counts them from 1, those of earlier lives of the turn (`gen`) and of a fallback model too. `first_ms` is to
    the first byte of the answer, `ms` to its end. Tokens are null where the provider reported none.
    """

    no: int
    gen: int
    provider: str
    model: str
    started_at: datetime
    first_ms: int | None
    ms: int
    tries: list[ModelTry]
    request: str
    request_bytes: int
    response: str
    response_bytes: int
    tokens_input: int | None
    tokens_output: int | None
    tokens_cached: int | None
    error: str | None


class ToolCallTruth(Wire, frozen=True):
    """One call of a tool. `result` is what the model read of it, `response` what came back whole.

    `ok` is null while it runs and where nobody can know; `attempt` is 0 where it never went out.
    """

    call_id: str
    no: int
    name: str
    arguments: dict[str, Any]
    result: str | None
    response: Any
    ok: bool | None
    error: str | None
    attempt: int
    approval: Literal["asked", "approved", "declined"] | None
    started_at: datetime
    ms: int | None


class TurnSpan(Wire, frozen=True):
    """One bar of the waterfall: `start_ms` after the question was stored, `ms` long; null while it lasts.

    `preparing` is until the model is asked first, `model` one whole call of it, `first` of that the time to the first
    byte, `approval` the time that a visitor took to decide, `tool` a call, `writing` from the last word to the stored
    answer.
    """

    kind: Literal["preparing", "model", "first", "approval", "tool", "writing"]
    name: str
    start_ms: int
    ms: int | None
    ok: bool | None


class TurnTruth(Wire, frozen=True):
    """All that is known of a turn. Raw calls of the model are kept for the console's own turns alone."""

    turn_id: str
    client_id: int
    conversation_id: str
    channel: Literal["widget", "api", "console"]
    status: TurnStatus
    error: str | None
    question: str | None
    answer: str | None
    model: str | None
    created_at: datetime
    finished_at: datetime | None
    ms: int | None
    tokens_input: int
    tokens_output: int
    cost: Decimal
    model_calls: list[ModelCallTruth]
    tool_calls: list[ToolCallTruth]
    spans: list[TurnSpan]


class PlaygroundUsage(Wire, frozen=True):
    """What the console used for a client this month (UTC), playground and test cases. No plan counts it."""

    client_id: int
    since: date
    conversations: int
    messages: int
    tokens_input: int
    tokens_output: int
    tool_calls: int
    cost: Decimal
