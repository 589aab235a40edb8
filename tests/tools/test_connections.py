"""Configurations of connections: what is taken, what is refused and in which words, what is shown."""

import json
from typing import Any

import pytest

from server.errors import Invalid
from server.net.egress import Egress
from server.tools.connections.database import DatabaseConnection
from server.tools.connections.http import ApiKey, Basic, Bearer, HttpConnection, NoAuth, OAuth2
from server.tools.connections.kinds import dump, parse, public_view
from server.tools.connections.shops import SHOPIFY_VERSION, ShopifyConnection, WooCommerceConnection
from tests.net.ssrf_corpus import STATIC_URLS

SECRET = "s3cret-3f9a81"
API = "https://api.example.com/v1"
OAUTH = {"type": "oauth2", "token_url": "https://id.example.com/token", "client_id": "app", "client_secret": SECRET}


@pytest.fixture
def egress() -> Egress:
    """As in production: no private addresses."""
    return Egress()


GOOD: list[tuple[str, dict[str, Any], Any]] = [
    ("custom_api", {"api_url": API + "/"}, HttpConnection(api_url=API)),
    (
        "custom_api",
        {"api_url": API, "auth": {"type": "bearer", "token": SECRET}, "rate_limit": 40, "test_path": "/ping?x=1"},
        HttpConnection(api_url=API, auth=Bearer(token=SECRET), rate_limit=40, test_path="/ping?x=1"),
    ),
    (
        "custom_api",
        {"api_url": API, "auth": {"type": "api_key", "name": "X-Key", "value": SECRET}, "headers": {"X-Tenant": "bob"}},
        HttpConnection(api_url=API, auth=ApiKey(name="X-Key", value=SECRET), headers={"X-Tenant": "bob"}),
    ),
    (
        "custom_api",
        {"api_url": API, "auth": {"type": "api_key", "name": "key", "value": SECRET, "where": "query"}},
        HttpConnection(api_url=API, auth=ApiKey(name="key", value=SECRET, where="query")),
    ),
    (
        "custom_api",
        {"api_url": API, "auth": {"type": "basic", "username": "bob", "password": "p:ä" + SECRET}},
        HttpConnection(api_url=API, auth=Basic(username="bob", password="p:ä" + SECRET)),
    ),
    (
        "custom_api",
        {"api_url": API, "auth": {**OAUTH, "scope": "read", "client_auth": "body"}},
        HttpConnection(
            api_url=API,
            auth=OAuth2(
                token_url="https://id.example.com/token",
                client_id="app",
                client_secret=SECRET,
                scope="read",
                client_auth="body",
            ),
        ),
    ),
    # The owner's plan spells it flat.
    (
        "custom_api",
        {"api_url": API, "api_key": SECRET, "auth_type": "bearer_token", "rate_limit": 40},
        HttpConnection(api_url=API, auth=Bearer(token=SECRET), rate_limit=40),
    ),
    ("custom_api", {"api_url": API, "api_key": SECRET}, HttpConnection(api_url=API, auth=Bearer(token=SECRET))),
    (
        "custom_api",
        {"api_url": API, "api_key": SECRET, "auth_type": "api_key"},
        HttpConnection(api_url=API, auth=ApiKey(name="X-API-Key", value=SECRET)),
    ),
    ("custom_api", {"api_url": API, "auth_type": "none"}, HttpConnection(api_url=API, auth=NoAuth())),
    (
        "shopify",
        {
            "api_url": "https://bobspizza.myshopify.com/admin/api/2024-01",
            "api_key": SECRET,
            "auth_type": "bearer_token",
            "rate_limit": 40,
        },
        ShopifyConnection(shop="bobspizza.myshopify.com", access_token=SECRET, api_version="2024-01", rate_limit=40),
    ),
    (
        "shopify",
        {"shop": "bobspizza.myshopify.com", "client_id": "app", "client_secret": SECRET},
        ShopifyConnection(shop="bobspizza.myshopify.com", client_id="app", client_secret=SECRET),
    ),
    (
        "woocommerce",
        {"site_url": "https://bob.example.com/shop/", "consumer_key": "ck_1", "consumer_secret": SECRET},
        WooCommerceConnection(site_url="https://bob.example.com/shop", consumer_key="ck_1", consumer_secret=SECRET),
    ),
    (
        "mysql_database",
        {"host": "db.example.com", "database": "shop", "user": "reader", "password": SECRET},
        DatabaseConnection(host="db.example.com", database="shop", user="reader", password=SECRET),
    ),
]


