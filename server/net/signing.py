"""Keyed digests of credentials. One derived key a purpose, so that no key serves two ends.

Credentials of 130 bits and more are random, so a keyed hash is enough; a slow one is for passwords.
"""

import hashlib
import hmac
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Purpose = Literal[
    "api-key",
    "session-token",
    "session-id",
    "tool-callback",
    "operator-session",
    "operator-ticket",
    "operator-csrf",
    "sign-in-attempts",
]


class Keyring:
    """The deployment's secret keys. The first makes digests; all of them are tried when one is checked."""

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        self._secret_keys = secret_keys
        self._derived: dict[Purpose, list[bytes]] = {}

    def digest(self, purpose: Purpose, credential: str) -> bytes:
        """What to store of a credential: 32 bytes."""
        return _hmac(self._keys(purpose)[0], credential)

    def digests(self, purpose: Purpose, credential: str) -> list[bytes]:
        """What a credential may be stored as, under the newest key and the older ones."""
        return [_hmac(key, credential) for key in self._keys(purpose)]

    def matches(self, purpose: Purpose, credential: str, stored: bytes) -> bool:
        """Whether `stored` is this credential's digest, in constant time."""
        return any(hmac.compare_digest(digest, stored) for digest in self.digests(purpose, credential))

    def _keys(self, purpose: Purpose) -> list[bytes]:
        keys = self._derived.get(purpose)
        if keys is None:
            keys = self._derived[purpose] = [_derive(key, purpose) for key in self._secret_keys]
        return keys


def _derive(secret_key: str, purpose: Purpose) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"frontdesk {purpose}".encode()).derive(secret_key.encode())


def _hmac(key: bytes, credential: str) -> bytes:
    return hmac.digest(key, credential.encode("utf-8", "surrogatepass"), hashlib.sha256)
