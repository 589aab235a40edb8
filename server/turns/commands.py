"""What a visitor may do to an answer: stop it, say yes or no to its tools, rate it."""

from datetime import UTC, datetime

from server import metrics
from server.access import Session
from server.errors import NotFound
from server.fanout.live import LiveText, LiveTexts
from server.fanout.signals import Signals
from server.journal import Entry, Journal
from server.protocol.parts import Message, Rating, TokenUsage
from server.protocol.visitor import FeedbackRecorded, TurnStopped
from server.repositories import messages, tool_executions, turns, usage
from server.repositories.pool import Pool, reading
from server.repositories.turns import Turn as TurnRow
from server.turns.accounting import Accounting, Bill
from server.turns.supervisor import Supervisor


class Commands:
    """Commands of a proven session."""

    def __init__(
        self,
        *,
        pool: Pool,
        journal: Journal,
        live: LiveTexts,
        signals: Signals,
        supervisor: Supervisor,
        accounting: Accounting,
    ) -> None:
        self._pool = pool
        self._signals = signals
        self._journal = journal
        self._live = live
        self._supervisor = supervisor
        self._accounting = accounting

    async def stop(self, session: Session, *, turn_id: str) -> bool:
        """Ends a turn by raising its gen, wherever it runs, and keeps what was said. False when it was over already."""
        client_id, conversation_id = session.client.id, session.conversation.id
        live = await self._live.get(turn_id)
        bill = await self._bill(live) if live is not None else Bill.nothing()
        async with self._journal.write(client_id=client_id, conversation_id=conversation_id) as entry:
            await entry.locked()
            row = await turns.stop(entry.conn, client_id=client_id, conversation_id=conversation_id, public_id=turn_id)
            if row is None:
                return False
            said = live if live is not None and live.gen == row.gen - 1 and live.text.strip() else None
            await tool_executions.abandon(
                entry.conn, client_id=client_id, turn_id=row.id, error="stopped by the visitor"
            )
            message = await _keep(entry, row, said, bill) if said is not None else None
            entry.append(
                TurnStopped(seq=entry.next_seq, turn_id=turn_id, message=message),
                turn_id=row.id,
                gen=row.gen,
                message=message is not None,
            )
        metrics.TURNS.labels("stopped").inc()
        self._live.drop(turn_id)
        self._supervisor.fence(turn_id, row.gen)
        self._supervisor.next(client_id=client_id, conversation_id=conversation_id)
        return True

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
            entry.append(FeedbackRecorded(seq=entry.next_seq, message_id=message_id, rating=rating))

    async def _bill(self, said: LiveText) -> Bill:
        return await self._accounting.bill(
            provider=said.provider,
            model=said.model,
            usage=None,
            tokens_input=said.tokens_input,
            text=said.text,
            day=datetime.now(UTC).date(),
        )


async def _keep(entry: Entry, row: TurnRow, said: LiveText, bill: Bill) -> Message:
    """Stores the part of an answer that was said, and what it cost."""
    message = Message(
        id=row.answer_id,
        role="assistant",
        text=said.text,
        created_at=entry.at,
        turn_id=row.public_id,
        usage=TokenUsage(input_tokens=bill.usage.input, output_tokens=bill.usage.output),
        model=said.model,
        stopped=True,
    )
    await messages.create(
        entry.conn,
        client_id=row.client_id,
        conversation_id=row.conversation_id,
        public_id=row.answer_id,
        role="assistant",
        content=said.text,
        seq=entry.next_seq,
        created_at=entry.at,
        turn_id=row.id,
        model=said.model,
        tokens_input=bill.usage.input,
        tokens_output=bill.usage.output,
        cost=bill.cost,
        stopped=True,
    )
    await usage.record(
        entry.conn,
        client_id=row.client_id,
        day=entry.at.date(),
        messages=1,
        tokens_input=bill.usage.input,
        tokens_output=bill.usage.output,
        cost=bill.cost,
    )
    return message
