"""The same small shop in a real PostgreSQL and a real MariaDB, with a user who may only read and one who may write."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pymysql  # type: ignore[import-untyped]  # it has no types
import pytest
from psycopg import sql

from server.tools.connections.database import DatabaseConnection, DatabaseKind
from tests.mariadb import MariaDb
from tests.services import with_database

PASSWORD = "p'ä€ \\s%s"  # every character that a careless client breaks
_HBA_LOCK = 7_304_012

_TABLES = """
    create table products (
        id integer primary key, name varchar(100), price decimal(10, 2), weight double precision, added date,
        changed timestamp, stock bigint, sold boolean
    );
    create table margins (id integer primary key);
    create table numbers (n integer);
    insert into products values
        (1, 'Pizza Margherita', 8.50, 0.25, '2024-02-29', '2024-03-01 12:30:00', 12, false),
        (2, 'Pizza Pepperoni', 9.00, 0.5, '2024-03-01', '2024-03-01 12:30:01', 9007199254740993, true),
        (3, 'O''Brien "best" 100%', null, null, null, null, null, null);
"""


@dataclass(frozen=True)
class Shop:
    """A database to look things up in, behind `target`: a Unix socket's path or a port of this machine."""

    kind: DatabaseKind
    target: Path | int
    database: str
    reader: str
    writer: str
    execute: Callable[[str], list[tuple[object, ...]]]
    """Runs a statement as the administrator."""

    def connection(self, port: int, *, user: str | None = None, password: str = PASSWORD) -> DatabaseConnection:
        return DatabaseConnection(
            host="db.test",
            port=port,
            database=self.database,
            user=user or self.reader,
            password=password,
            tls="off",
        )

    def names(self) -> list[object]:
        """What is in the shop: shows whether something was written."""
        return [row[0] for row in self.execute("select name from products order by id")]


@pytest.fixture(scope="session")
def postgres_shop(postgres_url: str, admin: psycopg.Connection) -> Iterator[Shop]:
    """In the run's PostgreSQL, where its users log in with SCRAM."""
    mark = uuid.uuid4().hex[:12]
    name, reader, writer = f"shop_{mark}", f"reader_{mark}", f"writer_{mark}"
    admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    for user in (reader, writer):
        admin.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(user), PASSWORD))
    _ask_for_passwords(postgres_url, admin, mark)
    with psycopg.connect(with_database(postgres_url, name), autocommit=True) as conn:

        def execute(statement: str) -> list[tuple[object, ...]]:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        execute(_TABLES)
        execute("insert into numbers select generate_series(1, 1000)")
        execute(f"grant select on products, numbers to {reader}; grant select, insert on products to {writer}")
        execute(
            "create function sell(int) returns int language plpgsql security definer as"
            " $$ begin delete from products; return 1; end $$"
        )
        yield Shop("postgres_database", _socket(postgres_url), name, reader, writer, execute)
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    for user in (reader, writer):
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(user)))


def _socket(url: str) -> Path:
    query = parse_qs(urlsplit(url).query)
    return Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}"


def _ask_for_passwords(url: str, admin: psycopg.Connection, mark: str) -> None:
    """Everybody is trusted in the run's server; our users are put before that rule."""
    admin.execute("select pg_advisory_lock(%s)", [_HBA_LOCK])
    try:
        row = admin.execute("select current_setting('hba_file'), clock_timestamp()").fetchone()
        assert row is not None
        rules = Path(str(row[0]))
        rules.write_text(f"local all reader_{mark},writer_{mark} scram-sha-256\n{rules.read_text()}")
        admin.execute("select pg_reload_conf()")
        loaded = False
        while not loaded:  # the server reads it in its own time, and new connections show when
            with psycopg.connect(url) as fresh:
                answer = fresh.execute("select pg_conf_load_time() >= %s", [row[1]]).fetchone()
                loaded = bool(answer and answer[0])
    finally:
        admin.execute("select pg_advisory_unlock(%s)", [_HBA_LOCK])


@pytest.fixture(scope="session")
def mariadb_shop(mariadb: MariaDb) -> Iterator[Shop]:
    """In this worker's MariaDB."""
    with make_mysql_shop(mariadb) as shop:
        yield shop


@contextmanager
def make_mysql_shop(server: MariaDb) -> Iterator[Shop]:
    """A shop in any MariaDB that runs."""
    multiple = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with pymysql.connect(
        host="127.0.0.1", port=server.port, user="root", charset="utf8mb4", autocommit=True, client_flag=multiple
    ) as conn:

        def execute(statement: str) -> list[tuple[object, ...]]:
            with conn.cursor() as cursor:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
                while cursor.nextset():
                    continue
            return rows

        execute("create database shop character set utf8mb4 collate utf8mb4_unicode_ci; use shop")
        execute(_TABLES)
        ten = " union ".join(f"select {n} n" for n in range(10))
        execute(f"insert into numbers select 1 + a.n + 10 * b.n + 100 * c.n from ({ten}) a, ({ten}) b, ({ten}) c")
        password = conn.escape(PASSWORD)
        execute(f"create user reader identified by {password}; create user writer identified by {password}")
        execute("grant select on shop.products to reader; grant select on shop.numbers to reader")
        execute("grant select, insert on shop.products to writer")
        execute("create function sell(i int) returns int modifies sql data begin delete from products; return 1; end")
        execute("create procedure clear_out() begin commit; delete from products; end")
        execute("grant execute on shop.* to reader")
        yield Shop("mysql_database", server.port, "shop", "reader", "writer", execute)