@pytest.mark.parametrize(("kind", "raw", "expected"), GOOD)
def test_what_is_taken(egress: Egress, kind: str, raw: dict[str, Any], expected: Any) -> None:
    """As an object or as text, and again what was dumped of it."""
    connection = parse(kind, raw, egress)
    assert connection == expected
    assert parse(kind, json.dumps(raw), egress) == expected
    assert parse(kind, dump(connection), egress) == expected


@pytest.mark.parametrize(("kind", "raw", "expected"), GOOD)
def test_what_is_shown_has_no_secret(egress: Egress, kind: str, raw: dict[str, Any], expected: Any) -> None:
    """Only that they are set; posted back, a view is refused instead of taken for a configuration."""
    connection = parse(kind, raw, egress)
    view = public_view(connection)
    assert SECRET not in json.dumps(view)
    if SECRET in json.dumps(raw, ensure_ascii=False):
        assert '"secrets_set": [' in json.dumps(view)
        with pytest.raises(Invalid):
            parse(kind, view, egress)
    assert SECRET not in repr(connection) or isinstance(connection, DatabaseConnection)


def test_a_view_says_which_secrets_are_set(egress: Egress) -> None:
    """By their names; of fixed headers the names too."""
    raw = {"api_url": API, "auth": {**OAUTH}, "headers": {"X-Tenant": "bob"}}
    assert public_view(parse("custom_api", raw, egress)) == {
        "api_url": API,
        "auth": {
            "type": "oauth2",
            "token_url": "https://id.example.com/token",
            "client_id": "app",
            "secrets_set": ["client_secret"],
            "scope": None,
            "audience": None,
            "client_auth": "basic",
            "token_header": "Authorization",
        },
        "headers": ["X-Tenant"],
        "rate_limit": None,
        "test_path": None,
    }


def auth(**fields: Any) -> dict[str, Any]:
    return {"api_url": API, "auth": fields}


