"""`POST /api/v1/chat`: one message, one answer. As JSON when it is whole, or as server-sent events while it comes."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server import ids, log
from server.access import Session, check_origin
from server.api.endpoint import Endpoint, Parameter
from server.api.follow import SILENCE, Follower, following
from server.api.responses import bearer, body, json
from server.api.sessions import peer
from server.errors import Invalid, Unauthorized, Unavailable
from server.protocol import codec
from server.protocol.http import ChatFailure, ChatReply, ChatRequest, ToolCallSummary
from server.protocol.parts import Owner, TokenUsage
from server.protocol.visitor import TURN_ENDS, Ack
from server.repositories import conversations, messages, tool_executions, turns
from server.repositories.conversations import Conversation
from server.repositories.pool import reading
from server.repositories.turns import Turn as TurnRow
from server.services import Services
from server.turns import phrases
from server.turns.engine import DEADLINE_S
from server.turns.intake import Accepted, clean, limits_of

logger = log.get("api")

# Seconds of silence until the journal is asked whether something was missed, and a comment keeps proxies from closing.
SILENCE_S = 10.0
# A turn waits for the one before it, and each has its deadline.
PATIENCE_S = 2 * DEADLINE_S + 10
ENDED = frozenset({"done", "failed", "stopped"})
CID_CHARACTERS = 64
# A bigint's, as Postgres numbers events.
SEQ_DIGITS = 19
# Proxies must pass each event on as it comes.
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
# Frames that end a turn, as they begin on the wire.
_ENDS = tuple(f'{{"type":"{kind}"'.encode() for kind in TURN_ENDS)


class Message(msgspec.Struct, frozen=True):
    """What is said, by whom from where."""

    text: str
    cid: str
    address: str


async def chat(request: Request, services: Services) -> Response:
    credential = bearer(request)
    given = await body(request, ChatRequest)
    text = clean(given.message, field="message")
    cid = given.cid or request.headers.get("idempotency-key")
    if cid is not None and not 1 <= len(cid) <= CID_CHARACTERS:
        raise Invalid(f"`Idempotency-Key` has 1 to {CID_CHARACTERS} characters", field="cid")
    position = _position(request.headers.get("last-event-id"))
    session, is_new = await _session(request, services, credential, given, cid)
    message = Message(text=text, cid=cid or ids.cid(), address=peer(request))
    if "text/event-stream" in request.headers.get("accept", ""):
        epoch, seq = position
        frames = _events(services, session, message, seq if epoch == session.conversation.epoch else None)
        # The message is stored, or refused, before the first byte of the answer: a refusal is an HTTP error.
        first = await anext(frames)
        return StreamingResponse(_chain(first, frames), media_type="text/event-stream", headers=STREAM_HEADERS)
    async with following(services, session.conversation) as follower:
        accepted = await _accept(services, session, message)
        turn = await _ended(services, session, accepted, follower)
    reply = await _reply(services, session, accepted, turn, token=session.token if is_new else None)
    return json(reply, headers={"cache-control": "no-store"})


async def _accept(services: Services, session: Session, message: Message) -> Accepted:
    return await services.intake.accept(
        session, cid=message.cid, text=message.text, address=message.address, channel="api"
    )


# --- whose session


async def _session(
    request: Request, services: Services, credential: str, given: ChatRequest, cid: str | None
) -> tuple[Session, bool]:
    """The session to speak in, and whether it was begun here, so that its token must be told."""
    access = services.access
    if credential.startswith("sk_"):
        client = await access.client_by_secret_key(credential)
        if given.session_id is not None:
            return await access.adopt_session(client, session_id=given.session_id), False
        await services.limiter.check(*limits_of(client, visitor=None, address=peer(request)))
        return await access.session_for(client, cid=cid, locale=given.locale, user_identifier=given.user_identifier)
    key = request.headers.get("x-frontdesk-key", "")
    if not key:
        raise Unauthorized("send `X-Frontdesk-Key: pk_...` with a session token, or a secret key", code="no_key")
    client = await access.client_by_public_key(key)
    check_origin(client, request.headers.get("origin"))
    if given.session_id is None:
        raise Invalid("`session_id` is missing", code="missing", field="session_id")
    return await access.session(client, session_id=given.session_id, token=credential), False


# --- as JSON


async def _ended(services: Services, session: Session, accepted: Accepted, follower: Follower) -> TurnRow | None:
    """Waits for the message's turn to end. None when no turn was begun, because people answer."""
    turn = await _turn(services, session, accepted)
    if turn is None or turn.status in ENDED:
        return turn
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for item in follower.items(after=accepted.seq, silence_s=SILENCE_S):
                if item is SILENCE or item.payload.startswith(_ENDS):
                    turn = await _turn(services, session, accepted)
                    if turn is None or turn.status in ENDED:
                        return turn
    except TimeoutError:
        # Many questions before this one. The message is stored and will be answered: a retry with its cid gets it.
        raise Unavailable("turn", "the answer takes longer than a request may wait") from None
    raise AssertionError("a follower never ends by itself")


async def _turn(services: Services, session: Session, accepted: Accepted) -> TurnRow | None:
    async with reading(services.pool) as conn:
        return await turns.find_by_message(
            conn,
            client_id=session.client.id,
            conversation_id=session.conversation.id,
            message_public_id=accepted.message_id,
        )


