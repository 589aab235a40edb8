"""Every public route, and what is wrong with a request: the exact status, code, field and headers; nothing changed."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from server.api.routes import ENDPOINTS
from server.protocol import limits
from server.protocol.http import ErrorBody, ErrorDetail
from tests.flows.support import Desk, use_up
from tests.flows.world import World
from tests.support import eventually

Headers = dict[str, str]


class Row(msgspec.Struct, frozen=True):
    """One request. `body` is sent as it stands when it is bytes, else as JSON; functions get the world."""

    route: str
    what: str
    status: int
    code: str
    field: str | None = None
    body: Any = None
    headers: Callable[[World], Headers] | Headers | None = None
    path: Callable[[World], str] | str | None = None

    def __str__(self) -> str:
        return f"{self.route}: {self.what[:60]}"


CHAT, SESSIONS = "POST /api/v1/chat", "POST /api/v1/sessions"
HISTORY, CONFIG = "GET /api/v1/sessions/{session_id}/messages", "GET /api/v1/config"
CONFIRM, CALLBACK = "POST /api/v1/sessions/{session_id}/confirmations", "POST /api/v1/tools/callbacks/{token}"
DEEP = b"[" * 40 + b"]" * 40
SPACES = " \t\r\n\u00a0\u2003\u3000"


# --- credentials


def secret(world: World) -> Headers:
    """A client's backend."""
    return {"authorization": f"Bearer {world.shop.secret_key}"}


def widget(world: World) -> Headers:
    """A widget that has a session."""
    return {
        "authorization": f"Bearer {world.mine.token}",
        "x-frontdesk-key": world.shop.key,
        "origin": world.shop.origin,
    }


def widget_but(**changes: Any) -> Callable[[World], Headers]:
    """The widget's headers, some of them other (functions of the world) or, when None, absent."""

    def build(world: World) -> Headers:
        given = widget(world)
        for name, change in changes.items():
            header = name.replace("_", "-")
            if change is None:
                del given[header]
            else:
                given[header] = change(world) if callable(change) else change
        return given

    return build


def bearer(whose: str) -> Callable[[World], Headers]:
    """The token of `whose`, as the history is read."""
    return lambda world: {"authorization": f"Bearer {getattr(world, whose).token}"}


def page(world: World) -> Headers:
    """A page of the shop without a session."""
    return {"origin": world.shop.origin}


# --- bodies


def asking(**fields: Any) -> Callable[[World], dict[str, Any]]:
    """A chat request in my session that would work, but for `fields`; a None leaves one out."""

    def build(world: World) -> dict[str, Any]:
        given = {"message": "Hello", "session_id": world.mine.id, "cid": "bad-1", **fields}
        return {name: value(world) if callable(value) else value for name, value in given.items() if value is not None}

    return build


def beginning(**fields: Any) -> Callable[[World], dict[str, Any]]:
    """A session request that would work, but for `fields`."""

    def build(world: World) -> dict[str, Any]:
        given = {"key": world.shop.key, **fields}
        return {name: value(world) if callable(value) else value for name, value in given.items() if value is not None}

    return build


def first(**fields: Any) -> dict[str, Any]:
    """A first message without a session."""
    return {"message": "Hello", **fields}


def chat(what: str, status: int, code: str, field: str | None = None, body: Any = None, headers: Any = secret) -> Row:
    return Row(CHAT, what, status, code, field, asking() if body is None else body, headers)


def begin(what: str, status: int, code: str, field: str | None = None, body: Any = None, headers: Any = page) -> Row:
    return Row(SESSIONS, what, status, code, field, beginning() if body is None else body, headers)


def history(
    what: str,
    status: int,
    code: str,
    field: str | None = None,
    headers: Any = None,
    query: str = "",
    whose: str = "mine",
) -> Row:
    def path(world: World) -> str:
        session = getattr(world, whose).id if hasattr(world, whose) else whose
        return f"/api/v1/sessions/{session}/messages{query}"

    return Row(HISTORY, what, status, code, field, headers=bearer("mine") if headers is None else headers, path=path)


