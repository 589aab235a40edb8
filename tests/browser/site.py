"""Frontdesk with its demo shops, as `frontdesk dev` serves them, for a real browser.

`Site` is one instance on a port of its own that can stop and come back on the same port. `Website` is a customer's own
site on another origin: what a page there may hold, and which headers it has, is the test's to say.
"""

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from server.embedded import demo
from server.net.signing import Keyring
from server.net.vault import Vault
from server.repositories.clients import Client
from server.repositories.pool import Pool, open_pool, reading
from server.settings import Settings
from tests.flows.support import Instance

SHOPS = ("pizza", "bakery")


class Website:
    """A customer's website. `url` is its origin."""

    def __init__(self) -> None:
        self.url = ""
        self._pages: dict[str, tuple[str, dict[str, str]]] = {}

    def put(self, path: str, page: str, headers: dict[str, str] | None = None) -> str:
        """Serves HTML at a path from now on; its URL."""
        self._pages[path] = (page, headers or {})
        return self.url + path

    async def handle(self, request: web.Request) -> web.Response:
        if request.path not in self._pages:
            return web.Response(status=404 if request.path != "/favicon.ico" else 204)
        page, headers = self._pages[request.path]
        return web.Response(text=page, content_type="text/html", headers=headers)


@asynccontextmanager
async def open_website() -> AsyncIterator[Website]:
    """A running one on a free port."""
    website = Website()
    app = web.Application()
    app.router.add_get("/{path:.*}", website.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        website.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield website
    finally:
        await runner.cleanup()


class _Listening(Instance):
    """An instance behind a socket that listens already, so that it can be told its own address."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        super().__init__(settings)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="instance", daemon=True)


class Site:
    """The shops' public keys are `keys["pizza"]` and `keys["bakery"]`."""

    def __init__(self, settings: Settings, pool: Pool, website: Website) -> None:
        self.settings = settings
        self.website = website
        self.keys: dict[str, str] = {}
        self._pool = pool
        self._instance: Instance | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pizza(self) -> str:
        """The pizza shop's demo page."""
        return f"{self.url}/demo/pizza/"

    @property
    def bakery(self) -> str:
        """The bakery's demo page."""
        return f"{self.url}/demo/bakery/"

    def page(
        self, head: str = "", body: str = "", *, attributes: str = "", script: bool = True, lang: str = "en"
    ) -> str:
        """A page of the customer's, with the widget's tag of the pizza shop unless `script` is False."""
        tag = f'<script async src="{self.url}/widget.js" data-client-key="{self.keys["pizza"]}" {attributes}></script>'
        return (
            f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>A shop</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"{head}{tag if script else ''}</head><body>{body}</body></html>"
        )

    async def start(self) -> None:
        """Also after a stop: on the same port."""
        assert self._instance is None, "it runs already"
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        # As `frontdesk dev`: the shops' own systems are this server's, and their callbacks come back to it.
        settings = msgspec.structs.replace(
            self.settings, demo=True, public_url=self.url, allow_private_egress=("127.0.0.1/32",)
        )
        instance = _Listening(settings, listener)
        await instance.start()
        self._instance = instance

    async def stop(self) -> None:
        """Ends the instance and with it every socket."""
        if self._instance is not None:
            await self._instance.stop()
            self._instance = None

    async def seed(self) -> list[Client]:
        """The demo shops with their tools, which allow this site's own origin and the customer's website."""
        async with reading(self._pool) as conn:
            keys = self.settings.secret_keys
            origins = [self.url, self.website.url]
            found = await demo.seed(conn, Keyring(keys), Vault(keys), origins=origins, base_url=self.url)
        self.keys = {slug: client.public_key for slug, client in zip(SHOPS, found, strict=True)}
        return found

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement (the test's own, with %s) gives."""
        async with reading(self._pool) as conn:
            cursor = await conn.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """A running instance with its demo data, and a customer's website beside it."""
    pool = await open_pool(settings.database_url, max_size=2, application_name="browser test")
    try:
        async with open_website() as website:
            site = Site(settings, pool, website)
            await site.start()
            try:
                await site.seed()
                yield site
            finally:
                await site.stop()
    finally:
        await pool.close()
