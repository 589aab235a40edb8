"""What was sent and what came back, for people to see, without the credentials in it. Pure.

A credential is known by its place (a header's name, a parameter's) and by its value: a system that repeats what it was
sent must not give it away.
"""

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from server.net import webhooks
from server.tools.connections import kinds as connections
from server.tools.connections.database import DatabaseConnection
from server.tools.connections.http import ApiKey, Basic, HttpConnection, OAuth2
from server.tools.connections.kinds import Connection

MASK: Final = "••••••"
# Characters of a value that is looked for in texts. A shorter one would take words out of answers, and is no secret.
_SHORTEST: Final = 6
# Characters that are looked for in every spelling; after so many alike the rest is one, too.
_WHOLE: Final = 512
# Of a header that is not called like a credential.
_LONG: Final = 12
_KEY_LIKE: Final = re.compile(r"(?!(?:application|text)/)(?=.*[0-9])\S+")
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Parts of names of headers and parameters whose values are credentials.
_CREDENTIALS: Final = frozenset(
    {
        "auth", "authorization", "authentication", "authenticate", "key", "apikey", "accesskey", "token", "accesstoken",
        "authtoken", "secret", "clientsecret", "sig", "signature", "password", "passwd", "passphrase", "pwd", "pass",
        "credential", "credentials", "cookie", "session", "sessionid", "sid", "jwt", "bearer", "hmac", "assertion",
    }
)  # fmt: skip
# A key by name alone.
_NO_CREDENTIALS: Final = frozenset({"idempotency-key", "www-authenticate", "sec-websocket-key", webhooks.ID})


class Mask:
    """Takes credentials out. `secrets` are known values, `headers` and `parameters` further names, in any case."""

    def __init__(
        self, secrets: Iterable[str] = (), *, headers: Collection[str] = (), parameters: Collection[str] = ()
    ) -> None:
        self._headers = {name.lower() for name in headers}
        self._parameters = {name.lower() for name in parameters}
        self._known: dict[str, re.Pattern[str]] = {}
        for secret in secrets:
            self._learn(secret)

    @classmethod
    def of(cls, connection: Connection) -> "Mask":
        """For calls of a client's own system."""
        secrets = connections.secrets(connection)
        if isinstance(connection, DatabaseConnection):
            return cls(secrets)
        http = connection if isinstance(connection, HttpConnection) else connection.http()
        # A fixed header may be a key by another name.
        headers, parameters = set(http.headers), set[str]()
        match http.auth:
            case ApiKey(where="header", name=name) | OAuth2(token_header=name):
                headers.add(name)
            case ApiKey(name=name):
                parameters.add(name)
            case Basic(username=username, password=password):
                secrets = [*secrets, base64.b64encode(f"{username}:{password}".encode()).decode()]
        return cls(secrets, headers=headers, parameters=parameters)

    def headers(self, headers: Mapping[str, str], *, ours: bool) -> dict[str, str]:
        """With a mask for every value that is a credential; `ours` are known from now on."""
        hidden = {name for name in headers if name.lower() in self._headers or _credential(name)}
        if ours:
            for name in hidden:
                self._learn_header(name, headers[name])
        return {name: MASK if name in hidden else self.text(value) for name, value in headers.items()}

    def url(self, url: str) -> str:
        """With a mask for every parameter of the query that is a credential; those are known from now on."""
        parts = urlsplit(url)
        if not parts.query:
            return self.text(url)
        pairs = [each.partition("=") for each in parts.query.split("&")]
        shown = []
        for name, equals, value in pairs:
            plain = unquote_plus(name)
            if value and (plain.lower() in self._parameters or _credential(plain)):
                self._learn(unquote_plus(value))
                shown.append(f"{name}={MASK}")
            else:
                shown.append(f"{name}{equals}{value}")
        return self.text(urlunsplit(parts._replace(query="&".join(shown))))

    def text(self, text: str) -> str:
        """With a mask for each known credential, however it is spelled."""
        # The longest first: one may be a part of another.
        for secret in sorted(self._known, key=len, reverse=True):
            text = self._known[secret].sub(MASK, text)
        return text

    def _learn_header(self, name: str, value: str) -> None:
        # A fixed header of another name is a key only if it looks like one.
        if _credential(name) or (len(value) >= _LONG and _KEY_LIKE.fullmatch(value)):
            self._learn(value)
            # "Bearer abc", and "v1,abc" of a signature: the scheme is no secret.
            self._learn(value.partition(" ")[2])
            self._learn(value.partition(",")[2])

    def _learn(self, secret: str) -> None:
        if len(secret) >= _SHORTEST and secret not in self._known:
            self._known[secret] = _spelled(secret)


def _spelled(secret: str) -> re.Pattern[str]:
    """The secret, each of its characters as it is, percent-encoded or escaped as in JSON, in any mixture (a URL is
    spelled anew on its way); or all of it in base64."""
    characters = "".join(f"(?:{'|'.join(_spellings(each))})" for each in secret[:_WHOLE])
    rest = r"[^\s\"'<>&]*" if len(secret) > _WHOLE else ""
    raw = secret.encode("utf-8", "replace")
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return re.compile("|".join([characters + rest, *(re.escape(each.rstrip("=")) + "=*" for each in sorted(encoded))]))


def _spellings(character: str) -> list[str]:
    percent = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    found = [re.escape(character), f"(?i:{percent})"]
    if ord(character) <= 0xFFFF:
        found.append(rf"(?i:\\u{ord(character):04x})")
    if character in '"\\/':
        found.append(re.escape("\\" + character))
    if character == " ":
        found.append(r"\+")
    return found


def _credential(name: str) -> bool:
    """Whether a header or a parameter is called like a credential: `X-Api-Key`, `accessToken`, but not `keyword`."""
    lower = name.lower()
    if lower in _NO_CREDENTIALS:
        return False
    return lower in _CREDENTIALS or any(word.lower() in _CREDENTIALS for word in _WORDS.findall(name))