SHOP = {"shop": "bob.myshopify.com", "access_token": "t"}
WOO = {"site_url": "https://bob.example.com", "consumer_key": "ck", "consumer_secret": "cs"}
DATABASE = {"host": "db.example.com", "database": "d", "user": "u", "password": ""}
BAD: list[tuple[str, Any, str, str]] = [
    ("ftp", {}, "integration_type", "shopify, woocommerce, custom_api, mysql_database, postgres_database"),
    ("custom_api", "{", "connection_config", "must be JSON"),
    ("custom_api", "[1]", "connection_config", "JSON object"),
    ("custom_api", "[" * 5_000, "connection_config", "must be JSON"),
    ("custom_api", " " * 70_000, "connection_config", "64 KB"),
    ("custom_api", {}, "api_url", "is missing"),
    ("custom_api", {"api_url": 5}, "api_url", "expected `str`"),
    ("custom_api", {"api_url": API, "key": 1}, "key", "allowed are: api_url, auth, headers, rate_limit, test_path"),
    ("custom_api", {"api_url": API + "?a=b"}, "api_url", "no query"),
    ("custom_api", {"api_url": API + "#a"}, "api_url", "no fragment"),
    ("custom_api", {"api_url": "https://u:p@api.example.com"}, "api_url", "user name"),
    ("custom_api", {"api_url": "https://api.example.com/a/../b"}, "api_url", "."),
    ("custom_api", {"api_url": "ftp://api.example.com"}, "api_url", "http"),
    ("custom_api", {"api_url": API, "rate_limit": 0}, "rate_limit", "1 to 10,000"),
    ("custom_api", {"api_url": API, "rate_limit": 10_001}, "rate_limit", "1 to 10,000"),
    ("custom_api", {"api_url": API, "rate_limit": "5"}, "rate_limit", "expected `int"),
    ("custom_api", {"api_url": API, "test_path": "ping"}, "test_path", "begin with / or ?"),
    ("custom_api", {"api_url": API, "test_path": "//evil.example"}, "test_path", "begin with"),
    ("custom_api", {"api_url": API, "test_path": "/a/%2e%2e/b"}, "test_path", "plain path"),
    ("custom_api", {"api_url": API, "test_path": "/{id}"}, "test_path", "plain path"),
    ("custom_api", {"api_url": API, "headers": {"Host": "evil"}}, "headers", "Host"),
    ("custom_api", {"api_url": API, "headers": {"X": "a\r\nHost: evil"}}, "headers", "line break"),
    ("custom_api", {"api_url": API, "headers": {"X\r\nY": "a"}}, "headers", "header"),
    ("custom_api", {"api_url": API, "headers": {"Authorization": "x"}}, "headers", "auth"),
    ("custom_api", {"api_url": API, "headers": {f"X-{n}": "a" for n in range(21)}}, "headers", "at most 20"),
    ("custom_api", {"api_url": API, "auth": "bearer"}, "auth", "expected `object`"),
    ("custom_api", auth(), "auth.type", "none, bearer, api_key, basic, oauth2"),
    ("custom_api", auth(type="digest"), "auth.type", "none, bearer, api_key, basic, oauth2"),
    ("custom_api", auth(type="bearer"), "auth.token", "is missing"),
    ("custom_api", auth(type="bearer", token="a b"), "auth.token", "printable"),
    ("custom_api", auth(type="bearer", token="a\r\nX: y"), "auth.token", "printable"),
    ("custom_api", auth(type="bearer", token="a", x=1), "auth.x", "allowed are: token"),
    ("custom_api", auth(type="api_key", name="X", value="é"), "auth.value", "ASCII"),
    ("custom_api", auth(type="api_key", name="X Y", value="v"), "auth.name", "letters"),
    ("custom_api", auth(type="api_key", name="Host", value="v"), "auth.name", "Host"),
    ("custom_api", auth(type="api_key", name="a&b", value="v", where="query"), "auth.name", "letters"),
    ("custom_api", auth(type="api_key", name="a", value="v\n", where="query"), "auth.value", "control"),
    ("custom_api", auth(type="api_key", name="a", value="v", where="body"), "auth.where", "header, query"),
    ("custom_api", auth(type="basic", username="a:b", password="p"), "auth.username", "colon"),
    ("custom_api", auth(type="basic", username="", password="p"), "auth.username", "1 to 4,096"),
    ("custom_api", auth(**{**OAUTH, "client_auth": "jwt"}), "auth.client_auth", "basic, body"),
    ("custom_api", auth(**{**OAUTH, "token_header": "Host"}), "auth.token_header", "Host"),
    ("custom_api", auth(**{**OAUTH, "scope": "a\n"}), "auth.scope", "control"),
    ("custom_api", {"api_url": API, "auth_type": "digest", "api_key": "k"}, "auth_type", "bearer_token"),
    ("custom_api", {"api_url": API, "auth_type": "bearer_token"}, "api_key", "must be there"),
    ("custom_api", {"api_url": API, "api_key": 7}, "auth.token", "expected `str`"),
    ("custom_api", {"api_url": API, "api_key": "k", "auth": {"type": "none"}}, "auth_type", "not both"),
    ("shopify", {}, "shop", "is missing"),
    ("shopify", {**SHOP, "shop": "bob.example.com"}, "shop", "myshopify.com"),
    ("shopify", {**SHOP, "shop": "127.0.0.1#.myshopify.com"}, "shop", "myshopify.com"),
    ("shopify", {**SHOP, "shop": "evil.example/.myshopify.com"}, "shop", "myshopify.com"),
    ("shopify", {**SHOP, "shop": "a@b.myshopify.com"}, "shop", "myshopify.com"),
    ("shopify", {**SHOP, "shop": "bob.myshopify.com\n"}, "shop", "myshopify.com"),
    ("shopify", {"shop": "bob.myshopify.com"}, "access_token", "client_id and client_secret"),
    ("shopify", {**SHOP, "client_id": "a", "client_secret": "b"}, "access_token", "not both"),
    ("shopify", {**SHOP, "api_version": "2026-10/../.."}, "api_version", "year"),
    ("shopify", {"api_url": "https://evil.example/?.myshopify.com", "api_key": "k"}, "api_url", "myshopify.com"),
    ("shopify", {"api_url": "https://evil.example", "api_key": "k"}, "shop", "myshopify.com"),
    ("woocommerce", {**WOO, "site_url": "bob"}, "site_url", "URL"),
    ("woocommerce", {**WOO, "consumer_secret": "a b"}, "consumer_secret", "printable"),
    ("woocommerce", {**WOO, "consumer_key": "a:b"}, "consumer_key", "colon"),
    ("woocommerce", {**WOO, "auth_type": "none"}, "auth_type", "custom_api and shopify"),
    ("postgres_database", {**DATABASE, "tls": "maybe"}, "tls", "require, verify, off"),
    ("postgres_database", {**DATABASE, "host": "127.0.0.1"}, "host", ""),
    ("postgres_database", {**DATABASE, "host": "db.example.com:5432"}, "host", ""),
    ("postgres_database", {**DATABASE, "port": 0}, "port", "1 to 65535"),
    ("postgres_database", {**DATABASE, "user": ""}, "user", "1 to 128"),
    ("postgres_database", {**DATABASE, "database": "a\0"}, "database", "printable"),
    ("postgres_database", {"api_url": API}, "api_url", "allowed are: host, port, database, user, password, tls"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "raw", "field", "words"), BAD)
