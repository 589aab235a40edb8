"""What the commands that set up tools and live data share."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import click

from server import settings
from server.cli.shared import database, secret_keys
from server.errors import TooLarge
from server.net.egress import Egress
from server.net.vault import Vault
from server.repositories.pool import open_pool
from server.tools.setup.base import Setup

T = TypeVar("T")

# Bytes of a file: sixteen times the largest schema.
MAX_FILE = 1024 * 1024

client_option = click.option("--client", "client_id", required=True, type=int, help="Which client, by its id.")


def with_setup(data_dir: Path, work: Callable[[Setup], Awaitable[T]]) -> T:
    """Runs one piece of work on the database, under the egress rules of the environment."""
    keys = secret_keys(data_dir)

    async def run(url: str) -> T:
        # What is wrong in the environment is said before anything is written. Redis is not needed here.
        given = settings.load(os.environ, database_url=url, redis_url="redis://", secret_keys=keys)
        egress = Egress(given.allow_private_egress)
        try:
            pool = await open_pool(url, max_size=2, application_name="frontdesk cli")
            try:
                return await work(Setup(pool, Vault(keys), egress))
            finally:
                await pool.close()
        finally:
            await egress.close()

    with database(data_dir) as url:
        return asyncio.run(run(url))


def contents(file: BinaryIO) -> bytes:
    """A file that a person wrote. Raises TooLarge."""
    raw = file.read(MAX_FILE + 1)
    if len(raw) > MAX_FILE:
        raise TooLarge(f"{getattr(file, 'name', 'the file')} is larger than {MAX_FILE // 1024} KB")
    return raw
