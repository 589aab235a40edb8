"""Takes turns: the next one of a conversation, or one that nobody runs any more.

A claim, the event that shows it and the end of a turn that was tried too often are one transaction each: a crash in
between leaves a turn that the next sweep finds, and never one that runs unseen.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from server import log, metrics
from server.errors import NotFound, Unavailable
from server.fanout import channels
from server.fanout.hub import Hub
from server.journal import Entry, Journal
from server.protocol import codec
from server.protocol.visitor import TurnFailed, TurnReset, TurnStarted
from server.repositories import clients, conversations, messages, notifications, tool_executions, turn_leases, turns
from server.repositories.pool import Conn, Pool, reading
from server.repositories.turn_leases import Orphan
from server.repositories.turns import Turn as TurnRow
from server.turns import phrases
from server.turns.engine import DEADLINE_S
from server.turns.job import Job
from server.turns.lease import LEASE_S, Lease

logger = log.get("turns")

# A turn that was begun this often and never ended takes its instance down; it is not begun again.
ATTEMPTS = 3
# Claims remembered whose commit was not heard of; each is found by a sweep within seconds.
UNHEARD = 1_000


class Claims:
    """Of one instance; `owner` is its id. Each call raises Unavailable, and what raises has claimed nothing or leaves
    its claim to the next sweep."""

    def __init__(self, *, pool: Pool, journal: Journal, hub: Hub, owner: str) -> None:
        self._pool = pool
        self._journal = journal
        self._hub = hub
        self._owner = owner
        # The gens of claims that may have been committed, and never began: the answer to the commit was lost.
        self._unheard: dict[int, int] = {}

    async def next_of(self, *, client_id: int, conversation_id: int) -> Job | None:
        """The oldest waiting turn of a conversation, ours from now on; None when there is none, or one runs."""

        async def claim(conn: Conn) -> TurnRow | None:
            return await turn_leases.claim_next(
                conn,
                client_id=client_id,
                conversation_id=conversation_id,
                owner=self._owner,
                lease_s=LEASE_S,
                deadline_s=DEADLINE_S,
            )

        return await self._claim(client_id, conversation_id, claim)

    async def orphan(self, found: Orphan) -> Job | None:
        """A turn that nobody runs, ours from now on; None when somebody was quicker. The conversation's next one where
        this one was tried too often."""
        client_id, lease_until = found.client_id, found.lease_until
        if lease_until is None:
            return await self.next_of(client_id=client_id, conversation_id=found.conversation_id)
        begun = self._unheard.pop(found.id, None) != found.gen

        async def claim(conn: Conn) -> TurnRow | None:
            return await turn_leases.take_over(
                conn,
                client_id=client_id,
                turn_id=found.id,
                gen=found.gen,
                lease_until=lease_until,
                owner=self._owner,
                lease_s=LEASE_S,
                deadline_s=DEADLINE_S,
                counted=begun,
            )

        return await self._claim(client_id, found.conversation_id, claim)

    async def _claim(
        self, client_id: int, conversation_id: int, claim: Callable[[Conn], Awaitable[TurnRow | None]]
    ) -> Job | None:
        asked_at = time.monotonic()
        row: TurnRow | None = None
        try:
            async with self._journal.write(client_id=client_id, conversation_id=conversation_id) as entry:
                conversation = await entry.locked()
                row = await claim(entry.conn)
                if row is None:
                    return None
                given_up = row.attempts > ATTEMPTS
                if given_up:
                    await _give_up(entry, row, conversation.locale)
                elif row.gen == 1:
                    frame = TurnStarted(
                        seq=entry.next_seq, turn_id=row.public_id, message_id=row.answer_id, gen=row.gen
                    )
                    entry.append(frame, turn_id=row.id, gen=row.gen)
        except Unavailable:
            if row is not None:
                self._not_heard(row)
            raise
        if given_up:
            metrics.TURNS.labels("failed").inc()
            return await self.next_of(client_id=client_id, conversation_id=conversation_id)
        if row.gen > 1:
            # It had been started under an older gen: whoever watches drops that text.
            reset = TurnReset(turn_id=row.public_id, gen=row.gen)
            self._hub.publish(channels.conversation(conversation.public_id), 0, codec.encode(reset))
        return await self._load(row, Lease(asked_at))

    def _not_heard(self, row: TurnRow) -> None:
        """If it was committed, the next sweep finds it, and nobody has tried it yet."""
        while len(self._unheard) >= UNHEARD:
            del self._unheard[next(iter(self._unheard))]
        self._unheard[row.id] = row.gen

    async def _load(self, row: TurnRow, lease: Lease) -> Job:
        """What a turn needs that did not come straight from its message."""
        async with reading(self._pool) as conn:
            client = await clients.find(conn, client_id=row.client_id)
            conversation = await conversations.find(conn, client_id=row.client_id, conversation_id=row.conversation_id)
            said = await messages.between(
                conn,
                client_id=row.client_id,
                conversation_id=row.conversation_id,
                after_id=row.message_id - 1,
                through_id=row.message_id,
            )
        if client is None or conversation is None or not said:
            raise NotFound(f"what turn {row.public_id} belongs to is gone")
        return Job(
            turn=row,
            client=client,
            conversation=conversation,
            text=said[0].content or "",
            total=conversation.total_messages,
            newest=False,
            at=datetime.now(UTC),
            lease=lease,
        )


async def _give_up(entry: Entry, row: TurnRow, locale: str) -> None:
    """The dead letter: the visitor reads that it failed, and the client's operators are told."""
    logger.error("turn given up", turn=row.public_id, client=row.client_id, attempts=row.attempts)
    await turns.finish(
        entry.conn, client_id=row.client_id, turn_id=row.id, gen=row.gen, status="failed", error="attempts"
    )
    await tool_executions.abandon(entry.conn, client_id=row.client_id, turn_id=row.id, error="attempts")
    await notifications.create(
        entry.conn,
        client_id=row.client_id,
        conversation_id=row.conversation_id,
        kind="turn_failed",
        details={"turn_id": row.public_id, "code": "attempts", "attempts": row.attempts},
    )
    frame = TurnFailed(
        seq=entry.next_seq,
        turn_id=row.public_id,
        code="attempts",
        message=phrases.for_failure("attempts", locale),
        retryable=True,
    )
    entry.append(frame, turn_id=row.id, gen=row.gen)
