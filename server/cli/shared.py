"""What the commands share: one-line errors, the database they speak to, output for scripts."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from server import embedded, settings
from server.errors import FrontdeskError, SettingsError
from server.net.signing import Keyring
from server.repositories.pool import Conn, open_pool, reading

T = TypeVar("T")

DATA_DIR = Path(".frontdesk")

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="Where the embedded services keep their data, when DATABASE_URL is not set.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class Group(click.Group):
    """A group whose commands end our own errors in one line on standard error and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FrontdeskError as error:
            raise click.ClickException(error.message) from error


def secret_keys(data_dir: Path) -> tuple[str, ...]:
    """FRONTDESK_SECRET_KEYS, else a key kept in the data directory, made on first use."""
    given = settings.secret_keys(os.environ)
    if given:
        return given
    if os.environ.get("DATABASE_URL", "").strip():
        # A key of our own would store credentials that the server which uses this database refuses.
        raise SettingsError("not set: FRONTDESK_SECRET_KEYS; with DATABASE_URL it must be the one the server has")
    path = data_dir / "secret_key"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return (path.read_text().strip(),)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(settings.SECRET_KEY_LENGTH))
    return (path.read_text().strip(),)


@contextmanager
def database(data_dir: Path) -> Iterator[str]:
    """DATABASE_URL, or where there is none the embedded one, which is started if it does not run."""
    url = os.environ.get("DATABASE_URL", "").strip()
    if url:
        yield url
        return
    with embedded.services(data_dir) as services:
        yield services.database_url


@contextmanager
def settings_of(data_dir: Path) -> Iterator[settings.Settings]:
    """Those of the environment; where it names no database, of the embedded services, which are started if they do not
    run. Raises SettingsError."""
    if os.environ.get("DATABASE_URL", "").strip():
        yield settings.load(os.environ)
        return
    given = {"secret_keys": secret_keys(data_dir)}
    # What is wrong in the environment is said before anything starts.
    settings.load(os.environ, **given, database_url="postgresql://", redis_url="redis://")
    with embedded.services(data_dir) as services:
        yield settings.load(os.environ, **given, database_url=services.database_url, redis_url=services.redis_url)


def with_connection(data_dir: Path, work: Callable[[Conn, Keyring], Awaitable[T]]) -> T:
    """Runs one piece of work on a connection."""

    async def run(url: str) -> T:
        pool = await open_pool(url, max_size=1, application_name="frontdesk cli")
        try:
            async with reading(pool) as conn:
                return await work(conn, Keyring(secret_keys(data_dir)))
        finally:
            await pool.close()

    with database(data_dir) as url:
        return asyncio.run(run(url))


def print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
