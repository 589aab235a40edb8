"""Turns that run or wait, of all clients. System-wide: for who runs the installation."""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn

# Seconds after which what every instance sweeps each second should have been swept: a turn past it is stuck.
LATE_S = 10.0
# Seconds past its deadline that a turn may spend waiting for a visitor's yes, or for Postgres.
OVERTIME_S = 300.0


class Load(msgspec.Struct, frozen=True):
    """Counts, and ages in seconds; None where there is no such turn."""

    running: int
    queued: int
    stuck: int
    oldest_running_s: float | None
    oldest_queued_s: float | None


class OpenTurn(msgspec.Struct, frozen=True):
    """`since_s` is its age; `why` says why it is stuck: `orphaned`, `overdue`, `unclaimed`. None: it is not."""

    public_id: str
    conversation_public_id: str
    client_id: int
    client_name: str
    status: str
    owner: str | None
    attempts: int
    created_at: datetime
    since_s: float
    why: str | None


async def now(conn: Conn) -> Load:
    """System-wide: how much there is to do at this moment."""
    async with conn.cursor(row_factory=class_row(Load)) as cursor:
        # Along the indexes of running and of queued turns, which hold these alone.
        await cursor.execute(
            """
            select count(*) filter (where t.status = 'running') as running,
                   count(*) filter (where t.status = 'queued') as queued,
                   count(*) filter (where t.late) as stuck,
                   max(t.age) filter (where t.status = 'running') as oldest_running_s,
                   max(t.age) filter (where t.status = 'queued') as oldest_queued_s
            from (
                select status, extract(epoch from clock_timestamp() - created_at)::float8 as age,
                       lease_until < clock_timestamp() - make_interval(secs => %(late_s)s)
                       or deadline < clock_timestamp() - make_interval(secs => %(overtime_s)s) as late
                from turns where status = 'running'
                union all
                select q.status, extract(epoch from clock_timestamp() - q.created_at)::float8,
                       q.created_at < clock_timestamp() - make_interval(secs => %(late_s)s)
                       and not exists (
                           select from turns o
                           where o.conversation_id = q.conversation_id
                             and (o.status = 'running' or (o.status = 'queued' and o.id < q.id))
                       )
                from turns q where q.status = 'queued'
            ) t
            """,
            {"late_s": LATE_S, "overtime_s": OVERTIME_S},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def oldest(conn: Conn, *, limit: int) -> list[OpenTurn]:
    """System-wide: stuck turns first, then by age."""
    async with conn.cursor(row_factory=class_row(OpenTurn)) as cursor:
        # The same two indexes; names are looked up for what is shown.
        await cursor.execute(
            """
            with open as materialized (
                select id, public_id, client_id, conversation_id, status, owner, attempts, created_at,
                       case when lease_until < clock_timestamp() - make_interval(secs => %(late_s)s) then 'orphaned'
                            when deadline < clock_timestamp() - make_interval(secs => %(overtime_s)s) then 'overdue'
                       end as why
                from turns where status = 'running'
                union all
                select q.id, q.public_id, q.client_id, q.conversation_id, q.status, q.owner, q.attempts, q.created_at,
                       case when q.created_at < clock_timestamp() - make_interval(secs => %(late_s)s)
                             and not exists (
                                 select from turns o
                                 where o.conversation_id = q.conversation_id
                                   and (o.status = 'running' or (o.status = 'queued' and o.id < q.id))
                             ) then 'unclaimed' end
                from turns q where q.status = 'queued'
            ), shown as (
                select id, public_id, client_id, conversation_id, status, owner, attempts, created_at, why from open
                order by why is null, created_at, id
                limit %(limit)s
            )
            select s.public_id, c.public_id as conversation_public_id, s.client_id, k.name as client_name, s.status,
                   s.owner, s.attempts, s.created_at,
                   extract(epoch from clock_timestamp() - s.created_at)::float8 as since_s, s.why
            from shown s
            join conversations c on c.client_id = s.client_id and c.id = s.conversation_id
            join clients k on k.id = s.client_id
            order by s.why is null, s.created_at, s.id
            """,
            {"late_s": LATE_S, "overtime_s": OVERTIME_S, "limit": limit},
        )
        return await cursor.fetchall()
