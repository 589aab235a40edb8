"""What Frontdesk is run with: PostgreSQL, Redis, a client for each kind of measurement, and the server itself."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import psycopg
from redis.asyncio import Redis

from bench import tool_step
from bench.servers import Cores, Family, Process, free_port, process
from bench.speakers import ORIGIN
from server import embedded, ids
from server.cli.migrate import upgrade
from server.net.egress import Egress
from server.net.signing import Keyring
from server.net.vault import Vault
from server.repositories import clients
from server.repositories.pool import open_pool, reading
from server.tools.setup.base import Setup
from server.tools.setup.definition import ToolDefinition, ToolOptions
from server.tools.setup.tools import define_tool, enable_tool

_PLAN = "bench"
# The upstream is also the webhook, on this machine.
_EGRESS = "127.0.0.1/32"


class Frontdesk(msgspec.Struct, frozen=True):
    """What `frontdesk serve` needs, and the keys of two clients whose plan has room for a benchmark: `public_key` is of
    one without tools, as the bare relay has none, `tools_key` of one with all of `tool_step.TOOLS`. `postgres` and
    `redis` are what works for it, on other cores."""

    environ: dict[str, str]
    public_key: str
    tools_key: str
    postgres: Process
    redis: Process


@contextmanager
def frontdesk_world(data_dir: Path, upstream: int) -> Iterator[Frontdesk]:
    """PostgreSQL with durable settings, Redis, the schema and the clients. `upstream` is a port of this machine."""
    secret = os.urandom(32).hex()
    with embedded.services(data_dir) as services:
        upgrade(services.database_url)
        environ = {
            "DATABASE_URL": services.database_url,
            "REDIS_URL": services.redis_url,
            "FRONTDESK_SECRET_KEYS": secret,
            # With it every call of a tool carries a signed address for callbacks.
            "FRONTDESK_PUBLIC_URL": "https://frontdesk.bench.example",
            "FRONTDESK_ALLOW_PRIVATE_EGRESS": _EGRESS,
            "LLM_PROVIDER": "openai",
            "LLM_MODEL": "bench",
            "OPENAI_API_KEY": "bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "LOG_FORMAT": "json",
        }
        yield asyncio.run(_set_up(environ, secret, upstream))


@contextmanager
def serving(
    frontdesk: Frontdesk, *, cores: Cores, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """`frontdesk serve` on the server's core; `environ` goes over the world's."""
    port = free_port()
    serve = [sys.executable, "-c", "from server.cli import main; main()", "serve", "--host", "127.0.0.1"]
    command = [*serve, "--port", str(port)]
    with process(
        "Frontdesk", command, port, cores=cores.server, log=log, environ={**frontdesk.environ, **(environ or {})}
    ) as running:
        yield running


async def _set_up(environ: dict[str, str], secret: str, upstream: int) -> Frontdesk:
    database_url = environ["DATABASE_URL"]
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into plans (name, monthly_messages, requests_per_minute) values (%s, null, 1000000)", [_PLAN]
        )
    pool = await open_pool(database_url, max_size=1, application_name="frontdesk bench")
    setup = Setup(pool, Vault((secret,)), Egress((_EGRESS,)))
    try:
        plain = await _create_client(setup, Keyring((secret,)), "Bench")
        with_tools = await _create_client(setup, Keyring((secret,)), "Bench with tools")
        await _give_tools(setup, with_tools.id, upstream)
    finally:
        await setup.egress.close()
        await pool.close()
    return Frontdesk(
        environ, plain.public_key, with_tools.public_key, _postgres(database_url), await _redis(environ["REDIS_URL"])
    )


def _postgres(database_url: str) -> Process:
    with psycopg.connect(database_url) as connection:
        parent = psutil.Process(connection.info.backend_pid).parent()
    if parent is None:
        raise RuntimeError("PostgreSQL does not run on this machine: what it uses cannot be seen")
    return Family("PostgreSQL", parent.pid, 0)


async def _redis(redis_url: str) -> Process:
    async with Redis.from_url(redis_url) as redis:
        return Process("Redis", int((await redis.info("server"))["process_id"]), 0)


async def _create_client(setup: Setup, keyring: Keyring, name: str) -> clients.Client:
    async with reading(setup.pool) as conn:
        return await clients.create(
            conn,
            name=name,
            domain="bench.example",
            allowed_origins=[ORIGIN],
            public_key=ids.public_key(),
            api_key_hash=keyring.digest("api-key", ids.secret_key()),
            api_key_prefix="bench",
            plan_type=_PLAN,
        )


async def _give_tools(setup: Setup, client_id: int, upstream: int) -> None:
    for name in tool_step.TOOLS:
        await define_tool(
            setup,
            ToolDefinition(
                tool_name=name,
                description="What the shop's own system knows of an item.",
                parameters_schema=tool_step.SCHEMA,
                effect="read_only",
                label={"en": "Looking in the shop's system"},
            ),
        )
        webhook = f"http://127.0.0.1:{upstream}/webhook/{name}"
        await enable_tool(setup, client_id=client_id, tool_name=name, options=ToolOptions(n8n_webhook_url=webhook))
