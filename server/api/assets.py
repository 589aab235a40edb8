"""Built files: the widget, the API page, and under `frontdesk dev` the demo shops.

The widget is held in memory with its compressed forms, which the build has made; what a browser gets is one look-up.
"""

import hashlib
import html
from functools import partial
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server.assets import static_path
from server.embedded.demo_data import DEMO_CLIENTS
from server.errors import NotFound, SettingsError
from server.repositories import clients
from server.repositories.pool import reading
from server.services import Services
from server.web.responses import unchanged

# Minutes a browser may keep the plain name, and for ever under the hashed one.
FRESH = "public, max-age=300"
FOR_EVER = "public, max-age=31536000, immutable"
# A page of a shop as strict as a careful site would be: only its own files, no inline script, no inline style.
DEMO_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
PLACEHOLDER = "{{public_key}}"


class Variant(msgspec.Struct, frozen=True):
    encoding: str | None
    body: bytes


class Widget:
    """`/widget.js` and its hashed name."""

    def __init__(self, folder: Path) -> None:
        source = folder / "widget.js"
        try:
            plain = source.read_bytes()
        except FileNotFoundError:
            raise SettingsError("the widget was not built; run `make install`") from None
        self.hash = hashlib.sha256(plain).hexdigest()[:16]
        self._variants = [
            Variant(encoding, path.read_bytes())
            for encoding, path in (("br", folder / "widget.js.br"), ("gzip", folder / "widget.js.gz"))
            if path.exists()
        ] + [Variant(None, plain)]

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/widget.js", self._fresh, methods=["GET"]),
            Route(f"/widget.{self.hash}.js", self._for_ever, methods=["GET"]),
        ]

    async def _fresh(self, request: Request) -> Response:
        return self._serve(request, FRESH)

    async def _for_ever(self, request: Request) -> Response:
        return self._serve(request, FOR_EVER)

    def _serve(self, request: Request, cache: str) -> Response:
        accepted = request.headers.get("accept-encoding", "")
        named = [each.replace(" ", "").partition(";") for each in accepted.split(",")]
        names = {name for name, _, quality in named if quality not in {"q=0", "q=0.0"}}
        variant = next(each for each in self._variants if each.encoding is None or each.encoding in names)
        # Strong: another encoding is another sequence of bytes.
        etag = f'"{self.hash}{"-" + variant.encoding if variant.encoding else ""}"'
        headers = {
            "etag": etag,
            "cache-control": cache,
            "vary": "accept-encoding",
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
        }
        if unchanged(request, etag):
            return Response(status_code=304, headers=headers)
        if variant.encoding is not None:
            headers["content-encoding"] = variant.encoding
        return Response(variant.body, headers=headers, media_type="text/javascript")


def docs_routes() -> list[BaseRoute]:
    """The files of the API page."""
    return [Mount("/docs", StaticFiles(directory=static_path() / "docs"))]


def demo_routes() -> list[BaseRoute]:
    """The demo shops. Their pages name their client's public key, which is known once the demo data is there."""
    folder = static_path() / "demo"

    async def page(request: Request, slug: str = "") -> Response:
        text = (folder / slug / "index.html").read_text("utf-8")
        if slug:
            text = text.replace(PLACEHOLDER, html.escape(await _public_key(request.state.services, slug)))
        return HTMLResponse(text, headers={"content-security-policy": DEMO_POLICY, "cache-control": "no-cache"})

    async def to_demo(_request: Request) -> Response:
        return RedirectResponse("/demo/")

    return [
        Route("/", to_demo, methods=["GET"]),
        Route("/demo", to_demo, methods=["GET"]),
        Route("/demo/", page, methods=["GET"]),
        *(Route(f"/demo/{each.slug}/", partial(page, slug=each.slug), methods=["GET"]) for each in DEMO_CLIENTS),
        Mount("/demo", StaticFiles(directory=folder)),
    ]


async def _public_key(services: Services, slug: str) -> str:
    """The key of the client whose shop this is, by its domain."""
    domain = next(each.domain for each in DEMO_CLIENTS if each.slug == slug)
    async with reading(services.pool) as conn:
        found = next((each for each in await clients.list_all(conn) if each.domain == domain), None)
    if found is None:
        raise NotFound("this shop's demo data is not there; `frontdesk dev` makes it")
    return found.public_key
