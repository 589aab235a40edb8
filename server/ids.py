"""Opaque random public ids and secrets. An id names a thing and is never a credential."""

import re
import secrets
from typing import Literal

# Crockford's alphabet in lower case: no i, l, o, u, so that an id survives being read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# 26 characters of 5 bits are 130 bits: two ids never meet by chance.
_LENGTH = 26


def _random(length: int = _LENGTH) -> str:
    number = secrets.randbits(5 * length)
    return "".join(_ALPHABET[(number >> 5 * i) & 31] for i in range(length))


def session_id() -> str:
    return f"ses_{_random()}"


def conversation_id() -> str:
    return f"cnv_{_random()}"


def message_id() -> str:
    return f"msg_{_random()}"


def turn_id() -> str:
    return f"trn_{_random()}"


def request_id() -> str:
    return f"req_{_random(16)}"


def instance_id() -> str:
    """Names one server process for as long as it runs."""
    return f"ins_{_random(12)}"


def epoch() -> str:
    """Marks one unbroken numbering of a conversation's events."""
    return _random(8)


def cid() -> str:
    """A message id made on behalf of a caller that gave none."""
    return f"srv_{_random()}"


def public_key() -> str:
    return f"pk_{_random(24)}"


def secret_key() -> str:
    """A client's API key, 160 bits. Shown once, kept as an HMAC."""
    return f"sk_{_random(32)}"


def session_token() -> str:
    """A browser's proof that a session is its own, 160 bits. Kept as an HMAC."""
    return f"st_{_random(32)}"


def operator_token() -> str:
    """A signed-in console's proof, kept in a cookie, 160 bits. Kept as an HMAC."""
    return f"os_{_random(32)}"


def operator_ticket() -> str:
    """Opens one socket of the console, 160 bits. Kept as an HMAC."""
    return f"ot_{_random(32)}"


def login_link() -> str:
    """Signs an operator in once, 160 bits. Kept as an HMAC."""
    return f"ol_{_random(32)}"


def password() -> str:
    """A password that nobody chose, 100 bits, in groups that can be read aloud."""
    return "-".join(_random(5) for _ in range(4))


def is_id(text: str, prefix: Literal["ses", "cnv", "msg", "trn"]) -> bool:
    """Whether a text has the form of an id of this kind."""
    return re.fullmatch(rf"{prefix}_[{_ALPHABET}]{{{_LENGTH}}}", text) is not None


def from_digest(prefix: Literal["ses"], digest: bytes) -> str:
    """An id that is the same for the same digest (17 bytes and more), for what must be found again by a retry."""
    number = int.from_bytes(digest, "big")
    return f"{prefix}_" + "".join(_ALPHABET[(number >> 5 * i) & 31] for i in range(_LENGTH))
