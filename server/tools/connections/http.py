"""How to reach a client's own system over HTTP: where it is, and what proves who calls."""

import re
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from server.errors import Invalid
from server.net.egress import Egress

_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Quiet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A struct that never prints what it holds: tracebacks and logs see its name only."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class NoAuth(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="none"):
    """Open to everybody."""


class Bearer(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="bearer"):
    """`Authorization: Bearer ...`"""

    token: str


class ApiKey(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="api_key"):
    """A header, or a parameter of the query, of the system's own choosing."""

    name: str
    value: str
    where: Literal["header", "query"] = "header"


class Basic(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="basic"):
    """`Authorization: Basic ...` (RFC 7617), as UTF-8."""

    username: str
    password: str


class OAuth2(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="oauth2"):
    """The client credentials grant (RFC 6749, 4.4).

    `client_auth` says how the token endpoint is told the secret: `basic`, which every such server must take, or
    `body`, for those that do not. It is configured rather than tried out: a wrong guess is a failed login on the
    other side. `token_header` is where the token goes: "Authorization" gets `Bearer` before it, any other header the
    token alone.
    """

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    audience: str | None = None
    client_auth: Literal["basic", "body"] = "basic"
    token_header: str = "Authorization"  # noqa: S105 (the name of a header)


Auth: TypeAlias = NoAuth | Bearer | ApiKey | Basic | OAuth2


class HttpConnection(Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A system that answers over HTTP. Every endpoint lies below `api_url`, which has no slash at its end.

    `rate_limit` is requests a minute, 1 to 10,000, None for no limit. `test_path` is what a connection test asks for.
    """

    api_url: str
    auth: Auth = NoAuth()
    headers: dict[str, str] = {}
    rate_limit: int | None = None
    test_path: str | None = None


def check_http(connection: HttpConnection, egress: Egress) -> HttpConnection:
    """The connection with its URL in one spelling. Raises Invalid naming the field and what is allowed."""
    api_url = check_base_url(connection.api_url, egress, field="api_url")
    check_rate_limit(connection.rate_limit)
    _check_auth(connection.auth, egress)
    if len(connection.headers) > 20:
        raise Invalid("headers: at most 20 are allowed", field="headers")
    for name, value in connection.headers.items():
        egress.check_headers({name: value}, field="headers")
        if name.lower() == "authorization":
            raise Invalid("headers must not have Authorization; credentials go into auth", field="headers")
    if connection.test_path is not None:
        _check_test_path(connection.test_path)
    return msgspec.structs.replace(connection, api_url=api_url)


def check_base_url(url: str, egress: Egress, *, field: str) -> str:
    """An address other paths are put behind, without a slash at its end. Raises Invalid."""
    if "?" in url or "#" in url:
        raise Invalid(f"{field} must have no query and no fragment: https://host/path", field=field)
    checked = egress.check_url(url, field=field).rstrip("/")
    if any(part in (".", "..") for part in urlsplit(checked).path.lower().replace("%2e", ".").split("/")):
        raise Invalid(f"{field} must have no . or .. in its path", field=field)
    return checked


def check_rate_limit(rate_limit: int | None) -> None:
    """Raises Invalid."""
    if rate_limit is not None and not 1 <= rate_limit <= 10_000:
        raise Invalid("rate_limit must be 1 to 10,000 requests a minute", field="rate_limit")


def check_credential(value: str, *, field: str) -> None:
    """What goes into a header by itself. The message never repeats it. Raises Invalid."""
    if not _CREDENTIAL.match(value):
        raise Invalid(f"{field} must be 1 to 4,096 printable ASCII characters without spaces", field=field)


def _check_auth(auth: Auth, egress: Egress) -> None:
    match auth:
        case NoAuth():
            pass
        case Bearer():
            check_credential(auth.token, field="auth.token")
        case ApiKey(where="header"):
            egress.check_headers({auth.name: ""}, field="auth.name")
            _check_text(auth.value, field="auth.value")
            if not auth.value.isascii() or auth.value != auth.value.strip():
                raise Invalid("auth.value must be ASCII without spaces at its ends, as a header's", field="auth.value")
        case ApiKey():
            if not re.match(r"[A-Za-z0-9_.\[\]-]{1,100}\Z", auth.name):
                raise Invalid("auth.name must be 1 to 100 letters, digits, _ . - [ or ]", field="auth.name")
            _check_text(auth.value, field="auth.value")
        case Basic():
            _check_text(auth.username, field="auth.username")
            if ":" in auth.username:
                raise Invalid("auth.username must have no colon (RFC 7617)", field="auth.username")
            if auth.password:
                _check_text(auth.password, field="auth.password")
        case OAuth2():
            egress.check_url(auth.token_url, field="auth.token_url")
            _check_text(auth.client_id, field="auth.client_id")
            _check_text(auth.client_secret, field="auth.client_secret")
            for field, value in (("auth.scope", auth.scope), ("auth.audience", auth.audience)):
                if value is not None:
                    _check_text(value, field=field)
            egress.check_headers({auth.token_header: ""}, field="auth.token_header")


def _check_text(value: str, *, field: str) -> None:
    if not 1 <= len(value) <= 4096 or _CONTROL.search(value):
        raise Invalid(f"{field} must be 1 to 4,096 characters without control characters", field=field)


def _check_test_path(path: str) -> None:
    segments = path.partition("?")[0].lower().replace("%2e", ".").split("/")
    if (
        not re.match(r"[/?][\x21-\x7e]{0,1000}\Z", path)
        or path.startswith("//")
        or re.search(r"[\\#{}]", path)
        or any(segment in (".", "..") for segment in segments)
    ):
        raise Invalid(
            "test_path must begin with / or ? and be a plain path below api_url, such as /products?limit=1",
            field="test_path",
        )
