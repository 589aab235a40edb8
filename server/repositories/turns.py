"""Turns and their steps: who is entitled to write an answer, by lease and gen.

Leases run by the database's clock as it is when the statement runs (`clock_timestamp()`), not as it was when the
transaction began: a process that slept in between must not pass for alive.
"""

from datetime import datetime

import msgspec
from psycopg import AsyncCursor
from psycopg.rows import class_row

from server.repositories.pool import Conn


class Turn(msgspec.Struct, frozen=True):
    """`owner` is the instance that runs it; `attempts` counts claims; `answer_id` names the answer to come."""

    id: int
    public_id: str
    conversation_id: int
    client_id: int
    message_id: int
    answer_id: str
    status: str
    gen: int
    owner: str | None
    lease_until: datetime | None
    attempts: int
    deadline: datetime | None
    error: str | None


async def create(
    conn: Conn,
    *,
    client_id: int,
    conversation_id: int,
    public_id: str,
    message_public_id: str,
    answer_id: str,
    owner: str | None,
    lease_s: float,
    deadline_s: float,
) -> AsyncCursor[Turn]:
    """Running when `owner` is given, else queued. The message may be one of the same transaction.

    The cursor is not fetched, so that more can go with the statement; its row may be read after the commit.
    Raises `faults.TurnRunning` at the end of the unit of work when another turn of the conversation runs.
    """
    cursor = conn.cursor(row_factory=class_row(Turn))
    # The message is looked up here, so that its id need not be fetched first; a wrong one violates the not-null.
    return await cursor.execute(
        """
        insert into turns (
            client_id, conversation_id, public_id, message_id, answer_id, status, owner, lease_until, attempts, deadline
        ) values (
            %(client_id)s, %(conversation_id)s, %(public_id)s,
            (
                select m.id from messages m
                where m.client_id = %(client_id)s and m.conversation_id = %(conversation_id)s
                  and m.public_id = %(message_public_id)s
            ),
            %(answer_id)s,
            case when %(owner)s::text is null then 'queued' else 'running' end,
            %(owner)s::text,
            case when %(owner)s::text is not null then clock_timestamp() + make_interval(secs => %(lease_s)s) end,
            case when %(owner)s::text is null then 0 else 1 end,
            case when %(owner)s::text is not null then clock_timestamp() + make_interval(secs => %(deadline_s)s) end
        )
        returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner, lease_until,
                  attempts, deadline, error
        """,
        {
            "client_id": client_id,
            "conversation_id": conversation_id,
            "public_id": public_id,
            "message_public_id": message_public_id,
            "answer_id": answer_id,
            "owner": owner,
            "lease_s": lease_s,
            "deadline_s": deadline_s,
        },
    )


async def find(conn: Conn, *, client_id: int, public_id: str) -> Turn | None:
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # One turn.
        await cursor.execute(
            """
            select id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner, lease_until,
                   attempts, deadline, error
            from turns
            where client_id = %(client_id)s and public_id = %(public_id)s
            """,
            {"client_id": client_id, "public_id": public_id},
        )
        return await cursor.fetchone()


async def find_by_message(conn: Conn, *, client_id: int, conversation_id: int, message_public_id: str) -> Turn | None:
    """The turn that a visitor's message caused."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # One at most: a message causes one turn.
        await cursor.execute(
            """
            select t.id, t.public_id, t.conversation_id, t.client_id, t.message_id, t.answer_id, t.status, t.gen,
                   t.owner, t.lease_until, t.attempts, t.deadline, t.error
            from turns t join messages m on m.client_id = t.client_id and m.id = t.message_id
            where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
              and m.public_id = %(message_public_id)s
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "message_public_id": message_public_id,
            },
        )
        return await cursor.fetchone()


