"""What proves to a client's system who calls: fixed credentials, or a token got with them (RFC 6749, 4.4).

Tokens are kept in memory, by connection, until shortly before they expire. One request for a token runs at a time; the
others of the same connection wait for it.
"""

import asyncio
import base64
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import msgspec

from server import log
from server.errors import EgressError
from server.net.egress import Egress, Response
from server.tools.connections.http import ApiKey, Basic, Bearer, HttpConnection, NoAuth, OAuth2

logger = log.get("tools")

# Seconds a token without `expires_in` is used: RFC 6749 says nothing, and servers that say nothing give an hour.
_UNSAID_LIFETIME_S = 300
# A token is not used in the last tenth of its life, a minute at most: clocks differ, and a request takes time.
_SKEW_S = 60
_LONGEST_S = 7 * 86_400
# Connections whose tokens are kept.
_MAX_SLOTS = 4_096
_MAX_TOKEN_ANSWER = 64 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}\Z")
# RFC 6749, 5.2. Other texts of a token endpoint are not repeated: one may quote the secret.
_OAUTH_ERRORS = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope",
    }
)  # fmt: skip


class CredentialsRefused(Exception):
    """The token endpoint gives no token for these credentials. The text is for an operator and has no secret."""


class Authorized(msgspec.Struct, frozen=True):
    """A URL and headers with credentials. `token` is the one that was got, `secrets` what must never be shown."""

    url: str
    headers: dict[str, str]
    token: str | None
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "Authorized(...)"


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str | None = None
    expires_in: float | str | None = None


class _Refusal(msgspec.Struct):
    error: str | None = None


class _Slot:
    """The token of one connection."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.token: str | None = None
        self.until = 0.0


class Authorizer:
    """Adds credentials to requests. `clock` is in seconds and never goes back."""

    def __init__(self, egress: Egress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._egress = egress
        self._clock = clock
        self._slots: OrderedDict[bytes, _Slot] = OrderedDict()

    async def authorize(self, connection: HttpConnection, identity: bytes, url: str, *, timeout_s: float) -> Authorized:
        """`identity` names the connection with its credentials: whoever has other ones has another.

        Raises EgressError (nothing of the request itself was sent), CredentialsRefused.
        """
        headers = {name.lower(): value for name, value in connection.headers.items()}
        auth, token = connection.auth, None
        secrets: list[str] = []
        match auth:
            case NoAuth():
                pass
            case Bearer():
                headers["authorization"] = f"Bearer {auth.token}"
                secrets.append(auth.token)
            case ApiKey(where="header"):
                headers[auth.name.lower()] = auth.value
                secrets.append(auth.value)
            case ApiKey():
                url = f"{url}{'&' if '?' in url else '?'}{quote(auth.name, safe='')}={quote(auth.value, safe='')}"
                secrets += [auth.value, quote(auth.value, safe=""), self._as_sent(auth.value)]
            case Basic():
                pair = _base64(f"{auth.username}:{auth.password}")
                headers["authorization"] = f"Basic {pair}"
                secrets += [auth.password, pair]
            case OAuth2():
                token = await self._token(auth, identity, timeout_s)
                bare = auth.token_header.lower() != "authorization"
                headers[auth.token_header.lower()] = token if bare else f"Bearer {token}"
                secrets += [token, auth.client_secret]
        # A short one would take words out of answers, and is no secret.
        return Authorized(url, headers, token, tuple(each for each in secrets if len(each) >= 8))

    def _as_sent(self, value: str) -> str:
        """How a value of the query is spelled on the wire: not every character needs its percent there."""
        url = self._egress.check_url(f"https://example.com/?x={quote(value, safe='')}")
        return url.partition("?x=")[2]

    def forget(self, identity: bytes, token: str) -> None:
        """That this token was refused: the next request gets a new one. A newer token stays."""
        slot = self._slots.get(identity)
        if slot is not None and slot.token == token:
            slot.token = None

    async def _token(self, auth: OAuth2, identity: bytes, timeout_s: float) -> str:
        slot = self._slot(identity)
        try:
            async with asyncio.timeout(timeout_s), slot.lock:
                if slot.token is None or self._clock() >= slot.until:
                    slot.token = None
                    slot.token, lifetime_s = await self._ask(auth, timeout_s)
                    slot.until = self._clock() + lifetime_s - min(_SKEW_S, lifetime_s / 10)
                return slot.token
        except TimeoutError:
            raise EgressError("timeout", f"no token from {_host(auth)} within {timeout_s:g} s", sent=False) from None

    def _slot(self, identity: bytes) -> _Slot:
        slot = self._slots.get(identity)
        if slot is None:
            slot = self._slots[identity] = _Slot()
            while len(self._slots) > _MAX_SLOTS:
                self._slots.popitem(last=False)
        self._slots.move_to_end(identity)
        return slot

    async def _ask(self, auth: OAuth2, timeout_s: float) -> tuple[str, float]:
        """A new token and its seconds."""
        fields = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if auth.client_auth == "body":
            fields |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
        else:
            # Each half is form-encoded first (RFC 6749, 2.3.1), which matters for a colon and for what is not ASCII.
            pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
            headers["authorization"] = f"Basic {_base64(pair)}"
        body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
        try:
            response = await self._egress.request(
                "POST", auth.token_url, headers=headers, body=body, timeout_s=timeout_s, max_bytes=_MAX_TOKEN_ANSWER
            )
        except EgressError as error:
            # The token endpoint may have heard us; the system itself has not.
            raise EgressError(error.kind, f"no token: {error.message}", sent=False) from error
        return _read(auth, response)


def _read(auth: OAuth2, response: Response) -> tuple[str, float]:
    if response.status == 429 or response.status >= 500:
        raise EgressError("broken", f"no token: {_host(auth)} answered {response.status}", sent=False)
    if response.status != 200:
        raise CredentialsRefused(f"{_host(auth)} gave no token: {response.status}{_oauth_error(response.body)}")
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
        lifetime_s = _UNSAID_LIFETIME_S if answer.expires_in is None else float(answer.expires_in)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise CredentialsRefused(f"{_host(auth)} answered without a token; check token_url") from None
    if not _TOKEN.match(answer.access_token):
        raise CredentialsRefused(f"{_host(auth)} gave a token that cannot stand in a header")
    if (answer.token_type or "bearer").lower() != "bearer" and auth.token_header.lower() == "authorization":
        raise CredentialsRefused(f"{_host(auth)} gave a token that is not a bearer token")
    logger.info("token got", host=_host(auth), lifetime_s=lifetime_s)
    return answer.access_token, min(max(lifetime_s, 0.0), _LONGEST_S)


def _oauth_error(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    return f" {error}" if error in _OAUTH_ERRORS else ""


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _host(auth: OAuth2) -> str:
    return urlsplit(auth.token_url).hostname or "the token endpoint"
