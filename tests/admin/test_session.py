"""Signing in to the console over HTTP: what a browser gets, and what another page does not."""

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from server.admin import session
from server.admin.routes import ENDPOINTS
from server.admin.session import ADDRESS_REQUESTS
from server.settings import Settings
from server.staff import Staff
from server.staff.accounts import Accounts
from tests.admin.console import BASE, Console
from tests.flows.support import Desk, open_desk, use_up
from tests.staffing import PASSWORD, hire

PUBLIC = "https://desk.example"
NEEDS = {
    f"GET {BASE}/me": "operator",
    f"POST {BASE}/logout": "operator",
    f"POST {BASE}/ws-ticket": "operator",
}


@pytest.fixture
async def abroad(settings: Settings) -> AsyncIterator[Desk]:
    """An installation on the internet, behind a proxy that ends TLS."""
    async with open_desk(msgspec.structs.replace(settings, public_url=f"{PUBLIC}/")) as desk:
        yield desk


def cookie_of(answer: httpx.Response) -> tuple[str, str, dict[str, str]]:
    """Name, value and attributes of the one cookie that an answer sets."""
    [header] = answer.headers.get_list("set-cookie")
    [(name, morsel)] = SimpleCookie(header).items()
    return name, morsel.value, {key: str(value) for key, value in morsel.items() if value}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which never sets a cookie."""
    assert "set-cookie" not in answer.headers
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_cookie_at_home(desk: Desk) -> None:
    """On loopback: for scripts unreadable, for other sites unsendable, for 12 hours, without TLS."""
    owner = await hire(desk.pool, desk.keyring)
    async with Console.of(desk.url) as console:
        answer = await console.post("/login", {"email": owner.email, "password": PASSWORD})
    name, token, attributes = cookie_of(answer)
    assert (answer.status_code, name) == (200, "frontdesk")
    assert re.fullmatch(r"os_\w{32}", token)
    assert attributes == {"httponly": "True", "samesite": "strict", "path": "/", "max-age": "43200"}
    assert answer.headers["cache-control"] == "no-store"
    assert token not in answer.text


async def test_the_cookie_abroad(abroad: Desk) -> None:
    """Off loopback: TLS alone, and from this very host alone, whatever host the proxy calls us by."""
    owner = await hire(abroad.pool, abroad.keyring)
    async with Console.of(abroad.url, origin=PUBLIC) as console:
        for host in ("desk.example", "127.0.0.1:8000"):
            answer = await console.post("/login", {"email": owner.email, "password": PASSWORD}, host=host)
            name, token, attributes = cookie_of(answer)
            assert name == "__Host-frontdesk"
            assert attributes == {
                "httponly": "True",
                "samesite": "strict",
                "path": "/",
                "max-age": "43200",
                "secure": "True",
            }
        console.http.cookies.clear()
        assert (await console.me(cookie=f"__Host-frontdesk={token}")).status_code == 200
        # A neighbouring site of the same domain can set a cookie of the plain name.
        assert error_of(await console.me(cookie=f"frontdesk={token}")) == (401, "signed_out")
        gone = await console.post("/logout", cookie=f"__Host-frontdesk={token}", x_csrf_token=answer.json()["csrf"])
        assert cookie_of(gone)[0] == "__Host-frontdesk" and cookie_of(gone)[2]["secure"] == "True"


async def test_the_whole_way(two: Desk) -> None:
    """In on one instance, known on the other, a ticket, and out; the cookie goes with it."""
    shop = await two.shop()
    operator = await hire(two.pool, two.keyring, role="operator", client_id=shop.id, name="Ann")
    async with Console.of(two.url) as console, Console.of(two.instances[1].url) as other:
        told = await console.sign_in(operator)
        assert told["operator"] == {
            "id": operator.id,
            "email": operator.email,
            "name": "Ann",
            "role": "operator",
            "client_id": shop.id,
            "avatar_url": None,
        }
        other.http.cookies = console.http.cookies
        other.headers["x-csrf-token"] = told["csrf"]
        for each in (console, other):
            answer = await each.me()
            assert (answer.status_code, answer.json()) == (200, told)
            assert "set-cookie" not in answer.headers and answer.headers["cache-control"] == "no-store"
        made = (await other.post("/ws-ticket")).json()
        assert made["expires_in_s"] == 30
        signed = await Staff(two.pool, two.keyring).redeem(made["ticket"])
        assert (signed.operator.id, signed.session_id > 0) == (operator.id, True)
        gone = await console.post("/logout")
        assert (gone.status_code, gone.content) == (204, b"")
        assert cookie_of(gone) == ("frontdesk", "", {**cookie_of(gone)[2], "path": "/"})
        assert "max-age=0" in gone.headers["set-cookie"].lower()
        other.headers["cookie"] = f"frontdesk={other.http.cookies.get('frontdesk') or 'os_gone'}"
        assert error_of(await other.post("/ws-ticket")) == (401, "signed_out")
        assert error_of(await console.me()) == (401, "signed_out")


async def test_a_link(desk: Desk) -> None:
    """Signs in once, with the same cookie as a password."""
    owner = await hire(desk.pool, desk.keyring)
    secret = await Staff(desk.pool, desk.keyring).login_link(owner.id)
    async with Console.of(desk.url) as console:
        answer = await console.post("/link", {"secret": secret})
        assert answer.status_code == 200 and cookie_of(answer)[0] == "frontdesk"
        assert answer.json()["operator"]["id"] == owner.id
        assert (await console.me()).json() == answer.json()
        assert error_of(await console.post("/link", {"secret": secret})) == (401, "bad_link")


async def test_somebody_who_is_disabled(desk: Desk, console: Console) -> None:
    """Is out with the next request."""
    accounts = Accounts(desk.pool, desk.keyring)
    me = (await console.me()).json()["operator"]
    await hire(desk.pool, desk.keyring)
    await accounts.disable(me["email"])
    assert error_of(await console.me()) == (401, "signed_out")
    assert error_of(await console.post("/ws-ticket")) == (401, "signed_out")
    assert error_of(await console.post("/login", {"email": me["email"], "password": PASSWORD})) == (401, "bad_login")


async def test_a_lock_out(two: Desk) -> None:
    """429 with the wait in the body and in `Retry-After`, on the instance that saw no failure."""
    owner = await hire(two.pool, two.keyring)
    wrong, right = ({"email": owner.email, "password": each} for each in ("wrong", PASSWORD))
    async with Console.of(two.url) as one, Console.of(two.instances[1].url) as other:
        for _ in range(5):
            assert error_of(await one.post("/login", wrong)) == (401, "bad_login")
        answer = await other.post("/login", right)
        assert error_of(answer) == (429, "locked_out")
        assert 15_000 < answer.json()["error"]["retry_after_ms"] <= 30_001
        assert 15 <= int(answer.headers["retry-after"]) <= 31


# --- other pages

POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.method == "POST"]
BODIES = {"/login": {"email": "a@b", "password": "x"}, "/link": {"secret": "ol_x"}}


@pytest.mark.parametrize("path", [endpoint.path.removeprefix(BASE) for endpoint in POSTS])
async def test_another_origin(desk: Desk, console: Console, path: str) -> None:
    """Every POST: none, another site, another port, another scheme, `null`, one that begins like ours: refused."""
    before = await desk.fingerprint()
    port = desk.url.rpartition(":")[2]
    for origin in (
        None,
        "",
        "null",
        "https://evil.example",
        "http://127.0.0.1",
        f"http://127.0.0.1:{int(port) + 1}",
        desk.url.replace("http:", "https:"),
        f"{desk.url}.evil.example",
        f"{desk.url}/",
        f"http://localhost:{port}",  # the page was opened by another name: it talks to that one
        "http://shop.example",
    ):
        assert error_of(await console.post(path, BODIES.get(path), origin=origin)) == (403, "origin_not_allowed")
    assert await desk.fingerprint() == before
    assert error_of(await console.me(origin="https://evil.example")) == (403, "origin_not_allowed")


async def test_a_name_that_was_pointed_at_us(desk: Desk) -> None:
    """A site whose name resolves to loopback is not ours, though its origin is the host it calls."""
    async with Console.of(desk.url) as console:
        for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "a b"):
            answer = await console.post("/login", BODIES["/login"], host=host, origin=f"http://{host}")
            assert error_of(answer) == (403, "no_public_url")


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "127.0.0.1:8000", "LOCALHOST:8000"])
async def test_loopback_by_any_name(desk: Desk, host: str) -> None:
    """The page's own name counts."""
    owner = await hire(desk.pool, desk.keyring)
    async with Console.of(desk.url, origin=f"http://{host.lower()}") as console:
        answer = await console.post("/login", {"email": owner.email, "password": PASSWORD}, host=host)
        assert answer.status_code == 200 and cookie_of(answer)[0] == "frontdesk"


