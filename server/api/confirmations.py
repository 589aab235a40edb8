"""A visitor's yes or no to a tool that asks first, for whoever reads the answer as server-sent events."""

from starlette.requests import Request
from starlette.responses import Response

from server.access import Session, check_origin
from server.protocol.http import Confirmation
from server.services import Services
from server.turns.intake import limits_of
from server.web.endpoint import Endpoint, Parameter
from server.web.responses import bearer, body, json, peer


async def confirm(request: Request, services: Services) -> Response:
    session = await _session(request, services, bearer(request), request.path_params["session_id"])
    await services.limiter.check(
        *limits_of(session.client, visitor=session.conversation.session_id, address=peer(request))
    )
    given = await body(request, Confirmation)
    await services.commands.confirm(session, call_id=given.call_id, approved=given.approved)
    return json(given, headers={"cache-control": "no-store"})


async def _session(request: Request, services: Services, credential: str, session_id: str) -> Session:
    """The session whose token this is, or one of the client whose secret key it is."""
    if credential.startswith("sk_"):
        client = await services.access.client_by_secret_key(credential)
        return await services.access.adopt_session(client, session_id=session_id)
    session = await services.access.session_by_token(credential, session_id=session_id)
    if origin := request.headers.get("origin"):
        check_origin(session.client, origin)
    return session


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/sessions/{session_id}/confirmations",
        confirm,
        "Approve or decline a tool that asks first",
        Confirmation,
        takes=Confirmation,
        about=(
            "Answers a `tool.confirm_request` that a stream of `POST /api/v1/chat` carried. What is not answered in "
            "time is not done. 404 when nothing waits for it, or no longer."
        ),
        parameters=(Parameter("session_id", "path", "The session, ses_...", required=True),),
        credentials=("session token", "secret key"),
        refuses=(400, 401, 403, 404, 413, 422, 429, 503),
    ),
)
