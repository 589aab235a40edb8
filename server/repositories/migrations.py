"""The schema, up and down: yoyo's plain SQL files, each applied and recorded in one transaction.

Instances may start at once. An advisory lock of Postgres decides who migrates, because it dies with its holder;
yoyo's own lock is a row, which a killed process leaves behind for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from server import assets
from server.repositories import faults

if TYPE_CHECKING:
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend  # type: ignore[import-untyped]  # yoyo ships no types

# Any number that nobody else in this database uses: "fdmigrat" in ASCII.
_ADVISORY_LOCK = 0x66646D6967726174
# Seconds to reach the server.
_CONNECT_S = 5


class MigrationStatus(msgspec.Struct, frozen=True):
    """`applied_at` is None for a migration still to come."""

    name: str
    applied_at: datetime | None


def upgrade(database_url: str) -> list[str]:
    """Applies what is missing, oldest first. The names applied; Unavailable when Postgres is not there."""
    done: list[str] = []
    with _migrating(database_url) as (backend, migrations):
        for migration in backend.to_apply(migrations):
            with backend.transaction():
                migration.process_steps(backend, "apply")
                backend.mark_one(migration)
            done.append(migration.id)
    return done


def downgrade(database_url: str, *, all: bool = False) -> list[str]:
    """Rolls back the newest migration, or all of them. The names rolled back; what they held is lost."""
    done: list[str] = []
    with _migrating(database_url) as (backend, migrations):
        applied = list(backend.to_rollback(migrations))
        for migration in applied if all else applied[:1]:
            with backend.transaction():
                migration.process_steps(backend, "rollback")
                backend.unmark_one(migration)
            done.append(migration.id)
    return done


@cache
def names() -> frozenset[str]:
    """Every migration of this version, as its files are called."""
    files = assets.migrations_path().glob("*.sql")
    return frozenset(path.stem for path in files if not path.stem.endswith(".rollback"))


def status(database_url: str) -> list[MigrationStatus]:
    """Every migration of this version, oldest first. Writes nothing."""
    from yoyo import read_migrations  # type: ignore[import-untyped]  # yoyo ships no types

    names = [migration.id for migration in read_migrations(str(assets.migrations_path()))]
    with faults.translated(), _connect(database_url) as conn:
        # yoyo's table is not there before the first upgrade.
        known = conn.execute("select to_regclass('_yoyo_migration') is not null").fetchone()
        applied: dict[str, datetime] = {}
        if known is not None and known[0]:
            # When each migration was applied; yoyo stores UTC without saying so.
            rows = conn.execute("select migration_id, applied_at_utc from _yoyo_migration").fetchall()
            applied = {name: at.replace(tzinfo=UTC) for name, at in rows}
    return [MigrationStatus(name, applied.get(name)) for name in names]


def _connect(database_url: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(database_url, connect_timeout=_CONNECT_S, application_name="frontdesk-migrate")


@contextmanager
def _migrating(database_url: str) -> Iterator[tuple[PostgresqlPsycopgBackend, Any]]:
    """yoyo, connected, and alone."""
    # Importing yoyo takes 0.2 s, which a server that does not migrate need not pay.
    from yoyo import read_migrations
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
    from yoyo.connections import DatabaseURI  # type: ignore[import-untyped]  # yoyo ships no types
    from yoyo.migrations import default_migration_table  # type: ignore[import-untyped]  # yoyo ships no types

    # libpq understands more URLs than yoyo's parser does: sockets, several hosts, service files.
    options = {**conninfo_to_dict(database_url), "connect_timeout": _CONNECT_S, "application_name": "frontdesk-migrate"}
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, options.pop("dbname", None), options)
    with faults.translated(), _connect(database_url) as alone:
        # Waits for another instance's migration to end. Bound to this transaction, so that it works through a pooler.
        alone.execute("select pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
        with PostgresqlPsycopgBackend(uri, default_migration_table) as backend:
            backend.init_database()
            # We are alone, so a lock found here was left by a process that was killed.
            backend.break_lock()
            backend.ensure_internal_schema_updated()
            with backend.lock():
                yield backend, read_migrations(str(assets.migrations_path()))