async def test_abroad_only_its_own_origin(abroad: Desk) -> None:
    """Neither another site nor loopback."""
    async with Console.of(abroad.url) as console:
        for origin in (abroad.url, "http://desk.example", "https://desk.example:8443", "https://evil.example"):
            answer = await console.post("/login", BODIES["/login"], origin=origin, host="desk.example")
            assert error_of(answer) == (403, "origin_not_allowed")


async def test_abroad_without_tls(settings: Settings) -> None:
    """A password does not travel in clear, and the refusal says what to do."""
    async with (
        open_desk(msgspec.structs.replace(settings, public_url="http://desk.example")) as desk,
        Console.of(desk.url, origin="http://desk.example") as console,
    ):
        answer = await console.post("/login", BODIES["/login"], host="desk.example")
        assert error_of(answer) == (403, "https_needed")
        assert "FRONTDESK_PUBLIC_URL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/logout", "/ws-ticket"])
async def test_without_the_csrf_token(desk: Desk, console: Console, path: str) -> None:
    """None, nonsense, that of another session: refused, and nothing is changed."""
    async with Console.of(desk.url) as other:
        theirs = (await other.sign_in(await hire(desk.pool, desk.keyring)))["csrf"]
    before = await desk.fingerprint()
    for wrong in (None, "", "x", "é", theirs, console.headers["x-csrf-token"][:-4]):
        assert error_of(await console.post(path, x_csrf_token=wrong)) == (403, "csrf")
    assert await desk.fingerprint() == before
    assert (await console.post(path)).is_success


