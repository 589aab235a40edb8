"""Origins as people type them and as browsers send them."""

import pytest

from server.net.origin import normal_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        (" https://Shop.Example:443/path?x=1#y ", "https://shop.example"),
        ("HTTP://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://shop.example:80/", "https://shop.example:80"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://[2001:DB8:0:0::1]", "https://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://my_shop.example", "https://my_shop.example"),
        ("https://192.0.2.1:444", "https://192.0.2.1:444"),
        ("", None),
        ("null", None),
        ("*", None),
        ("shop.example", None),
        ("//shop.example", None),
        ("https://", None),
        ("https:///path", None),
        ("https://*.shop.example", None),
        ("https://shop .example", None),
        ("https://shop.example:port", None),
        ("https://shop.example:65536", None),
        ("https://user@shop.example", None),
        ("https://user:pass@shop.example", None),
        ("https://shop.example\\@evil.example", None),
        ("https://a..b", None),
        ("https://-shop.example", None),
        ("https://[::1", None),
        ("file:///etc/passwd", None),
        ("ws://shop.example", None),
        ("javascript://shop.example", None),
        ("https://" + "a" * 70 + ".example", None),
    ],
)
def test_an_origin_as_browsers_send_it(text: str, origin: str | None) -> None:
    """What a person types becomes what is compared, or nothing."""
    assert normal_origin(text) == origin
    assert origin is None or normal_origin(origin) == origin