def confirmation(
    what: str,
    status: int,
    code: str,
    field: str | None = None,
    headers: Any = None,
    body: Any = None,
    whose: str = "mine",
) -> Row:
    def path(world: World) -> str:
        session = getattr(world, whose).id if hasattr(world, whose) else whose
        return f"/api/v1/sessions/{session}/confirmations"

    given = bearer("mine") if headers is None else headers
    return Row(CONFIRM, what, status, code, field, YES if body is None else body, given, path)


def config(what: str, status: int, code: str, field: str | None, query: Callable[[World], str] | str) -> Row:
    def path(world: World) -> str:
        return f"/api/v1/config{query(world) if callable(query) else query}"

    return Row(CONFIG, what, status, code, field, path=path)


def not_a_struct(make: Callable[..., Row]) -> list[Row]:
    """Bodies that are wrong before any field is looked at."""
    return [
        make("no body", 400, "malformed", None, b""),
        make("not JSON", 400, "malformed", None, b"message=Hello"),
        make("half of it", 400, "malformed", None, b'{"message":"Hel'),
        make("two of them", 400, "malformed", None, b'{"message":"Hello","key":"k"}{}'),
        make("a list", 422, "invalid", None, b"[]"),
        make("a text", 422, "invalid", None, b'"Hello"'),
        make("null", 422, "invalid", None, b"null"),
        make("invalid UTF-8", 400, "malformed", None, b'{"message":"\xff\xfe","key":"\xff"}'),
        make("UTF-16", 400, "malformed", None, '{"message":"Hello"}'.encode("utf-16")),
        make("a lone surrogate", 400, "malformed", None, b'{"message":"\\ud800","key":"\\ud800"}'),
        make("a control character", 400, "malformed", None, b'{"message":"a\x01b","key":"a\x01b"}'),
        make("deep", 400, "too_deep", None, b'{"x":' + DEEP + b"}"),
        make("a bomb of brackets", 400, "too_deep", None, b"[" * limits.BODY_BYTES),
        make("a byte too large", 413, "body_too_large", None, b" " * (limits.BODY_BYTES + 1)),
        make("huge", 413, "body_too_large", None, b"x" * 4_000_000),
    ]


