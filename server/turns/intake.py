"""Accepts a visitor's message: limits first, then one transaction of two round trips, then the turn runs."""

from datetime import UTC, datetime

import msgspec

from server import ids, log, metrics
from server.access import Session
from server.cache.rate_limit import Limit, RateLimiter
from server.errors import Conflict, Invalid, RateLimited, RequestError
from server.fanout.signals import Signals
from server.journal import Entry, Journal
from server.protocol.limits import MESSAGE_CHARACTERS
from server.protocol.parts import Message
from server.protocol.visitor import MessageCreated, OwnerChanged, TurnStarted
from server.repositories import conversations, messages, tool_executions, turns
from server.repositories.clients import Client
from server.repositories.messages import Admission
from server.turns.counting import count, is_console
from server.turns.engine import DEADLINE_S
from server.turns.job import Job
from server.turns.lease import LEASE_S
from server.turns.supervisor import Supervisor

logger = log.get("turns")

# Messages a minute of one visitor: faster than anybody types.
VISITOR_MESSAGES = 20
# Requests a minute from one address: an office behind one address has several visitors.
ADDRESS_REQUESTS = 120


class Accepted(msgspec.Struct, frozen=True):
    """A stored message. `turn_id` is None when nobody but a human answers, or when it had been stored before."""

    message_id: str
    seq: int
    turn_id: str | None
    duplicate: bool


def clean(text: str, *, field: str = "text") -> str:
    """Trimmed text of 1 to 5,000 characters. Raises Invalid that names `field`."""
    text = text.strip()
    if not text:
        raise Invalid(f"`{field}` is empty; it takes 1 to {MESSAGE_CHARACTERS:,} characters", code="empty", field=field)
    if len(text) > MESSAGE_CHARACTERS:
        raise Invalid(
            f"`{field}` has {len(text):,} characters; it takes 1 to {MESSAGE_CHARACTERS:,}",
            code="too_long",
            field=field,
        )
    if "\0" in text:
        raise Invalid(f"`{field}` may not contain U+0000", field=field)
    return text


def limits_of(client: Client, *, visitor: str | None, address: str, console: bool = False) -> list[Limit]:
    """What one request counts against. The console's own chats have limits apart, so that they take no visitor's."""
    name = f"{client.id}:console" if console else f"{client.id}"
    limits = [
        Limit("client", name, client.requests_per_minute),
        Limit("address", f"{name}:ip:{address}", ADDRESS_REQUESTS),
    ]
    if visitor is not None:
        limits.append(Limit("visitor", f"{name}:visitor:{visitor}", VISITOR_MESSAGES))
    return limits


