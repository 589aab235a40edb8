"""From which origins pages have loaded a client's widget: the console's answer to "is it on my site?"."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn

# Origins a client keeps that it does not allow. Anybody can send one, so the oldest go.
STRANGERS_KEPT = 20
# Seconds between two marks of the same origin, over all instances.
MARK_S = 60.0


class Sighting(msgspec.Struct, frozen=True):
    """`created_at` is the first time, `seen_at` the last, to the minute."""

    origin: str
    seen_at: datetime
    created_at: datetime


async def record(conn: Conn, *, seen: Sequence[tuple[int, str]]) -> None:
    """System-wide: clients by id and the origins that loaded their widgets, each pair once. A client gone is none."""
    # In order, so that two instances wait for each other and not in a circle.
    await conn.execute(
        """
        insert into script_sightings as s (client_id, origin)
        select given.client_id, given.origin
        from unnest(%(client_ids)s::bigint[], %(origins)s::text[]) as given (client_id, origin)
        join clients c on c.id = given.client_id
        order by given.client_id, given.origin
        on conflict (client_id, origin) do update set seen_at = now()
        where s.seen_at <= now() - make_interval(secs => %(mark_s)s)
        """,
        {"client_ids": [each for each, _ in seen], "origins": [each for _, each in seen], "mark_s": MARK_S},
    )


async def prune(conn: Conn, *, client_ids: Sequence[int]) -> int:
    """System-wide: of each of these clients, the origins it does not allow beyond the newest 20. How many went."""
    # Those that another instance removes at this moment are its.
    cursor = await conn.execute(
        """
        with ranked as (
            select s.id, row_number() over (partition by s.client_id order by s.seen_at desc, s.id desc) as place
            from script_sightings s join clients c on c.id = s.client_id
            where s.client_id = any(%(client_ids)s::bigint[]) and not s.origin = any(c.allowed_origins)
        ), old as (
            select s.id from script_sightings s
            where s.id in (select id from ranked where place > %(kept)s)
            for update skip locked
        ), gone as (
            delete from script_sightings s using old where s.id = old.id returning 1
        )
        select count(*) from gone
        """,
        {"client_ids": list(client_ids), "kept": STRANGERS_KEPT},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def list_for_client(conn: Conn, *, client_id: int) -> list[Sighting]:
    """The newest first; as many as the client allows, and 20 or so others."""
    async with conn.cursor(row_factory=class_row(Sighting)) as cursor:
        # One client's origins.
        await cursor.execute(
            """
            select origin, seen_at, created_at from script_sightings
            where client_id = %(client_id)s
            order by seen_at desc, id desc
            """,
            {"client_id": client_id},
        )
        return await cursor.fetchall()