CHAT_ROWS = [
    *not_a_struct(chat),
    chat("no message", 422, "missing", "message", asking(message=None)),
    chat("message as number", 422, "invalid", "message", asking(message=5)),
    chat("message as list", 422, "invalid", "message", asking(message=["Hello"])),
    chat("message null", 422, "invalid", "message", b'{"message":null}'),
    chat("empty message", 422, "empty", "message", asking(message="")),
    chat("only spaces", 422, "empty", "message", asking(message=SPACES)),
    chat("5,001 characters", 422, "too_long", "message", asking(message="x" * 5_001)),
    chat("5,001 emoji", 422, "too_long", "message", asking(message="🙂" * 5_001)),
    chat("message with NUL", 422, "invalid", "message", asking(message="a\0b")),
    chat("session as number", 422, "invalid", "session_id", asking(session_id=1)),
    chat("empty session", 422, "invalid", "session_id", asking(session_id="")),
    chat("session too long", 422, "invalid", "session_id", asking(session_id="s" * 65)),
    chat("cid as number", 422, "invalid", "cid", asking(cid=1)),
    chat("empty cid", 422, "invalid", "cid", asking(cid="")),
    chat("cid too long", 422, "invalid", "cid", asking(cid="c" * 65)),
    chat("cid with NUL", 422, "invalid", "cid", asking(cid="c\0")),
    chat("first message, cid with NUL", 422, "invalid", "cid", first(cid="c\0")),
    chat("a used cid", 409, "cid_reused", "cid", asking(cid="taken", message="Other")),
    chat("user as list", 422, "invalid", "user_identifier", asking(user_identifier=[])),
    chat("empty user", 422, "invalid", "user_identifier", asking(user_identifier="")),
    chat("user too long", 422, "invalid", "user_identifier", asking(user_identifier="u" * 321)),
    chat("first message, user with NUL", 422, "invalid", "user_identifier", first(user_identifier="u\0")),
    chat("locale as number", 422, "invalid", "locale", asking(locale=1)),
    chat("empty locale", 422, "invalid", "locale", asking(locale="")),
    chat("locale with an underscore", 422, "invalid", "locale", asking(locale="de_AT")),
    chat("locale too long", 422, "invalid", "locale", asking(locale="d" * 36)),
    chat("metadata as text", 422, "invalid", "metadata", asking(metadata="x")),
    chat("too much metadata", 422, "invalid", "metadata", asking(metadata={str(n): n for n in range(51)})),
    chat("no credential", 401, "no_credential", headers={}),
    chat("basic credential", 401, "no_credential", headers={"authorization": "Basic YTpi"}),
    chat("empty credential", 401, "no_credential", headers={"authorization": "Bearer"}),
    chat("unknown secret key", 401, "bad_key", headers={"authorization": "Bearer sk_nobody"}),
    chat("the public key alone", 401, "no_key", headers=lambda w: {"authorization": f"Bearer {w.shop.key}"}),
    chat("a token alone", 401, "no_key", headers=widget_but(x_frontdesk_key=None)),
    chat("unknown public key", 401, "bad_key", headers=widget_but(x_frontdesk_key="pk_nobody")),
    chat(
        "a secret key as the public one",
        401,
        "bad_key",
        headers=widget_but(x_frontdesk_key=lambda w: w.shop.secret_key),
    ),
    chat("wrong token", 401, "bad_token", headers=widget_but(authorization="Bearer st_nobody")),
    chat("their token", 401, "bad_token", headers=widget_but(authorization=lambda w: f"Bearer {w.theirs.token}")),
    chat("their session", 401, "bad_token", None, asking(session_id=lambda w: w.theirs.id), widget),
    chat(
        "a token and a session of another client",
        401,
        "bad_token",
        None,
        asking(session_id=lambda w: w.foreign.id),
        widget_but(authorization=lambda w: f"Bearer {w.foreign.token}"),
    ),
    chat(
        "a session of another client, by the secret key",
        404,
        "not_found",
        "session_id",
        asking(session_id=lambda w: w.foreign.id),
    ),
    chat("an unknown session", 404, "not_found", "session_id", asking(session_id="ses_nobody")),
    chat("session with NUL", 422, "invalid", "session_id", asking(session_id="ses_\0"), widget),
    chat("a widget without a session", 422, "missing", "session_id", first(), widget),
    chat("no origin", 403, "origin_not_allowed", headers=widget_but(origin=None)),
    chat("wrong origin", 403, "origin_not_allowed", headers=widget_but(origin="https://evil.example")),
    chat("another shop's origin", 403, "origin_not_allowed", headers=widget_but(origin=lambda w: w.other_shop.origin)),
    chat(
        "a subdomain",
        403,
        "origin_not_allowed",
        headers=widget_but(origin=lambda w: w.shop.origin.replace("//", "//a.")),
    ),
    chat(
        "not https",
        403,
        "origin_not_allowed",
        headers=widget_but(origin=lambda w: w.shop.origin.replace("https", "http")),
    ),
    chat(
        "suspended client, secret key",
        403,
        "client_suspended",
        headers=lambda w: {"authorization": f"Bearer {w.suspended.secret_key}"},
    ),
    chat(
        "suspended client, public key",
        403,
        "client_suspended",
        headers=widget_but(x_frontdesk_key=lambda w: w.suspended.key),
    ),
    chat(
        "idempotency key too long",
        422,
        "invalid",
        "cid",
        asking(cid=None),
        lambda w: {**secret(w), "idempotency-key": "k" * 65},
    ),
    chat(
        "a stream from nowhere",
        422,
        "invalid",
        "Last-Event-ID",
        asking(),
        lambda w: {**secret(w), "accept": "text/event-stream", "last-event-id": "three"},
    ),
    chat(
        "a first stream from nowhere",
        422,
        "invalid",
        "Last-Event-ID",
        first(),
        lambda w: {**secret(w), "accept": "text/event-stream", "last-event-id": "three"},
    ),
    chat(
        "a stream, only spaces",
        422,
        "empty",
        "message",
        asking(message=SPACES),
        lambda w: {**secret(w), "accept": "text/event-stream"},
    ),
    chat(
        "a stream, a used cid",
        409,
        "cid_reused",
        "cid",
        asking(cid="taken", message="Other"),
        lambda w: {**secret(w), "accept": "text/event-stream"},
    ),
]