async def _reply(
    services: Services, session: Session, accepted: Accepted, turn: TurnRow | None, *, token: str | None
) -> ChatReply:
    """What the journal has of the answer, whoever gave it."""
    client_id, conversation_id = session.client.id, session.conversation.id
    async with reading(services.pool) as conn:
        now = await conversations.find(conn, client_id=client_id, conversation_id=conversation_id)
        answer = (
            await messages.find_by_public_id(
                conn, client_id=client_id, conversation_id=conversation_id, public_id=turn.answer_id
            )
            if turn is not None
            else None
        )
        calls = (
            await tool_executions.list_for_turn(conn, client_id=client_id, turn_id=turn.id) if turn is not None else []
        )
    failed = None
    reply = answer.content if answer else None
    if turn is not None and turn.status == "failed":
        code = (turn.error or "internal").partition(":")[0]
        failed = ChatFailure(code=code, retryable=code != "model_filtered")
        reply = phrases.for_failure(code, session.conversation.locale)
    return ChatReply(
        session_id=session.conversation.session_id,
        session_token=token,
        conversation_id=session.conversation.public_id,
        message_id=answer.public_id if answer else accepted.message_id,
        reply=reply,
        citations=[],
        # What was refused before it went out is between the model and us.
        tool_calls=[
            ToolCallSummary(name=call.tool_name, ok=call.success is True, ms=call.execution_time_ms or 0)
            for call in calls
            if call.attempt
        ],
        usage=TokenUsage(input_tokens=answer.tokens_input, output_tokens=answer.tokens_output)
        if answer
        else TokenUsage(input_tokens=0, output_tokens=0),
        cost=answer.cost if answer else Decimal(0),
        model=answer.model if answer else None,
        cached=answer.cached if answer else False,
        owner=msgspec.convert(now.owner if now else "closed", Owner),
        failed=failed,
    )


# --- as server-sent events


async def _events(services: Services, session: Session, message: Message, after: int | None) -> AsyncIterator[bytes]:
    """An ack, then every frame from the message on until its turn has ended."""
    epoch = session.conversation.epoch
    async with following(services, session.conversation) as follower:
        accepted = await _accept(services, session, message)
        ack = Ack(cid=message.cid, message_id=accepted.message_id, seq=accepted.seq)
        yield _event(codec.encode(ack))
        turn = await _turn(services, session, accepted)
        if turn is None:
            return
        mark = f'"turn_id":"{turn.public_id}"'.encode()
        start = accepted.seq - 1 if after is None else after
        if turn.status in ENDED:
            for each in await _past(services, session.conversation, after=start, end=mark):
                yield each
            return
        async for item in follower.items(after=start, silence_s=SILENCE_S):
            if item is SILENCE:
                yield b": still here\n\n"
                continue
            yield _event(item.payload, f"{epoch}:{item.seq}" if item.seq else None)
            if item.payload.startswith(_ENDS) and mark in item.payload:
                return


async def _past(services: Services, conversation: Conversation, *, after: int, end: bytes) -> list[bytes]:
    """A turn that was over before: its events after a seq, which may be none; a snapshot where they are too many."""
    recovery = await services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=after)
    if not recovery.resumed and recovery.snapshot is not None:
        return [_event(codec.encode(recovery.snapshot))]
    told = []
    for event in recovery.events:
        told.append(_event(event.payload, f"{conversation.epoch}:{event.seq}"))
        if event.payload.startswith(_ENDS) and end in event.payload:
            break
    return told


def _event(payload: bytes, event_id: str | None = None) -> bytes:
    head = f"id: {event_id}\n".encode() if event_id else b""
    return b"%bdata: %b\n\n" % (head, payload)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for each in rest:
        yield each


def _position(last_event_id: str | None) -> tuple[str | None, int]:
    """Epoch and seq of `Last-Event-ID: epoch:seq`; no epoch when there is none. Raises Invalid."""
    if not last_event_id:
        return None, 0
    epoch, _, seq = last_event_id.partition(":")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= SEQ_DIGITS):
        raise Invalid("`Last-Event-ID` is `epoch:seq`", field="Last-Event-ID")
    return epoch, int(seq)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/chat",
        chat,
        "Say something and get the answer",
        ChatReply,
        takes=ChatRequest,
        about=(
            "With `Accept: text/event-stream` it streams the frames of the visitor socket as server-sent events; "
            "durable ones have the id `epoch:seq`, and `Last-Event-ID` resumes. When the model fails the status is "
            "200, `reply` is a kind sentence and `failed` says so. `reply` is null while a human owns the "
            "conversation. A tool that asks first can be answered over a stream or a socket; asked as JSON nobody can, "
            "and after 90 seconds it is not done."
        ),
        parameters=(
            Parameter("X-Frontdesk-Key", "header", "The public key, with a session token; not with a secret key"),
            Parameter("Idempotency-Key", "header", "Same as `cid`: a retry with it never makes a second message"),
            Parameter("Last-Event-ID", "header", "Where a stream goes on, `epoch:seq`"),
        ),
        credentials=("secret key", "session token"),
        refuses=(400, 401, 403, 404, 409, 413, 422, 429, 503),
    ),
)
