"""An installation under test: a database, a Redis, a model, a webhook, and instances that may be killed and stopped."""

import asyncio
import itertools
import os
import random
import re
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import sql

from server import ids
from server.llm.pricing import seed_prices
from server.net import webhooks
from server.net.signing import Keyring
from server.net.vault import SIGNING_SECRET, Vault
from server.repositories import client_tools, clients, prices, tools
from server.repositories.migrations import upgrade
from server.repositories.pool import Pool, open_pool, reading
from server.repositories.prices import PriceRow
from server.settings import LlmSettings, LogLevel, Settings
from tests.chaos import weather
from tests.chaos.forks import Child, ForkServer
from tests.chaos.model import Model, model_server
from tests.chaos.webhook import Webhook, webhook_server
from tests.flows.support import Shop
from tests.services import with_database
from tests.support import MODEL, SECRET_KEYS

if TYPE_CHECKING:
    from tests.chaos.world import Services

# Seconds after which the rig gives up on something that takes milliseconds.
PATIENCE_S = 30.0
# Below what the kernel gives to outgoing connections, so that a killed instance finds its port free again.
_PORTS = range(15_000, 32_000)
_PLAN = "chaos"
_ORIGIN = "https://chaos.example"
# What the rig's tools take.
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"item": {"type": "string", "maxLength": 80}},
    "required": ["item"],
}
# One tool of each effect class, done by the cluster's webhook.
TOOLS = {"look_up": "read_only", "reserve": "idempotent", "pay": "unsafe"}

_numbers = itertools.count(1)
_READY = re.compile(rb"instance ready.*\b(ins_\w+)")


class Instance:
    """One server process after the other on the same port. `lives` counts them."""

    def __init__(
        self, name: str, settings: Settings, port: int, log: Path, forks: ForkServer, install: Sequence[str]
    ) -> None:
        self.name = name
        self.port = port
        self.log = log
        self.settings = settings
        self.lives = 0
        # What it calls itself in this life, as `turns.owner` has it.
        self.id = ""
        self.child: Child | None = None
        self._forks = forks
        self._install = tuple(install)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/ws"

    @property
    def running(self) -> bool:
        """Whether its process is there, a stopped one included."""
        return self.child is not None and not self.child.ended.done()

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} was never started"
        return self.child.pid

    async def start(self, *, install: Sequence[str] = ()) -> None:
        """Forks it, and returns when it listens. `install` are functions that the process calls before it serves, as
        `module:function` or `module:function=text`, after those that the cluster names; see `points`."""
        assert not self.running, f"{self.name} runs already"
        written = self.log.stat().st_size if self.log.exists() else 0
        self.child = await self._fork([*self._install, *install])
        self.lives += 1
        found = _READY.search(await asyncio.to_thread(_read_from, self.log, written))
        assert found is not None, f"{self.name} did not say who it is: it needs log level INFO"
        self.id = found[1].decode()

    async def _fork(self, install: Sequence[str]) -> Child:
        while True:
            try:
                return await self._forks.fork(self.settings, port=self.port, log=self.log, install=install)
            except RuntimeError as error:
                # Another program took the port since it was chosen. Once somebody knows it, it stays the same.
                if self.lives or "address already in use" not in str(error):
                    raise
            self.port = free_port()

    def signal(self, number: signal.Signals) -> None:
        """To its process, where it still is."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP: it stands still, its sockets stay open."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def term(self) -> None:
        """SIGTERM: it drains."""
        self.signal(signal.SIGTERM)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended; minus the signal's number where one killed it."""
        assert self.child is not None, f"{self.name} was never started"
        async with asyncio.timeout(within_s):
            return await asyncio.shield(self.child.ended)

    async def logged(self) -> str:
        """All that its processes wrote."""
        return await asyncio.to_thread(self.log.read_text, errors="replace")