SESSION_ROWS = [
    *not_a_struct(begin),
    begin("no key", 422, "missing", "key", beginning(key=None)),
    begin("key as number", 422, "invalid", "key", beginning(key=5)),
    begin("empty key", 422, "invalid", "key", beginning(key="")),
    begin("key of spaces", 401, "bad_key", None, beginning(key="   ")),
    begin("key too long", 422, "invalid", "key", beginning(key="k" * 101)),
    begin("key with NUL", 422, "invalid", "key", beginning(key="pk_\0")),
    begin("unknown key", 401, "bad_key", None, beginning(key="pk_nobody")),
    begin("the secret key", 401, "bad_key", None, beginning(key=lambda w: w.shop.secret_key)),
    begin("locale as list", 422, "invalid", "locale", beginning(locale=[])),
    begin("locale with an underscore", 422, "invalid", "locale", beginning(locale="de_AT")),
    begin("locale with NUL", 422, "invalid", "locale", beginning(locale="de\0")),
    begin("identity as number", 422, "invalid", "identity", beginning(identity=1)),
    begin("identity too long", 422, "invalid", "identity", beginning(identity="i" * 8_193)),
    begin("identity of 64 KB", 413, "body_too_large", None, beginning(identity="i" * limits.BODY_BYTES)),
    begin("identity at a client without a secret", 422, "identity_off", "identity", beginning(identity="e30.e30.x")),
    begin("no origin", 403, "origin_not_allowed", headers={}),
    begin("wrong origin", 403, "origin_not_allowed", headers={"origin": "https://evil.example"}),
    begin("another shop's origin", 403, "origin_not_allowed", headers=lambda w: {"origin": w.other_shop.origin}),
    begin(
        "suspended client",
        403,
        "client_suspended",
        None,
        beginning(key=lambda w: w.suspended.key),
        lambda w: {"origin": w.suspended.origin},
    ),
]

HISTORY_ROWS = [
    history("no credential", 401, "no_credential", headers={}),
    history("basic credential", 401, "no_credential", headers={"authorization": "Basic YTpi"}),
    history("wrong token", 401, "bad_token", headers={"authorization": "Bearer st_nobody"}),
    history("their token", 401, "bad_token", headers=bearer("theirs")),
    history("their session", 401, "bad_token", whose="theirs"),
    history("a session of another client", 401, "bad_token", whose="foreign"),
    history("an unknown session", 401, "bad_token", whose="ses_nobody"),
    history("a very long session", 401, "bad_token", whose="s" * 10_000),
    history("a session with NUL", 401, "bad_token", whose="%00"),
    history("a session that is not UTF-8", 401, "bad_token", whose="%ff"),
    history("the secret key", 401, "bad_token", headers=secret),
    history("suspended client", 403, "client_suspended", headers=bearer("barred"), whose="barred"),
    history(
        "wrong origin",
        403,
        "origin_not_allowed",
        headers=lambda w: {**bearer("mine")(w), "origin": "https://evil.example"},
    ),
    *(
        history(f"limit {limit!r}", 422, "invalid", "limit", query=f"?limit={limit}")
        for limit in ("0", "101", "-1", "1e1", "x", "", "%D9%A3", "%00", "9" * 5_000)
    ),
    *(
        history(f"before {before!r}", 422, "invalid", "before", query=f"?before={before}")
        for before in (
            "",
            "x",
            "msg_",
            "5",
            "%00",
            "ses_0123456789abcdefghjkmnpqrs",
            "msg_" + "u" * 26,
            "%ff",
            "m" * 5_000,
        )
    ),
]

CONFIG_ROWS = [
    config("no key", 422, "missing", "key", ""),
    config("empty key", 422, "missing", "key", "?key="),
    config("unknown key", 401, "bad_key", None, "?key=pk_nobody"),
    config("key of spaces", 401, "bad_key", None, "?key=%20%20"),
    config("key with NUL", 401, "bad_key", None, "?key=%00"),
    config("key that is not UTF-8", 401, "bad_key", None, "?key=%ff%fe"),
    config("a very long key", 401, "bad_key", None, f"?key={'k' * 10_000}"),
    config("the secret key", 401, "bad_key", None, lambda w: f"?key={w.shop.secret_key}"),
    config("suspended client", 403, "client_suspended", None, lambda w: f"?key={w.suspended.key}"),
]

