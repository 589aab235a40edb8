"""A seeded database with the demo shops, and their own systems served over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.cli.run import uvicorn_config
from server.embedded import demo, demo_tools
from server.net.egress import Egress
from server.net.signing import Keyring
from server.net.vault import SIGNING_SECRET, Vault
from server.repositories import client_tools
from server.repositories.clients import Client
from server.repositories.pool import Pool, open_pool, unit_of_work
from tests.support import PATIENCE_S, SECRET_KEYS


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Wiring(msgspec.Struct, frozen=True):
    """What the routes find in `request.state.services`."""

    pool: Pool
    vault: Vault
    egress: Egress


class CalledBack(msgspec.Struct, frozen=True):
    """One callback that arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Site(msgspec.Struct, frozen=True):
    """`callbacks` takes what is posted to `{url}/callback`."""

    url: str
    wiring: Wiring
    clients: list[Client]
    systems: demo_tools.Systems
    callbacks: asyncio.Queue[CalledBack]

    @property
    def pizza(self) -> Client:
        return self.clients[0]

    @property
    def bakery(self) -> Client:
        return self.clients[1]

    async def secret(self, client: Client, tool: str) -> str:
        """What the client's tool signs with."""
        async with unit_of_work(self.wiring.pool) as conn:
            row = await client_tools.find_by_name(conn, client_id=client.id, tool_name=tool)
        assert row is not None
        assert row.signing_secret is not None
        return self.wiring.vault.open(row.signing_secret, client_id=client.id, field=SIGNING_SECRET)


async def seed(pool: Pool, vault: Vault, base_url: str) -> list[Client]:
    async with unit_of_work(pool) as conn:
        return await demo.seed(conn, Keyring(SECRET_KEYS), vault, origins=["http://localhost:8000"], base_url=base_url)


@asynccontextmanager
async def demo_site(database_url: str) -> AsyncIterator[Site]:
    """Everything running. Steps take no time."""
    pool = await open_pool(database_url, max_size=6, application_name="test")
    wiring = Wiring(pool, Vault(SECRET_KEYS), Egress(["127.0.0.1/32"]))
    systems = demo_tools.Systems(step_s=0)
    callbacks: asyncio.Queue[CalledBack] = asyncio.Queue()

    async def callback(request: Request) -> Response:
        callbacks.put_nowait(CalledBack(dict(request.headers), await request.body()))
        return JSONResponse({"status": "shown"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Wiring]]:
        yield {"services": wiring}

    app = Starlette(
        routes=[*demo_tools.routes(systems), Route("/callback", callback, methods=["POST"])], lifespan=lifespan
    )
    server = _Server(uvicorn_config(app, "127.0.0.1", 0))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await server.listening.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        yield Site(url, wiring, await seed(pool, wiring.vault, url), systems, callbacks)
    finally:
        server.should_exit = True
        await task
        await wiring.egress.close()
        await pool.close()