class Intake:
    """Where messages come in, whatever they came through."""

    def __init__(self, *, journal: Journal, limiter: RateLimiter, supervisor: Supervisor, signals: Signals) -> None:
        self._signals = signals
        self._journal = journal
        self._limiter = limiter
        self._supervisor = supervisor

    async def accept(self, session: Session, *, cid: str, text: str, address: str, channel: str) -> Accepted:
        """Stores a message, once for its `cid`, and begins its turn.

        Raises Invalid, RateLimited (a minute's limits, or the plan's month), Conflict when the cid was used with
        another text, Unavailable. What raises has changed nothing.
        """
        try:
            text = clean(text)
            client, conversation = session.client, session.conversation
            console = is_console(conversation)
            await self._limiter.check(
                *limits_of(client, visitor=conversation.session_id, address=address, console=console)
            )
            accepted, job = await self._store(session, cid, text)
        except RequestError as error:
            metrics.REFUSED.labels(error.code).inc()
            raise
        if not accepted.duplicate:
            metrics.MESSAGES.labels(channel).inc()
        if job is not None:
            self._supervisor.run(job)
        elif accepted.turn_id is not None:
            self._supervisor.next(client_id=client.id, conversation_id=conversation.id)
        return accepted

    async def _store(self, session: Session, cid: str, text: str) -> tuple[Accepted, Job | None]:
        client, conversation_id = session.client, session.conversation.id
        message_id, turn_id, answer_id = ids.message_id(), ids.turn_id(), ids.message_id()
        declined: list[str] = []
        async with self._journal.write(client_id=client.id, conversation_id=conversation_id) as entry:
            asked = await messages.admission(
                entry.conn,
                client_id=client.id,
                conversation_id=conversation_id,
                cid=cid,
                month_start=datetime.now(UTC).date().replace(day=1),
            )
            conversation = await entry.locked()
            admission = await asked.fetchone()
            if admission is None:
                raise RuntimeError("admission answers with one row")
            if admission.duplicate_id is not None:
                return _duplicate(admission, text), None
            if not is_console(conversation):
                _check_month(client, admission)
            answered = conversation.owner not in {"human", "queued"}
            if conversation.owner == "closed":
                await self._reopen(entry)
            # A turn that waits goes first, even if nobody runs it yet.
            runs_now = answered and not admission.turn_active
            if admission.turn_active:
                # Whoever writes instead of pressing a button has not said yes, and wants an answer to what they write.
                declined = await tool_executions.decline_open(
                    entry.conn, client_id=client.id, conversation_id=conversation_id
                )
            seq = entry.next_seq
            await self._write_message(entry, message_id, cid, text)
            if answered:
                created = await turns.create(
                    entry.conn,
                    client_id=client.id,
                    conversation_id=conversation_id,
                    public_id=turn_id,
                    message_public_id=message_id,
                    answer_id=answer_id,
                    owner=self._supervisor.owner if runs_now else None,
                    lease_s=LEASE_S,
                    deadline_s=DEADLINE_S,
                )
            else:
                await conversations.set_waiting(
                    entry.conn, client_id=client.id, conversation_id=conversation_id, waiting=True
                )
            if runs_now:
                entry.append(TurnStarted(seq=entry.next_seq, turn_id=turn_id, message_id=answer_id, gen=1), gen=1)
            total = entry.total_messages
        for call_id in declined:
            self._signals.send(call_id)
        row = await created.fetchone() if runs_now else None
        job = (
            Job(
                turn=row,
                client=client,
                conversation=conversation,
                text=text,
                total=total,
                newest=True,
                at=entry.at,
            )
            if row is not None
            else None
        )
        return Accepted(message_id, seq, turn_id if answered else None, duplicate=False), job

    async def _reopen(self, entry: Entry) -> None:
        """Whoever writes into a closed conversation finds the AI in it again."""
        await conversations.set_owner(
            entry.conn, client_id=entry.conversation.client_id, conversation_id=entry.conversation.id, owner="ai"
        )
        entry.append(OwnerChanged(seq=entry.next_seq, owner="ai"))

    async def _write_message(self, entry: Entry, message_id: str, cid: str, text: str) -> None:
        conversation = entry.conversation
        message = Message(id=message_id, role="user", text=text, created_at=entry.at, cid=cid)
        await messages.create(
            entry.conn,
            client_id=conversation.client_id,
            conversation_id=conversation.id,
            public_id=message_id,
            role="user",
            content=text,
            seq=entry.next_seq,
            created_at=entry.at,
            cid=cid,
        )
        entry.append(MessageCreated(seq=entry.next_seq, message=message), message=True)
        await count(
            entry.conn,
            conversation,
            day=entry.at.date(),
            messages=1,
            conversations=1 if conversation.total_messages == 0 else 0,
        )


def _duplicate(admission: Admission, text: str) -> Accepted:
    if admission.duplicate_content is not None and admission.duplicate_content != text:
        raise Conflict("this cid was used for another message", code="cid_reused", field="cid")
    if admission.duplicate_id is None or admission.duplicate_seq is None:
        raise RuntimeError("a duplicate has an id and a seq")
    return Accepted(admission.duplicate_id, admission.duplicate_seq, None, duplicate=True)


def _check_month(client: Client, admission: Admission) -> None:
    if client.monthly_messages is not None and admission.month_messages >= client.monthly_messages:
        raise RateLimited(
            f"the plan's {client.monthly_messages:,} messages of this month are used up; "
            "the next month begins on the 1st, UTC",
            code="month_over",
        )