async def running(conn: Conn, *, client_id: int, conversation_id: int) -> Turn | None:
    """The turn that answers at this moment."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # One at most, by turns_one_running.
        await cursor.execute(
            """
            select id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner, lease_until,
                   attempts, deadline, error
            from turns
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and status = 'running'
            """,
            {"client_id": client_id, "conversation_id": conversation_id},
        )
        return await cursor.fetchone()


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


async def claim_orphans(
    conn: Conn, *, owner: str, dead: list[str], lease_s: float, deadline_s: float, limit: int
) -> list[Turn]:
    """System-wide sweep: turns whose owner died, and queued ones that nobody took for 2 s. All ours now.

    gen is +1 where somebody else was entitled to write. Never two turns of one conversation. A takeover gets a
    whole deadline of its own; `attempts` is what bounds the tries. An owner died when its lease ran out, or when it is
    one of `dead`; a turn of theirs that was claimed or extended within the last second is left for the next sweep.
    """
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # A queued turn waits for a running sibling, dead or alive, and for older queued ones: one a conversation.
        await cursor.execute(
            """
            with expired as materialized (
                select id from turns
                where status = 'running' and (
                    lease_until < now()
                    or (
                        owner = any(%(dead)s::text[])
                        and lease_until < clock_timestamp() + make_interval(secs => %(lease_s)s - 1)
                    )
                )
                order by lease_until
                limit %(limit)s
                for update skip locked
            ), waiting as materialized (
                select t.id from turns t
                where t.status = 'queued' and t.created_at < now() - interval '2 seconds'
                  and not exists (
                      select from turns o
                      where o.conversation_id = t.conversation_id
                        and (o.status = 'running' or (o.status = 'queued' and o.id < t.id))
                  )
                order by t.created_at
                limit %(limit)s
                for update skip locked
            ), chosen as materialized (
                select id from (select id from expired union all select id from waiting) both_kinds
                order by id
                limit %(limit)s
            )
            update turns t
            set gen = t.gen + case when t.status = 'running' then 1 else 0 end,
                status = 'running', owner = %(owner)s, attempts = t.attempts + 1,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
                deadline = clock_timestamp() + make_interval(secs => %(deadline_s)s)
            from chosen
            where t.id = chosen.id
            returning t.id, t.public_id, t.conversation_id, t.client_id, t.message_id, t.answer_id, t.status, t.gen,
                      t.owner, t.lease_until, t.attempts, t.deadline, t.error
            """,
            {"owner": owner, "dead": dead, "lease_s": lease_s, "deadline_s": deadline_s, "limit": limit},
        )
        return await cursor.fetchall()


async def extend(conn: Conn, *, owner: str, turn_ids: list[int], lease_s: float) -> list[int]:
    """System-wide: one instance's turns, of any client. The ids that are still its own; stop the others at once."""
    # A lease that ran out stays out, even if nobody took the turn yet.
    cursor = await conn.execute(
        """
        update turns set lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
        where id = any(%(turn_ids)s::bigint[]) and owner = %(owner)s and status = 'running'
          and lease_until > clock_timestamp()
        returning id
        """,
        {"owner": owner, "turn_ids": turn_ids, "lease_s": lease_s},
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


async def finish(conn: Conn, *, client_id: int, turn_id: int, gen: int, status: str, error: str | None = None) -> None:
    """`done` or `failed`. Changes nothing when the gen is not this one or the turn does not run; see `fence`."""
    # The owner stays on the row, for whoever reads the log.
    await conn.execute(
        """
        update turns set status = %(status)s, error = %(error)s, lease_until = null, finished_at = now()
        where client_id = %(client_id)s and id = %(turn_id)s and gen = %(gen)s and status = 'running'
        """,
        {"client_id": client_id, "turn_id": turn_id, "gen": gen, "status": status, "error": error},
    )


async def stop(conn: Conn, *, client_id: int, conversation_id: int, public_id: str) -> Turn | None:
    """Stops a queued or running turn and takes its owner's right to write. None when it had ended already."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # gen + 1: whoever writes it now changes nothing any more.
        await cursor.execute(
            """
            update turns set status = 'stopped', gen = gen + 1, lease_until = null, finished_at = now()
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and public_id = %(public_id)s
              and status in ('queued', 'running')
            returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                      lease_until, attempts, deadline, error
            """,
            {"client_id": client_id, "conversation_id": conversation_id, "public_id": public_id},
        )
        return await cursor.fetchone()


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
