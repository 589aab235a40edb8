"""The database server itself. No client's: system-wide."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class DatabaseHealth(msgspec.Struct, frozen=True):
    """`version_num` is as PostgreSQL counts, 180001 for 18.1. `connections` are to this database, `at` is its clock."""

    version: str
    version_num: int
    connections: int
    max_connections: int
    size_bytes: int
    at: datetime


async def applied(conn: Conn) -> frozenset[str]:
    """System-wide: the names of the migrations that the schema has."""
    # yoyo's own list, without yoyo.
    cursor = await conn.execute("select migration_id from _yoyo_migration")
    return frozenset(name for (name,) in await cursor.fetchall())


async def health(conn: Conn) -> DatabaseHealth:
    """System-wide: how the server is. One round trip."""
    async with conn.cursor(row_factory=class_row(DatabaseHealth)) as cursor:
        # The size is asked of the file system, a look at each table's files.
        await cursor.execute(
            """
            select current_setting('server_version') as version,
                   current_setting('server_version_num')::integer as version_num,
                   (select count(*) from pg_stat_activity where datname = current_database()) as connections,
                   current_setting('max_connections')::integer as max_connections,
                   pg_database_size(current_database()) as size_bytes,
                   clock_timestamp() as at
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return row
