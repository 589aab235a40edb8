"""The console itself: one page at every address below `/admin/`, and the built files that it loads.

The page is the same for everybody and holds nothing of anybody's; what one may see is asked of the API.
"""

import hashlib
import html
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from server.errors import NotFound, SettingsError
from server.web.built import FOR_EVER, Built
from server.web.responses import unchanged

ASSETS = "/admin/assets"
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Only our own files, no inline script or style, and no way from a text to markup or code: `trusted-types 'none'`
# forbids every sink. `connect-src 'self'` is also the socket. No form is sent by the browser itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# The empty page in which the looks of a widget are shown before they are saved: nothing runs there, and a client's logo
# may come from where it lies. The console draws into it.
PREVIEW_POLICY = (
    "default-src 'none'; img-src 'self' data: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-same-origin; require-trusted-types-for 'script'; trusted-types 'none'"
)
_PREVIEW = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Preview</title></head><body></body></html>'
)
HEADERS = {
    # Asked for anew each time: the names of the files in it change with each version.
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_PREVIEW_HEADERS = {**HEADERS, "content-security-policy": PREVIEW_POLICY, "x-frame-options": "SAMEORIGIN"}
_ASSET_HEADERS = {"cache-control": FOR_EVER, "cross-origin-resource-policy": "same-origin"}


class _Front(msgspec.Struct, frozen=True):
    """The console's line of the manifest. `preload` are the modules that the first page needs besides `script`."""

    script: str
    style: str
    icon: str
    preload: list[str]
    files: list[str]


class _Manifest(msgspec.Struct, frozen=True):
    admin: _Front


class Page:
    """Serves what the build has made. Raises SettingsError when it has not."""

    def __init__(self, folder: Path) -> None:
        try:
            front = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=_Manifest).admin
        except (FileNotFoundError, msgspec.ValidationError):
            raise SettingsError("the console was not built; run `make install`") from None
        self._files = {name: Built(folder / "admin" / name, _MEDIA_TYPES[Path(name).suffix]) for name in front.files}
        self._body = _html(front).encode()
        self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:16]}"'

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/admin", _with_slash, methods=["GET"]),
            Route(f"{ASSETS}/{{name:path}}", self._asset, methods=["GET"]),
            Route("/admin/preview", _preview, methods=["GET"]),
            Route("/admin/{path:path}", self._page, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        headers = {**HEADERS, "etag": self._etag}
        if unchanged(request, self._etag):
            return Response(status_code=304, headers=headers)
        return Response(self._body, headers=headers, media_type="text/html")

    async def _asset(self, request: Request) -> Response:
        built = self._files.get(request.path_params["name"])
        if built is None:
            raise NotFound("the console has no such file in this version")
        return built.serve(request, _ASSET_HEADERS)


async def _with_slash(_request: Request) -> Response:
    return RedirectResponse("/admin/")


async def _preview(_request: Request) -> Response:
    return Response(_PREVIEW, headers=_PREVIEW_HEADERS, media_type="text/html")


def _html(front: _Front) -> str:
    """`blocking="render"`: nothing is painted before the script has chosen between light and dark."""

    def at(name: str) -> str:
        return html.escape(f"{ASSETS}/{name}")

    preload = "".join(f'<link rel="modulepreload" href="{at(name)}">\n' for name in front.preload)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>Frontdesk</title>
<link rel="icon" href="{at(front.icon)}">
<link rel="stylesheet" href="{at(front.style)}">
{preload}<script type="module" blocking="render" src="{at(front.script)}"></script>
</head>
<body>
<div id="app"></div>
<noscript>The console needs JavaScript.</noscript>
</body>
</html>
"""
