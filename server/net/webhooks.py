"""Standard Webhooks (https://www.standardwebhooks.com): how a request shows who sent it, and when.

Three headers: `webhook-id` names the message, `webhook-timestamp` is its time in Unix seconds, `webhook-signature` is
"v1," and the base64 of HMAC-SHA256 over `id.timestamp.body`; several, apart by blanks, while a secret is exchanged.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from typing import Final

from server.errors import Invalid, Unauthorized

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
# Bytes of a key; the standard's range.
_LEAST_KEY: Final = 24
_MOST_KEY: Final = 64
# Without a dot: else a captured signature of "a.1", "2", "body" would also be one of "a", "1", "2.body".
_MESSAGE_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,11}")
# More than any exchange of secrets needs; each is compared.
_MOST_SIGNATURES: Final = 16


def new_secret() -> str:
    """ "whsec_" and base64. The 32 bytes are letters and digits (190 bits), for tools that take the key as a text."""
    key = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
    return _PREFIX + base64.b64encode(key.encode()).decode()


def check_secret(secret: str, *, field: str = "signing_secret") -> None:
    """For configuration. Raises Invalid naming `field`."""
    if _key(secret) is None:
        raise Invalid(
            f"{field} is not a webhook secret; it may be whsec_ and the base64 of {_LEAST_KEY} to {_MOST_KEY} bytes",
            field=field,
        )


def sign(secret: str, *, msg_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message. `timestamp` is Unix seconds. Raises Invalid for a wrong secret, id or time."""
    check_secret(secret)
    key = _key(secret)
    assert key is not None
    if not _MESSAGE_ID.fullmatch(msg_id):
        raise Invalid("msg_id may be 1 to 256 visible ASCII characters without a dot", field="msg_id")
    if not _SECONDS.fullmatch(str(timestamp)):
        raise Invalid("timestamp may be Unix seconds", field="timestamp")
    return {ID: msg_id, TIMESTAMP: str(timestamp), SIGNATURE: _signature(key, msg_id, str(timestamp), body)}


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, now: float, tolerance_s: int = 300) -> str:
    """The `webhook-id` of a message that was signed with `secret` within `tolerance_s` of `now` (Unix seconds).

    The same message comes here again if it is replayed in time; whoever acts on it remembers the id. Raises
    Unauthorized for everything else, an unusable secret included. Header names in any case.
    """
    given: dict[str, str] = {}
    for name, value in headers.items():
        if (lower := name.lower()) in (ID, TIMESTAMP, SIGNATURE):
            if lower in given:
                raise Unauthorized(f"{lower} is there twice")
            given[lower] = value
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not given.get(name):
            raise Unauthorized(f"{name} is missing; requests are signed as Standard Webhooks says")
    msg_id, timestamp = given[ID], given[TIMESTAMP]
    if not _MESSAGE_ID.fullmatch(msg_id):
        raise Unauthorized(f"{ID} may be 1 to 256 visible ASCII characters without a dot")
    if not _SECONDS.fullmatch(timestamp):
        raise Unauthorized(f"{TIMESTAMP} may be Unix seconds")
    key = _key(secret)
    if key is None:
        raise Unauthorized("the request's signature cannot be checked: no usable secret is set")
    expected = _signature(key, msg_id, timestamp, body).encode()
    candidates = given[SIGNATURE].split(" ")[:_MOST_SIGNATURES]
    # All are compared, in constant time each.
    if not sum([hmac.compare_digest(expected, each.encode("utf-8", "surrogatepass")) for each in candidates]):
        raise Unauthorized(f"{SIGNATURE} does not match the request's body and secret")
    # Told after the signature only: a stranger learns nothing of this machine's clock.
    if abs(now - int(timestamp)) > tolerance_s:
        raise Unauthorized(f"{TIMESTAMP} is more than {tolerance_s} s from this server's time")
    return msg_id


def _key(secret: str) -> bytes | None:
    if not secret.startswith(_PREFIX):
        return None
    encoded = secret.removeprefix(_PREFIX)
    try:  # some makers leave the padding away
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    return key if _LEAST_KEY <= len(key) <= _MOST_KEY else None


def _signature(key: bytes, msg_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.digest(key, f"{msg_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()
