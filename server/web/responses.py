"""Bodies in, bodies and errors out: one shape for all of them."""

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server import ids, log
from server.errors import FrontdeskError, Invalid, RequestError, TooLarge, Unauthorized, Unavailable
from server.protocol import codec
from server.protocol.http import ErrorBody, ErrorDetail
from server.protocol.limits import BODY_BYTES

logger = log.get("api")

T = TypeVar("T")
Body = TypeVar("Body", bound=msgspec.Struct)


def json(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A struct as a response."""
    return Response(codec.encode(value), status, headers, media_type="application/json")


async def body(request: Request, kind: type[Body]) -> Body:
    """The request's body as a struct. Raises TooLarge before reading more than the limit, Malformed, Invalid."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > BODY_BYTES:
            raise TooLarge(f"a body is at most {BODY_BYTES} bytes", code="body_too_large")
    given = codec.decode_body(bytes(raw), kind)
    _check_storable(given)
    return given


def query(request: Request, kind: type[Body]) -> Body:
    """The URL's query as a struct. Raises Invalid that names the parameter."""
    given = codec.decode_query(dict(request.query_params), kind)
    _check_storable(given)
    return given


def _check_storable(value: object, at: str = "") -> None:
    """Postgres stores no NUL. Raises Invalid that names the field."""
    match value:
        case str():
            if "\0" in value:
                raise Invalid(f"`{at}` may not contain U+0000", field=at)
        case msgspec.Struct():
            for field in value.__struct_fields__:
                _check_storable(getattr(value, field), f"{at}.{field}" if at else field)
        case dict():
            for name, each in value.items():
                _check_storable(name, at)
                _check_storable(each, f"{at}.{name}" if at else str(name))
        case list():
            for each in value:
                _check_storable(each, f"{at}[...]")


def unchanged(request: Request, etag: str) -> bool:
    """Whether the caller has this version. A proxy that compresses on the way makes the tag a weak one, `W/"..."`."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def bearer(request: Request) -> str:
    """The credential in `Authorization: Bearer`. Raises Unauthorized."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise Unauthorized("send `Authorization: Bearer <key or session token>`", code="no_credential")
    return credential.strip()


def peer(request: Request) -> str:
    """The caller's address; behind a proxy uvicorn has put the forwarded one here."""
    return request.client.host if request.client else "unknown"


def request_id(request: Request) -> str:
    """What the log, the answer and the person who asks about it share."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found or ids.request_id()


def refusal(request: Request, error: Exception) -> Response:
    """Any error as `{"error": {...}}`; what is not the caller's doing keeps its reason in the log."""
    headers: dict[str, str] = {}
    match error:
        case RequestError():
            status = error.status
            detail = ErrorDetail(
                code=error.code,
                message=error.message,
                request_id=request_id(request),
                field=error.field,
                retry_after_ms=error.retry_after_ms,
            )
        case Unavailable():
            logger.warning("dependency down", dependency=error.dependency, reason=error.message)
            status = 503
            detail = ErrorDetail(
                code=error.code,
                message="something we depend on is down; please try again",
                request_id=request_id(request),
                retry_after_ms=error.retry_after_ms,
            )
        case FrontdeskError():
            logger.error("request failed", code=error.code, reason=error.message)
            status = 500
            detail = _internal(request)
        case _:
            logger.error("request broke", exc_info=error)
            status = 500
            detail = _internal(request)
    if detail.retry_after_ms is not None:
        headers["retry-after"] = str(-(-detail.retry_after_ms // 1000))
    return json(ErrorBody(error=detail), status=status, headers=headers)


def _internal(request: Request) -> ErrorDetail:
    return ErrorDetail(code="internal", message="something went wrong", request_id=request_id(request))


def convert(value: object, kind: type[T]) -> T:
    """A query or a stored JSON value as a struct. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind)