def test_what_is_refused(egress: Egress, kind: str, raw: Any, field: str, words: str) -> None:
    """With the field's name, and with what is allowed."""
    with pytest.raises(Invalid) as refusal:
        parse(kind, raw, egress)
    assert refusal.value.field == field
    assert words in refusal.value.message
    assert field.rpartition(".")[2] in refusal.value.message or field in ("connection_config", "headers")


def test_no_refusal_repeats_a_secret(egress: Egress) -> None:
    """Whatever is wrong with it, or beside it."""
    for fields in (
        {"type": "bearer", "token": SECRET + "\n"},
        {"type": "bearer", "token": [SECRET]},
        {"type": "basic", "username": "a", "password": SECRET + "\0"},
        {"type": "basic", "username": "a", "password": SECRET, "where": SECRET},
        {"type": "api_key", "name": "X", "value": SECRET + "é"},
        {**OAUTH, "token_url": "http://127.0.0.1"},
    ):
        with pytest.raises(Invalid) as refusal:
            parse("custom_api", {"api_url": API, "auth": fields}, egress)
        assert SECRET not in str(refusal.value)
        assert refusal.value.__cause__ is None


@pytest.mark.parametrize("url", STATIC_URLS)
def test_no_configured_url_leads_inside(egress: Egress, url: str) -> None:
    """The corpus of SSRF attacks in every place of a configuration that has a URL."""
    places: list[tuple[str, dict[str, Any], str]] = [
        ("custom_api", {"api_url": url}, "api_url"),
        ("custom_api", {"api_url": url, "api_key": "k", "auth_type": "bearer_token"}, "api_url"),
        ("custom_api", auth(**{**OAUTH, "token_url": url}), "auth.token_url"),
        ("woocommerce", {**WOO, "site_url": url}, "site_url"),
        ("shopify", {**SHOP, "shop": url}, "shop"),
        ("postgres_database", {**DATABASE, "host": url}, "host"),
    ]
    for kind, raw, field in places:
        with pytest.raises(Invalid) as refusal:
            parse(kind, raw, egress)
        assert refusal.value.field == field


def test_a_shopify_shop_as_http(egress: Egress) -> None:
    """Its token goes into Shopify's own header; an app's credentials get one from the shop itself."""
    connection = parse("shopify", SHOP, egress)
    assert isinstance(connection, ShopifyConnection)
    http = connection.http()
    assert http.api_url == f"https://bob.myshopify.com/admin/api/{SHOPIFY_VERSION}"
    assert http.auth == ApiKey(name="X-Shopify-Access-Token", value="t")
    assert http.rate_limit == 40
    app = parse("shopify", {"shop": "bob.myshopify.com", "client_id": "a", "client_secret": "b"}, egress)
    assert isinstance(app, ShopifyConnection)
    assert app.http().auth == OAuth2(
        token_url="https://bob.myshopify.com/admin/oauth/access_token",
        client_id="a",
        client_secret="b",
        client_auth="body",
        token_header="X-Shopify-Access-Token",
    )


def test_a_woocommerce_shop_as_http(egress: Egress) -> None:
    """Basic authentication below the site's REST API."""
    connection = parse("woocommerce", WOO, egress)
    assert isinstance(connection, WooCommerceConnection)
    assert connection.http().api_url == "https://bob.example.com/wp-json/wc/v3"
    assert connection.http().auth == Basic(username="ck", password="cs")
