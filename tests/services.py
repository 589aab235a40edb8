"""Fixtures for the real PostgreSQL and Redis of a test run. They start with the first test that needs them.

One PostgreSQL serves all workers of a run: the first worker starts it and migrates the template, every test gets a copy
of that in about 20 ms. Each worker has a Redis of its own, because pub/sub does not know of Redis' numbered databases.
All of it lies in one temporary directory, which goes with the last worker, however it ends.
"""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from psycopg import sql

from server import embedded

TEMPLATE = "frontdesk_template"
_TEMPLATE_LOCK = 7_304_011  # any number: the advisory lock of the one worker that migrates


@pytest.fixture(scope="session")
def run_dir(testrun_uid: str) -> Path:
    """A directory that all workers of this run share; the embedded services make and delete it."""
    return Path(tempfile.gettempdir()) / f"frontdesk-{testrun_uid[:12]}"


@pytest.fixture(scope="session")
def postgres_url(run_dir: Path) -> Iterator[str]:
    """A superuser's URL of the run's PostgreSQL, for tests that make databases themselves."""
    with embedded.services(run_dir, durable=False) as services:
        yield services.database_url


@pytest.fixture(scope="session")
def admin(postgres_url: str) -> Iterator[psycopg.Connection]:
    """A connection that creates and drops databases."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template_database(postgres_url: str, admin: psycopg.Connection) -> str:
    """The name of a database with every migration applied and no rows but theirs, made once a run."""
    from server.repositories.migrations import upgrade

    admin.execute("select pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
    try:
        # It is closed to connections when it is whole, so a half-migrated one of a failed worker is made anew.
        made = admin.execute("select datallowconn from pg_database where datname = %s", [TEMPLATE]).fetchone()
        if made is None or made[0]:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(TEMPLATE)))
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
            upgrade(with_database(postgres_url, TEMPLATE))
            admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(TEMPLATE)))
    finally:
        admin.execute("select pg_advisory_unlock(%s)", [_TEMPLATE_LOCK])
    return TEMPLATE


@pytest.fixture
def database_url(postgres_url: str, admin: psycopg.Connection, template_database: str) -> Iterator[str]:
    """The URL of a fresh, migrated database, dropped after the test."""
    yield from _database(postgres_url, admin, template_database)


@pytest.fixture
def empty_database_url(postgres_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """The URL of a fresh database without any tables, dropped after the test."""
    yield from _database(postgres_url, admin, "template1")


def _database(postgres_url: str, admin: psycopg.Connection, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    # Copying files is the fast way here: nothing is synced, so its checkpoints cost nothing.
    admin.execute(
        sql.SQL("create database {} template {} strategy file_copy").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )
    yield with_database(postgres_url, name)
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def worker_redis_url(run_dir: Path, worker_id: str) -> Iterator[str]:
    """This worker's own Redis. Tests want `redis_url`, which is empty."""
    with embedded.redis_alone(run_dir.with_name(f"{run_dir.name}-{worker_id}"), durable=False) as url:
        yield url


@pytest.fixture
def redis_url(worker_redis_url: str) -> str:
    """The URL of an empty Redis that no other test uses meanwhile."""
    with redis.Redis.from_url(worker_redis_url) as connection:
        connection.flushall()
    return worker_redis_url
