"""What server processes tell of themselves. System-wide: an instance serves all clients.

Whether one lives is told by its lock (`presence`); a row may be of one that was killed.
"""

from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn

# Seconds that the row of an instance which tells nothing any more is kept: long enough to see that it died.
KEPT_S = 3600


class InstanceRow(msgspec.Struct, frozen=True):
    """Times are the database's. `figures` are `turns.vitals.Figures`."""

    instance: str
    version: str
    started_at: datetime
    seen_at: datetime
    figures: dict[str, Any]


async def tell(conn: Conn, *, instance: str, version: str, running_s: float, figures: object) -> None:
    """System-wide. The instance's row as of now, and no more of those that went silent `KEPT_S` ago."""
    # Ages travel, not times: only the database's clock counts.
    await conn.execute(
        """
        with gone as (
            delete from instances
            where instance <> %(instance)s and seen_at < clock_timestamp() - make_interval(secs => %(kept_s)s)
        )
        insert into instances as i (instance, version, started_at, seen_at, figures)
        values (
            %(instance)s, %(version)s, clock_timestamp() - make_interval(secs => %(running_s)s), clock_timestamp(),
            %(figures)s
        )
        on conflict (instance) do update set seen_at = excluded.seen_at, figures = excluded.figures
        """,
        {
            "instance": instance,
            "version": version,
            "running_s": running_s,
            "figures": Jsonb(figures, dumps=msgspec.json.encode),
            "kept_s": KEPT_S,
        },
    )


async def forget(conn: Conn, *, instance: str) -> None:
    """System-wide. For an instance that ends."""
    # It tells nothing any more.
    await conn.execute("delete from instances where instance = %(instance)s", {"instance": instance})


async def list_all(conn: Conn) -> list[InstanceRow]:
    """System-wide: oldest first."""
    async with conn.cursor(row_factory=class_row(InstanceRow)) as cursor:
        # A handful of rows.
        await cursor.execute(
            "select instance, version, started_at, seen_at, figures from instances order by started_at, instance"
        )
        return await cursor.fetchall()
