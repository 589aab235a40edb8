"""The playground: a chat of the console's own with a draft, which its page holds over the visitors' socket."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from server.admin import gate
from server.admin.gate import Caller, guarded
from server.admin.rows import told
from server.errors import NotFound
from server.protocol.admin.playground import (
    PlaygroundDraft,
    PlaygroundSession,
    PlaygroundStart,
    PlaygroundState,
    PlaygroundTurn,
    PlaygroundTurns,
    PlaygroundTurnsQuery,
    PlaygroundUsage,
)
from server.repositories import answered_turns, console_usage
from server.repositories.answered_turns import AnsweredTurn
from server.repositories.drafts import OpenDraft
from server.repositories.pool import reading
from server.services import Services
from server.staff import serves
from server.turns.playground import DraftSettings, settings_of
from server.web.responses import body, json, query

_PRIVATE = {"cache-control": "no-store"}


async def begin(request: Request, services: Services, caller: Caller) -> Response:
    given = await body(request, PlaygroundStart)
    settings = drafted(given.draft) or DraftSettings()
    session = await services.playground.begin(
        operator_id=caller.operator.id,
        client_id=gate.path_id(request, "client_id"),
        settings=settings,
        locale=given.locale,
    )
    begun = PlaygroundSession(
        session_id=session.conversation.session_id,
        session_token=session.token,
        public_key=session.client.public_key,
        client_id=session.client.id,
        conversation_id=session.conversation.public_id,
        locale=session.conversation.locale,
        draft=shown(settings),
    )
    return json(begun, status=201, headers=_PRIVATE)


async def read(request: Request, services: Services, caller: Caller) -> Response:
    return json(_state(await _found(request, services, caller)))


async def redraft(request: Request, services: Services, caller: Caller) -> Response:
    found = await _found(request, services, caller)
    given = await body(request, PlaygroundDraft)
    await services.playground.redraft(
        operator_id=caller.operator.id, found=found, settings=drafted(given) or DraftSettings()
    )
    return json(_state(await _found(request, services, caller)))


async def turns(request: Request, services: Services, caller: Caller) -> Response:
    found = await _found(request, services, caller)
    asked = query(request, PlaygroundTurnsQuery)
    async with reading(services.pool) as conn:
        rows = await answered_turns.page(
            conn,
            client_id=found.client_id,
            conversation_id=found.conversation_id,
            before=asked.before,
            limit=asked.limit + 1,
        )
    page, more = rows[: asked.limit], len(rows) > asked.limit
    return json(PlaygroundTurns(rows=[_turn(row) for row in page], before=page[-1].public_id if more else None))


async def usage(request: Request, services: Services, _caller: Caller) -> Response:
    client_id, since = gate.path_id(request, "client_id"), datetime.now(UTC).date().replace(day=1)
    async with reading(services.pool) as conn:
        used = await console_usage.since(conn, client_id=client_id, start=since)
    return json(
        PlaygroundUsage(
            client_id=client_id,
            since=since,
            conversations=used.conversation_count,
            messages=used.message_count,
            tokens_input=used.tokens_input,
            tokens_output=used.tokens_output,
            tool_calls=used.tool_calls_count,
            cost=used.cost_estimate,
        )
    )


def drafted(given: PlaygroundDraft | None) -> DraftSettings | None:
    """A draft as it came."""
    return None if given is None else DraftSettings(given.system_prompt, given.model, given.tools)


def shown(settings: DraftSettings) -> PlaygroundDraft:
    """A draft as it is told."""
    return PlaygroundDraft(system_prompt=settings.system_prompt, model=settings.model, tools=settings.tools)


async def _found(request: Request, services: Services, caller: Caller) -> OpenDraft:
    """Raises NotFound, the same for another client's."""
    found = await services.playground.find(request.path_params["session_id"])
    if found is None or not serves(caller.operator, found.client_id):
        raise NotFound("there is no such session")
    return found


def _state(found: OpenDraft) -> PlaygroundState:
    return PlaygroundState(
        session_id=found.session_id,
        client_id=found.client_id,
        conversation_id=found.public_id,
        draft=shown(settings_of(found)),
        updated_at=found.updated_at,
    )


def _turn(row: AnsweredTurn) -> PlaygroundTurn:
    ended = row.finished_at
    return told(
        row,
        PlaygroundTurn,
        turn_id=row.public_id,
        ms=None if ended is None else round((ended - row.created_at).total_seconds() * 1000),
    )


ENDPOINTS = (
    guarded(
        "POST",
        "/clients/{client_id}/playground",
        begin,
        "Begin a chat with a draft",
        PlaygroundSession,
        takes=PlaygroundStart,
        needs="admin",
        status=201,
        about="By the same engine as a visitor's, on the same socket: say `hello` on `/api/v1/ws` with the key and the "
        "session of the answer, from a page of the console's own origin. Tools are really called. What it uses is "
        "counted apart from the client's month.",
    ),
    guarded("GET", "/playground/{session_id}", read, "A chat and its draft", PlaygroundState, needs="admin"),
    guarded(
        "PUT",
        "/playground/{session_id}",
        redraft,
        "Another draft",
        PlaygroundState,
        takes=PlaygroundDraft,
        needs="admin",
        about="From the next turn on.",
    ),
    guarded(
        "GET",
        "/playground/{session_id}/turns",
        turns,
        "The turns of a chat",
        PlaygroundTurns,
        asks=PlaygroundTurnsQuery,
        needs="admin",
        about="Newest first.",
    ),
    guarded(
        "GET",
        "/clients/{client_id}/playground/usage",
        usage,
        "What the console used this month",
        PlaygroundUsage,
        needs="admin",
        about="Playground and test cases, which no plan counts.",
    ),
)
