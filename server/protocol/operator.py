"""Frames of the operator socket, `GET /api/v1/admin/ws`, by direction.

An operator gets every frame that a watched conversation's visitor gets, to the byte, within a `conversation.frame`, and
the privileged ones below. The rules of the visitor socket hold for each watched conversation: `conversation.watch` is
its `hello` and `conversation.watched` its `welcome`. A command about a conversation is answered once: by `ack` or
`nack` where it has a cid, else by `command.done`, or by `error` with the same `conversation_id` and `command`. Only
`typing.set` is answered by a refusal alone.
"""

from datetime import datetime
from typing import Any

from server.protocol.base import Cid, Frame, Id, Key, Natural, Wire
from server.protocol.parts import Limits, Owner
from server.protocol.visitor import Drain, Ping, ToVisitor

# --- from the operator


class OperatorHello(Frame, frozen=True, tag="hello"):
    """The first frame, within 10 s. The ticket is good for one socket and 30 s."""

    v: int
    ticket: Key


class InboxWatch(Frame, frozen=True, tag="inbox.watch"):
    """The first page of the inbox, then its rows as they change. Without a client: of all whom the operator serves.

    A later one takes the place of the one before.
    """

    client_id: Natural | None = None


class OfConversation(Frame, frozen=True):
    """A frame about one conversation of a client whom the operator serves."""

    conversation_id: Id


class ConversationWatch(OfConversation, frozen=True, tag="conversation.watch"):
    """Begin or resume. With `epoch` and `last_seq` what was missed comes event by event, where it can.

    With `glance` it is watched as a list shows it: other operators are not told that one is there, and `presence` does
    not come. A later watch without it is a whole one, and the other way round.
    """

    epoch: Id | None = None
    last_seq: Natural | None = None
    glance: bool = False


class ConversationUnwatch(OfConversation, frozen=True, tag="conversation.unwatch"):
    pass


class ConversationTake(OfConversation, frozen=True, tag="conversation.take"):
    """Answer in the AI's place. Refused with `taken` while another operator does."""


class ConversationRelease(OfConversation, frozen=True, tag="conversation.release"):
    """Give it back to the AI."""


class ConversationClose(OfConversation, frozen=True, tag="conversation.close"):
    """End it. It opens again when the visitor writes."""


class OperatorMessageSend(OfConversation, frozen=True, tag="message.send"):
    """Say something to the visitor: 1 to 5,000 characters after trimming. Only who has taken the conversation may."""

    cid: Cid
    text: str


class WhisperSend(OfConversation, frozen=True, tag="whisper.send"):
    """Steers the AI's next turn, unseen by the visitor. 1 to 5,000 characters after trimming."""

    text: str


class OperatorTurnStop(OfConversation, frozen=True, tag="turn.stop"):
    turn_id: Id


class ToolApprove(OfConversation, frozen=True, tag="tool.approve"):
    """The answer to a `tool.confirm_request`, in the visitor's place."""

    call_id: Id
    approved: bool


class OperatorTypingSet(OfConversation, frozen=True, tag="typing.set"):
    """Seen by the visitor, from who has taken the conversation."""

    on: bool


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
    | OperatorTypingSet
    | Ping
)

# --- to the operator


class Colleague(Wire, frozen=True):
    """An operator as other operators see one."""

    id: int
    name: str
    avatar_url: str | None = None


class OperatorWelcome(Frame, frozen=True, tag="welcome"):
    """The answer to `hello`. Without `client_id` the operator serves all clients. `watches`: conversations at once."""

    v: int
    operator: Colleague
    role: str
    heartbeat_s: int
    limits: Limits
    watches: int
    client_id: int | None = None


class InboxRow(Wire, frozen=True):
    """One line of the inbox. `seq` is the conversation's newest event.

    `preview` is the beginning of the newest message, hostile as all text; absent in an update: as before. The operator
    is who has taken it. The visitor waits for a person since `waiting_since`; absent: they do not.
    """

    conversation_id: str
    client_id: int
    seq: int
    owner: Owner
    last_activity_at: datetime
    preview: str | None = None
    operator: Colleague | None = None
    waiting_since: datetime | None = None


class InboxPage(Frame, frozen=True, tag="inbox.page"):
    """The whole first page, most recently active first; takes the place of what was shown. `more`: there are more."""

    rows: list[InboxRow]
    more: bool
    client_id: int | None = None


class InboxUpdated(Frame, frozen=True, tag="inbox.updated"):
    """Rows as they are now, of conversations that may be new. One of a lower `seq` than known is to be ignored."""

    rows: list[InboxRow]


class WhisperRecorded(Frame, frozen=True, tag="whisper.recorded"):
    """Whispers are no events: `no` counts them within their conversation, and one may come twice."""

    conversation_id: str
    no: int
    text: str
    created_at: datetime
    operator: Colleague | None = None


class ConversationWatched(Frame, frozen=True, tag="conversation.watched"):
    """What `welcome` is to a visitor; replay or snapshot follow. `whispers` are the last ones, oldest first."""

    conversation_id: str
    client_id: int
    epoch: str
    head_seq: int
    resumed: bool
    whispers: list[WhisperRecorded] = []


class Presence(Frame, frozen=True, tag="presence"):
    """Who is there: the visitor, and the operators who watch. `visitor_online` is absent while it is not known."""

    conversation_id: str
    operators: list[Colleague]
    visitor_online: bool | None = None


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


class ConversationFrame(Frame, frozen=True, tag="conversation.frame"):
    """A visitor's frame, with the conversation it belongs to."""

    conversation_id: str
    frame: ToVisitor


class CommandDone(Frame, frozen=True, tag="command.done"):
    """A command about a conversation was carried out, or there was nothing left to do."""

    conversation_id: str
    command: str


class OperatorAck(Frame, frozen=True, tag="ack"):
    """The message is committed."""

    conversation_id: str
    cid: str
    message_id: str
    seq: int


class OperatorNack(Frame, frozen=True, tag="nack"):
    """The message was not stored, and why."""

    conversation_id: str
    cid: str
    code: str
    message: str
    retry_after_ms: int | None = None


class OperatorError(Frame, frozen=True, tag="error"):
    """A frame was refused, or something broke. `command` is the frame's type, where it was understood."""

    code: str
    message: str
    temporary: bool
    field: str | None = None
    conversation_id: str | None = None
    command: str | None = None
    retry_after_ms: int | None = None


class OperatorPong(Frame, frozen=True, tag="pong"):
    """`heads` are the newest seqs of the watched conversations; absent while Postgres is away."""

    t: float
    heads: dict[str, int] = {}


ToOperator = (
    OperatorWelcome
    | InboxPage
    | InboxUpdated
    | ConversationWatched
    | ConversationFrame
    | Presence
    | TurnTrace
    | ToolTrace
    | WhisperRecorded
    | CommandDone
    | OperatorAck
    | OperatorNack
    | OperatorError
    | OperatorPong
    | Drain
)
