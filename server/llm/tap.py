"""What goes over the wire in one call of a model, for who wants to see it: bounded, and without headers.

Where nobody does, a request carries no tap, and nothing is copied.
"""

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

# Bytes kept of each. A prompt with 20 messages and tools has 10 to 50 KB; a stream 250 bytes a token, and an answer has
# 2,048 at most.
REQUEST_BYTES = 256 * 1024
RESPONSE_BYTES = 512 * 1024
# Bytes read beyond, so that a secret at the cut is known for one.
_MARGIN = 1024
_HIDDEN = b"[hidden]"


class Try(msgspec.Struct):
    """One HTTP request. `url` is without user, password and query; `status` None: nothing came back."""

    method: str
    url: str
    status: int | None = None


class Tap:
    """One call's. Of several tries it keeps the last one's bytes."""

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.request_bytes = 0
        self.response_bytes = 0
        self._request = b""
        self._response = bytearray()
        self._began = time.monotonic()
        self._first: float | None = None

    @property
    def first_ms(self) -> int | None:
        """Milliseconds to the first byte of the answer; None while there is none."""
        return None if self._first is None else _ms(self._first - self._began)

    @property
    def ms(self) -> int:
        """Milliseconds so far."""
        return _ms(time.monotonic() - self._began)

    def asked(self, method: str, url: str, body: bytes) -> None:
        """A request goes out."""
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2]
        self.tries.append(Try(method, f"{parts.scheme}://{where}{parts.path}"))
        self._request, self.request_bytes = bytes(body[: REQUEST_BYTES + _MARGIN]), len(body)
        self._response, self.response_bytes, self._first = bytearray(), 0, None

    def answered(self, status: int) -> None:
        """Its answer begins."""
        if self.tries:
            self.tries[-1].status = status

    def heard(self, chunk: bytes) -> None:
        """A piece of the answer's body."""
        if not chunk:
            return
        if self._first is None:
            self._first = time.monotonic()
        self.response_bytes += len(chunk)
        room = RESPONSE_BYTES + _MARGIN - len(self._response)
        if room > 0:
            self._response += chunk[:room]

    def request(self, secrets: Sequence[str] = ()) -> str:
        """The body that was sent, up to REQUEST_BYTES of it, with none of `secrets` in it."""
        return _text(self._request, REQUEST_BYTES, secrets)

    def response(self, secrets: Sequence[str] = ()) -> str:
        """The body that came back, up to RESPONSE_BYTES of it, with none of `secrets` in it."""
        return _text(bytes(self._response), RESPONSE_BYTES, secrets)


def _text(raw: bytes, most: int, secrets: Sequence[str]) -> str:
    for secret in secrets:
        raw = raw.replace(secret.encode(), _HIDDEN)
    # Postgres stores no U+0000.
    return raw[:most].decode("utf-8", "replace").replace("\0", "\ufffd")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
