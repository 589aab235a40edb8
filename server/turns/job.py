"""What a turn is run with."""

from datetime import datetime

import msgspec

from server.repositories.clients import Client
from server.repositories.conversations import Conversation
from server.repositories.turns import Turn as TurnRow
from server.tools.recorded import Recording
from server.turns.lease import Lease


class Played(msgspec.Struct, frozen=True):
    """What the console has a turn run with beside the client's row: the names of its tools, None for the saved ones;
    the record that answers their calls in a test run; which question of the chat it is, from 1."""

    tools: list[str] | None
    recording: Recording | None
    question: int


class Job(msgspec.Struct, frozen=True):
    """One turn to run, with all it needs so that a fresh one starts without another query.

    `total` is the conversation's number of messages with `text` as the last; `newest` is False when others came after.
    `lease` begins with the job, where nobody says when the turn was claimed. `played` is of the console's turns alone.
    """

    turn: TurnRow
    client: Client
    conversation: Conversation
    text: str
    total: int
    newest: bool
    at: datetime
    lease: Lease = msgspec.field(default_factory=Lease)
    played: Played | None = None
