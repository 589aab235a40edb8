"""Whether a client's own system can be reached as configured, in plain words, and what to do when it cannot."""

import hashlib
import time

import msgspec

from server.errors import EgressError
from server.net.egress import Egress, Response
from server.tools.connections.database import DatabaseConnection
from server.tools.connections.http import HttpConnection, OAuth2
from server.tools.connections.kinds import Connection, database_kind, dump
from server.tools.connections.shops import ShopifyConnection
from server.tools.live.auth import Authorizer, CredentialsRefused
from server.tools.live.http_fetch import Fetcher
from server.tools.live.http_request import Request
from server.tools.sql.databases import Databases
from server.tools.sql.driver import DatabaseFault, FaultKind

# Seconds: what answers slower than this is too slow for every look-up.
TEST_S = 5.0
_SHOPIFY_QUERY = msgspec.json.encode({"query": "query Test { shop { name } }"})
_SHOPIFY_SCOPES = "Install the app in the shop, with the scopes read_products, read_inventory, read_orders and"
_SLOW = "Every look-up must be answered within 5 seconds. Try again; if it stays slow, ask who runs the system."

_ADVICE: dict[EgressError.Kind, str] = {
    "forbidden": "Only public addresses are called. For a system in your own network, list that network in "
    "FRONTDESK_ALLOW_PRIVATE_EGRESS.",
    "dns": "Check the spelling of the host in the address.",
    "refused": "Check the host and the port, and that the system is running and its firewall lets us in.",
    "timeout": _SLOW,
    "tls": "Check that the address begins with https, and renew the certificate if it has expired.",
    "too_large": "Set test_path to something small, such as one product.",
    "broken": "Check that the address is the API's and that it speaks HTTP there. Try again in a minute.",
}
_DATABASE_ADVICE: dict[FaultKind, str] = {
    "forbidden": _ADVICE["forbidden"],
    "unreachable": "Check host and port, and that the firewall lets us in.",
    "timeout": "Check host and port, and that the firewall lets us in; a firewall often just says nothing.",
    "tls": "Set up TLS at the database, or set tls to require (any certificate) or off (no encryption).",
    "refused": "Check user, password and the database's name, and that this user may log in from here.",
    "permission": "Give the user the right to read: GRANT SELECT.",
    "argument": "Check the configuration.",
    "statement": "Check that integration_type is the right kind of database.",
    "broken": "Check that integration_type is the right kind of database, and the port.",
}


class Verdict(msgspec.Struct, frozen=True):
    """`message` is what happened, `advice` what to do about it, `ms` how long it took."""

    ok: bool
    message: str
    advice: str | None
    ms: int


async def test_connection(
    integration_type: str, connection: Connection, *, egress: Egress, databases: Databases
) -> Verdict:
    """Asks the system for something small, with new tokens and no cache. Never raises for what the other side does."""
    began = time.monotonic()
    if isinstance(connection, DatabaseConnection):
        ok, message, advice = await _test_database(integration_type, connection, databases)
    else:
        ok, message, advice = await _test_http(connection, egress)
    return Verdict(ok, message, advice, round((time.monotonic() - began) * 1000))


async def _test_database(
    integration_type: str, connection: DatabaseConnection, databases: Databases
) -> tuple[bool, str, str | None]:
    try:
        advice = await databases.test(connection, database_kind(integration_type))
    except DatabaseFault as fault:
        return False, f"{_sentence(fault.message)} ({fault.reason})", _DATABASE_ADVICE[fault.kind]
    return True, "The database answers.", _sentence(advice) if advice else None


async def _test_http(connection: Connection, egress: Egress) -> tuple[bool, str, str | None]:
    assert not isinstance(connection, DatabaseConnection)
    http = connection if isinstance(connection, HttpConnection) else connection.http()
    if isinstance(connection, ShopifyConnection):
        request = Request("POST", f"{http.api_url}/graphql.json", _SHOPIFY_QUERY, graphql=True, by_argument=False)
    else:
        request = Request("GET", f"{http.api_url}{http.test_path or ''}", None, graphql=False, by_argument=False)
    identity = hashlib.sha256(dump(connection).encode()).digest()
    fetcher = Fetcher(egress, Authorizer(egress))
    try:
        response = await fetcher.fetch(http, identity, request, timeout_s=TEST_S, again=False)
    except EgressError as error:
        return False, _sentence(error.message), _ADVICE[error.kind]
    except CredentialsRefused as error:
        return False, f"No token: {error}.", _token_advice(http)
    return _judge(connection, http, response)


def _judge(connection: Connection, http: HttpConnection, response: Response) -> tuple[bool, str, str | None]:
    status = response.status
    shop = isinstance(connection, ShopifyConnection)
    match status:
        case 401 | 403:
            return False, f"The system answers, but refuses the credentials ({status}).", _credentials(connection)
        case 404 if shop:
            return False, "Shopify does not know this shop or API version (404).", "Check shop and api_version."
        case 404 | 405 | 400 if isinstance(connection, HttpConnection) and http.test_path is None:
            return (
                True,
                f"The system answers, though not at api_url itself ({status}), so the credentials were not tried.",
                "Set test_path to something that exists below api_url, such as /products?limit=1.",
            )
        case 404:
            return False, "The system answers, but not at this address (404).", _address(connection)
        case 429:
            return False, "The system has had too many requests (429).", "Wait a minute; set a lower rate_limit."
        case _ if 300 <= status < 400:
            advice = "Configure the address it leads to: redirects are not followed. Often it is https, or www."
            return False, f"The system answers with a redirect ({status}).", advice
        case _ if status >= 500:
            return False, f"The system has an error of its own ({status}).", "Ask who runs it, or try again later."
        case _ if not 200 <= status < 300:
            return False, f"The system refuses the request ({status}).", _address(connection)
    if "html" in response.headers.get("content-type", "").lower():
        return False, "The system answers with a web page, not with data.", _address(connection)
    if shop and (refusal := _graphql_error(response)) is not None:
        return False, f"Shopify refuses: {refusal}.", f"{_SHOPIFY_SCOPES} read_customers."
    return True, f"The system answers ({status}).", None


class _GraphqlError(msgspec.Struct):
    message: str = "no reason given"


class _GraphqlAnswer(msgspec.Struct):
    errors: list[_GraphqlError] | None = None


def _graphql_error(response: Response) -> str | None:
    try:
        errors = msgspec.json.decode(response.body, type=_GraphqlAnswer).errors
    except (msgspec.DecodeError, RecursionError):
        return "the answer is not GraphQL"
    return errors[0].message[:200] if errors else None


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _credentials(connection: Connection) -> str:
    match connection:
        case ShopifyConnection():
            return f"Check the token. {_SHOPIFY_SCOPES} read_customers."
        case HttpConnection():
            return "Check auth: its type, the key or token, and that it may read. It may have been revoked."
        case _:
            return "Check consumer_key and consumer_secret, that they may read, and that site_url begins with https."


def _address(connection: Connection) -> str:
    if isinstance(connection, HttpConnection):
        return "Check api_url and test_path."
    return "Check site_url, that WooCommerce is active, and that permalinks are not set to plain."


def _token_advice(http: HttpConnection) -> str:
    advice = "Check client_id, client_secret and token_url."
    if isinstance(http.auth, OAuth2) and http.auth.client_auth == "basic":
        advice += " Some servers want the secret in the body: set client_auth to body."
    return advice
