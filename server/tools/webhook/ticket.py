"""The token in a callback's address: which call it is for, until when, and proof that we made it. Pure."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from server.errors import Unauthorized
from server.net.signing import Keyring

# Characters of a token: it stands in URLs, which other systems store and cut.
TOKEN_CHARACTERS = 512


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """One call. `sent_ms` and `expires_s` are Unix times."""

    client_id: int
    turn_row: int
    turn_id: str
    conversation_id: str
    key: str
    tool: str
    sent_ms: int
    expires_s: int


_decoder = msgspec.json.Decoder(Ticket)


class Tickets:
    """Makes and reads tokens: the ticket and its keyed digest, each in the URL's base64, apart by a dot."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def token(self, ticket: Ticket) -> str:
        """At most TOKEN_CHARACTERS, for names of the lengths that the database allows."""
        payload = _base64(msgspec.json.encode(ticket))
        token = f"{payload}.{_base64(self._keyring.digest('tool-callback', payload))}"
        if len(token) > TOKEN_CHARACTERS:
            raise RuntimeError(f"a callback's token of {len(token)} characters")
        return token

    def read(self, token: str) -> Ticket:
        """Raises Unauthorized when it is not ours. Says nothing about its time."""
        payload, _, digest = token[: TOKEN_CHARACTERS + 1].partition(".")
        try:
            if self._keyring.matches("tool-callback", payload, _unbase64(digest)):
                return _decoder.decode(_unbase64(payload))
        except (ValueError, msgspec.DecodeError):
            pass  # not base64, or a ticket of another version of this program
        raise Unauthorized("no call has this address", code="bad_token")


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
