"""Where a long tool posts its progress and its result."""

from starlette.requests import Request
from starlette.responses import Response

from server.errors import TooLarge
from server.services import Services
from server.tools.webhook.callbacks import BODY_BYTES, PATH, ToolCallback, ToolCallbackTaken
from server.web.endpoint import Endpoint, Parameter
from server.web.responses import json


async def receive(request: Request, services: Services) -> Response:
    # Before the body: a stranger gets nothing read.
    ticket = services.callbacks.ticket(request.path_params["token"])
    taken = await services.callbacks.receive(ticket, request.headers, await _body(request))
    return json(taken, headers={"cache-control": "no-store"})


async def _body(request: Request) -> bytes:
    """As it was signed, to the byte. Raises TooLarge before reading more than the limit."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES:
            raise TooLarge(f"a callback is at most {BODY_BYTES} bytes", code="body_too_large")
    return bytes(raw)


ENDPOINTS = (
    Endpoint(
        "POST",
        f"{PATH}{{token}}",
        receive,
        "Report a tool's progress or result",
        ToolCallbackTaken,
        takes=ToolCallback,
        about=(
            "For a tool that answered its call with 202: post to `callback.url` of the call, any number of times "
            '`{"type": "progress", "text": "..."}` and once `{"type": "result", "result": ...}` or '
            '`{"type": "error", "error": "..."}`. Signed by Standard Webhooks with the tool\'s secret, as the call '
            "was. 410 once nobody waits any more."
        ),
        parameters=(
            Parameter("token", "path", "As it stands in the call's `callback.url`", required=True),
            Parameter("webhook-id", "header", "Names this message", required=True),
            Parameter("webhook-timestamp", "header", "Unix seconds, within 5 minutes of now", required=True),
            Parameter("webhook-signature", "header", "`v1,` and the base64 of HMAC-SHA256", required=True),
        ),
        refuses=(400, 401, 409, 410, 413, 422, 503),
    ),
)
