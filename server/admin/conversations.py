"""The inbox by pages, and one conversation: its head, what was said, what the AI did."""

import base64
import re
from datetime import UTC, datetime, timedelta

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admin.gate import Caller, guarded
from server.errors import Invalid, NotFound
from server.protocol.admin.conversations import (
    Channel,
    ConversationClient,
    ConversationHead,
    ConversationPage,
    ConversationQuery,
    ConversationRow,
    ConversationTotals,
    ConversationVisitor,
    TranscriptMessage,
    TranscriptPage,
    TranscriptQuery,
)
from server.protocol.operator import Colleague
from server.protocol.parts import Owner, Rating, Role
from server.recovery import as_message
from server.repositories import conversation_records, inbox, inbox_search, messages
from server.repositories.conversation_records import ConversationRecord
from server.repositories.inbox import After, Filter, InboxEntry
from server.repositories.messages import MessageRow
from server.repositories.pool import Conn, reading
from server.services import Services
from server.staff import find_conversation
from server.web.responses import json, query

# Bytes of text in one page of a transcript, as of a snapshot over the sockets.
PAGE_BYTES = 256 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRIVATE = {"cache-control": "no-store"}


async def rows(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, ConversationQuery)
    client_id = asked.client_id if asked.client_id is not None else caller.operator.client_id
    if client_id is not None:
        caller.check_serves(client_id)
    after = None if asked.before is None else _after(asked.before)
    async with reading(services.pool) as conn:
        found = await _found(conn, client_id, asked, after)
    page = found[: asked.limit]
    before = _cursor(page[-1]) if len(found) > asked.limit else None
    return json(ConversationPage(rows=[_row(each) for each in page], before=before), headers=_PRIVATE)


async def head(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])
    return await told(services, client_id=conversation.client_id, conversation_id=conversation.id)


async def told(services: Services, *, client_id: int, conversation_id: int) -> Response:
    """A conversation's head as it is now. The caller serves the client. Raises NotFound once it is gone."""
    async with reading(services.pool) as conn:
        record = await conversation_records.find(conn, client_id=client_id, conversation_id=conversation_id)
    if record is None:
        raise NotFound("there is no such conversation", field="conversation_id")
    return json(_head(record), headers=_PRIVATE)


async def transcript(request: Request, services: Services, caller: Caller) -> Response:
    asked = query(request, TranscriptQuery)
    conversation = await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])
    where = {"client_id": conversation.client_id, "conversation_id": conversation.id}
    async with reading(services.pool) as conn:
        found = await messages.page(conn, **where, before=asked.before, limit=asked.limit, room=PAGE_BYTES)
        earlier = await messages.page(conn, **where, before=found[0].public_id, limit=1, room=1) if found else []
        rated = [row.public_id for row in found if row.rating is not None]
        comments = await conversation_records.rating_comments(conn, **where, message_ids=rated) if rated else {}
    page = TranscriptPage(
        rows=[_message(row, comments.get(row.public_id)) for row in found],
        before=found[0].public_id if earlier else None,
    )
    return json(page, headers=_PRIVATE)


async def _found(conn: Conn, client_id: int | None, asked: ConversationQuery, after: After | None) -> list[InboxEntry]:
    """One row more than asked for, where there is one. Raises Invalid when `q` has no word in it."""
    wanted, limit = Filter(asked.owner, asked.rating, asked.waiting), asked.limit + 1
    if asked.q is None:
        if client_id is None:
            return await inbox.page_of_all(conn, wanted=wanted, after=after, limit=limit)
        return await inbox.page(conn, client_id=client_id, wanted=wanted, after=after, limit=limit)
    words = await inbox_search.words(conn, text=asked.q)
    if words is None:
        raise Invalid("`q` takes words: letters or digits", field="q")
    if client_id is None:
        return await inbox_search.page_of_all(conn, words=words, wanted=wanted, after=after, limit=limit)
    return await inbox_search.page(conn, client_id=client_id, words=words, wanted=wanted, after=after, limit=limit)


# --- where a page ended