class Cluster:
    """What a row works with. `pool` is the rig's own way to the database, `rng` decides what chance decides."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        rng: random.Random,
        model: Model,
        webhook: Webhook,
        redis: weather.Service,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.rng = rng
        self.model = model
        self.webhook = webhook
        self.keyring = Keyring(settings.secret_keys)
        self.instances: list[Instance] = []
        self.redis = redis
        # None where it shares one.
        self.postgres: weather.Service | None = None
        self._make: Callable[[str], Instance] | None = None

    @property
    def running(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.running]

    def some_url(self) -> str:
        """The WebSocket address of one of the instances, living or not: what a balancer without health checks gives."""
        return self.rng.choice(self.instances).ws_url

    async def add(self, *, settings: Settings | None = None, install: Sequence[str] = ()) -> Instance:
        """One more instance, listening. `settings` may differ in what it should do differently."""
        assert self._make is not None
        instance = self._make(f"i{len(self.instances)}")
        if settings is not None:
            instance.settings = settings
        self.instances.append(instance)
        await instance.start(install=install)
        return instance

    async def shop(self, name: str | None = None, **fields: Any) -> Shop:
        """A client without a monthly limit and with a million requests a minute, with TOOLS; `fields` are more of
        `repositories.clients.create`'s."""
        name = name or f"shop{next(_numbers)}"
        secret = ids.secret_key()
        # All have one website: an instance learns of a new one only after some seconds.
        given = {"allowed_origins": [_ORIGIN], "plan_type": _PLAN, **fields}
        async with reading(self.pool) as conn:
            client = await clients.create(
                conn,
                name=name,
                domain=f"{name}.example",
                public_key=ids.public_key(),
                api_key_hash=self.keyring.digest("api-key", secret),
                api_key_prefix=secret[:8],
                **given,
            )
            vault, signing = Vault(self.settings.secret_keys), webhooks.new_secret()
            for (tool_id,) in await self.rows("select id from tools where tool_name = any(%s)", list(TOOLS)):
                await client_tools.enable(
                    conn,
                    client_id=client.id,
                    tool_id=tool_id,
                    n8n_webhook_url=self.webhook.url,
                    signing_secret=vault.seal(signing, client_id=client.id, field=SIGNING_SECRET),
                )
        self.webhook.knows(client.id, signing)
        return Shop(client, secret)

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement of the rig's own (%s for values) gives."""
        async with reading(self.pool) as conn:
            cursor = await conn.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []


def _read_from(log: Path, at: int) -> bytes:
    with log.open("rb") as file:
        file.seek(at)
        return file.read()


@asynccontextmanager
async def open_cluster(
    services: "Services",
    forks: ForkServer,
    rng: random.Random,
    instances: int,
    *,
    own_services: bool,
    log_level: LogLevel,
    install: Sequence[str],
) -> AsyncIterator[Cluster]:
    """See `World.cluster`."""
    directory = services.directory / f"cluster-{uuid.uuid4().hex[:8]}"
    directory.mkdir(parents=True, mode=0o711)
    async with AsyncExitStack() as stack:
        postgres = None
        if own_services:
            postgres = await stack.enter_async_context(weather.postgres(directory / "postgres"))
            database_url = postgres.url
            await asyncio.to_thread(upgrade, database_url)
        else:
            database_url = await stack.enter_async_context(_database(services))
        redis = await stack.enter_async_context(weather.redis(directory / "redis"))
        model = await stack.enter_async_context(model_server())
        webhook = await stack.enter_async_context(webhook_server())
        settings = Settings(
            database_url=database_url,
            redis_url=redis.url,
            secret_keys=SECRET_KEYS,
            allow_private_egress=("127.0.0.1/32",),
            log_level=log_level,
            llm=LlmSettings(provider="openai", model=MODEL, openai_api_key="sk-test", openai_base_url=model.url),
        )
        pool = await open_pool(database_url, max_size=4, application_name="chaos rig")
        stack.push_async_callback(pool.close)
        await _furnish(pool)
        cluster = Cluster(settings, pool, rng, model, webhook, redis)
        cluster.postgres = postgres

        def make(name: str) -> Instance:
            return Instance(name, settings, free_port(), directory / f"{name}.log", forks, install)

        cluster._make = make
        try:
            await asyncio.gather(*(cluster.add() for _ in range(instances)))
            yield cluster
        finally:
            for instance in cluster.instances:
                instance.kill()
            await asyncio.gather(*(each.ended() for each in cluster.instances if each.child is not None))


@asynccontextmanager
async def _database(services: "Services") -> AsyncIterator[str]:
    name = f"chaos_{uuid.uuid4().hex}"

    def create() -> None:
        with psycopg.connect(services.postgres_url, autocommit=True) as admin:
            admin.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    sql.Identifier(name), sql.Identifier(services.template)
                )
            )

    def drop() -> None:
        with psycopg.connect(services.postgres_url, autocommit=True) as admin:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    await asyncio.to_thread(create)
    try:
        yield with_database(services.postgres_url, name)
    finally:
        await asyncio.to_thread(drop)


async def _furnish(pool: Pool) -> None:
    """A plan without limits, prices, and the rig's tools."""
    async with reading(pool) as conn:
        await conn.execute(
            "insert into plans (name, monthly_messages, requests_per_minute) values (%s, null, 1000000)", [_PLAN]
        )
        await prices.upsert_all(
            conn, prices=[msgspec.convert(each, PriceRow, from_attributes=True) for each in seed_prices()]
        )
        for name, effect in TOOLS.items():
            await tools.create(
                conn,
                tool_name=name,
                description=f"Does {name}.",
                parameters_schema=_SCHEMA,
                category="test",
                effect=effect,
                label={"en": f"Doing {name}"},
                proof="session",
                confirm=False,
                bound={},
            )


def free_port() -> int:
    """A port that nobody listens on, and that no outgoing connection will take."""
    while True:
        port = random.choice(_PORTS)  # not of the seed: other runs on this machine choose too
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
