"""Who answers a conversation: an operator takes it over from the AI mid-word, gives it back, closes it, steers it.

    ai --request--> queued --take--> human --release--> ai
     '-------------take---------------^ '--close--> closed --the visitor writes--> ai

Every change of owner holds the conversation's row, as the intake of messages does: of two who take it one wins, and a
message meets either the AI or the person. Turns end in the transaction that makes a person the owner, so none can begin
under one. Each action is in the audit log by the same transaction.
"""

from typing import Any

from server import ids
from server.access import Session
from server.cache.rate_limit import Limit
from server.errors import Conflict, Invalid, NotFound
from server.fanout import channels
from server.fanout.hub import Hub
from server.fanout.signals import Signals
from server.journal import Entry, Journal
from server.protocol import codec
from server.protocol.operator import Colleague, WhisperRecorded
from server.protocol.parts import Message, Owner, Person
from server.protocol.visitor import MessageCreated, OwnerChanged
from server.repositories import (
    audit,
    conversations,
    messages,
    notifications,
    operators,
    tool_executions,
    turns,
    whispers,
)
from server.repositories.conversations import Conversation
from server.repositories.operators import Operator
from server.repositories.pool import Conn, Pool, unit_of_work
from server.repositories.turns import Turn as TurnRow
from server.repositories.whispers import WhisperRow
from server.turns.counting import count
from server.turns.engine import DEADLINE_S
from server.turns.intake import Accepted, clean
from server.turns.lease import LEASE_S
from server.turns.stopping import Stopping
from server.turns.supervisor import Supervisor

# Whispers that may wait for one turn: together they must leave room in the model's window.
WHISPERS_WAITING = 10
# Characters of a visitor's reason to ask for a person.
REASON_CHARACTERS = 500
# Commands a minute of one operator, over all sockets and requests: a person at two consoles does not come near.
OPERATOR_COMMANDS = 300


