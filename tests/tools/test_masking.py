"""No credential stands in what people are shown of a call, wherever it was and however it is spelled."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.net.egress import Egress
from server.tools.connections import kinds
from server.tools.setup.masking import MASK, Mask

# As `check_credential` takes them, long enough to be looked for in a text.
CREDENTIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=60)


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "x-apikey", "Proxy-Authorization", "webhook-signature"),
        *("X-Shopify-Access-Token", "X-Hub-Signature-256", "X-Auth", "X-CSRF-Token", "Ocp-Apim-Subscription-Key"),
    ],
)
def test_headers_that_carry_credentials(name: str) -> None:
    """By their names, in any case; their values are known from then on."""
    mask = Mask()
    for spelled in (name, name.lower(), name.upper()):
        shown = mask.headers({"x-copy": "see abc-123-secret", spelled: "abc-123-secret"}, ours=True)
        assert shown == {"x-copy": f"see {MASK}", spelled: MASK}
    assert mask.text("it was abc-123-secret.") == f"it was {MASK}."


@pytest.mark.parametrize("name", ["Idempotency-Key", "webhook-id", "webhook-timestamp", "Content-Type", "X-Keyword"])
def test_headers_that_carry_none(name: str) -> None:
    """They are shown: they are what somebody looks for."""
    assert Mask().headers({name: "value-12345"}, ours=True) == {name: "value-12345"}


def test_the_scheme_is_no_secret() -> None:
    """Words such as Bearer stay where they are, and a foreign cookie's attributes take no word out of the answer."""
    mask = Mask()
    mask.headers({"authorization": "Bearer abc-123-secret"}, ours=True)
    shown = mask.headers({"set-cookie": "sid=zzzzzzzz; Secure; HttpOnly"}, ours=False)
    assert shown == {"set-cookie": MASK}
    assert mask.text("Bearer of abc-123-secret, Secure HttpOnly") == f"Bearer of {MASK}, Secure HttpOnly"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/x", "https://h.example/x"),
        ("https://h.example/x?", "https://h.example/x?"),
        ("https://h.example/x?q=pizza&keyword=key&page=2", "https://h.example/x?q=pizza&keyword=key&page=2"),
        ("https://h.example/x?api_key=abc", f"https://h.example/x?api_key={MASK}"),
        ("https://h.example/x?a=1&accessToken=abc&b", f"https://h.example/x?a=1&accessToken={MASK}&b"),
        ("https://h.example/x?sig=a=b%26&token=", f"https://h.example/x?sig={MASK}&token="),
        ("https://h.example/x?odd=abc", f"https://h.example/x?odd={MASK}"),
        ("https://h.example/x?o%64d=abc", f"https://h.example/x?o%64d={MASK}"),
    ],
)
def test_parameters_that_carry_credentials(url: str, shown: str) -> None:
    """By their names, and the one that the connection names; the others stay."""
    assert Mask(parameters=["ODD"]).url(url) == shown


@given(CREDENTIALS, st.text(max_size=20), st.text(max_size=20))
def test_however_it_is_spelled(secret: str, before: str, after: str) -> None:
    """As it is, percent-encoded, as a form, within JSON, in base64: found wherever it stands."""
    mask = Mask([secret])
    spellings = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode(),
    }
    for spelled in spellings:
        masked = mask.text(f"{before}{spelled}{after}")
        assert MASK in masked and secret not in masked


CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("custom_api", {"api_url": "https://a.example", "auth": {"type": "bearer", "token": "5ecret-one"}}),
    (
        "custom_api",
        {"api_url": "https://a.example", "auth": {"type": "api_key", "name": "X-Shop", "value": "5ecret-one"}},
    ),
    (
        "custom_api",
        {
            "api_url": "https://a.example",
            "auth": {"type": "api_key", "name": "shop", "value": "5ecret-one", "where": "query"},
        },
    ),
    (
        "custom_api",
        {"api_url": "https://a.example", "auth": {"type": "basic", "username": "u", "password": "5ecret-one"}},
    ),
    (
        "custom_api",
        {
            "api_url": "https://a.example",
            "auth": {
                "type": "oauth2",
                "token_url": "https://a.example/t",
                "client_id": "u",
                "client_secret": "5ecret-one",
                "token_header": "X-Odd",
            },
        },
    ),
    ("shopify", {"shop": "bob.myshopify.com", "access_token": "5ecret-one"}),
    ("shopify", {"shop": "bob.myshopify.com", "client_id": "me", "client_secret": "5ecret-one"}),
    ("woocommerce", {"site_url": "https://b.example", "consumer_key": "5ecret-one", "consumer_secret": "5ecret-two"}),
    ("postgres_database", {"host": "db.example", "database": "d", "user": "u", "password": "5ecret-one"}),
]


@pytest.mark.parametrize(("kind", "config"), CONFIGS)
async def test_every_kind_of_connection(kind: str, config: dict[str, Any]) -> None:
    """Its secrets in a text, and its own names of headers and parameters."""
    egress = Egress()
    connection = kinds.parse(kind, config, egress)
    await egress.close()
    mask = Mask.of(connection)
    assert "5ecret" not in mask.text("5ecret-one, and 5ecret-two" if kind == "woocommerce" else "5ecret-one")
    pair = base64.b64encode(b"u:5ecret-one").decode()
    if config.get("auth", {}).get("type") == "basic":
        assert mask.text(pair) == MASK
    shown = mask.headers({"X-Shop": "got-1234", "X-Odd": "got-1234", "Authorization": "Bearer x"}, ours=True)
    names = {config.get("auth", {}).get("name"), config.get("auth", {}).get("token_header"), "Authorization"}
    assert {name for name, value in shown.items() if value == MASK} >= names - {None, "shop"}
    assert (mask.url("https://a.example?shop=1") == f"https://a.example?shop={MASK}") == ("shop" in names)
