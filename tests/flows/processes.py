"""`frontdesk serve` in processes of their own, which a test may signal and kill."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from server.protocol.visitor import Welcome
from server.repositories.pool import open_pool
from server.settings import Settings
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop, Tab
from tests.flows.view import View
from tests.support import SECRET_KEYS

_COMMAND = "from server.cli import main; main()"


class Served(msgspec.Struct):
    """A server process. `log` is where it writes."""

    url: str
    process: asyncio.subprocess.Process
    log: Path

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Its exit code."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()


@asynccontextmanager
async def serve(settings: Settings, log: Path, *options: str, first: str = "pass") -> AsyncIterator[Served]:
    """A process that listens. `first` is a statement that it runs before it begins. Killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "FRONTDESK_SECRET_KEYS": ",".join(SECRET_KEYS),
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": settings.llm.model or "",
        "OPENAI_API_KEY": settings.llm.openai_api_key or "",
        "OPENAI_BASE_URL": settings.llm.openai_base_url or "",
    }
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", f"{first}; {_COMMAND}"),
            *("serve", "--host", "127.0.0.1", "--port", str(port), *options),
            env=environment,
            stdout=sink,
            stderr=sink,
        )
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:
        await _listening(served)
        yield served
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listening(served: Served) -> None:
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(trust_env=False) as http:
        while True:
            assert served.process.returncode is None, await asyncio.to_thread(served.log.read_text)
            try:
                await http.get(f"{served.url}/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def visiting(served: Served, shop: Shop, **hello: Any) -> AsyncIterator[tuple[Tab, Welcome]]:
    """A tab that has said hello to this process; `hello` has its fields."""
    url = served.url.replace("http://", "ws://") + "/api/v1/ws"
    async with connect(url, origin=Origin(shop.origin), compression=None, ping_interval=None, proxy=None) as socket:
        tab = Tab(socket, shop, View())
        yield tab, await tab.hello(**hello)


@pytest.fixture
async def office(settings: Settings) -> AsyncIterator[Desk]:
    """An installation without instances yet: processes come later."""
    pool = await open_pool(settings.database_url, max_size=2, application_name="test")
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
            yield Desk(settings, pool, http)
    finally:
        await pool.close()
