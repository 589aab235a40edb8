"""`POST /api/v1/chat`: one message, one answer. As JSON when it is whole, or as server-sent events while it comes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server import ids, log
from server.access import Session, check_origin
from server.api.answering import turn_of, until_ended
from server.api.follow import Follower, Position, following
from server.api.stream import COMMENT, EventStream, event, opening, position, told
from server.errors import Invalid, Unauthorized, Unavailable
from server.protocol import codec
from server.protocol.http import ChatFailure, ChatReply, ChatRequest, ToolCallSummary
from server.protocol.parts import Owner, TokenUsage
from server.protocol.visitor import Ack
from server.repositories import conversations, messages, tool_executions
from server.repositories.pool import reading
from server.repositories.turns import Turn as TurnRow
from server.services import Services
from server.turns import phrases
from server.turns.engine import DEADLINE_S
from server.turns.intake import Accepted, clean, limits_of
from server.web.endpoint import Endpoint, Parameter
from server.web.responses import bearer, body, json, peer

logger = log.get("api")

# A turn waits for the one before it, and each has its deadline.
PATIENCE_S = 2 * DEADLINE_S + 10
CID_CHARACTERS = 64


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
    stands = position(request.headers.get("last-event-id"))
    if stands is not None and cid is None:
        raise Invalid(
            "a stream goes on with the `cid` or `Idempotency-Key` it began with, else it would ask anew",
            code="missing",
            field="cid",
        )
    session, is_new = await _session(request, services, credential, given, cid)
    message = Message(text=text, cid=cid or ids.cid(), address=peer(request))
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _stream(services, session, message, stands)
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
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            aclosing(until_ended(services, session, accepted, follower, None)) as parts,
        ):
            async for _ in parts:
                pass
    except TimeoutError:
        # Many questions before this one. The message is stored and will be answered: a retry with its cid gets it.
        raise Unavailable("turn", "the answer takes longer than a request may wait") from None
    return await turn_of(services, session, accepted)


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


async def _stream(services: Services, session: Session, message: Message, stands: Position | None) -> Response:
    """The stream; 204 for a reader that has it all, which is how one that comes back by itself learns to stop."""
    chunks = _chunks(services, session, message, stands)
    # The message is stored, or refused, before the first byte of the answer: a refusal is an HTTP error.
    if await anext(chunks, None) is None:
        return Response(status_code=204)
    return EventStream(chunks)


async def _chunks(
    services: Services, session: Session, message: Message, stands: Position | None
) -> AsyncGenerator[bytes, None]:
    """Nothing for a reader that has it all. Else an empty chunk, to begin with; an ack; what it has not seen."""
    epoch = session.conversation.epoch
    async with following(services, session.conversation) as follower:
        accepted = (stands and await _stored(services, session, message)) or await _accept(services, session, message)
        async with aclosing(until_ended(services, session, accepted, follower, stands)) as parts:
            first = True
            async for items in parts:
                if first:
                    yield b""
                    yield opening() + event(
                        codec.encode(Ack(cid=message.cid, message_id=accepted.message_id, seq=accepted.seq))
                    )
                elif not items:
                    yield COMMENT
                first = False
                for item in items:
                    yield told(item, epoch)
                if follower.too_slow:
                    logger.info("reader too slow", conversation=session.conversation.public_id)
                    return


async def _stored(services: Services, session: Session, message: Message) -> Accepted | None:
    """The message of a reader that comes back, which is counted as a request and not as one more message. None when it
    is not stored, or is not the same."""
    client = session.client
    await services.limiter.check(*limits_of(client, visitor=None, address=message.address))
    async with reading(services.pool) as conn:
        asked = await messages.admission(
            conn,
            client_id=client.id,
            conversation_id=session.conversation.id,
            cid=message.cid,
            month_start=datetime.now(UTC).date().replace(day=1),
        )
        found = await asked.fetchone()
    if found is None or found.duplicate_id is None or found.duplicate_seq is None:
        return None
    if found.duplicate_content not in {None, message.text}:
        return None
    return Accepted(found.duplicate_id, found.duplicate_seq, None, duplicate=True)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/chat",
        chat,
        "Say something and get the answer",
        ChatReply,
        takes=ChatRequest,
        about=(
            "With `Accept: text/event-stream` it streams; see the response. When the model fails the status is "
            "200, `reply` is a kind sentence and `failed` says so. `reply` is null while a human owns the "
            "conversation. A tool that asks first can be answered over a stream or a socket; asked as JSON nobody can, "
            "and after 90 seconds it is not done."
        ),
        parameters=(
            Parameter("X-Frontdesk-Key", "header", "The public key, with a session token; not with a secret key"),
            Parameter("Idempotency-Key", "header", "Same as `cid`: a retry with it never makes a second message"),
            Parameter("Last-Event-ID", "header", "The last `id` of a stream that was cut, to go on from there"),
        ),
        credentials=("secret key", "session token"),
        stream=(
            "The frames of the visitor socket as server-sent events: an `ack`, then all from the message on, until its "
            "turn ends. Events that last have an `id`. After a cut, or an end without the turn's own "
            "(`message.completed`, `turn.failed`, `turn.stopped`), ask again with the same `cid` or `Idempotency-Key`, "
            "the same text, and the last `id` as `Last-Event-ID`: every event that was missed comes in order, or a "
            "`snapshot` with all `messages`, then what is live. A reader that has it all gets a 204, after which an "
            "EventSource stays away. `retry` says when to come back, a comment every 10 seconds that the link lives. "
            "A reader that takes nothing for 10 seconds is cut off."
        ),
        also=(204,),
        refuses=(400, 401, 403, 404, 409, 413, 422, 429, 503),
    ),
)