class Handover:
    """What operators do to a conversation, and the visitor's call for one.

    The caller has proven the operator and that they serve the conversation's client. `conversation` names it; its state
    is read anew under its lock. Raises NotFound when it is gone, Unavailable; what raises has changed nothing.
    """

    def __init__(
        self, *, pool: Pool, hub: Hub, journal: Journal, signals: Signals, supervisor: Supervisor, stopping: Stopping
    ) -> None:
        self._pool = pool
        self._hub = hub
        self._journal = journal
        self._signals = signals
        self._supervisor = supervisor
        self._stopping = stopping

    # --- whose it is

    async def take(self, operator: Operator, conversation: Conversation) -> None:
        """The operator answers from now on; a running answer ends where it is, and what was said of it is kept.

        Taking one's own again changes nothing. Raises Conflict `taken`, which names who has it.
        """

        async def then(entry: Entry, ended: list[TurnRow]) -> None:
            now = entry.conversation
            if _has(operator, now):
                return
            if (holder := await _holder(entry)) is not None:
                raise Conflict(f"{holder.name} has this conversation", code="taken")
            # Whoever was cut off, or had asked for a person, waits for one.
            waits = bool(ended) or now.waiting_since is not None
            await _own(entry, "human", operator, waiting=waits)
            await _log(
                entry.conn, operator, now, "take", {"from": now.owner, "turns": [row.public_id for row in ended]}
            )

        await self._stopping.all(conversation, error="taken", then=then)

    async def release(self, operator: Operator, conversation: Conversation) -> None:
        """Back to the AI, which answers what nobody has answered. One that is the AI's stays as it is.

        Whoever serves the client may release a conversation that waits for a person. Raises Conflict `not_yours`.
        """
        turn_id: str | None = None
        async with self._journal.write(client_id=conversation.client_id, conversation_id=conversation.id) as entry:
            now = await entry.locked()
            if now.owner == "ai":
                return
            if now.owner == "closed":
                raise Conflict("this conversation is closed; take it to open it again", code="not_yours")
            await _refuse_other(entry, operator)
            await _own(entry, "ai")
            unanswered = await messages.unanswered(entry.conn, client_id=now.client_id, conversation_id=now.id)
            if unanswered is not None:
                turn_id = ids.turn_id()
                await turns.create(
                    entry.conn,
                    client_id=now.client_id,
                    conversation_id=now.id,
                    public_id=turn_id,
                    message_public_id=unanswered,
                    answer_id=ids.message_id(),
                    owner=None,
                    lease_s=LEASE_S,
                    deadline_s=DEADLINE_S,
                )
            await _log(entry.conn, operator, now, "release", {"from": now.owner, "turn": turn_id})
        if turn_id is not None:
            self._supervisor.next(client_id=conversation.client_id, conversation_id=conversation.id)

    async def close(self, operator: Operator, conversation: Conversation) -> None:
        """Ends the conversation, answers that run included, until the visitor writes again: then it is the AI's.

        A closed one stays as it is. Raises Conflict `not_yours` while another operator has it.
        """

        async def then(entry: Entry, ended: list[TurnRow]) -> None:
            now = entry.conversation
            if now.owner == "closed":
                return
            await _refuse_other(entry, operator)
            await _own(entry, "closed")
            await _log(
                entry.conn, operator, now, "close", {"from": now.owner, "turns": [row.public_id for row in ended]}
            )

        await self._stopping.all(conversation, error="closed", then=then)

    async def request(self, session: Session, *, reason: str | None = None) -> bool:
        """The visitor asks for a person: an answer that runs may end, no other begins, operators are notified.

        False when one had been asked for, or has the conversation, already. Raises Invalid for the reason.
        """
        reason = _reason(reason)
        asked = False

        async def then(entry: Entry, ended: list[TurnRow]) -> None:
            nonlocal asked
            now = entry.conversation
            if now.owner in {"queued", "human"}:
                return
            asked = True
            await _own(entry, "queued", waiting=True)
            await notifications.create(
                entry.conn,
                client_id=now.client_id,
                kind="handoff_requested",
                conversation_id=now.id,
                details={"reason": reason},
            )
            await _log(entry.conn, None, now, "request", {"turns": [row.public_id for row in ended]})

        await self._stopping.waiting(session.conversation, error="handoff_requested", then=then)
        return asked

    # --- what is said

    async def reply(self, operator: Operator, conversation: Conversation, *, cid: str, text: str) -> Accepted:
        """Says something to the visitor, once for its cid.

        Raises Invalid, Conflict `not_yours` for anybody but who has the conversation, Conflict `cid_reused`.
        """
        text, message_id = clean(text), ids.message_id()
        async with self._journal.write(client_id=conversation.client_id, conversation_id=conversation.id) as entry:
            now = await entry.locked()
            if (earlier := await self._earlier(entry, operator, cid, text)) is not None:
                return earlier
            if not _has(operator, now):
                raise Conflict("take this conversation before you answer in it", code="not_yours")
            seq = entry.next_seq
            await messages.create(
                entry.conn,
                client_id=now.client_id,
                conversation_id=now.id,
                public_id=message_id,
                role="operator",
                content=text,
                seq=seq,
                created_at=entry.at,
                cid=cid,
                author_operator_id=operator.id,
            )
            message = Message(
                id=message_id, role="operator", text=text, created_at=entry.at, cid=cid, author=_person(operator)
            )
            entry.append(MessageCreated(seq=seq, message=message), message=True)
            await conversations.set_waiting(entry.conn, client_id=now.client_id, conversation_id=now.id, waiting=False)
            await _log(entry.conn, operator, now, "reply", {"message": message_id})
            await count(entry.conn, now, day=entry.at.date(), messages=1)
        return Accepted(message_id, seq, None, duplicate=False)

    async def whisper(self, operator: Operator, conversation: Conversation, *, text: str) -> WhisperRow:
        """Tells the AI something for its next turn, and for that one only; the visitor never sees it.

        Whoever watches the conversation is shown it. Raises Invalid, Conflict `whispers_waiting` when enough of them
        wait for a turn.
        """
        text = clean(text)
        async with self._journal.write(client_id=conversation.client_id, conversation_id=conversation.id) as entry:
            now = await entry.locked()
            row = await whispers.create(
                entry.conn,
                client_id=now.client_id,
                conversation_id=now.id,
                operator_id=operator.id,
                content=text,
                most_waiting=WHISPERS_WAITING,
            )
            if row is None:
                raise Conflict(
                    f"{WHISPERS_WAITING} whispers wait for the AI's next answer already", code="whispers_waiting"
                )
            await _log(entry.conn, operator, now, "whisper", {"no": row.no})
        recorded = codec.encode(recorded_whisper(conversation, row))
        self._hub.publish(channels.operators(conversation.public_id), 0, recorded)
        return row

    # --- what the AI does

    async def stop(self, operator: Operator, conversation: Conversation, *, turn_id: str) -> bool:
        """Ends a turn and keeps what was said. False when it was over already."""

        async def then(entry: Entry, ended: list[TurnRow]) -> None:
            await _log(entry.conn, operator, entry.conversation, "stop", {"turn": turn_id})

        return await self._stopping.one(conversation, turn_id=turn_id, error="stopped by an operator", then=then)

    async def approve(self, operator: Operator, conversation: Conversation, *, call_id: str, approved: bool) -> None:
        """The answer to a tool that asks first, in the visitor's place. The first answer counts.

        Raises NotFound `unknown_call` when nothing of this conversation waits for it, or no longer.
        """
        async with unit_of_work(self._pool) as conn:
            answered = await tool_executions.answer(
                conn,
                client_id=conversation.client_id,
                conversation_id=conversation.id,
                call_id=call_id,
                approved=approved,
            )
            if answered is None:
                raise NotFound("no tool is waiting for this confirmation", code="unknown_call", field="call_id")
            await _log(
                conn,
                operator,
                conversation,
                "approve",
                {"call": call_id, "tool": answered.tool_name, "approved": approved},
            )
        self._signals.send(call_id)

    async def _earlier(self, entry: Entry, operator: Operator, cid: str, text: str) -> Accepted | None:
        """The same reply, if it was stored before. Raises Conflict `cid_reused`."""
        row = await messages.find_by_cid(
            entry.conn, client_id=entry.conversation.client_id, conversation_id=entry.conversation.id, cid=cid
        )
        if row is None:
            return None
        if row.author_operator_id != operator.id or row.content not in {text, None}:
            raise Conflict("this cid was used for another message", code="cid_reused", field="cid")
        return Accepted(row.public_id, row.seq, None, duplicate=True)