def _cursor(entry: InboxEntry) -> str:
    """Opaque: the row's place in the order."""
    micros = (entry.last_activity_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}.{entry.id}".encode()).rstrip(b"=").decode()


def _after(cursor: str) -> After:
    """Raises Invalid for what no answer has said."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        text = ""
    # So many digits are a time that Python and Postgres have, and an id.
    found = re.fullmatch(r"([0-9]{1,17})\.([0-9]{1,18})", text, re.ASCII)
    if found is None:
        raise Invalid("`before` is what an answer's `before` said", field="before")
    return After(_EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))


# --- rows as they are told


def _row(entry: InboxEntry) -> ConversationRow:
    return ConversationRow(
        conversation_id=entry.public_id,
        client_id=entry.client_id,
        seq=entry.last_seq,
        owner=msgspec.convert(entry.owner, Owner),
        last_activity_at=entry.last_activity_at,
        preview=entry.preview,
        preview_role=msgspec.convert(entry.preview_role, Role),
        operator=colleague(entry.owner_operator_id, entry.operator_name, entry.operator_avatar_url),
        waiting_since=entry.waiting_since,
        visitor_name=entry.visitor_name,
        channel=msgspec.convert(entry.channel, Channel),
        rating=msgspec.convert(entry.rating, Rating | None),
        message_count=entry.total_messages,
        cost=entry.cost,
    )


def _head(record: ConversationRecord) -> ConversationHead:
    visitor = None
    if record.visitor_external_id is not None:
        visitor = ConversationVisitor(
            external_id=record.visitor_external_id,
            name=record.visitor_name,
            email=record.visitor_email,
            verified_until=record.verified_until,
        )
    return ConversationHead(
        conversation_id=record.public_id,
        client=ConversationClient(id=record.client_id, name=record.client_name, domain=record.client_domain),
        channel=msgspec.convert(record.channel, Channel),
        locale=record.locale,
        owner=msgspec.convert(record.owner, Owner),
        operator=colleague(record.owner_operator_id, record.operator_name, record.operator_avatar_url),
        waiting_since=record.waiting_since,
        visitor=visitor,
        user_identifier=record.user_identifier,
        rating=msgspec.convert(record.rating, Rating | None),
        seq=record.last_seq,
        started_at=record.started_at,
        last_activity_at=record.last_activity_at,
        ended_at=record.ended_at,
        summary=record.summary,
        totals=ConversationTotals(
            messages=record.messages,
            tokens_input=record.tokens_input,
            tokens_output=record.tokens_output,
            cost=record.cost,
        ),
    )


def _message(row: MessageRow, comment: str | None) -> TranscriptMessage:
    return TranscriptMessage(
        message=as_message(row),
        seq=row.seq,
        operator=colleague(row.author_operator_id, row.author_name, row.author_avatar_url),
        tokens_input=row.tokens_input,
        tokens_output=row.tokens_output,
        cost=row.cost,
        rating_comment=comment,
        removed=row.content is None,
    )


def colleague(operator_id: int | None, name: str | None, avatar_url: str | None) -> Colleague | None:
    """An operator as other operators see one; None for nobody."""
    return None if operator_id is None else Colleague(id=operator_id, name=name or "", avatar_url=avatar_url)


ENDPOINTS = (
    guarded(
        "GET",
        "/conversations",
        rows,
        "Read the inbox",
        ConversationPage,
        needs="operator",
        asks=ConversationQuery,
        about="Conversations that have messages, newest activity first: of one client, or of all whom the operator "
        "serves. Words of `q` are found at the beginning of words, all of them in one message or in the visitor's name "
        "and e-mail address.",
        refuses=(404,),
    ),
    guarded(
        "GET",
        "/conversations/{conversation_id}",
        head,
        "Read a conversation's head",
        ConversationHead,
        needs="operator",
    ),
    guarded(
        "GET",
        "/conversations/{conversation_id}/messages",
        transcript,
        "Read what was said in a conversation",
        TranscriptPage,
        needs="operator",
        asks=TranscriptQuery,
        about="Oldest first; a page ends early where its text would pass 256 KB.",
    ),
)
