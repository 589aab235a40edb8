"""Internal notes about a conversation."""

from starlette.requests import Request
from starlette.responses import Response

from server.admin.conversations import colleague
from server.admin.gate import Caller, guarded, path_id
from server.protocol.admin.notes import NoteCreate, NoteInfo, NoteList
from server.repositories import notes as rows
from server.repositories.notes import NoteRow
from server.repositories.pool import reading
from server.services import Services
from server.staff import find_conversation
from server.turns import notes
from server.web.responses import body, json

_PRIVATE = {"cache-control": "no-store"}


async def listed(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])
    async with reading(services.pool) as conn:
        found = await rows.of_conversation(conn, client_id=conversation.client_id, conversation_id=conversation.id)
    return json(NoteList(rows=[_note(each) for each in found]), headers=_PRIVATE)


async def create(request: Request, services: Services, caller: Caller) -> Response:
    conversation = await find_conversation(services.pool, caller.operator, request.path_params["conversation_id"])
    given = await body(request, NoteCreate)
    row = await notes.write(services.pool, caller.operator, conversation, text=given.text)
    return json(_note(row), status=201, headers=_PRIVATE)


async def delete(request: Request, services: Services, caller: Caller) -> Response:
    await notes.remove(services.pool, caller.operator, path_id(request, "note_id"), any_of_them=caller.may("admin"))
    return Response(status_code=204, headers=_PRIVATE)


def _note(row: NoteRow) -> NoteInfo:
    return NoteInfo(
        id=row.id,
        conversation_id=row.conversation_public_id,
        text=row.content,
        created_at=row.created_at,
        operator=colleague(row.operator_id, row.operator_name, row.operator_avatar_url),
    )


ENDPOINTS = (
    guarded(
        "GET",
        "/conversations/{conversation_id}/notes",
        listed,
        "Read a conversation's notes",
        NoteList,
        needs="operator",
    ),
    guarded(
        "POST",
        "/conversations/{conversation_id}/notes",
        create,
        "Write a note",
        NoteInfo,
        needs="operator",
        takes=NoteCreate,
        status=201,
        about="Neither the visitor nor the AI sees it. 409 `too_many_notes` past 200.",
        refuses=(409,),
    ),
    guarded(
        "DELETE",
        "/notes/{note_id}",
        delete,
        "Delete a note",
        None,
        needs="operator",
        status=204,
        about="One's own; an admin anybody's: 403 `not_yours`.",
    ),
)
