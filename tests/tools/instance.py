"""What an instance runs webhook tools with, without the rest of it; and a turn of a client to run them for.

`open_instance` twice on the same Postgres and Redis is two instances.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from server import ids
from server.fanout import channels
from server.fanout.hub import Hub
from server.fanout.signals import Signals
from server.net import webhooks
from server.net.egress import Egress
from server.net.signing import Keyring
from server.net.vault import SIGNING_SECRET, Vault
from server.protocol import codec
from server.protocol.visitor import ToolProgress
from server.repositories import client_tools, tool_executions, tools, turns
from server.repositories.pool import Pool, open_pool, reading, unit_of_work
from server.repositories.tool_executions import ToolExecution
from server.services import open_redis
from server.tools.tool import Call, Caller, Effect, Outcome, Person, Tool, Webhook
from server.tools.webhook.breaker import Breakers
from server.tools.webhook.callbacks import PATH, Callbacks, ToolCallbackTaken
from server.tools.webhook.n8n import N8n
from tests.repositories.conftest import Shop, new_client, new_conversation
from tests.repositories.world import ask, say
from tests.support import PATIENCE_S, SECRET_KEYS

PUBLIC_URL = "https://desk.example"
ANN = Person("c-17", "ann@example.com", "Ann")


class Instance(msgspec.Struct, frozen=True):
    pool: Pool
    hub: Hub
    signals: Signals
    vault: Vault
    egress: Egress
    callbacks: Callbacks
    n8n: N8n

    async def run(self, scene: "Scene", call: Call) -> Outcome:
        """What the turn's runner does: the call is recorded before it goes out."""
        await scene.start(self, call)
        return await self.n8n.run(scene.tool, call)


@asynccontextmanager
async def open_instance(
    database_url: str,
    redis_url: str,
    *,
    public_url: str | None = PUBLIC_URL,
    breakers: Breakers | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Instance]:
    pool = await open_pool(database_url, max_size=6, application_name="test")
    redis = open_redis(redis_url)
    hub = Hub(redis, ids.instance_id())
    signals = Signals(hub)
    vault = Vault(SECRET_KEYS)
    egress = Egress(["127.0.0.1/32", "::1/128"])
    callbacks = Callbacks(pool, signals, hub, vault, Keyring(SECRET_KEYS), public_url=public_url, clock=clock)
    await hub.start()
    try:
        n8n = N8n(egress, vault, callbacks, breakers)
        yield Instance(pool=pool, hub=hub, signals=signals, vault=vault, egress=egress, callbacks=callbacks, n8n=n8n)
    finally:
        await hub.stop()
        await egress.close()
        await redis.aclose()
        await pool.close()


class Scene(msgspec.Struct, frozen=True):
    """A running turn of a client's conversation, and one of the client's tools. `secret` signs its webhook."""

    shop: Shop
    turn_row: int
    turn_id: str
    tool: Tool
    secret: str

    def call(self, no: int = 1, *, budget_s: float = 5.0, attempt: int = 1, **arguments: Any) -> Call:
        caller = Caller(
            client_id=self.shop.id,
            client_key=self.shop.client.public_key,
            client_name=self.shop.client.name,
            conversation_id=self.shop.conversation.public_id,
            turn_id=self.turn_id,
            turn_row=self.turn_row,
            locale="en",
            channel="widget",
            visitor=ANN,
        )
        key = f"{self.turn_id}:{no}"
        return Call(key, self.tool.name, arguments, caller, budget_s=budget_s, attempt=attempt)

    async def start(self, instance: Instance, call: Call) -> None:
        async with unit_of_work(instance.pool) as conn:
            await tool_executions.start(
                conn,
                client_id=self.shop.id,
                conversation_id=self.shop.cnv,
                turn_id=self.turn_row,
                call_id=call.key,
                tool_name=call.tool,
                parameters=call.arguments,
            )

    async def row(self, instance: Instance, call: Call) -> ToolExecution:
        """How the call stands."""
        async with reading(instance.pool) as conn:
            row = await tool_executions.find_call(conn, client_id=self.shop.id, turn_id=self.turn_row, call_id=call.key)
        assert row is not None
        return row


async def new_scene(
    instance: Instance, url: str, *, effect: Effect = "read_only", timeout_ms: int = 2_000, name: str = "get_order"
) -> Scene:
    secret = webhooks.new_secret()
    async with unit_of_work(instance.pool) as conn:
        client = await new_client(conn, "pizza")
        conversation = await new_conversation(conn, client.id)
        sealed = instance.vault.seal(secret, client_id=client.id, field=SIGNING_SECRET)
        made = await tools.create(
            conn,
            tool_name=name,
            description="Does something.",
            parameters_schema={"type": "object"},
            category="shop",
            effect=effect,
            label={"en": "Working"},
        )
        await client_tools.enable(
            conn, client_id=client.id, tool_id=made.id, n8n_webhook_url=url, signing_secret=sealed
        )
    message = await say(instance.pool, client.id, conversation.id, seq=1)
    turn_id = await ask(instance.pool, client.id, conversation.id, message, owner="ins_test")
    async with reading(instance.pool) as conn:
        turn = await turns.find(conn, client_id=client.id, public_id=turn_id)
    assert turn is not None
    tool = Tool(
        name=name,
        description="Does something.",
        parameters={"type": "object"},
        effect=effect,
        proof="none",
        confirm=False,
        bound={},
        label={"en": "Working"},
        source=Webhook(url, timeout_ms, sealed, {"shop": 7}),
    )
    return Scene(Shop(client, conversation), turn.id, turn_id, tool, secret)


def signed(secret: str, body: bytes, *, msg_id: str = "msg_1", at: float | None = None) -> dict[str, str]:
    """The headers of a callback."""
    return webhooks.sign(secret, msg_id=msg_id, timestamp=int(time.time() if at is None else at), body=body)


async def call_back(
    instance: Instance, url: str, secret: str, said: Mapping[str, Any], *, at: float | None = None
) -> ToolCallbackTaken:
    """What a workflow does with its callback's address, on the instance that it happens to reach."""
    body = msgspec.json.encode(said)
    ticket = instance.callbacks.ticket(url.rpartition(PATH)[2])
    return await instance.callbacks.receive(ticket, signed(secret, body, at=at), body)


class Watcher:
    """A visitor's socket that keeps the progress it is sent."""

    def __init__(self) -> None:
        self.progress: list[str] = []
        self._changed = asyncio.Event()

    def deliver(self, seq: int, payload: bytes) -> None:
        frame = codec.decode_to_visitor(payload)
        assert seq == 0 and isinstance(frame, ToolProgress)
        self.progress.append(frame.text)
        self._changed.set()

    def resync(self) -> None:
        self._changed.set()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.progress) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.progress


@asynccontextmanager
async def watching(instance: Instance, scene: Scene) -> AsyncIterator[Watcher]:
    watcher, channel = Watcher(), channels.conversation(scene.shop.conversation.public_id)
    await instance.hub.join(channel, watcher)
    try:
        yield watcher
    finally:
        await instance.hub.leave(channel, watcher)
