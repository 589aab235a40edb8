"""Leases of turns: who is entitled to write an answer, by owner, lease and gen.

They run by the database's clock as it is when the statement runs (`clock_timestamp()`), not as it was when the
transaction began: a process that slept in between must not pass for alive.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn
from server.repositories.turns import Turn


class Orphan(msgspec.Struct, frozen=True):
    """A turn that nobody runs, as it was found. `lease_until` is None when it is queued."""

    id: int
    client_id: int
    conversation_id: int
    gen: int
    lease_until: datetime | None


async def claim_next(
    conn: Conn, *, client_id: int, conversation_id: int, owner: str, lease_s: float, deadline_s: float
) -> Turn | None:
    """The oldest queued turn, now running and ours; None when there is none or one is running.

    Two instances that claim at the same instant: one gets it, the other None, or in the narrowest case
    `faults.TurnRunning` at the end of its unit of work. Take it for None.
    """
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # The outer condition is checked again on the row as it is once the lock is ours.
        await cursor.execute(
            """
            update turns
            set status = 'running', owner = %(owner)s, attempts = attempts + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
                deadline = clock_timestamp() + make_interval(secs => %(deadline_s)s)
            where client_id = %(client_id)s and status = 'queued' and id = (
                select t.id from turns t
                where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
                  and t.status in ('queued', 'running')
                order by (t.status = 'running') desc, t.id
                limit 1
                for update
            )
            returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                      lease_until, attempts, deadline, error
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "owner": owner,
                "lease_s": lease_s,
                "deadline_s": deadline_s,
            },
        )
        return await cursor.fetchone()


async def orphans(
    conn: Conn, *, dead: list[str], spared: list[str], held: list[int], lease_s: float, limit: int
) -> list[Orphan]:
    """System-wide sweep: turns whose owner died, and queued ones that nobody took for 2 s. Nothing is claimed yet.

    An owner died when its lease ran out, or when it is one of `dead`; a turn of theirs that was claimed or extended
    within the last second is left for the next sweep. Of owners in `spared` none is given, nor one of the ids in
    `held`. Never two turns of one conversation.
    """
    async with conn.cursor(row_factory=class_row(Orphan)) as cursor:
        # A queued turn waits for a running sibling, dead or alive, and for older queued ones: one a conversation.
        await cursor.execute(
            """
            (
                select id, client_id, conversation_id, gen, lease_until from turns
                where status = 'running'
                  and not (owner = any(%(spared)s::text[]))
                  and not (id = any(%(held)s::bigint[]))
                  and (
                    lease_until < clock_timestamp()
                    or (
                        owner = any(%(dead)s::text[])
                        and lease_until < clock_timestamp() + make_interval(secs => %(lease_s)s - 1)
                    )
                  )
                order by lease_until
                limit %(limit)s
            ) union all (
                select t.id, t.client_id, t.conversation_id, t.gen, null from turns t
                where t.status = 'queued' and t.created_at < now() - interval '2 seconds'
                  and not exists (
                      select from turns o
                      where o.conversation_id = t.conversation_id
                        and (o.status = 'running' or (o.status = 'queued' and o.id < t.id))
                  )
                order by t.created_at
                limit %(limit)s
            )
            limit %(limit)s
            """,
            {"dead": dead, "spared": spared, "held": held, "lease_s": lease_s, "limit": limit},
        )
        return await cursor.fetchall()


async def take_over(
    conn: Conn,
    *,
    client_id: int,
    turn_id: int,
    gen: int,
    lease_until: datetime,
    owner: str,
    lease_s: float,
    deadline_s: float,
    counted: bool = True,
) -> Turn | None:
    """A running turn of somebody who died, now ours, gen + 1; None when it is not as it was found any more.

    It is as found while nobody has extended it, taken it or ended it, and nobody is about to: a row that is held is
    not waited for. It gets a whole deadline of its own; `attempts` is what bounds the tries. One that is not `counted`
    follows an attempt that never began.
    """
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # Both conditions: the outer one is checked on the row as it is once the lock is ours.
        await cursor.execute(
            """
            update turns
            set gen = gen + 1, owner = %(owner)s, attempts = attempts + %(counted)s::int,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
                deadline = clock_timestamp() + make_interval(secs => %(deadline_s)s)
            where client_id = %(client_id)s and status = 'running' and gen = %(gen)s and lease_until = %(lease_until)s
              and id = (
                select t.id from turns t
                where t.client_id = %(client_id)s and t.id = %(turn_id)s and t.status = 'running'
                  and t.gen = %(gen)s and t.lease_until = %(lease_until)s
                for update skip locked
              )
            returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                      lease_until, attempts, deadline, error
            """,
            {
                "client_id": client_id,
                "turn_id": turn_id,
                "gen": gen,
                "lease_until": lease_until,
                "owner": owner,
                "lease_s": lease_s,
                "deadline_s": deadline_s,
                "counted": counted,
            },
        )
        return await cursor.fetchone()


