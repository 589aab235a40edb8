"""Frames of the visitor socket, `GET /api/v1/ws`, by direction.

Commands are imperative, events past tense. A durable frame has `seq`; a live one has none.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.protocol.base import Cid, Frame, Id, Key, Locale, Natural, Wire
from server.protocol.parts import Limits, LiveAnswer, Message, Owner, Person, Rating

# --- from the visitor


class SessionProof(Wire, frozen=True):
    """A session's id and the secret that proves it is one's own."""

    id: Id
    token: Key


class Hello(Frame, frozen=True, tag="hello"):
    """Start or resume. The first frame, within 10 s."""

    v: int
    key: Key
    session: SessionProof | None = None
    epoch: Id | None = None
    last_seq: Natural | None = None
    identity: Annotated[str, msgspec.Meta(max_length=8192)] | None = None
    locale: Locale | None = None
    page_url: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    pending: Annotated[list[Cid], msgspec.Meta(max_length=100)] = []


class Attachment(Wire, frozen=True):
    """A file sent along. `id` names an earlier upload."""

    id: Id
    name: Annotated[str, msgspec.Meta(max_length=255)]


class MessageSend(Frame, frozen=True, tag="message.send"):
    """Say something: 1 to 5,000 characters after trimming."""

    cid: Cid
    text: str
    attachments: Annotated[list[Attachment], msgspec.Meta(max_length=10)] = []


class TurnStop(Frame, frozen=True, tag="turn.stop"):
    turn_id: Id


class ToolConfirm(Frame, frozen=True, tag="tool.confirm"):
    call_id: Id
    approved: bool


class FeedbackGive(Frame, frozen=True, tag="feedback.give"):
    message_id: Id
    rating: Rating
    comment: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class HandoffRequest(Frame, frozen=True, tag="handoff.request"):
    reason: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class TypingSet(Frame, frozen=True, tag="typing.set"):
    on: bool


class Ping(Frame, frozen=True, tag="ping"):
    """`t` comes back in the pong: a clock of the sender's, any unit."""

    t: float


FromVisitor = Hello | MessageSend | TurnStop | ToolConfirm | FeedbackGive | HandoffRequest | TypingSet | Ping

# --- to the visitor, durable: numbered without gaps, stored, replayable


class Durable(Frame, frozen=True):
    seq: int


class MessageCreated(Durable, frozen=True, tag="message.created"):
    """Somebody who is not the AI said something."""

    message: Message


class TurnStarted(Durable, frozen=True, tag="turn.started"):
    """`message_id` is the answer to come."""

    turn_id: str
    message_id: str
    gen: int


class ToolStarted(Durable, frozen=True, tag="tool.started"):
    """`label` is for people and localised; never raw arguments."""

    turn_id: str
    call_id: str
    name: str
    label: str


class ToolFinished(Durable, frozen=True, tag="tool.finished"):
    turn_id: str
    call_id: str
    ok: bool
    ms: int
    summary: str | None = None


class MessageCompleted(Durable, frozen=True, tag="message.completed"):
    """The whole answer; replaces what was streamed."""

    turn_id: str
    message: Message


class TurnFailed(Durable, frozen=True, tag="turn.failed"):
    """`message` is kind and without internals; `code` is for programs."""

    turn_id: str
    code: str
    message: str
    retryable: bool


class TurnStopped(Durable, frozen=True, tag="turn.stopped"):
    """`message` is what had been said, kept; absent when nothing had."""

    turn_id: str
    message: Message | None = None


class OwnerChanged(Durable, frozen=True, tag="owner.changed"):
    owner: Owner
    operator: Person | None = None


class FeedbackRecorded(Durable, frozen=True, tag="feedback.recorded"):
    message_id: str
    rating: Rating


DurableToVisitor = (
    MessageCreated
    | TurnStarted
    | ToolStarted
    | ToolFinished
    | MessageCompleted
    | TurnFailed
    | TurnStopped
    | OwnerChanged
    | FeedbackRecorded
)

# Types of the events that end a turn.
TURN_ENDS = frozenset({"message.completed", "turn.failed", "turn.stopped"})

# --- to the visitor, live: no seq, never stored


class Welcome(Frame, frozen=True, tag="welcome"):
    """The answer to `hello`. `pending` says of each cid which seq stored it, or null."""

    v: int
    session: SessionProof
    conversation_id: str
    epoch: str
    head_seq: int
    resumed: bool
    pending: dict[str, int | None]
    heartbeat_s: int
    limits: Limits


class Snapshot(Frame, frozen=True, tag="snapshot"):
    """The whole state up to `up_to_seq`, or after a resume only `live` matters and `messages` is absent."""

    up_to_seq: int
    owner: Owner
    messages: list[Message] | None = None
    operator: Person | None = None
    live: LiveAnswer | None = None


class Ack(Frame, frozen=True, tag="ack"):
    """The message is committed."""

    cid: str
    message_id: str
    seq: int


class Nack(Frame, frozen=True, tag="nack"):
    """The message was not stored, and why."""

    cid: str
    code: str
    message: str
    retry_after_ms: int | None = None


class MessageDelta(Frame, frozen=True, tag="message.delta"):
    """A piece of streaming text, `n` = 1, 2, 3 ... within turn and gen."""

    turn_id: str
    message_id: str
    gen: int
    n: int
    text: str


class TurnReset(Frame, frozen=True, tag="turn.reset"):
    """Drop the text of older gens."""

    turn_id: str
    gen: int


class ToolProgress(Frame, frozen=True, tag="tool.progress"):
    turn_id: str
    call_id: str
    text: str


class ToolConfirmRequest(Frame, frozen=True, tag="tool.confirm_request"):
    """`text` is what the visitor would approve: "Day: tomorrow, Party: 2". Hostile, as any text of a model."""

    turn_id: str
    call_id: str
    label: str
    expires_at: datetime
    text: str | None = None


class Typing(Frame, frozen=True, tag="typing"):
    who: Literal["visitor", "operator"]
    on: bool


class Error(Frame, frozen=True, tag="error"):
    """A frame was refused, or something broke. `field` names what was wrong with the frame."""

    code: str
    message: str
    temporary: bool
    field: str | None = None


class Drain(Frame, frozen=True, tag="drain"):
    """Finish reading, then come back elsewhere."""

    retry_after_ms: int


class Pong(Frame, frozen=True, tag="pong"):
    t: float
    head_seq: int


LiveToVisitor = (
    Welcome
    | Snapshot
    | Ack
    | Nack
    | MessageDelta
    | TurnReset
    | ToolProgress
    | ToolConfirmRequest
    | Typing
    | Error
    | Drain
    | Pong
)
ToVisitor = DurableToVisitor | LiveToVisitor
