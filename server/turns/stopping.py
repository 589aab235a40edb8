"""Ends turns before their answer is whole: by the visitor's stop, by an operator's, by a person who takes over.

One way for all: gen + 1, so that whoever runs the turn writes nothing any more; what visitors were shown is kept as a
stopped message; what it cost is kept, also where nothing was shown; what its tools left open is closed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from server import metrics
from server.errors import Unavailable
from server.fanout.live import LiveText, LiveTexts
from server.journal import Entry, Journal
from server.protocol.parts import Message, TokenUsage
from server.protocol.visitor import TurnStopped
from server.repositories import messages, tool_executions, turn_stops, turns
from server.repositories.conversations import Conversation
from server.repositories.pool import Pool, reading
from server.repositories.turns import Paid
from server.repositories.turns import Turn as TurnRow
from server.turns.accounting import Accounting, Bill
from server.turns.counting import count
from server.turns.quiet import Quiet
from server.turns.supervisor import Supervisor

# A turn may begin between the look and the lock, and has to be asked to hold too; more than one at a time is a storm.
TRIES = 3

# Stops what is to be stopped, in the open transaction, and writes to the turn that was speaking what it used: the turns
# as they are now.
Stop = Callable[[Entry, "Said | None"], Awaitable[list[TurnRow]]]
# What else happens in the transaction, after the turns' ends: events, the audit. What it raises undoes them.
Then = Callable[[Entry, list[TurnRow]], Awaitable[None]]


class Said(msgspec.Struct, frozen=True):
    """What a turn had said when it was asked to hold, if anything, and what it used until then."""

    turn: TurnRow
    live: LiveText | None
    bill: Bill
    paid: Paid | None


class _Begun(Exception):
    """A turn that was not asked to hold has begun meanwhile."""


class Stopping:
    """The stops of one instance."""

    def __init__(
        self,
        *,
        pool: Pool,
        journal: Journal,
        live: LiveTexts,
        quiet: Quiet,
        supervisor: Supervisor,
        accounting: Accounting,
    ) -> None:
        self._pool = pool
        self._journal = journal
        self._live = live
        self._quiet = quiet
        self._supervisor = supervisor
        self._accounting = accounting

    async def one(self, conversation: Conversation, *, turn_id: str, error: str, then: Then | None = None) -> bool:
        """Ends a turn, queued or running, wherever it runs. False when it was over already; then `then` is not called.

        `error` says why, to whoever reads the record of its tools. The conversation's next turn may begin.
        """

        async def stop(entry: Entry, said: Said | None) -> list[TurnRow]:
            row = await turns.stop(
                entry.conn,
                client_id=conversation.client_id,
                conversation_id=conversation.id,
                public_id=turn_id,
                paid=None if said is None else said.paid,
            )
            return [] if row is None else [row]

        async def afterwards(entry: Entry, rows: list[TurnRow]) -> None:
            if rows and then is not None:
                await then(entry, rows)

        rows = await self._end(conversation, stop, afterwards, error=error, turn_id=turn_id)
        if rows:
            self._supervisor.next(client_id=conversation.client_id, conversation_id=conversation.id)
        return bool(rows)

    async def all(self, conversation: Conversation, *, error: str, then: Then) -> None:
        """Ends every turn of the conversation; `then` makes sure, in the same transaction, that none begins again."""

        async def stop(entry: Entry, said: Said | None) -> list[TurnRow]:
            return await turn_stops.stop_all(
                entry.conn,
                client_id=conversation.client_id,
                conversation_id=conversation.id,
                error=error,
                spoke=None if said is None else said.turn.id,
                paid=None if said is None else said.paid,
            )

        await self._end(conversation, stop, then, error=error)

    async def waiting(self, conversation: Conversation, *, error: str, then: Then) -> None:
        """The same for turns that wait and never began: one that answers goes on."""

        async def stop(entry: Entry, _said: Said | None) -> list[TurnRow]:
            return await turn_stops.stop_all(
                entry.conn, client_id=conversation.client_id, conversation_id=conversation.id, error=error, begun=False
            )

        async with self._journal.write(client_id=conversation.client_id, conversation_id=conversation.id) as entry:
            rows = await self._write(entry, stop, then, None, error=error)
        self._announce(rows)

    async def _end(
        self, conversation: Conversation, stop: Stop, then: Then, *, error: str, turn_id: str | None = None
    ) -> list[TurnRow]:
        for _ in range(TRIES):
            try:
                async with self._held(conversation, turn_id) as said:
                    async with self._journal.write(
                        client_id=conversation.client_id, conversation_id=conversation.id
                    ) as entry:
                        rows = await self._write(entry, stop, then, said, error=error)
                    # Before it is let go.
                    self._announce(rows)
                    return rows
            except _Begun:
                continue
        raise Unavailable("turn", "turns of this conversation begin faster than they can be ended")

    @asynccontextmanager
    async def _held(self, conversation: Conversation, turn_id: str | None) -> AsyncIterator[Said | None]:
        """The one turn that may be speaking, if it is to end, quiet for as long as this is open."""
        async with reading(self._pool) as conn:
            rows = await turn_stops.unended(conn, client_id=conversation.client_id, conversation_id=conversation.id)
        turn = next((row for row in rows if _begun(row) and turn_id in {None, row.public_id}), None)
        if turn is None:
            yield None
            return
        async with self._quiet.held(turn) as live:
            # A text of an older gen than the one that runs was taken back when that began.
            said = live if live is not None and live.gen == _spoken_by(turn) else None
            bill = await self._bill(said) if said is not None else Bill.nothing()
            paid = bill.paid(said.model) if said is not None else None
            yield Said(turn, said if said is not None and said.text.strip() else None, bill, paid)

    async def _write(self, entry: Entry, stop: Stop, then: Then, said: Said | None, *, error: str) -> list[TurnRow]:
        await entry.locked()
        rows, ended, kept = await stop(entry, said), False, False
        for row in rows:
            mine = said is not None and (row.id, row.gen) == (said.turn.id, said.turn.gen + 1)
            if not mine and _was_begun(row):
                raise _Begun
            ended = ended or mine
            await tool_executions.abandon(entry.conn, client_id=row.client_id, turn_id=row.id, error=error)
            message: Message | None = None
            if said is not None and mine and said.live is not None:
                message, kept = await _keep(entry, row, said.live, said.bill), True
            entry.append(
                TurnStopped(seq=entry.next_seq, turn_id=row.public_id, message=message),
                turn_id=row.id,
                gen=row.gen,
                message=message is not None,
            )
        await then(entry, rows)
        if said is not None and (kept or (ended and said.paid is not None)):
            await _count(entry, said.bill, messages=1 if kept else 0)
        return rows

    def _announce(self, rows: list[TurnRow]) -> None:
        """It is committed; whoever runs one of these must stop."""
        for row in rows:
            metrics.TURNS.labels("stopped").inc()
            self._live.drop(row.public_id, row.gen)
            self._supervisor.fence(row.public_id, row.gen)

    async def _bill(self, said: LiveText) -> Bill:
        return await self._accounting.bill(
            provider=said.provider,
            model=said.model,
            usage=None,
            tokens_input=said.tokens_input,
            text=said.text,
            day=datetime.now(UTC).date(),
        )


def _begun(row: TurnRow) -> bool:
    """Whether an open turn may have said something: it runs, or an instance that ended gave it back."""
    return row.status == "running" or row.gen > 1


def _was_begun(row: TurnRow) -> bool:
    """The same of a turn that was just stopped, gen + 1."""
    return row.owner is not None or row.gen > 2


def _spoken_by(row: TurnRow) -> int:
    """The gen whose text visitors see: of a turn that was given back, the one before."""
    return row.gen if row.status == "running" else row.gen - 1


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
    return message


async def _count(entry: Entry, bill: Bill, *, messages: int) -> None:
    """After all else: see `usage.record`."""
    await count(
        entry.conn,
        entry.conversation,
        day=entry.at.date(),
        messages=messages,
        tokens_input=bill.usage.input,
        tokens_output=bill.usage.output,
        cost=bill.cost,
    )
