"""Built files, held in memory with the compressed forms that the build has made: what a browser gets is a look-up."""

import hashlib
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.errors import SettingsError
from server.web.responses import unchanged

# The name carries a hash of the content: another build has another name.
FOR_EVER = "public, max-age=31536000, immutable"


class _Variant(msgspec.Struct, frozen=True):
    encoding: str | None
    body: bytes


class Built:
    """`hash` is of the plain content."""

    def __init__(self, source: Path, media_type: str) -> None:
        """Raises SettingsError when it was not built."""
        try:
            plain = source.read_bytes()
        except FileNotFoundError:
            raise SettingsError(f"{source.name} was not built; run `make install`") from None
        self.hash = hashlib.sha256(plain).hexdigest()[:16]
        self._media_type = media_type
        self._variants = [
            _Variant(encoding, path.read_bytes())
            for encoding, path in (("br", Path(f"{source}.br")), ("gzip", Path(f"{source}.gz")))
            if path.exists()
        ] + [_Variant(None, plain)]

    def serve(self, request: Request, headers: dict[str, str]) -> Response:
        """In the encoding that the caller prefers, or 304. `headers` are what goes along, `cache-control` at least."""
        accepted = request.headers.get("accept-encoding", "")
        named = [each.replace(" ", "").partition(";") for each in accepted.split(",")]
        names = {name for name, _, quality in named if quality not in {"q=0", "q=0.0"}}
        variant = next(each for each in self._variants if each.encoding is None or each.encoding in names)
        # Strong: another encoding is another sequence of bytes.
        etag = f'"{self.hash}{"-" + variant.encoding if variant.encoding else ""}"'
        sent = {**headers, "etag": etag, "vary": "accept-encoding", "x-content-type-options": "nosniff"}
        if unchanged(request, etag):
            return Response(status_code=304, headers=sent)
        if variant.encoding is not None:
            sent["content-encoding"] = variant.encoding
        return Response(variant.body, headers=sent, media_type=self._media_type)
