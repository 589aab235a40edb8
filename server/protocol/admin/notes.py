"""Notes of operators about a conversation, which neither its visitor nor the AI ever sees."""

from datetime import datetime

from server.protocol.base import Wire
from server.protocol.operator import Colleague


class NoteCreate(Wire, frozen=True):
    """1 to 5,000 characters after trimming."""

    text: str


class NoteInfo(Wire, frozen=True):
    """`operator` wrote it; null once they are gone."""

    id: int
    conversation_id: str
    text: str
    created_at: datetime
    operator: Colleague | None


class NoteList(Wire, frozen=True):
    """All of a conversation's, oldest first."""

    rows: list[NoteInfo]
