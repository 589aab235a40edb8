"""Secrets that must be read again, sealed with the deployment's key.

    byte 0         version, 1
    bytes 1 to 4   which key: the first bytes of SHA-256 of the derived key
    bytes 5 to 16  nonce, random
    the rest       AES-256-GCM ciphertext and its tag of 16 bytes

The client and the field are authenticated with it, so that a ciphertext moved to another row or column does not open.
A random nonce of 96 bits is safe for 2^32 seals with one key (NIST SP 800-38D, 8.3).
"""

import hashlib
import os
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.errors import SecretUnreadable

Field = Literal["client_tools.signing_secret", "client_integrations.connection_config", "clients.identity_secret"]
SIGNING_SECRET: Field = "client_tools.signing_secret"  # noqa: S105 - the name of a column
CONNECTION_CONFIG: Field = "client_integrations.connection_config"
IDENTITY_SECRET: Field = "clients.identity_secret"  # noqa: S105 - the name of a column

_VERSION = b"\x01"
_KEY_ID = 4
_NONCE = 12
_TAG = 16
_HEADER = len(_VERSION) + _KEY_ID + _NONCE


class Vault:
    """Seals with the first of the deployment's keys, opens with any."""

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        derived = [_derive(key) for key in secret_keys]
        self._current = _key_id(derived[0])
        # Two keys with one id are one chance in 2^32 each; then both are tried.
        self._ciphers = [(_key_id(key), AESGCM(key)) for key in derived]

    def seal(self, text: str, *, client_id: int, field: Field) -> bytes:
        """Ciphertext, 33 bytes longer than `text` in UTF-8."""
        nonce = os.urandom(_NONCE)
        key_id, cipher = self._ciphers[0]
        return _VERSION + key_id + nonce + cipher.encrypt(nonce, text.encode(), _binding(client_id, field))

    def open(self, sealed: bytes, *, client_id: int, field: Field) -> str:
        """What was sealed for this client and field. Raises SecretUnreadable."""
        if len(sealed) < _HEADER + _TAG or sealed[:1] != _VERSION:
            raise SecretUnreadable(f"{field} of client {client_id} is not a ciphertext of this version")
        ciphers = [cipher for key_id, cipher in self._ciphers if key_id == sealed[1 : 1 + _KEY_ID]]
        if not ciphers:
            raise SecretUnreadable(
                f"{field} of client {client_id} was sealed with a key that FRONTDESK_SECRET_KEYS does not list"
            )
        nonce, ciphertext = sealed[1 + _KEY_ID : _HEADER], sealed[_HEADER:]
        for cipher in ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, _binding(client_id, field)).decode()
            except InvalidTag:
                continue
        raise SecretUnreadable(f"{field} of client {client_id} was changed, or sealed for another client or field")

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key sealed it. Says nothing about whether it opens."""
        return sealed[:1] == _VERSION and sealed[1 : 1 + _KEY_ID] == self._current


def _derive(secret_key: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"frontdesk vault").derive(secret_key.encode())


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID]


def _binding(client_id: int, field: Field) -> bytes:
    return f"{client_id} {field}".encode()
