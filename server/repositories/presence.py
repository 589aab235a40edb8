"""Which instances live: each holds an advisory lock, which Postgres lets go of when its connection ends.

The lock is a sign of life and no right to anything: that is the lease's. It is a shared lock, so that two instances
whose ids have the same key, or an instance's new connection beside its old one, never wait for each other.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from psycopg import AsyncConnection

from server.repositories import faults
from server.repositories.pool import Conn, Pool

# The first half of every instance's lock: tells them from other advisory locks of this database.
SPACE = 7_304_012
# Seconds between two questions whether a silent connection still is one.
_ASK_S = 5.0


class Look(msgspec.Struct, frozen=True):
    """One look at everybody: the keys of the instances that live, and the owners of turns that run."""

    living: frozenset[int]
    owners: list[str]


def key(instance: str) -> int:
    """The second half of an instance's lock, 32 bits, as `pg_locks` shows it: without a sign."""
    return int.from_bytes(hashlib.blake2s(instance.encode(), digest_size=4).digest(), "big")


@asynccontextmanager
async def held(pool: Pool, *, instance: str) -> AsyncIterator[Conn]:
    """A connection beside the pool's that holds the instance's lock until the block ends. Raises Unavailable."""
    if not isinstance(pool.kwargs, dict) or not isinstance(pool.conninfo, str):
        raise TypeError("a pool of ours is opened with plain options")
    with faults.translated():
        async with await AsyncConnection.connect(pool.conninfo, **pool.kwargs) as conn:
            signed = int.from_bytes(key(instance).to_bytes(4, "big"), "big", signed=True)
            # Granted at once: nobody asks for it alone.
            await conn.execute(
                "select pg_advisory_lock_shared(%(space)s::int, %(key)s::int)", {"space": SPACE, "key": signed}
            )
            yield conn


async def watch(conn: Conn) -> None:
    """Never returns: raises Unavailable once the connection is lost, and the lock with it."""
    with faults.translated():
        while True:
            # Nobody notifies it; an end of the connection wakes it up.
            async for _ in conn.notifies(timeout=_ASK_S):
                pass
            # Nothing but an answer.
            await conn.execute("select 1")


async def look(conn: Conn) -> Look:
    """System-wide: who lives, and whose turns run."""
    # A few rows of locks; the owners come from an index over running turns alone.
    cursor = await conn.execute(
        """
        select l.objid::bigint, null::text from pg_locks l
        where l.locktype = 'advisory' and l.granted and l.classid = %(space)s::int::oid and l.objsubid = 2
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
        union all
        select null, o.owner from (select distinct t.owner from turns t where t.status = 'running') o
        """,
        {"space": SPACE},
    )
    rows: list[tuple[int | None, str | None]] = await cursor.fetchall()
    return Look(
        living=frozenset(lock for lock, _ in rows if lock is not None),
        owners=[owner for _, owner in rows if owner is not None],
    )