YES = {"call_id": "trn_nobody:2", "approved": True}

CONFIRM_ROWS = [
    confirmation("no credential", 401, "no_credential", headers={}),
    confirmation("wrong token", 401, "bad_token", headers={"authorization": "Bearer st_nobody"}),
    confirmation("their token", 401, "bad_token", headers=bearer("theirs")),
    confirmation("their session", 401, "bad_token", whose="theirs"),
    confirmation("a session of another client", 401, "bad_token", whose="foreign"),
    confirmation("a session with NUL", 401, "bad_token", whose="%00"),
    confirmation("a wrong secret key", 401, "bad_key", headers={"authorization": "Bearer sk_nobody"}),
    confirmation("another client's session", 404, "not_found", "session_id", whose="foreign", headers=secret),
    confirmation("suspended client", 403, "client_suspended", headers=bearer("barred"), whose="barred"),
    confirmation(
        "wrong origin",
        403,
        "origin_not_allowed",
        headers=lambda w: {**bearer("mine")(w), "origin": "https://evil.example"},
    ),
    confirmation("nothing waits", 404, "unknown_call", "call_id"),
    confirmation("nothing waits, from the backend", 404, "unknown_call", "call_id", headers=secret),
    confirmation("a call with NUL", 422, "invalid", "call_id", body={**YES, "call_id": "\0"}),
    confirmation("not JSON", 400, "malformed", body=b"{"),
    confirmation("too deep", 400, "too_deep", body=DEEP),
    confirmation("no call", 422, "missing", "call_id", body={"approved": True}),
    confirmation("no verdict", 422, "missing", "approved", body={"call_id": "c"}),
    confirmation("a verdict in words", 422, "invalid", "approved", body={**YES, "approved": "yes"}),
    confirmation("an empty call", 422, "invalid", "call_id", body={**YES, "call_id": ""}),
    confirmation("a very long call", 422, "invalid", "call_id", body={**YES, "call_id": "c" * 65}),
    confirmation("a huge body", 413, "body_too_large", body=b" " * (limits.BODY_BYTES + 1)),
]

# What is wrong with a callback whose address is right stands in test_callbacks.
CALLBACK_ROWS = [
    Row(CALLBACK, f"token {token[:20]!r}", 401, "bad_token", path=f"/api/v1/tools/callbacks/{token}", body={})
    for token in ("nobody", "%00", "%ff", "a.b", "x" * 5_000)
]

# Routes that take no input of any kind: nothing but the method can be wrong.
PLAIN = ("GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /docs", "GET /widget.js")

METHODS = {
    CHAT: ("GET", "PUT", "DELETE", "PATCH", "HEAD"),
    SESSIONS: ("GET", "PUT", "DELETE"),
    HISTORY: ("POST", "PUT", "DELETE"),
    CONFIG: ("POST", "PUT", "DELETE"),
    CONFIRM: ("GET", "PUT", "DELETE"),
    CALLBACK: ("GET", "PUT", "DELETE"),
    **dict.fromkeys(PLAIN, ("POST", "PUT", "DELETE")),
}

METHOD_ROWS = [
    Row(f"{method} {route.partition(' ')[2]}", f"not {route.partition(' ')[0]}", 405, "method_not_allowed")
    for route, methods in METHODS.items()
    for method in methods
]

PATHS = (
    "/nope",
    "/api/v1/nope",
    "/api/v2/chat",
    "/api/v1/ws",
    "/api/v1/sessions/x",
    "/api/v1/sessions//messages",
    "/widget.0000000000000000.js",
    "/widget.js.map",
    "/demo/",
    "/docs/nope.js",
    "/docs/..%2f..%2fpyproject.toml",
    "/docs/%2e%2e/%2e%2e/app.py",
    "/%00",
    "/%ff",
    "/admin/assets/nope.js",
    "/admin/assets/..%2f..%2fpyproject.toml",
)
PATH_ROWS = [Row(f"GET {path}", "not there", 404, "not_found") for path in PATHS]

