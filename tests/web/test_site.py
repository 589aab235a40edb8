"""Where the console is: one origin, and no request talks it into another."""

import pytest

from server.errors import Forbidden
from server.web.site import Site, check_own_origin, own_site

HOME, ABROAD = "http://127.0.0.1:8000", "https://desk.example"


@pytest.mark.parametrize(
    ("public_url", "host", "origin"),
    [
        (None, "localhost:8000", "http://localhost:8000"),
        (None, "LocalHost:80", "http://localhost"),
        (None, "127.0.0.1:8000", HOME),
        (None, "127.9.9.9", "http://127.9.9.9"),
        (None, "[::1]:8000", "http://[::1]:8000"),
        (HOME, "localhost:8001", "http://localhost:8001"),
        ("https://localhost:8443", "localhost:8443", "https://localhost:8443"),
    ],
)
def test_on_loopback(public_url: str | None, host: str, origin: str) -> None:
    """The origin is the one that the browser calls; cookies need no TLS."""
    assert own_site(public_url, host) == Site(origin, secure=False)
    assert own_site(public_url, host).cookie == "frontdesk"


@pytest.mark.parametrize("host", ["desk.example", "127.0.0.1:8000", "evil.example", "", None])
def test_off_loopback(host: str | None) -> None:
    """The origin is the deployment's, whatever host a request names; cookies are TLS's alone."""
    assert own_site("https://Desk.example:443/sub", host) == Site(ABROAD, secure=True)
    assert own_site(ABROAD, host).cookie == "__Host-frontdesk"


@pytest.mark.parametrize(
    "host",
    [None, "", "desk.example", "192.0.2.1", "0.0.0.0", "localhost.example", "127.0.0.1.example", "a@localhost", "a b"],
)
@pytest.mark.parametrize("public_url", [None, HOME])
def test_nowhere(public_url: str | None, host: str | None) -> None:
    """Another name without a public address is refused: it may be anybody's who has pointed it here."""
    with pytest.raises(Forbidden) as caught:
        own_site(public_url, host)
    assert caught.value.code == "no_public_url" and "FRONTDESK_PUBLIC_URL" in caught.value.message


@pytest.mark.parametrize("public_url", ["http://desk.example", "http://192.0.2.1:8000"])
def test_in_clear(public_url: str) -> None:
    """A password does not travel in clear."""
    with pytest.raises(Forbidden) as caught:
        own_site(public_url, "desk.example")
    assert caught.value.code == "https_needed"


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "https://desk.example/", "https://desk.example:443", "http://desk.example", "https://x.example"],
)
def test_other_origins(origin: str | None) -> None:
    """Compared whole, as browsers write them."""
    check_own_origin(Site(ABROAD, secure=True), ABROAD)
    with pytest.raises(Forbidden) as caught:
        check_own_origin(Site(ABROAD, secure=True), origin)
    assert caught.value.code == "origin_not_allowed"
