"""Brings a reader up to date: subscribe, hold back what comes in, read the journal, merge by seq, let go.

A reader is recovered whole or not at all: every missed event in order, or a snapshot of everything.
"""

import msgspec

from server.errors import NotFound
from server.fanout.live import LiveTexts
from server.journal import Journal, Replay
from server.protocol.parts import LiveAnswer, Message, Owner, Person, Rating, Role, TokenUsage, ToolState
from server.protocol.visitor import TURN_ENDS, Snapshot
from server.repositories import conversations, messages, operators, turns
from server.repositories.conversations import Conversation
from server.repositories.events import Event
from server.repositories.messages import MessageRow
from server.repositories.pool import Pool, reading
from server.repositories.turns import Turn

# Messages in a snapshot; older ones come by `GET .../messages?before=`.
SNAPSHOT_MESSAGES = 50
# And of these only what begins within so many bytes, the newest first: an answer may have 64,000 characters, and fifty
# of them would be one frame of 3 MB and more for a reader that need not even read it.
SNAPSHOT_BYTES = 64 * 1024


class Recovery(msgspec.Struct, frozen=True):
    """What brings a reader to `up_to`. With `resumed`, `events` are what it missed; else the snapshot is everything."""

    resumed: bool
    events: list[Event]
    snapshot: Snapshot | None
    up_to: int


class Recoverer:
    """Reads what a reader needs; the reader subscribes before and merges after."""

    def __init__(self, pool: Pool, journal: Journal, live: LiveTexts) -> None:
        self._pool = pool
        self._journal = journal
        self._live = live

    async def recover(self, conversation: Conversation, *, epoch: str | None, last_seq: int | None) -> Recovery:
        """`conversation` names it; its state is read anew. Raises Unavailable, NotFound."""
        if last_seq is not None and epoch == conversation.epoch:
            # The turn first: if it ends before the replay is read, the replay has its end. Its text and its tools last,
            # so that they are no older than the events.
            turn = await self._running(conversation)
            replay = await self._journal.replay(
                client_id=conversation.client_id, conversation_id=conversation.id, after=last_seq
            )
            now = await self._now(conversation)
            if replay.complete and not replay.events and now.last_seq > last_seq:
                replay = await self._later(conversation, after=last_seq)
            # A seq that was never given out comes from another life of the conversation.
            if replay.complete and last_seq <= now.last_seq:
                head = replay.events[-1].seq if replay.events else last_seq
                snapshot = None
                if turn is not None and not _ended(turn, replay.events):
                    person = await self._operator(now)
                    live = await self._said(turn)
                    snapshot = Snapshot(up_to_seq=head, owner=_owner(now), operator=person, live=live)
                return Recovery(resumed=True, events=replay.events, snapshot=snapshot, up_to=head)
        now = await self._now(conversation)
        async with reading(self._pool) as conn:
            rows = await messages.page(
                conn,
                client_id=now.client_id,
                conversation_id=now.id,
                before=None,
                limit=SNAPSHOT_MESSAGES,
                room=SNAPSHOT_BYTES,
            )
        snapshot = Snapshot(
            up_to_seq=now.last_seq,
            owner=_owner(now),
            operator=await self._operator(now),
            # Later ones come as events.
            messages=[as_message(row) for row in rows if row.seq <= now.last_seq],
            live=await self.live(conversation),
        )
        return Recovery(resumed=False, events=[], snapshot=snapshot, up_to=now.last_seq)

    async def _later(self, conversation: Conversation, *, after: int) -> Replay:
        """There are later events and none was found: they came meanwhile, or retention has removed them."""
        replay = await self._journal.replay(
            client_id=conversation.client_id, conversation_id=conversation.id, after=after
        )
        return replay if replay.events else Replay([], complete=False)

    async def live(self, conversation: Conversation) -> LiveAnswer | None:
        """The running answer so far."""
        turn = await self._running(conversation)
        return None if turn is None else await self._said(turn)

    async def _running(self, conversation: Conversation) -> Turn | None:
        async with reading(self._pool) as conn:
            return await turns.running(conn, client_id=conversation.client_id, conversation_id=conversation.id)

    async def _said(self, turn: Turn) -> LiveAnswer:
        """What the turn has said so far; nothing where that is not known."""
        said = await self._live.get(turn.public_id, turn.gen)
        if said is None or said.gen != turn.gen:
            return LiveAnswer(turn_id=turn.public_id, message_id=turn.answer_id, gen=turn.gen, n=0, text="")
        return LiveAnswer(
            turn_id=turn.public_id,
            message_id=turn.answer_id,
            gen=said.gen,
            n=said.n,
            text=said.text,
            tools=msgspec.convert(said.tools, list[ToolState], from_attributes=True),
        )

    async def _operator(self, conversation: Conversation) -> Person | None:
        """The person who answers, as a visitor sees one."""
        if conversation.owner_operator_id is None:
            return None
        async with reading(self._pool) as conn:
            operator = await operators.find(conn, operator_id=conversation.owner_operator_id)
        return None if operator is None else Person(name=operator.name, avatar_url=operator.avatar_url)

    async def _now(self, conversation: Conversation) -> Conversation:
        async with reading(self._pool) as conn:
            now = await conversations.find(conn, client_id=conversation.client_id, conversation_id=conversation.id)
        if now is None:
            raise NotFound("this conversation is no longer kept", code="erased")
        return now


def as_message(row: MessageRow) -> Message:
    """A stored message as a visitor may see it. Its text is empty once retention has removed it."""
    return Message(
        id=row.public_id,
        role=msgspec.convert(row.role, Role),
        text=row.content or "",
        created_at=row.created_at,
        cid=row.cid,
        author=Person(name=row.author_name, avatar_url=row.author_avatar_url) if row.author_name is not None else None,
        turn_id=row.turn_public_id,
        usage=TokenUsage(input_tokens=row.tokens_input, output_tokens=row.tokens_output)
        if row.role == "assistant"
        else None,
        model=row.model,
        cached=row.cached,
        stopped=row.stopped,
        rating=msgspec.convert(row.rating, Rating | None),
    )


def _ended(turn: Turn, events: list[Event]) -> bool:
    """Whether a turn's end is among these events."""
    mark = f'"turn_id":"{turn.public_id}"'.encode()
    return any(event.type in TURN_ENDS and mark in event.payload for event in events)


def _owner(conversation: Conversation) -> Owner:
    owner: Owner = msgspec.convert(conversation.owner, Owner)
    return owner