def limit_of(operator: Operator) -> Limit:
    """What counts an operator's commands, whatever they come through."""
    return Limit("operator", f"operator:{operator.id}", OPERATOR_COMMANDS)


def recorded_whisper(conversation: Conversation, row: WhisperRow) -> WhisperRecorded:
    """A whisper as operators read it. Its author is absent once they are gone."""
    author = None
    if row.operator_id is not None and row.operator_name is not None:
        author = Colleague(id=row.operator_id, name=row.operator_name, avatar_url=row.operator_avatar_url)
    return WhisperRecorded(
        conversation_id=conversation.public_id,
        no=row.no,
        text=row.content,
        created_at=row.created_at,
        operator=author,
    )


def _has(operator: Operator, now: Conversation) -> bool:
    return now.owner == "human" and now.owner_operator_id == operator.id


async def _holder(entry: Entry) -> Operator | None:
    """The operator who has the conversation. One who may not sign in any more has none."""
    now = entry.conversation
    if now.owner != "human" or now.owner_operator_id is None:
        return None
    holder = await operators.find(entry.conn, operator_id=now.owner_operator_id)
    return holder if holder is not None and holder.status == "active" else None


async def _refuse_other(entry: Entry, operator: Operator) -> None:
    holder = await _holder(entry)
    if holder is not None and holder.id != operator.id:
        raise Conflict(f"{holder.name} has this conversation", code="not_yours")


async def _own(entry: Entry, owner: Owner, operator: Operator | None = None, *, waiting: bool = False) -> None:
    """The conversation's new owner, and the event that says so."""
    now = entry.conversation
    await conversations.set_owner(
        entry.conn,
        client_id=now.client_id,
        conversation_id=now.id,
        owner=owner,
        owner_operator_id=None if operator is None else operator.id,
        waiting=waiting,
    )
    person = None if operator is None else _person(operator)
    entry.append(OwnerChanged(seq=entry.next_seq, owner=owner, operator=person))


async def _log(
    conn: Conn, operator: Operator | None, conversation: Conversation, action: str, details: dict[str, Any]
) -> None:
    await audit.record(
        conn,
        client_id=conversation.client_id,
        operator_id=None if operator is None else operator.id,
        action=f"conversation.{action}",
        target_type="conversation",
        target_id=conversation.public_id,
        details=details,
    )


def _person(operator: Operator) -> Person:
    """An operator as a visitor sees one."""
    return Person(name=operator.name, avatar_url=operator.avatar_url)


def _reason(reason: str | None) -> str | None:
    reason = (reason or "").strip()
    if len(reason) > REASON_CHARACTERS:
        raise Invalid(
            f"`reason` has {len(reason):,} characters; it takes {REASON_CHARACTERS} at most",
            code="too_long",
            field="reason",
        )
    if "\0" in reason:
        raise Invalid("`reason` may not contain U+0000", field="reason")
    return reason or None
