"""What a turn is run with."""

from datetime import datetime

import msgspec

from server.repositories.clients import Client
from server.repositories.conversations import Conversation
from server.repositories.turns import Turn as TurnRow
from server.turns.lease import Lease


class Job(msgspec.Struct, frozen=True):
    """One turn to run, with all it needs so that a fresh one starts without another query.

    `total` is the conversation's number of messages with `text` as the last; `newest` is False when others came after.
    `lease` begins with the job, where nobody says when the turn was claimed.
    """

    turn: TurnRow
    client: Client
    conversation: Conversation
    text: str
    total: int
    newest: bool
    at: datetime
    lease: Lease = msgspec.field(default_factory=Lease)
