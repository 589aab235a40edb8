"""Conversations as operators read and steer them: the inbox by pages, one conversation with what it cost, its turns."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from server.protocol.base import Cid, Id, Wire
from server.protocol.operator import Colleague
from server.protocol.parts import Message, Owner, Rating, Role

Channel = Literal["widget", "api", "console"]
Page = Annotated[int, msgspec.Meta(ge=1, le=100)]
# Opaque: what an answer's `before` said.
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

# --- the inbox


class ConversationQuery(Wire, frozen=True):
    """What is wanted of the inbox. `q` is words: each must begin a word of one message, or of the visitor's name or
    e-mail address (a letter or digit alone: be one); letters' case and punctuation do not count."""

    client_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    owner: Owner | None = None
    rating: Rating | None = None
    waiting: bool | None = None
    q: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    before: Cursor | None = None
    limit: Page = 50


class ConversationRow(Wire, frozen=True):
    """One line of the inbox: what the socket's `InboxRow` has, and what only a list shows.

    `seq` is its newest event. `preview` is the beginning of the newest message, null once that was removed. `operator`
    is who has taken it. `visitor_name` is null for somebody whom nobody vouched for. `cost` is of all its messages.
    """

    conversation_id: str
    client_id: int
    seq: int
    owner: Owner
    last_activity_at: datetime
    preview: str | None
    preview_role: Role
    operator: Colleague | None
    waiting_since: datetime | None
    visitor_name: str | None
    channel: Channel
    rating: Rating | None
    message_count: int
    cost: Decimal


class ConversationPage(Wire, frozen=True):
    """Newest activity first. `before` fetches the page after this one; null: there is none."""

    rows: list[ConversationRow]
    before: str | None


# --- one conversation


class ConversationClient(Wire, frozen=True):
    id: int
    name: str
    domain: str


class ConversationVisitor(Wire, frozen=True):
    """Somebody whom the client's backend vouched for: `external_id` is its name for them.

    They count as verified until `verified_until`; null: not any more.
    """

    external_id: str
    name: str | None
    email: str | None
    verified_until: datetime | None


class ConversationTotals(Wire, frozen=True):
    """Of all its messages. What turns without an answer cost is told by the turn, and is in the day's usage."""

    messages: int
    tokens_input: int
    tokens_output: int
    cost: Decimal


class ConversationHead(Wire, frozen=True):
    """One conversation. `user_identifier` is what a caller of the API said of the visitor: a claim, no proof."""

    conversation_id: str
    client: ConversationClient
    channel: Channel
    locale: str
    owner: Owner
    operator: Colleague | None
    waiting_since: datetime | None
    visitor: ConversationVisitor | None
    user_identifier: str | None
    rating: Rating | None
    seq: int
    started_at: datetime
    last_activity_at: datetime
    ended_at: datetime | None
    summary: str | None
    totals: ConversationTotals


# --- what was said


class TranscriptQuery(Wire, frozen=True):
    """`before` is the id of a message."""

    before: Id | None = None
    limit: Page = 50


class TranscriptMessage(Wire, frozen=True):
    """`message` is what its visitor sees, as over the sockets. `removed`: retention has taken the text away.

    `seq` is the event that reported it. `rating_comment` is what the visitor wrote with their rating.
    """

    message: Message
    seq: int
    operator: Colleague | None
    tokens_input: int
    tokens_output: int
    cost: Decimal
    rating_comment: str | None
    removed: bool


class TranscriptPage(Wire, frozen=True):
    """Oldest first. `before` fetches the page before this one; null: it begins here."""

    rows: list[TranscriptMessage]
    before: str | None


# --- what the AI did


class TurnsQuery(Wire, frozen=True):
    """`before` is the id of a turn."""

    before: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=20)] = 20


class TurnStepCall(Wire, frozen=True):
    """A call as the model wrote it. `call_id` names what became of it."""

    call_id: str
    name: str
    arguments: str


class TurnStepInfo(Wire, frozen=True):
    """A committed decision. `text` is what the model said, or what it reads of a tool's result, at most 4,000 bytes.

    Tokens are null where the provider reported none, and for tools. `ended_at` is null while it is under way.
    """

    no: int
    kind: Literal["llm", "tool"]
    state: Literal["started", "done", "failed", "unknown"]
    text: str
    calls: list[TurnStepCall]
    tokens_input: int | None
    tokens_output: int | None
    began_at: datetime
    ended_at: datetime | None


class TurnToolCall(Wire, frozen=True):
    """A tool call. `arguments` and `response` are JSON as it went out and came back, at most 8,000 bytes each; what is
    cut says so.

    `success` is null while it runs, and for good where nobody can know. `attempts` 0: it never went out. `approval` is
    null where nobody was asked; they may answer until `approval_until`.
    """

    call_id: str
    name: str
    arguments: Any
    response: Any
    success: bool | None
    error: str | None
    ms: int | None
    attempts: int
    approval: Literal["asked", "approved", "declined"] | None
    approval_until: datetime | None
    began_at: datetime


class TurnInfo(Wire, frozen=True):
    """One run of the AI: `message_id` is what it answers, `answer_id` its answer.

    `model`, tokens and `cost` are what it used, whether it left an answer, failed or was stopped before its first
    word; null until it ends, and where nothing was paid. `started_at` is when it was first begun. `attempts` counts
    the instances that tried. `error` says why it failed.
    """

    turn_id: str
    message_id: str
    answer_id: str
    status: Literal["queued", "running", "done", "failed", "stopped"]
    attempts: int
    error: str | None
    model: str | None
    tokens_input: int | None
    tokens_output: int | None
    cost: Decimal | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    steps: list[TurnStepInfo]
    calls: list[TurnToolCall]


class TurnInfoPage(Wire, frozen=True):
    """Oldest first. `before` fetches the page before this one; null: it begins here."""

    rows: list[TurnInfo]
    before: str | None


# --- what operators do


class OperatorReply(Wire, frozen=True):
    """Says something to the visitor, once for its `cid`: 1 to 5,000 characters after trimming."""

    cid: Cid
    text: str


class OperatorReplied(Wire, frozen=True):
    """It is committed. `duplicate`: it was before."""

    message_id: str
    seq: int
    duplicate: bool


class OperatorWhisper(Wire, frozen=True):
    """Steers the AI's next turn, unseen by the visitor: 1 to 5,000 characters after trimming."""

    text: str


class WhisperInfo(Wire, frozen=True):
    """`no` counts the whispers of a conversation."""

    no: int
    text: str
    created_at: datetime
    operator: Colleague | None


class TurnStop(Wire, frozen=True):
    turn_id: Id


class TurnStopResult(Wire, frozen=True):
    """`stopped` is false when the turn was over already."""

    stopped: bool


class ToolApproval(Wire, frozen=True):
    """The answer to a tool that asks first, in the visitor's place."""

    call_id: Id
    approved: bool
