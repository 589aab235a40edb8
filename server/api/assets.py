"""Built files: the widget, the API page, and under `frontdesk dev` the demo shops."""

import html
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server.assets import static_path
from server.embedded.demo_data import DEMO_CLIENTS
from server.errors import NotFound
from server.repositories import clients
from server.repositories.pool import reading
from server.services import Services
from server.web.built import FOR_EVER, Built

# Five minutes a browser may keep the plain name.
FRESH = "public, max-age=300"
# A page of a shop as strict as a careful site would be: only its own files, no inline script, no inline style.
DEMO_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
PLACEHOLDER = "{{public_key}}"


class Widget:
    """`/widget.js` and its hashed name."""

    def __init__(self, folder: Path) -> None:
        self._script = Built(folder / "widget.js", "text/javascript")

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/widget.js", self._fresh, methods=["GET"]),
            Route(f"/widget.{self._script.hash}.js", self._for_ever, methods=["GET"]),
        ]

    async def _fresh(self, request: Request) -> Response:
        return self._serve(request, FRESH)

    async def _for_ever(self, request: Request) -> Response:
        return self._serve(request, FOR_EVER)

    def _serve(self, request: Request, cache: str) -> Response:
        headers = {"cache-control": cache, "cross-origin-resource-policy": "cross-origin"}
        return self._script.serve(request, headers)


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
