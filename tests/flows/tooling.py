"""Tools of a shop over real sockets: in the catalogue, done by a webhook, with what it takes to be its backend."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from server.net import webhooks
from server.net.vault import CONNECTION_CONFIG, SIGNING_SECRET, Vault
from server.protocol import codec
from server.protocol.visitor import ToolConfirmRequest, ToVisitor
from server.repositories import client_tools, endpoints, integrations, tools
from server.repositories.pool import reading
from tests.flows.peer import PATIENCE_S
from tests.flows.support import Desk, Shop, Tab
from tests.tools.webhook_server import Received, Reply, WebhookServer, says
from tests.turns.toolkit import SCHEMA
from tests.wire_servers import ToolUse

T = TypeVar("T")
_numbers = itertools.count(1)


async def add_tool(desk: Desk, shop: Shop, url: str, name: str, effect: str = "read_only", **fields: Any) -> str:
    """A tool of this shop, done by this webhook; its signing secret. `fields` are more of the catalogue's."""
    secret = webhooks.new_secret()
    given = {"description": f"Does {name}.", "parameters_schema": SCHEMA, "label": {"en": f"Doing {name}"}, **fields}
    sealed = Vault(desk.settings.secret_keys).seal(secret, client_id=shop.id, field=SIGNING_SECRET)
    async with reading(desk.pool) as conn:
        tool = await tools.create(conn, tool_name=name, category="test", effect=effect, **given)
        await client_tools.enable(conn, client_id=shop.id, tool_id=tool.id, n8n_webhook_url=url, signing_secret=sealed)
    return secret


async def add_live_data(desk: Desk, shop: Shop, api: WebhookServer) -> None:
    """A system of the shop's behind `api`: `product` takes `sku` into the path /v1/products/, `search` takes `q` into
    the query of /v1/search."""
    base = api.url.removesuffix("/webhook/tool") + "/v1"
    config = {"api_url": base, "auth": {"type": "bearer", "token": "shops-own-key"}}
    sealed = Vault(desk.settings.secret_keys).seal(
        msgspec.json.encode(config).decode(), client_id=shop.id, field=CONNECTION_CONFIG
    )
    async with reading(desk.pool) as conn:
        made = await integrations.create(
            conn, client_id=shop.id, integration_type="custom_api", connection_config=sealed
        )
        for name, url, argument in (("product", "/products/{sku}", "sku"), ("search", "/search{?q}", "q")):
            await endpoints.create(
                conn,
                client_id=shop.id,
                integration_id=made.id,
                endpoint_name=name,
                endpoint_url=url,
                method="GET",
                description="Looks something up.",
                parameters_schema={
                    "type": "object",
                    "properties": {argument: {"type": "string"}},
                    "required": [argument],
                },
                cache_ttl=0,
            )


def use(name: str, **arguments: Any) -> ToolUse:
    """A call as a model writes it."""
    return ToolUse(name, arguments, f"call_{next(_numbers)}")


class Gate:
    """A webhook's answer that is held back until `open` is set."""

    def __init__(self, value: Any) -> None:
        self.open = asyncio.Event()
        self._value = value

    async def __call__(self, _received: Received) -> Reply:
        await self.open.wait()
        return says(self._value)


class Sink:
    """A port that somebody's server listens on. `reached` counts who connected."""

    def __init__(self) -> None:
        self.reached = 0
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def connected(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        writer.close()


async def asked(tab: Tab) -> ToolConfirmRequest:
    """Reads on to the question of a tool that asks first."""
    return await tab.next(ToolConfirmRequest)


async def confirm(
    desk: Desk, session_id: str, credential: str, body: Any, *, on: int = 0, **headers: str
) -> httpx.Response:
    """Answers a question over HTTP."""
    url = f"{desk.instances[on].url}/api/v1/sessions/{session_id}/confirmations"
    given = {"authorization": f"Bearer {credential}", **headers}
    if isinstance(body, bytes):
        return await desk.http.post(url, headers=given, content=body)
    return await desk.http.post(url, headers=given, json=body)


class Stream:
    """A stream of server-sent events, read frame by frame."""

    def __init__(self, chunks: AsyncIterator[str]) -> None:
        self.frames: list[ToVisitor] = []
        self._chunks = chunks
        self._text = ""

    async def next(self, kind: type[T], where: Callable[[T], bool] = lambda _: True) -> T:
        """Reads on until a frame of this kind."""
        while True:
            frame = await self._frame()
            if isinstance(frame, kind) and where(frame):
                return frame

    async def _frame(self) -> ToVisitor:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while "\n\n" not in self._text:
                    self._text += await anext(self._chunks)
                block, _, self._text = self._text.partition("\n\n")
                data = next((line for line in block.splitlines() if line.startswith("data: ")), None)
                if data is not None:
                    frame = codec.decode_to_visitor(data.removeprefix("data: ").encode())
                    self.frames.append(frame)
                    return frame


@asynccontextmanager
async def streaming(desk: Desk, credential: str, *, on: int = 0, **body: Any) -> AsyncIterator[Stream]:
    """Asks over `POST /api/v1/chat` and reads the answer as it comes."""
    async with desk.http.stream(
        "POST",
        f"{desk.instances[on].url}/api/v1/chat",
        headers={"authorization": f"Bearer {credential}", "accept": "text/event-stream"},
        json=body,
    ) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response.aiter_text())


async def within(what: Awaitable[T]) -> T:
    """Its result, or a failure where it hangs."""
    async with asyncio.timeout(PATIENCE_S):
        return await what
