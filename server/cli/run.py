"""`frontdesk dev` and `frontdesk serve`."""

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec
import uvicorn

from server import embedded, log
from server.app import create_app
from server.cli.migrate import upgrade
from server.cli.process import Server, run_workers
from server.cli.shared import data_dir_option, secret_keys
from server.embedded import demo
from server.errors import SettingsError, Unavailable
from server.net.signing import Keyring
from server.net.vault import Vault
from server.protocol.limits import FRAME_BYTES
from server.repositories import migrations
from server.repositories.pool import open_pool, reading
from server.services import check_redis, open_redis
from server.settings import Settings, load
from server.ws.drain import END_S, RESERVE_S

# Seconds that open requests get after the drain before they are cut, within what the drain leaves of its time.
GRACE_S = int(RESERVE_S) - 2


@click.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--instances",
    default=1,
    show_default=True,
    type=click.IntRange(1, 8),
    help="Server processes, on ports from --port up.",
)
@data_dir_option
def dev(port: int, host: str, instances: int, data_dir: Path) -> None:
    """Run everything here: embedded Postgres and Redis, migrations, two demo shops, the server."""
    ports = range(port, port + instances)
    for each in ports:
        _check_free(host, each)
    given = {"secret_keys": secret_keys(data_dir), "port": port, "demo": True}
    # What is wrong in the environment is said before anything starts.
    load(os.environ, **given, database_url="postgresql://", redis_url="redis://")
    with embedded.services(data_dir) as services:
        settings = load(os.environ, **given, database_url=services.database_url, redis_url=services.redis_url)
        settings = _at_home(settings, host)
        log.configure(settings.log_level, settings.log_format)
        upgrade(settings.database_url)
        asyncio.run(_seed(settings, ports, _local_url(host, port)))
        with ExitStack() as stack:
            others = [stack.enter_context(_process(settings, host, each)) for each in ports[1:]]

            def pass_on() -> None:
                for other in others:
                    other.terminate()

            config = uvicorn_config(create_app(settings), host, port)
            Server(config, ready=lambda: _say_where(ports), signalled=pass_on).run()


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104  # a container's port is reached from outside
@click.option("--port", type=click.IntRange(1, 65535), help="PORT unless told, else 8000.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that share the port."
)
def serve(host: str, port: int | None, workers: int) -> None:
    """Run in production. Needs DATABASE_URL, REDIS_URL and FRONTDESK_SECRET_KEYS."""
    settings = load(os.environ)
    log.configure(settings.log_level, settings.log_format)
    asyncio.run(_preflight(settings))
    config = uvicorn_config("server.app:from_environment", host, port or settings.port, workers=workers)
    if workers == 1:
        Server(config).run()
    else:
        run_workers(config)


def uvicorn_config(app: object, host: str, port: int, *, workers: int = 1) -> uvicorn.Config:
    """How uvicorn is run everywhere: tests and benchmarks start the same server."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # a string or an application; uvicorn's own alias for both is private
        factory=isinstance(app, str),
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        # Half the memory a connection, and no decompression bombs.
        ws_per_message_deflate=False,
        # Twice our own limit, so that a frame over it is answered with an error and not with a closed socket.
        ws_max_size=2 * FRAME_BYTES,
        # The widget pings, and silence is noticed by our own reaper: no timer a socket.
        ws_ping_interval=None,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Process:
    """One more instance, in a process of its own."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_instance, args=(settings, host, port), daemon=True)
        self._told = False
        self._process.start()

    def terminate(self) -> None:
        """The first time it drains, the second time it ends at once."""
        self._told = True
        self._process.terminate()

    def end(self) -> None:
        """Waits for its end, which it was told of or is told of now."""
        if not self._told:
            self.terminate()
        self._process.join(END_S)
        self._process.kill()
        self._process.join()


@contextmanager
def _process(settings: Settings, host: str, port: int) -> Iterator[_Process]:
    """One more instance, which ends with this one."""
    process = _Process(settings, host, port)
    try:
        yield process
    finally:
        process.end()


def _instance(settings: Settings, host: str, port: int) -> None:
    log.configure(settings.log_level, settings.log_format)
    Server(uvicorn_config(create_app(settings), host, port), follower=True).run()


async def _seed(settings: Settings, ports: range, base_url: str) -> None:
    origins = [f"http://{name}:{port}" for port in ports for name in ("localhost", "127.0.0.1")]
    pool = await open_pool(settings.database_url, max_size=1, application_name="frontdesk dev")
    try:
        async with reading(pool) as conn:
            keyring, vault = Keyring(settings.secret_keys), Vault(settings.secret_keys)
            await demo.seed(conn, keyring, vault, origins=origins, base_url=base_url)
    finally:
        await pool.close()


def _at_home(settings: Settings, host: str) -> Settings:
    """The demo shops' webhook and data are this server's own: loopback is allowed, and callbacks come back here."""
    return msgspec.structs.replace(
        settings,
        public_url=settings.public_url or _local_url(host, settings.port),
        allow_private_egress=(*settings.allow_private_egress, "127.0.0.0/8", "::1/128"),
    )


def _local_url(host: str, port: int) -> str:
    """Where this machine reaches itself: a host that stands for every address is none to call."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _say_where(ports: range) -> None:
    for port in ports:
        click.echo(f"Demo page   http://localhost:{port}/demo/")
    click.echo(f"API         http://localhost:{ports[0]}/docs")
    click.echo("Stop with Ctrl-C.")


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"port {port} on {host}: {error.strerror}; choose another with --port") from None


async def _preflight(settings: Settings) -> None:
    """Says in one line which dependency is missing and what to do, before anything serves."""
    try:
        pool = await open_pool(settings.database_url, max_size=1, application_name="frontdesk start")
        await pool.close()
    except Unavailable as error:
        raise SettingsError(f"{error.message}. Start it, or correct DATABASE_URL.") from error
    pending = [
        each.name for each in await asyncio.to_thread(migrations.status, settings.database_url) if not each.applied_at
    ]
    if pending:
        raise SettingsError(f"{len(pending)} migrations are missing; run `frontdesk migrate up`")
    redis = open_redis(settings.redis_url)
    try:
        await check_redis(redis)
    except Unavailable as error:
        raise SettingsError(f"{error.message}. Start it, or correct REDIS_URL.") from error
    finally:
        await redis.aclose()
