"""Frames of the operator socket, `GET /api/v1/admin/ws`, by direction.

An operator gets every frame a visitor gets, wrapped with its conversation's id, and the privileged ones below.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from server.protocol.base import Cid, Frame, Id, Key, Natural, Wire
from server.protocol.parts import Owner, Person
from server.protocol.visitor import Ping, ToVisitor, TypingSet

# --- from the operator


class OperatorHello(Frame, frozen=True, tag="hello"):
    v: int
    ticket: Key


class InboxWatch(Frame, frozen=True, tag="inbox.watch"):
    client_id: Natural | None = None


class ConversationWatch(Frame, frozen=True, tag="conversation.watch"):
    conversation_id: Id
    last_seq: Natural | None = None


class ConversationUnwatch(Frame, frozen=True, tag="conversation.unwatch"):
    conversation_id: Id


class ConversationTake(Frame, frozen=True, tag="conversation.take"):
    conversation_id: Id


class ConversationRelease(Frame, frozen=True, tag="conversation.release"):
    conversation_id: Id


class ConversationClose(Frame, frozen=True, tag="conversation.close"):
    conversation_id: Id


class OperatorMessageSend(Frame, frozen=True, tag="message.send"):
    conversation_id: Id
    cid: Cid
    text: str


class WhisperSend(Frame, frozen=True, tag="whisper.send"):
    """Steers the AI's next turn, unseen by the visitor."""

    conversation_id: Id
    text: Annotated[str, msgspec.Meta(max_length=5000)]


class OperatorTurnStop(Frame, frozen=True, tag="turn.stop"):
    conversation_id: Id
    turn_id: Id


class ToolApprove(Frame, frozen=True, tag="tool.approve"):
    conversation_id: Id
    call_id: Id
    approved: bool


FromOperator = (
    OperatorHello
    | InboxWatch
    | ConversationWatch
    | ConversationUnwatch
    | ConversationTake
    | ConversationRelease
    | ConversationClose
    | OperatorMessageSend
    | WhisperSend
    | OperatorTurnStop
    | ToolApprove
    | TypingSet
    | Ping
)

# --- to the operator


class InboxRow(Wire, frozen=True):
    """One line of the inbox."""

    conversation_id: str
    client_id: int
    owner: Owner
    preview: str
    last_activity_at: datetime
    waiting_since: datetime | None = None


class InboxUpdated(Frame, frozen=True, tag="inbox.updated"):
    rows: list[InboxRow]


class Presence(Frame, frozen=True, tag="presence"):
    conversation_id: str
    visitor_online: bool
    operators: list[Person]


class TurnTrace(Frame, frozen=True, tag="turn.trace"):
    """What the AI worked with. `cost` is a decimal number of dollars, as text."""

    conversation_id: str
    turn_id: str
    model: str
    prompt_tokens: int
    tools: list[str]
    passages: list[str]
    cost: str


class ToolTrace(Frame, frozen=True, tag="tool.trace"):
    """A tool call with its raw arguments and, once it is there, its result."""

    conversation_id: str
    turn_id: str
    call_id: str
    name: str
    arguments: dict[str, Any]
    result: str | None = None


class WhisperRecorded(Frame, frozen=True, tag="whisper.recorded"):
    conversation_id: str
    seq: int
    text: str
    operator: Person


class ConversationFrame(Frame, frozen=True, tag="conversation.frame"):
    """A visitor's frame, with the conversation it belongs to."""

    conversation_id: str
    frame: ToVisitor


ToOperator = InboxUpdated | Presence | TurnTrace | ToolTrace | WhisperRecorded | ConversationFrame
