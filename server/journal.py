"""The journal of conversations: the only write path and the only read path of events.

A write is one transaction that holds the conversation's row, so its events are numbered without gaps, in the order they
were committed. What is published is what was stored, after the commit and never before. While Redis is away the
transaction posts a notice too, which Postgres delivers with the commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from psycopg import AsyncCursor

from server.errors import NotFound
from server.fanout import channels
from server.fanout.hub import Hub
from server.protocol import codec
from server.protocol.operator import Colleague, InboxRow, InboxUpdated
from server.protocol.parts import Owner
from server.protocol.visitor import (
    Durable,
    MessageCompleted,
    MessageCreated,
    OwnerChanged,
    TurnFailed,
    TurnStopped,
)
from server.repositories import conversations, events, notices
from server.repositories.conversations import Advanced, Conversation, LockedConversation
from server.repositories.events import Event, NewEvent
from server.repositories.inbox import PREVIEW_CHARACTERS
from server.repositories.pool import Conn, Pool, reading, unit_of_work

# A reader further behind than this gets a snapshot instead (reliability: 300 events or 256 KB).
REPLAY_EVENTS = 300
REPLAY_BYTES = 256 * 1024


class Entry:
    """One open write. Use `conn` for what belongs to it, `locked()` before the first event."""

    def __init__(self, conn: Conn, client_id: int, lock: AsyncCursor[LockedConversation]) -> None:
        self.conn = conn
        self._client_id = client_id
        self._lock = lock
        self._conversation: LockedConversation | None = None
        self._events: list[NewEvent] = []
        self._messages = 0
        # What the inbox shows of these events: whether anything, and the newest message.
        self._shown = False
        self._preview: str | None = None
        self._advanced: AsyncCursor[Advanced] | None = None

    async def locked(self) -> LockedConversation:
        """The conversation as it is now, held until the commit. Raises NotFound."""
        if self._conversation is None:
            self._conversation = await self._lock.fetchone()
            if self._conversation is None:
                raise NotFound("no such conversation")
        return self._conversation

    @property
    def conversation(self) -> LockedConversation:
        """What `locked()` returned."""
        if self._conversation is None:
            raise RuntimeError("await entry.locked() first")
        return self._conversation

    @property
    def at(self) -> datetime:
        """The transaction's time by the database's clock, UTC: its date is the day that usage counts for."""
        return self.conversation.at.astimezone(UTC)

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return self.conversation.last_seq + len(self._events) + 1

    def append(
        self, frame: Durable, *, turn_id: int | None = None, gen: int | None = None, message: bool = False
    ) -> None:
        """Adds an event. `frame.seq` must be `next_seq`; `message` counts one more message in the conversation."""
        if frame.seq != self.next_seq:
            raise RuntimeError(f"seq {frame.seq} is not the next, {self.next_seq}")
        tag = str(frame.__struct_config__.tag)
        self._events.append(NewEvent(frame.seq, tag, codec.encode(frame), turn_id, gen))
        self._messages += message
        match frame:
            case MessageCreated() | MessageCompleted() | TurnStopped():
                self._shown = True
                if frame.message is not None:
                    self._preview = frame.message.text[:PREVIEW_CHARACTERS]
            case OwnerChanged() | TurnFailed():
                self._shown = True

    @property
    def total_messages(self) -> int:
        """How many messages the conversation has once this is committed."""
        return self.conversation.total_messages + self._messages

    async def flush(self) -> list[NewEvent]:
        """Writes what was appended. Called once, by the journal."""
        if self._events:
            conversation = self.conversation
            await events.append(
                self.conn, client_id=self._client_id, conversation_id=conversation.id, events=self._events
            )
            self._advanced = await conversations.advance(
                self.conn,
                client_id=self._client_id,
                conversation_id=conversation.id,
                last_seq=self._events[-1].seq,
                messages_added=self._messages,
            )
        return self._events

    async def inbox_row(self) -> InboxRow | None:
        """What changed for those who watch the inbox; None when nothing did, and for the console's own chats. After the
        commit, without a round trip."""
        if self.conversation.channel == conversations.CONSOLE:
            return None
        now = await self._advanced.fetchone() if self._shown and self._advanced is not None else None
        return None if now is None else _inbox_row(self.conversation, self.next_seq - 1, self._preview, now)


class Replay(msgspec.Struct, frozen=True):
    """Events after a seq, in order. `complete` is False when there were more than a replay may hold, and when retention
    has removed some of them. Without events: when it has removed them all, that is not seen here."""

    events: list[Event]
    complete: bool


class Journal:
    """Writes and reads events of conversations."""

    def __init__(self, pool: Pool, hub: Hub) -> None:
        self._pool = pool
        self._hub = hub

    @asynccontextmanager
    async def write(self, *, client_id: int, conversation_id: int) -> AsyncIterator[Entry]:
        """One transaction. Its events are published after it has committed; an exception leaves nothing behind.

        The lock is asked for and not awaited, so that the caller's first statements go with it in one round trip.
        """
        async with unit_of_work(self._pool) as conn:
            lock = await conversations.lock(conn, client_id=client_id, conversation_id=conversation_id)
            entry = Entry(conn, client_id, lock)
            yield entry
            written = await entry.flush()
            if written and (notice := self._hub.notice(entry.conversation.public_id, written[-1].seq)):
                await notices.post(conn, notices=[notice])
        if written:
            channel = channels.conversation(entry.conversation.public_id)
            for event in written:
                self._hub.publish(channel, event.seq, event.payload)
            if (row := await entry.inbox_row()) is not None:
                update = codec.encode(InboxUpdated(rows=[row]))
                self._hub.publish(channels.inbox(client_id), 0, update)
                self._hub.publish(channels.inbox(None), 0, update)

    async def republish(self, client_id: int, conversation: Conversation) -> None:
        """Publishes again what was committed after `conversation` was read; receivers ignore what they have."""
        replay = await self.replay(client_id=client_id, conversation_id=conversation.id, after=conversation.last_seq)
        for event in replay.events:
            self._hub.publish(channels.conversation(conversation.public_id), event.seq, event.payload)

    async def replay(self, *, client_id: int, conversation_id: int, after: int) -> Replay:
        """What a reader that has seen `after` missed."""
        async with reading(self._pool) as conn:
            found = await events.after(
                conn, client_id=client_id, conversation_id=conversation_id, seq=after, limit=REPLAY_EVENTS + 1
            )
        small = len(found) <= REPLAY_EVENTS and sum(len(event.payload) for event in found) <= REPLAY_BYTES
        whole = not found or found[-1].seq == after + len(found)
        return Replay(found, True) if small and whole else Replay([], False)


def _inbox_row(conversation: Conversation, seq: int, preview: str | None, now: Advanced) -> InboxRow:
    operator = None
    if now.owner_operator_id is not None:
        operator = Colleague(id=now.owner_operator_id, name=now.operator_name or "", avatar_url=now.operator_avatar_url)
    return InboxRow(
        conversation_id=conversation.public_id,
        client_id=conversation.client_id,
        seq=seq,
        owner=msgspec.convert(now.owner, Owner),
        last_activity_at=now.last_activity_at,
        preview=preview,
        operator=operator,
        waiting_since=now.waiting_since,
    )