async def test_no_page_elsewhere_reads_the_answer(console: Console) -> None:
    """No answer allows credentials to other origins, and a preflight allows no CSRF token."""
    answer = await console.http.request(
        "OPTIONS",
        f"{BASE}/ws-ticket",
        headers={
            "origin": "https://evil.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-csrf-token",
        },
    )
    assert answer.status_code == 400
    for each in (answer, await console.me(), await console.post("/ws-ticket")):
        assert "access-control-allow-credentials" not in each.headers


# --- bad input

SIGN_IN = {"email": "ann@desk.example", "password": "x"}


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/login", b"", 400, None),
        ("/login", b"{", 400, None),
        ("/login", b"\xff", 400, None),
        ("/login", b"[" * 100, 400, None),
        ("/login", b"[]", 422, None),
        ("/login", {}, 422, "email"),
        ("/login", {"email": "a@b"}, 422, "password"),
        *[("/login", {**SIGN_IN, "email": each}, 422, "email") for each in ("", "x" * 321, 1, None, True, "a\0b")],
        *[("/login", {**SIGN_IN, "password": each}, 422, "password") for each in ("", "x" * 1025, 1, None, "a\0")],
        ("/login", b'{"email": "\\ud800", "password": "x"}', 400, None),
        ("/login", {**SIGN_IN, "password": "x" * 70_000}, 413, None),
        ("/link", b"", 400, None),
        ("/link", {}, 422, "secret"),
        *[("/link", {"secret": each}, 422, "secret") for each in ("", "x" * 101, 1, None, "a\0b")],
    ],
)
async def test_bad_bodies(desk: Desk, path: str, body: object, status: int, field: str | None) -> None:
    """Each is refused with the field that is wrong, and without what was typed."""
    before = await desk.fingerprint()
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    answer = await desk.http.post(f"{desk.url}{BASE}{path}", content=raw, headers={"origin": desk.url})
    assert error_of(answer)[0] == status
    assert answer.json()["error"].get("field") == field
    assert "xxx" not in answer.text
    assert await desk.fingerprint() == before


@pytest.mark.parametrize("cookie", ["frontdesk=", "frontdesk=os_x", "frontdesk", "other=1", "frontdesk=\u00e9"])
async def test_cookies_that_are_none(desk: Desk, cookie: str) -> None:
    """The same answer for each, to a read and to a change."""
    async with Console.of(desk.url) as console:
        assert error_of(await console.me(cookie=cookie)) == (401, "signed_out")
        answer = await console.post("/ws-ticket", x_csrf_token="x", cookie=cookie)
        assert error_of(answer) == (401, "signed_out")


async def test_a_flood_from_one_address(desk: Desk) -> None:
    """More than a minute's worth is refused before anything is looked up."""
    async with Console.of(desk.url) as console:
        for path, body in BODIES.items():
            assert error_of(await console.post(path, body))[0] == 401
        await use_up(desk, "admin:ip:127.0.0.1", ADDRESS_REQUESTS)
        before = await desk.fingerprint()
        for path, body in BODIES.items():
            assert error_of(await console.post(path, body)) == (429, "rate_limited_address")
        assert await desk.fingerprint() == before


async def test_what_they_answer_is_what_the_document_says(desk: Desk) -> None:
    """Good answers and refusals validate against the schemas of their status, which stand there."""
    owner = await hire(desk.pool, desk.keyring)
    document = (await desk.http.get(f"{desk.url}/openapi.json")).json()
    async with Console.of(desk.url) as console:
        answers = [await console.me(), await console.post("/logout"), await console.post("/ws-ticket")]
        answers += [await console.post("/login", {"email": "a@b", "password": "x"}), await console.post("/link", {})]
        await console.sign_in(owner)
        answers += [
            await console.post("/login", {"email": owner.email, "password": PASSWORD}),
            await console.me(),
        ]
        console.headers["x-csrf-token"] = answers[-1].json()["csrf"]
        answers += [
            await console.post("/ws-ticket"),
            await console.post("/ws-ticket", x_csrf_token=None),
            await console.post("/login", {}, origin=None),
            await console.post("/logout"),
        ]
    for answer in answers:
        operation = document["paths"][answer.request.url.path][answer.request.method.lower()]
        described = operation["responses"][str(answer.status_code)]
        if answer.status_code == 204:
            assert "content" not in described and answer.content == b""
            continue
        schema = {**described["content"]["application/json"]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json())
    assert {answer.request.url.path for answer in answers} == {endpoint.path for endpoint in session.ENDPOINTS}
