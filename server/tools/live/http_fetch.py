"""One request to a client's system, with its credentials, within a deadline, tried again where that is safe."""

import asyncio
import random

import msgspec

from server.errors import EgressError
from server.net.egress import Response
from server.tools.connections.http import HttpConnection
from server.tools.live.auth import Authorized, Authorizer
from server.tools.live.http_request import Request
from server.tools.tool import Sender

# Bytes of a response.
MAX_BYTES = 1_048_576
# What may pass by itself within a second.
_PASSING_KINDS = frozenset({"dns", "refused", "broken"})
_PASSING_STATUSES = frozenset({502, 503, 504})
# Seconds before the second try, at random so that many callers do not come back in one instant.
_PAUSE_S = (0.1, 0.3)
# Seconds that must be left for a second try to make sense.
_WORTH_S = 0.5


class Fetcher:
    """Shared by all endpoints of an instance."""

    def __init__(self, sender: Sender, authorizer: Authorizer) -> None:
        self._sender = sender
        self._authorizer = authorizer

    async def fetch(
        self, connection: HttpConnection, identity: bytes, request: Request, *, timeout_s: float, again: bool
    ) -> Response:
        """The response, of any status, without any of the credentials it may repeat.

        `timeout_s` is for all of it, getting a token included. `again`: a second time does no harm, so a failure to
        connect and 502, 503 and 504 are tried once more. A refused token is renewed once. Raises EgressError,
        CredentialsRefused.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        renewed = False
        while True:
            left = _left(deadline, clock())
            may_again = again and left > _WORTH_S
            try:
                authorized = await self._authorizer.authorize(connection, identity, request.url, timeout_s=left)
                response = await self._send(request, authorized, _left(deadline, clock()))
            except EgressError as error:
                if not may_again or error.kind not in _PASSING_KINDS:
                    raise
            else:
                if response.status == 401 and authorized.token is not None and not renewed:
                    self._authorizer.forget(identity, authorized.token)
                    renewed = True
                    continue
                if not may_again or response.status not in _PASSING_STATUSES:
                    return response
            again = False
            await asyncio.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 (spreads load, keeps no secret)

    async def _send(self, request: Request, authorized: Authorized, timeout_s: float) -> Response:
        headers = {"accept": "application/json", **authorized.headers}
        if request.body is not None:
            headers["content-type"] = "application/json"
        response = await self._sender.request(
            request.method,
            authorized.url,
            headers=headers,
            body=request.body,
            timeout_s=timeout_s,
            max_bytes=MAX_BYTES,
        )
        return msgspec.structs.replace(response, body=_scrubbed(response.body, authorized.secrets))


def _left(deadline: float, now: float) -> float:
    """Seconds, as a person would read them in an error."""
    return max(0.01, round(deadline - now, 2))


def _scrubbed(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """Debugging pages and echoing proxies repeat what they were sent; a model would read it out."""
    for secret in secrets:
        body = body.replace(secret.encode(), b"[redacted]")
    return body
