"""The one way out: what it sends, what it hands back, what it refuses, and what it keeps to itself."""

import asyncio
import re
import traceback
from pathlib import Path

import pytest

from server.errors import EgressError, Invalid
from server.net.egress import MAX_REQUEST, Egress, Response
from server.net.session import CONNECTIONS_PER_HOST
from tests.net.weather import (
    LOOPBACK,
    PATIENCE_S,
    Handler,
    Server,
    answering,
    failing,
    local,
    network_calls,
    ok,
    repeating,
    serving,
    silent,
)

# What is sent


async def test_a_request_is_sent_as_given(egress: Egress) -> None:
    """Method, path, query, headers and body arrive; the host is the name, and nothing is added but what we are."""
    async with serving(repeating(ok(b'{"a":1}', "Content-Type: application/json", "X-Two: 1", "X-Two: 2"))) as server:
        response = await egress.request(
            "POST",
            server.url("/a%20b/%C3%A9?x=%20a+b&filter[y]=%2B", host="hooks.test"),
            headers={"Content-Type": "application/json", "Idempotency-Key": "trn_1:2"},
            body=b'{"tool":"x"}',
            timeout_s=PATIENCE_S,
        )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b/%C3%A9?x=%20a+b&filter%5By%5D=%2B HTTP/1.1"
    assert sorted(lines[1:]) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Content-Length: 12",
        "Content-Type: application/json",
        f"Host: hooks.test:{server.port}",
        "Idempotency-Key: trn_1:2",
        "User-Agent: Frontdesk",
    ]
    assert body == b'{"tool":"x"}'
    assert response == Response(
        200, {"content-length": "7", "content-type": "application/json", "x-two": "1, 2"}, b'{"a":1}'
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_works_without_a_body(egress: Egress, method: str) -> None:
    """And no content type is made up for it."""
    async with serving(repeating(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        response = await egress.request(method, server.url(), timeout_s=PATIENCE_S)
    assert (response.status, response.body) == (204, b"")
    assert server.requests[0].startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert b"content-type" not in server.requests[0].lower()


async def test_a_head_has_no_body_however_long_it_would_be(egress: Egress) -> None:
    """Its length is of the body that a GET would get."""
    async with serving(repeating(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")) as server:
        response = await egress.request("HEAD", server.url(), timeout_s=PATIENCE_S, max_bytes=10)
    assert (response.headers["content-length"], response.body) == ("1000000000", b"")


@pytest.mark.parametrize(
    "status", [200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 409, 418, 429, 500, 502, 503, 599]
)
async def test_any_status_is_an_answer(egress: Egress, status: int) -> None:
    """What it means is the caller's to say."""
    async with serving(answering(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        assert (await egress.request("GET", server.url(), timeout_s=PATIENCE_S)).status == status


async def test_an_answer_before_the_answer_is_passed_over(egress: Egress) -> None:
    """Status 100 and 103 are not the answer."""
    async with serving(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(b"late"))) as server:
        assert (await egress.request("GET", server.url(), timeout_s=PATIENCE_S)).body == b"late"


async def test_a_body_of_any_framing_is_read(egress: Egress) -> None:
    """By length, in chunks, or until the connection ends."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    for answer in (ok(b"abcde"), chunked, b"HTTP/1.0 200 OK\r\n\r\nabcde"):
        async with serving(answering(answer)) as server:
            assert (await egress.request("GET", server.url(), timeout_s=PATIENCE_S)).body == b"abcde"


async def test_a_connection_is_used_again(egress: Egress) -> None:
    """Also by another method, and after a 3xx or a 500."""
    async with serving(repeating(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")) as server:
        for method in ("POST", "GET", "PUT", "POST"):
            await egress.request(method, server.url(), timeout_s=PATIENCE_S)
        assert (server.connections, len(server.requests)) == (1, 4)


async def test_connections_to_a_host_are_bounded(egress: Egress) -> None:
    """A slow host holds so many and no more; who waits for one in vain was not sent."""
    entered = asyncio.Event()

    def make(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            if len(server.requests) == CONNECTIONS_PER_HOST:
                entered.set()
            await server.gone(reader)

        return handle

    async with serving(make) as server:
        busy = [
            asyncio.create_task(egress.request("POST", server.url(), body=b"{}", timeout_s=60))
            for _ in range(CONNECTIONS_PER_HOST)
        ]
        async with asyncio.timeout(PATIENCE_S):
            await entered.wait()
        error = await failing(egress, server, timeout_s=0.2)
        assert (error.kind, error.sent) == ("timeout", False)
        assert server.connections == CONNECTIONS_PER_HOST
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_cookies_are_not_kept(egress: Egress) -> None:
    """One visitor's call does not colour another's."""
    async with serving(repeating(ok(b"", "Set-Cookie: session=1; Path=/"))) as server:
        url = server.url(host="hooks.test")
        first = await egress.request("GET", url, timeout_s=PATIENCE_S)
        await egress.request("GET", url, timeout_s=PATIENCE_S)
    assert first.headers["set-cookie"] == "session=1; Path=/"
    assert b"cookie" not in server.requests[1].lower()


async def test_the_environment_has_no_say(egress: Egress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, and no credentials from ~/.netrc."""
    async with serving(answering(ok(b"proxy"))) as proxy, serving(answering(ok(b"direct"))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        (tmp_path / ".netrc").write_text("machine hooks.test login x password y\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        response = await egress.request("GET", server.url(host="hooks.test"), timeout_s=PATIENCE_S)
        assert response.body == b"direct"
        assert proxy.connections == 0
        assert b"authorization" not in server.requests[0].lower()


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"X-A": "a\r\nX-Evil: 1"}, "line breaks"),
        ({"X-A": "a\nX-Evil: 1"}, "line breaks"),
        ({"X-A": "a\rb"}, "line breaks"),
        ({"X-A": "a\0b"}, "control"),
        ({"X-A": "a\x7fb"}, "control"),
        ({"X-A": "\ud800"}, "control"),
        ({"X-A": "a" * 8001}, "8000"),
        ({"X-A\r\nX-Evil": "1"}, "name"),
        ({"X A": "1"}, "name"),
        ({"X:A": "1"}, "name"),
        ({"": "1"}, "name"),
        ({"Host": "other.test"}, "Host"),
        ({"hOST": "other.test"}, "hOST"),
        ({"Content-Length": "0"}, "Content-Length"),
        ({"Transfer-Encoding": "chunked"}, "Transfer-Encoding"),
        ({"Connection": "Upgrade"}, "Connection"),
        ({"Accept-Encoding": "gzip"}, "Accept-Encoding"),
        ({"Expect": "100-continue"}, "Expect"),
    ],
)
async def test_a_header_that_would_forge_the_request_is_refused(
    egress: Egress, headers: dict[str, str], what: str
) -> None:
    """At configuration with the field's name, and at the call; the message does not quote the value."""
    with pytest.raises(Invalid, match=what) as invalid:
        egress.check_headers(headers, field="config.headers")
    assert invalid.value.field == "config.headers"
    assert "Evil: 1" not in invalid.value.message
    async with serving(repeating(ok())) as server:
        with pytest.raises(EgressError, match=what) as caught:
            await egress.request("GET", server.url(), headers=headers, timeout_s=PATIENCE_S)
        assert (caught.value.kind, caught.value.sent) == ("forbidden", False)
        assert server.connections == 0


async def test_ordinary_headers_pass(egress: Egress) -> None:
    """Tokens, blanks, tabs and letters of any language."""
    headers = {"Authorization": "Bearer a.b-c", "X-Name": "Zoë\tO'Hara", "User-Agent": "Shop/1", "Accept": "text/csv"}
    egress.check_headers(headers)
    async with serving(repeating(ok())) as server:
        await egress.request("GET", server.url(), headers=headers, timeout_s=PATIENCE_S)
    for name, value in headers.items():
        assert server.requests[0].count(f"{name}: {value}\r\n".encode()) == 1
    assert b"Frontdesk" not in server.requests[0]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX: ", "", "PROPFIND"])
async def test_a_method_that_is_none_is_refused(egress: Egress, method: str) -> None:
    """CONNECT and TRACE among them."""
    async with serving(repeating(ok())) as server:
        with pytest.raises(EgressError, match="the method may be DELETE, GET") as caught:
            await egress.request(method, server.url(), timeout_s=PATIENCE_S)
        assert (caught.value.kind, caught.value.sent, server.connections) == ("forbidden", False, 0)


async def test_a_request_has_a_size_too(egress: Egress) -> None:
    """A megabyte goes, a byte more does not."""
    async with serving(repeating(ok())) as server:
        await egress.request("POST", server.url(), body=b"x" * MAX_REQUEST, timeout_s=PATIENCE_S)
        with pytest.raises(EgressError) as caught:
            await egress.request("POST", server.url(), body=b"x" * (MAX_REQUEST + 1), timeout_s=PATIENCE_S)
        assert (caught.value.kind, caught.value.sent, len(server.requests)) == ("too_large", False, 1)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://hooks.example.com/x", "https://hooks.example.com/x"),
        ("HTTPS://Hooks.Example.COM", "https://hooks.example.com"),
        ("https://hooks.example.com?a=1&b=2", "https://hooks.example.com/?a=1&b=2"),
        ("http://hooks.example.com:80/", "http://hooks.example.com/"),
        ("http://hooks.example.com:65535/", "http://hooks.example.com:65535/"),
        ("https://my_shop.example.com/a//b/", "https://my_shop.example.com/a//b/"),
        ("https://bücher.example/straße?q=é", "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A9"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
        ("https://93.184.215.14/x", "https://93.184.215.14/x"),
        ("https://[2606:4700:0:0::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://[64:ff9b::93.184.215.14]/x", "https://[64:ff9b::5db8:d70e]/x"),
        ("https://1password.example.com/", "https://1password.example.com/"),
        ("https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/"),
        (
            "https://api.example.com/v1.2/x...y/.well-known/a;b=1,2",
            "https://api.example.com/v1.2/x...y/.well-known/a;b=1,2",
        ),
        ("https://api.example.com/?u=http://127.0.0.1/@x", "https://api.example.com/?u=http://127.0.0.1/@x"),
    ],
)
def test_a_url_as_it_will_be_called(url: str, called: str) -> None:
    """Ordinary URLs of the internet pass, written in one way; what was checked once passes again unchanged."""
    egress = Egress()
    assert egress.check_url(url) == called
    assert egress.check_url(called) == called


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://hooks.example.com/../admin", "path"),
        ("https://hooks.example.com/a/./b", "path"),
        ("https://hooks.example.com/a/%2e%2E/b", "path"),
        ("https://hooks.example.com/a/..%2fb", "path"),
        ("https://hooks.example.com/a/%2e%2e%5cb", "path"),
        ("https://hooks.example.com/orders/..", "path"),
        ("https://hooks.example.com/#top", "fragment"),
        ("https://user:secret@hooks.example.com/", "user name or password"),
        ("https://hooks.example.com/orders/{id}", "may not contain {"),
        ("https://hooks.example.com/a b", "blanks"),
        ("https://hooks.example.com/a\u00a0b", "blanks"),
        ("https://hooks.example.com/a\u2028b", "blanks"),
        ("https://hooks.example.com/?q=\u202egnp.exe", "control"),
        ("https://hooks.example.com/\uff0fadmin", "percent-encoded"),
        ("https://hooks.example.com/50%", "not a URL"),
        ("https://hooks.example.com/%zz", "not a URL"),
        ("https://hooks.example.com:99999/", "1 to 65535"),
        ("https://hooks.example.com./", "dot"),
        ("hooks.example.com/x", "http://"),
        ("ftp://hooks.example.com/x", "http:// or https:// only"),
        ("https://hooks.example.com/" + "x" * 8000, "longer than 8000"),
        ("https://intranet/", "local network"),
        ("https://10.0.0.1/", "private or local address"),
        ("https://1\u0662.example.com/", "two ways"),
        ("https://e\ufb01le.example.com/", "two ways"),
    ],
)
async def test_a_url_that_is_refused_says_why(url: str, says: str) -> None:
    """The message names the field and the trouble, and never shows a secret of the URL."""
    egress = Egress()
    with pytest.raises(Invalid, match=says) as invalid:
        egress.check_url(url, field="endpoint_url")
    assert invalid.value.field == "endpoint_url"
    assert "secret" not in invalid.value.message
    with network_calls() as calls, pytest.raises(EgressError, match=says) as caught:
        await egress.request("GET", url, timeout_s=PATIENCE_S)
    assert (caught.value.kind, caught.value.sent) == ("forbidden", False)
    assert calls == []


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("db.example.com", "db.example.com"),
        ("DB.Example.com", "db.example.com"),
        ("93.184.215.14", "93.184.215.14"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("[2606:4700::1111]", "2606:4700::1111"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
async def test_a_database_s_host(host: str, found: str) -> None:
    """Names and addresses, with and without brackets; an address is its own answer."""
    egress = Egress(lookup=local)
    assert egress.check_host(host) == found
    if found[0].isdigit():
        assert await egress.resolve(host, 5432, timeout_s=PATIENCE_S) == found


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_a_database_s_port(egress: Egress, port: int) -> None:
    """From 1 to 65535."""
    with pytest.raises(EgressError, match="1 to 65535"):
        await egress.resolve("db.test", port, timeout_s=PATIENCE_S)


# Names


async def test_a_name_that_is_not_there(egress: Egress) -> None:
    """Not sent; the caller may try again."""
    for call in (
        egress.request("POST", "http://nothing.example.com/", body=b"{}", timeout_s=PATIENCE_S),
        egress.resolve("nothing.example.com", 3306, timeout_s=PATIENCE_S),
    ):
        with pytest.raises(EgressError, match=r"nothing\.example\.com was not found") as caught:
            await call
        assert (caught.value.kind, caught.value.sent) == ("dns", False)


async def test_a_name_whose_servers_do_not_answer() -> None:
    """The timeout is for the lookup as well."""

    async def never(host: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    egress = Egress(lookup=never)
    for call in (
        egress.request("POST", "http://slow.test/", timeout_s=0.1),
        egress.resolve("slow.test", 3306, timeout_s=0.1),
    ):
        with pytest.raises(EgressError) as caught:
            await call
        assert (caught.value.kind, caught.value.sent) == ("timeout", False)
    await egress.close()


async def test_the_next_address_is_tried_when_one_is_dead() -> None:
    """All addresses of a name are checked, so any of them may be used."""

    async def both(host: str) -> list[str]:
        return ["127.0.0.3", "127.0.0.2"]

    async with serving(repeating(ok()), host="127.0.0.2") as server:
        egress = Egress(LOOPBACK, lookup=both)
        assert (await egress.request("GET", server.url(host="hooks.test"), timeout_s=PATIENCE_S)).status == 200
        await egress.close()


# Secrets


async def test_nothing_secret_is_logged_or_chained(egress: Egress, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither path, query, header nor body reaches the log or an error's traceback; the host and the reason do."""
    secret = "-".join(["very", "secret"])  # not in the source lines that a traceback shows
    async with serving(answering(ok())) as server:
        url = server.url(f"/hook-{secret}?key={secret}", host="hooks.test")
        await egress.request("GET", url, timeout_s=PATIENCE_S)
        await server.wait_for_finished(1)
    traces = []
    async with serving(silent) as mute:
        for each in (
            url,
            mute.url(f"/{secret}?{secret}"),
            mute.url(f"/{secret}?{secret}", scheme="https"),
            f"https://nothing.example.com/hook-{secret}?key={secret}",
            f"http://10.0.0.1/hook-{secret}?key={secret}",
            f"http://user:{secret}@hooks.test/",
        ):
            with pytest.raises(EgressError) as caught:
                await egress.request("POST", each, headers={"X-Key": secret}, body=secret.encode(), timeout_s=0.1)
            traces.append("".join(traceback.format_exception(caught.value)))
    captured = capsys.readouterr()
    logged = captured.out + captured.err
    assert "hooks.test" in logged
    for kind in ("refused", "timeout", "dns"):
        assert re.search(rf"kind\W+{kind}", logged)
    assert secret not in logged
    assert secret not in "".join(traces)