async def extend(conn: Conn, *, owner: str, gens: Mapping[int, int], lease_s: float) -> list[int]:
    """System-wide: one instance's turns, of any client; `gens` by id. The ids still its own; stop the others at once.

    Still its own is a turn that nobody took, also when its lease ran out while the database was away.
    """
    # Whoever takes a turn raises its gen, so that of two who want the same row one finds nothing.
    cursor = await conn.execute(
        """
        update turns t set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
        from unnest(%(ids)s::bigint[], %(gens)s::int[]) as o (id, gen)
        where t.id = o.id and t.gen = o.gen and t.owner = %(owner)s and t.status = 'running'
        returning t.id
        """,
        {"owner": owner, "ids": list(gens), "gens": list(gens.values()), "lease_s": lease_s},
    )
    return [row[0] for row in await cursor.fetchall()]


async def ended_by(conn: Conn, *, owner: str, turn_ids: list[int]) -> list[int]:
    """System-wide: which of these turns this instance has ended itself."""
    # What `extend` did not find: an end of our own is no loss.
    cursor = await conn.execute(
        """
        select id from turns
        where id = any(%(turn_ids)s::bigint[]) and owner = %(owner)s and status in ('done', 'failed')
        """,
        {"owner": owner, "turn_ids": turn_ids},
    )
    return [row[0] for row in await cursor.fetchall()]


async def fence(conn: Conn, *, client_id: int, turn_id: int, gen: int, owner: str) -> bool:
    """Whether this owner may still write this gen. Until the transaction ends nobody can take the turn over."""
    # Held until the commit, so that the answer stays true.
    cursor = await conn.execute(
        """
        select id from turns
        where client_id = %(client_id)s and id = %(turn_id)s and gen = %(gen)s and owner = %(owner)s
          and status = 'running' and lease_until > clock_timestamp()
        for update
        """,
        {"client_id": client_id, "turn_id": turn_id, "gen": gen, "owner": owner},
    )
    return await cursor.fetchone() is not None


async def give_back(conn: Conn, *, client_id: int, turn_id: int, gen: int, owner: str) -> bool:
    """Hands one running turn back to the queue, gen + 1, to be begun again. False when it was not the owner's any more.

    The attempt does not count.
    """
    # Its lease may have run out: nobody took it all the same.
    cursor = await conn.execute(
        """
        update turns
        set status = 'queued', gen = gen + 1, owner = null, lease_until = null, deadline = null,
            attempts = greatest(attempts - 1, 0)
        where client_id = %(client_id)s and id = %(turn_id)s and gen = %(gen)s and owner = %(owner)s
          and status = 'running'
        returning id
        """,
        {"client_id": client_id, "turn_id": turn_id, "gen": gen, "owner": owner},
    )
    return await cursor.fetchone() is not None


async def release(conn: Conn, *, owner: str) -> list[Turn]:
    """System-wide: an instance that shuts down hands its running turns back to the queue, gen + 1.

    The attempt does not count: going away is nobody's failure.
    """
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # Whoever claims next finds them at once.
        await cursor.execute(
            """
            update turns
            set status = 'queued', gen = gen + 1, owner = null, lease_until = null, deadline = null,
                attempts = greatest(attempts - 1, 0)
            where owner = %(owner)s and status = 'running'
            returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                      lease_until, attempts, deadline, error
            """,
            {"owner": owner},
        )
        return await cursor.fetchall()
