"""Connections, and the unit of work.

A unit of work is one pooled connection, one transaction and one pipeline: statements travel together until
somebody needs an answer. BEGIN goes out with the first statements and the last ones with COMMIT, so that
"lock, look, write" is two round trips. It is written with plain BEGIN and COMMIT because psycopg's own
`transaction()` waits for an answer of each when a pipeline is open: four round trips.
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from server import errors
from server.repositories import faults

Conn: TypeAlias = AsyncConnection[Any]
Pool: TypeAlias = AsyncConnectionPool[Conn]

# Seconds to open a connection: a server that takes longer is down for a visitor who waits.
_CONNECT_S = 5
# Seconds to wait for a free connection: units of work last milliseconds, so a longer queue does not empty.
_CHECKOUT_S = 2.0
# Seconds a lost connection is tried again before the pool forgets it. The pool doubles its pauses, so that this
# also bounds the longest one; after it, the next caller starts anew.
_RECONNECT_S = 3.0
_SERVER_SETTINGS = (
    # Our statements take milliseconds; one of 10 s is stuck behind a lock or a missing index.
    "set statement_timeout = '10s'; "
    # A process that is frozen within a transaction must not keep its locks: whoever takes over what it ran needs them.
    "set idle_in_transaction_session_timeout = '5s'; "
    # The same where its pipeline is open: for Postgres that is not idle. Below a lease. From PostgreSQL 17 on.
    "select set_config(name, '10s', false) from pg_settings where name = 'transaction_timeout'"
)
# Notice a peer that vanished without a word: probed after 10 s of silence, dead 15 s later; what we sent unanswered
# counts in milliseconds.
_TCP: dict[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


async def open_pool(database_url: str, *, max_size: int, application_name: str) -> Pool:
    """An open pool of autocommit connections. Raises Unavailable, with the server's reason, when there is none."""
    options: dict[str, Any] = {
        "autocommit": True,
        "connect_timeout": _CONNECT_S,
        "application_name": application_name,
        **_TCP,
    }
    await _first_contact(database_url, options)

    async def check(conn: Conn) -> None:
        # An idle connection is readable only when the server closed it or told it something. Looking costs a
        # microsecond, asking a round trip. One lost means that the server went away: none of the others lives.
        if _readable(conn):
            try:
                await AsyncConnectionPool.check_connection(conn)
            except psycopg.OperationalError:
                await pool.drain()
                raise

    pool: Pool = AsyncConnectionPool(
        database_url,
        kwargs=options,
        min_size=min(2, max_size),
        max_size=max_size,
        timeout=_CHECKOUT_S,
        reconnect_timeout=_RECONNECT_S,
        configure=_configure,
        check=check,
        open=False,
        name=application_name,
    )
    with faults.translated():
        await pool.open(wait=True, timeout=_CONNECT_S)
    return pool


async def _first_contact(database_url: str, options: dict[str, Any]) -> None:
    """The pool retries in silence until its timeout; at the start a person wants to know why."""
    try:
        async with await AsyncConnection.connect(database_url, **options):
            pass
    except psycopg.OperationalError as error:
        raise errors.Unavailable("postgres", f"PostgreSQL cannot be reached: {' '.join(str(error).split())}") from error


async def _configure(conn: Conn) -> None:
    set_json_loads(msgspec.json.decode, conn)
    await conn.execute(_SERVER_SETTINGS)


def _readable(conn: Conn) -> bool:
    if conn.closed:
        return True
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@asynccontextmanager
async def unit_of_work(pool: Pool) -> AsyncIterator[Conn]:
    """One transaction: commits when the block ends, rolls back when it raises.

    A statement that nobody fetched reports its error here, at the end. After `Unavailable` the commit may
    or may not have happened: only a write that is safe to repeat may be repeated.
    """
    with faults.translated():
        # On an exception the connection's own exit rolls back.
        async with pool.connection() as conn:
            async with conn.pipeline():
                await conn.execute("begin")
                yield conn
                commit = await conn.execute("commit")
            # Postgres answers the COMMIT of a failed transaction with a ROLLBACK, without an error.
            if commit.statusmessage != "COMMIT":
                raise RuntimeError("a statement's error was swallowed within a unit of work: nothing was committed")


@asynccontextmanager
async def reading(pool: Pool) -> AsyncIterator[Conn]:
    """A connection without a transaction, for single statements; each sees what is committed when it runs."""
    with faults.translated():
        async with pool.connection() as conn:
            yield conn


async def check(pool: Pool) -> None:
    """Readiness: one round trip. Raises Unavailable."""
    async with reading(pool) as conn:
        # Nothing but an answer.
        await conn.execute("select 1")
