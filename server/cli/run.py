"""`frontdesk dev` and `frontdesk serve`."""

import asyncio
import os
import socket
from pathlib import Path

import click
import msgspec
import uvicorn

from server import embedded, log
from server.app import create_app
from server.cli.instances import run_instances
from server.cli.migrate import upgrade
from server.cli.process import Server, run_workers
from server.cli.shared import data_dir_option, secret_keys
from server.embedded import demo
from server.errors import Forbidden, SettingsError, Unavailable
from server.net.signing import Keyring
from server.net.vault import Vault
from server.protocol.limits import FRAME_BYTES
from server.repositories import migrations
from server.repositories.pool import open_pool, reading
from server.services import check_redis, open_redis
from server.settings import Settings, load
from server.staff import Staff
from server.staff.accounts import Accounts
from server.staff.staff import LINK_S
from server.web.site import own_site
from server.ws.drain import RESERVE_S
from server.ws.transport import Http, WebSocket

# Seconds that open requests get after the drain before they are cut, within what the drain leaves of its time.
GRACE_S = int(RESERVE_S) - 2
# Who runs an installation of `frontdesk dev`. `operator reset-password` gives them a password that somebody knows.
OWNER = "owner@localhost"


@click.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--instances",
    default=1,
    show_default=True,
    type=click.IntRange(1, 8),
    help="Server processes behind a balancer on --port.",
)
@data_dir_option
def dev(port: int, host: str, instances: int, data_dir: Path) -> None:
    """Run everything here: embedded Postgres and Redis, migrations, two demo shops, the server."""
    _check_free(host, port)
    given = {"secret_keys": secret_keys(data_dir), "port": port, "demo": True}
    # What is wrong in the environment is said before anything starts.
    load(os.environ, **given, database_url="postgresql://", redis_url="redis://")
    with embedded.services(data_dir) as services:
        settings = load(os.environ, **given, database_url=services.database_url, redis_url=services.redis_url)
        settings = _at_home(settings, host)
        log.configure(settings.log_level, settings.log_format)
        upgrade(settings.database_url)
        secret = asyncio.run(_seed(settings, port, _local_url(host, port)))

        def ready() -> None:
            _say_where(settings, port, secret, instances)

        if instances == 1:
            Server(uvicorn_config(create_app(settings), host, port), ready=ready).run()
        else:
            run_instances(settings, host, port, count=instances, serve=_serve_on, ready=ready)


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
        # httptools and websockets' sans-I/O protocol, with our bounds.
        http=Http,
        ws=WebSocket,
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


def _serve_on(settings: Settings, listening: socket.socket) -> None:
    """One of several instances."""
    log.configure(settings.log_level, settings.log_format)
    host, port = listening.getsockname()
    Server(uvicorn_config(create_app(settings), host, port), follower=True).run([listening])


async def _seed(settings: Settings, port: int, base_url: str) -> str:
    """The demo data and an owner; the secret of a link that signs the owner in."""
    origins = [f"http://{name}:{port}" for name in ("localhost", "127.0.0.1")]
    pool = await open_pool(settings.database_url, max_size=1, application_name="frontdesk dev")
    try:
        keyring, vault = Keyring(settings.secret_keys), Vault(settings.secret_keys)
        async with reading(pool) as conn:
            await demo.seed(conn, keyring, vault, origins=origins, base_url=base_url)
        accounts = Accounts(pool, keyring)
        await accounts.ensure_owner(OWNER)
        owner = next(each for each in await accounts.list_all() if each.role == "owner" and each.status == "active")
        return await Staff(pool, keyring).login_link(owner.id)
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


def _say_where(settings: Settings, port: int, secret: str, instances: int) -> None:
    local = f"http://localhost:{port}"
    click.echo(f"Demo page   {local}/demo/")
    try:
        console = f"{own_site(settings.public_url, f'localhost:{port}').origin}/admin/"
    except Forbidden as error:
        click.echo(f"Console     not here: {error.message}")
    else:
        click.echo(f"Console     {console}")
        click.echo(f"  sign in   {console}link#{secret}   (once, within {LINK_S / 60:.0f} minutes)")
    click.echo(f"API         {local}/docs")
    if instances > 1:
        click.echo(f"{instances} instances share the port, one connection after the other.")
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
