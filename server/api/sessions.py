"""Sessions and their history: what the widget needs besides its socket."""

from starlette.requests import Request
from starlette.responses import Response

from server import ids
from server.access import check_origin
from server.errors import Invalid
from server.protocol.http import History, SessionCreate, SessionCreated
from server.recovery import as_message
from server.repositories import messages
from server.repositories.pool import reading
from server.services import Services
from server.turns.intake import limits_of
from server.web.endpoint import Endpoint, Parameter
from server.web.responses import bearer, body, json, peer

# Messages a page of history, and at most.
PAGE = 50
PAGE_MOST = 100


async def create(request: Request, services: Services) -> Response:
    given = await body(request, SessionCreate)
    client = await services.access.client_by_public_key(given.key)
    check_origin(client, request.headers.get("origin"))
    await services.limiter.check(*limits_of(client, visitor=None, address=peer(request)))
    # Before the session begins: one that is asked for in somebody's name is theirs or is not made.
    vouched = await services.access.vouched(client, given.identity) if given.identity is not None else None
    session = await services.access.new_session(client, channel="widget", locale=given.locale)
    if vouched is not None:
        session = await services.access.bind(session, vouched)
    conversation = session.conversation
    created = SessionCreated(
        session_id=conversation.session_id,
        session_token=session.token,
        conversation_id=conversation.public_id,
        epoch=conversation.epoch,
    )
    return json(created, status=201, headers={"cache-control": "no-store"})


async def history(request: Request, services: Services) -> Response:
    session = await services.access.session_by_token(bearer(request), session_id=request.path_params["session_id"])
    if origin := request.headers.get("origin"):
        check_origin(session.client, origin)
    await services.limiter.check(*limits_of(session.client, visitor=None, address=peer(request)))
    limit = _limit(request.query_params.get("limit"))
    before = request.query_params.get("before")
    if before is not None and not ids.is_id(before, "msg"):
        raise Invalid("`before` is the id of a message, msg_...", field="before")
    async with reading(services.pool) as conn:
        rows = await messages.page(
            conn,
            client_id=session.client.id,
            conversation_id=session.conversation.id,
            before=before,
            limit=limit + 1,
        )
    more = len(rows) > limit
    page = rows[1:] if more else rows
    found = History(messages=[as_message(row) for row in page], before=page[0].public_id if more else None)
    return json(found, headers={"cache-control": "no-store"})


def _limit(given: str | None) -> int:
    if given is None:
        return PAGE
    if not (given.isascii() and given.isdigit() and len(given) <= 3 and 1 <= int(given) <= PAGE_MOST):
        raise Invalid(f"`limit` is a number from 1 to {PAGE_MOST}", field="limit")
    return int(given)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/sessions",
        create,
        "Begin a session",
        SessionCreated,
        takes=SessionCreate,
        status=201,
        about="For a public key, from one of its client's allowed origins. The token is shown here only. With an "
        "`identity`, a JWT signed by HS256 with the client's identity secret (`sub`, `exp`, and `email`, `name`), the "
        "visitor is verified until it expires, for at most 24 hours; one that is not accepted is a 422.",
        credentials=("public key",),
        refuses=(400, 401, 403, 413, 422, 429, 503),
    ),
    Endpoint(
        "GET",
        "/api/v1/sessions/{session_id}/messages",
        history,
        "Read a session's messages",
        History,
        about="Oldest first. `before` of one page asks for the page before it.",
        parameters=(
            Parameter("session_id", "path", "The session, ses_...", required=True),
            Parameter("before", "query", "Messages before this one, msg_..."),
            Parameter("limit", "query", f"How many, 1 to {PAGE_MOST}; {PAGE} unless told"),
        ),
        credentials=("session token",),
        refuses=(401, 403, 422, 429, 503),
    ),
)
