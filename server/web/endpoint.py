"""One route as data: what serves it and what the OpenAPI document says of it, so that they cannot drift."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.services import Services

Handler = Callable[[Request, Services], Awaitable[Response]]
Credential = Literal["secret key", "session token", "public key", "operator session"]


class Parameter(msgspec.Struct, frozen=True):
    """A query or path parameter, or a header."""

    name: str
    where: Literal["query", "path", "header"]
    about: str
    required: bool = False


class Endpoint(msgspec.Struct, frozen=True):
    """`refuses` are the error statuses beyond 500; every one has the body `ErrorBody`.

    `also` are statuses besides `status` that are no refusals: 204 and 304 without a body, others with the same body.
    `stream` says what comes as server-sent events, for a caller that accepts those.
    `takes` is the body, `asks` the query: each field one parameter.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    summary: str
    returns: type[msgspec.Struct] | None
    takes: type[msgspec.Struct] | None = None
    asks: type[msgspec.Struct] | None = None
    status: int = 200
    about: str = ""
    media_type: str = "application/json"
    stream: str = ""
    parameters: tuple[Parameter, ...] = ()
    credentials: tuple[Credential, ...] = ()
    also: tuple[int, ...] = ()
    refuses: tuple[int, ...] = ()

    def route(self) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self.handler(request, request.state.services)

        return Route(self.path, endpoint, methods=[self.method], name=f"{self.method} {self.path}")
