"""What a row is given: a seed, a size, and clusters."""

import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import psycopg

from server import embedded
from server.repositories.migrations import upgrade
from server.settings import LogLevel
from tests.chaos.cluster import Cluster, open_cluster
from tests.chaos.forks import ForkServer
from tests.services import with_database

Size = Literal["small", "full"]

_TEMPLATE = "chaos_template"

T = TypeVar("T")


class Services(msgspec.Struct, frozen=True):
    """The PostgreSQL that clusters share. `postgres_url` is a superuser's, `template` a migrated database of it without
    connections, `directory` a place for logs and for services of a cluster's own."""

    postgres_url: str
    template: str
    directory: Path


class World:
    """One row's run. What it decides by chance it takes from `rng`, so that a seed repeats it."""

    def __init__(self, seed: int, size: Size, services: Services, forks: ForkServer) -> None:
        self.seed = seed
        self.size = size
        self.rng = random.Random(seed)
        self.services = services
        self._forks = forks

    def rounds(self, full: T, small: T) -> T:
        """How much of something, by size."""
        return full if self.size == "full" else small

    def report(self, line: str) -> None:
        """Something a person who reads the run should see: to stderr, with the seed."""
        print(f"  [{self.seed}] {line}", file=sys.stderr, flush=True)

    def cluster(
        self,
        instances: int = 2,
        *,
        own_services: bool = False,
        log_level: LogLevel = "INFO",
        install: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[Cluster]:
        """Instances that listen, on an empty database, with a Redis of their own, `cluster.redis`, which may be
        stopped. With `own_services` so is the Postgres, which is durable then: `cluster.postgres`. `install`: see
        `cluster.Instance.start`, for every instance."""
        return open_cluster(
            self.services,
            self._forks,
            self.rng,
            instances,
            own_services=own_services,
            log_level=log_level,
            install=install,
        )


@contextmanager
def own_services() -> Iterator[Services]:
    """A PostgreSQL for one run of the rig, gone with it. Blocks for about 3 s."""
    with tempfile.TemporaryDirectory(prefix="frontdesk-chaos-") as place:
        directory = Path(place)
        directory.chmod(0o711)  # PostgreSQL may have to run as another user
        with embedded.services(directory / "services", durable=False) as services:
            make_template(services.database_url)
            yield Services(services.database_url, _TEMPLATE, directory)


def make_template(postgres_url: str) -> None:
    """A migrated database that others are copied from."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {_TEMPLATE}".encode())
    upgrade(with_database(postgres_url, _TEMPLATE))