ROWS = [*CHAT_ROWS, *SESSION_ROWS, *HISTORY_ROWS, *CONFIG_ROWS, *CONFIRM_ROWS, *CALLBACK_ROWS, *METHOD_ROWS, *PATH_ROWS]


async def ask(world: World, row: Row) -> httpx.Response:
    method, _, path = row.route.partition(" ")
    given = row.path(world) if callable(row.path) else row.path or path
    headers = row.headers(world) if callable(row.headers) else row.headers or {}
    body = row.body(world) if callable(row.body) else row.body
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    return await world.desk.http.request(method, world.desk.url + given, headers=headers, content=content)


def refusal(response: httpx.Response) -> ErrorDetail:
    """The error in our one shape, and nothing else in the body."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) <= {"code", "message", "request_id", "field", "retry_after_ms"}
    error = msgspec.json.decode(response.content, type=ErrorBody).error
    assert error.message and error.request_id == response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (error.retry_after_ms is not None)
    return error


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_bad_request(world: World, row: Row) -> None:
    """It gets its status, its code and its field; nothing changed and no model was asked."""
    before, asked = await world.desk.fingerprint(), len(world.model.requests)
    response = await ask(world, row)
    assert response.status_code == row.status, response.text
    if not row.route.startswith("HEAD"):
        error = refusal(response)
        assert (error.code, error.field) == (row.code, row.field)
        for secret_text in (world.shop.secret_key, world.mine.token, world.theirs.token):
            assert secret_text not in response.text
    if row.status == 405:
        assert response.headers["allow"] in {"GET", "POST", "GET, HEAD", "HEAD, GET"}
    assert await world.desk.fingerprint() == before
    assert len(world.model.requests) == asked


def test_every_route_has_rows() -> None:
    """A route that is added fails here until somebody says what is wrong with a request to it."""
    routes = {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}
    assert routes <= set(METHODS)
    asked = {row.route for row in ROWS}
    assert routes - asked <= set(PLAIN)
    for endpoint in ENDPOINTS:
        takes_input = endpoint.takes is not None or endpoint.parameters or endpoint.credentials
        assert bool(takes_input) == (f"{endpoint.method} {endpoint.path}" in asked)


def test_every_status_that_is_met_is_documented() -> None:
    """What a row of this table gets, the OpenAPI document names for its route."""
    documented = {f"{endpoint.method} {endpoint.path}": set(endpoint.refuses) for endpoint in ENDPOINTS}
    for row in (*CHAT_ROWS, *SESSION_ROWS, *HISTORY_ROWS, *CONFIG_ROWS, *CONFIRM_ROWS, *CALLBACK_ROWS):
        assert row.status in documented[row.route], row


@pytest.mark.parametrize(
    ("route", "limit"),
    [
        (CHAT, "visitor"),  # only messages count against a visitor
        *((route, limit) for route in (CHAT, SESSIONS, HISTORY) for limit in ("client", "address")),
    ],
)
async def test_over_the_minute(world: World, route: str, limit: str) -> None:
    """429 names the limit and says when it resets, in the body and in `Retry-After`."""
    key = {"client": "", "address": ":ip:127.0.0.1", "visitor": f":visitor:{world.mine.id}"}[limit]
    await use_up(world.desk, f"{world.shop.id}{key}", {"client": 600, "address": 120, "visitor": 20}[limit])
    before = await world.desk.fingerprint()
    row = {
        CHAT: chat("", 429, "", headers=widget),
        SESSIONS: begin("", 429, ""),
        HISTORY: history("", 429, ""),
    }[route]
    response = await ask(world, row)
    error = refusal(response)
    assert (response.status_code, error.code) == (429, f"rate_limited_{limit}")
    assert error.retry_after_ms is not None and 0 < error.retry_after_ms <= 60_001
    assert int(response.headers["retry-after"]) == -(-error.retry_after_ms // 1000)
    assert limit in error.message
    assert await world.desk.fingerprint() == before


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_over_the_month(world: World, accept: str) -> None:
    """The plan's limit is an HTTP error too, before a stream begins, and the model is not asked."""
    asked = len(world.model.requests)
    await world.desk.rows("update clients set plan_type = 'free' where id = %s", world.shop.id)
    await world.desk.rows(
        "update api_usage set message_count = message_count + 1000 where client_id = %s and date = %s",
        world.shop.id,
        datetime.now(UTC).date(),
    )
    try:
        before = await world.desk.fingerprint()
        response = await ask(world, chat("", 429, "", headers=lambda w: {**secret(w), "accept": accept}))
        error = refusal(response)
        assert (response.status_code, error.code) == (429, "month_over")
        assert "1,000" in error.message and "1st" in error.message
        assert await world.desk.fingerprint() == before
        assert len(world.model.requests) == asked
    finally:
        await world.desk.rows("update clients set plan_type = 'pro' where id = %s", world.shop.id)
        await world.desk.rows("update api_usage set message_count = 2 where client_id = %s", world.shop.id)


