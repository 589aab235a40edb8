"""What a visitor may do to an answer: stop it, say yes or no to its tools, rate it."""

from server.access import Session
from server.errors import NotFound
from server.fanout.signals import Signals
from server.journal import Journal
from server.protocol.parts import Rating
from server.protocol.visitor import FeedbackRecorded
from server.repositories import conversations, messages, tool_executions
from server.repositories.pool import Pool, reading
from server.turns.stopping import Stopping


class Commands:
    """Commands of a proven session."""

    def __init__(self, *, pool: Pool, journal: Journal, signals: Signals, stopping: Stopping) -> None:
        self._pool = pool
        self._journal = journal
        self._signals = signals
        self._stopping = stopping

    async def stop(self, session: Session, *, turn_id: str) -> bool:
        """Ends a turn and keeps what was said. False when it was over already."""
        return await self._stopping.one(session.conversation, turn_id=turn_id, error="stopped by the visitor")

    async def confirm(self, session: Session, *, call_id: str, approved: bool) -> None:
        """The visitor's yes or no to a tool that asks first.

        Raises NotFound when nothing of this conversation waits for it, or no longer.
        """
        async with reading(self._pool) as conn:
            answered = await tool_executions.answer(
                conn,
                client_id=session.client.id,
                conversation_id=session.conversation.id,
                call_id=call_id,
                approved=approved,
            )
        if answered is None:
            raise NotFound("no tool is waiting for this confirmation", code="unknown_call", field="call_id")
        # It is committed; whichever instance runs the turn goes on.
        self._signals.send(call_id)

    async def rate(self, session: Session, *, message_id: str, rating: Rating, comment: str | None) -> None:
        """Keeps a visitor's opinion of an answer. Raises NotFound when it is not an answer of this conversation."""
        client_id, conversation_id = session.client.id, session.conversation.id
        async with self._journal.write(client_id=client_id, conversation_id=conversation_id) as entry:
            await entry.locked()
            rated = await messages.rate(
                entry.conn,
                client_id=client_id,
                conversation_id=conversation_id,
                public_id=message_id,
                rating=rating,
                comment=comment,
            )
            if not rated:
                raise NotFound("no such answer in this conversation", field="message_id")
            # The newest verdict is the whole conversation's: operators look for it in the inbox.
            await conversations.set_rating(
                entry.conn, client_id=client_id, conversation_id=conversation_id, rating=rating
            )
            entry.append(FeedbackRecorded(seq=entry.next_seq, message_id=message_id, rating=rating))
