"""The processes of a measurement: each on its core, with a clock for its CPU and a scale for its memory."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import psycopg

from server import embedded, ids
from server.cli.migrate import upgrade
from server.net.signing import Keyring
from server.repositories import clients
from server.repositories.pool import open_pool, reading

# Seconds for a server to come up.
_START_S = 30.0
ORIGIN = "https://bench.example"
_PLAN = "bench"


class Cores(msgspec.Struct, frozen=True):
    """`server` runs what is measured and nothing else; everything else shares `others`."""

    server: set[int]
    others: set[int]


def split_cores() -> Cores:
    """The first core this process may use for the server. On a machine with one core they share it."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores({first}, set(others) or {first})


class Process(msgspec.Struct, frozen=True):
    """A running server on `port` of this machine."""

    name: str
    pid: int
    port: int

    def cpu_s(self) -> float:
        """User and system time of all its threads so far, from the kernel's clock of that process (nanoseconds)."""
        # clock_getcpuclockid(3), which Python lacks: see linux/posix-timers.h.
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss(self) -> int:
        """Bytes of memory it holds."""
        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident


@contextmanager
def process(
    name: str, command: list[str], port: int, *, cores: set[int], log: Path, environ: Mapping[str, str]
) -> Iterator[Process]:
    """A program that serves `port`, on `cores`, for as long as the block runs."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(command, env={**os.environ, **environ}, stdout=output, stderr=output)
    finally:
        os.sched_setaffinity(0, mine)
    try:
        _wait(name, child, port, log)
        yield Process(name, child.pid, port)
    finally:
        child.terminate()
        child.wait()


def _wait(name: str, child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while child.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{name} did not come up; its log ends: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Frontdesk(msgspec.Struct, frozen=True):
    """What `frontdesk serve` needs, and a client whose plan has room for a benchmark."""

    environ: dict[str, str]
    public_key: str


@contextmanager
def frontdesk_world(data_dir: Path, upstream: int) -> Iterator[Frontdesk]:
    """PostgreSQL with durable settings, Redis, the schema and one client."""
    secret = os.urandom(32).hex()
    with embedded.services(data_dir) as services:
        upgrade(services.database_url)
        environ = {
            "DATABASE_URL": services.database_url,
            "REDIS_URL": services.redis_url,
            "FRONTDESK_SECRET_KEYS": secret,
            "LLM_PROVIDER": "openai",
            "LLM_MODEL": "bench",
            "OPENAI_API_KEY": "bench",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "LOG_FORMAT": "json",
        }
        yield Frontdesk(environ, asyncio.run(_create_client(services.database_url, Keyring((secret,)))))


async def _create_client(database_url: str, keyring: Keyring) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into plans (name, monthly_messages, requests_per_minute) values (%s, null, 1000000)", [_PLAN]
        )
    pool = await open_pool(database_url, max_size=1, application_name="frontdesk bench")
    try:
        async with reading(pool) as conn:
            client = await clients.create(
                conn,
                name="Bench",
                domain="bench.example",
                allowed_origins=[ORIGIN],
                public_key=ids.public_key(),
                api_key_hash=keyring.digest("api-key", ids.secret_key()),
                api_key_prefix="bench",
                plan_type=_PLAN,
            )
    finally:
        await pool.close()
    return client.public_key