async def test_the_longest_messages_are_taken(desk: Desk) -> None:
    """5,000 characters, of one byte or of four, escaped or not, in a body under the limit."""
    shop = await desk.shop()
    for text in ("x" * 5_000, "🙂" * 5_000, "  " + "é" * 5_000 + "\n"):
        for ascii_only in (False, True):
            body = json.dumps({"message": text, "unknown": {"field": [1]}}, ensure_ascii=ascii_only).encode()
            assert len(body) <= limits.BODY_BYTES
            response = await desk.http.post(
                f"{desk.url}/api/v1/chat", headers={"authorization": f"Bearer {shop.secret_key}"}, content=body
            )
            assert response.status_code == 200, response.text
            assert response.json()["reply"] == f"You said: {text.strip()}"
    assert await desk.rows("select distinct length(content) from messages where role = 'user'") == [(5_000,)]


async def test_unknown_fields_and_parameters_are_ignored(world: World) -> None:
    """A newer caller may say more than this server knows."""
    headers = bearer("mine")(world)
    url = f"{world.desk.url}/api/v1/sessions/{world.mine.id}/messages?limit=1&mood=good"
    assert (await world.desk.http.get(url, headers=headers)).status_code == 200
    known = await world.desk.http.get(f"{world.desk.url}/api/v1/config?key={world.shop.key}&v=9")
    assert known.status_code == 200


async def test_a_bug_is_a_500_without_a_word_of_it(desk: Desk) -> None:
    """What nobody foresaw (a table is gone) has the error's shape, a request id and CORS, and is counted."""
    shop = await desk.shop()
    await desk.rows("alter table conversations rename to gone")
    response = await desk.http.post(
        f"{desk.url}/api/v1/sessions", headers={"origin": shop.origin}, json={"key": shop.key}
    )
    error = refusal(response)
    assert (response.status_code, error.code, error.message) == (500, "internal", "something went wrong")
    assert response.headers["access-control-allow-origin"] == "*"
    metrics = (await desk.http.get(f"{desk.url}/metrics")).text
    assert 'frontdesk_http_requests_total{method="POST",route="/api/v1/sessions",status="500"}' in metrics


async def test_a_body_that_never_ends_comes_to_an_end(world: World) -> None:
    """Without a length, in chunks: refused at the limit, not read to the end."""

    async def forever() -> Any:
        for _ in range(1_000):
            yield b"x" * 10_000

    response = await world.desk.http.post(f"{world.desk.url}/api/v1/chat", headers=secret(world), content=forever())
    assert response.status_code == 413
    assert refusal(response).code == "body_too_large"


async def test_a_caller_that_leaves_mid_body(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is nobody's error: nothing is reported as one, and the next request is served."""
    host, port = world.desk.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/chat HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {world.shop.secret_key}\r\n"
    writer.write(f'{head}content-length: 1000\r\n\r\n{{"message":'.encode())
    await writer.drain()
    counted = 'frontdesk_http_requests_total{method="POST",route="/api/v1/chat",status="0"}'
    before = (await world.desk.http.get(f"{world.desk.url}/metrics")).text.count(counted)
    writer.transport.abort()

    async def over() -> bool:
        return (await world.desk.http.get(f"{world.desk.url}/metrics")).text.count(counted) > before

    await eventually(over, "the request is over")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
