"""Turns: what answers a visitor, from the question to the end. Who is entitled to write one: `turn_leases`."""

from datetime import datetime
from decimal import Decimal

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


class Paid(msgspec.Struct, frozen=True):
    """What a turn's calls of models used together, by the `model` that it asked last. `cost` in US dollars."""

    model: str
    tokens_input: int
    tokens_output: int
    cost: Decimal


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
    """The turn that a visitor's message caused; the newest, where a person gave the conversation back to the AI."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # A message causes one turn at a time.
        await cursor.execute(
            """
            select t.id, t.public_id, t.conversation_id, t.client_id, t.message_id, t.answer_id, t.status, t.gen,
                   t.owner, t.lease_until, t.attempts, t.deadline, t.error
            from turns t join messages m on m.client_id = t.client_id and m.id = t.message_id
            where t.client_id = %(client_id)s and t.conversation_id = %(conversation_id)s
              and m.public_id = %(message_public_id)s
            order by t.id desc
            limit 1
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


class Waiting(msgspec.Struct, frozen=True):
    """Whether a turn of a conversation waits to be begun."""

    waits: bool


async def waiting(conn: Conn, *, client_id: int, conversation_id: int) -> AsyncCursor[Waiting]:
    """Whether a turn of the conversation waits to be begun. Asked for and not awaited: fetch it after the commit.

    Whoever holds the conversation's row is told what stays true until then: turns are made under its lock.
    """
    cursor = conn.cursor(row_factory=class_row(Waiting))
    # Turns that wait are few, and have an index of their own.
    await cursor.execute(
        """
        select exists (
            select from turns
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and status = 'queued'
        ) as waits
        """,
        {"client_id": client_id, "conversation_id": conversation_id},
    )
    return cursor


async def finish(
    conn: Conn,
    *,
    client_id: int,
    turn_id: int,
    gen: int,
    status: str,
    error: str | None = None,
    paid: Paid | None = None,
) -> None:
    """`done` or `failed`. Changes nothing when the gen is not this one or the turn does not run; see `fence`."""
    # The owner stays on the row, for whoever reads the log.
    await conn.execute(
        """
        update turns
        set status = %(status)s, error = %(error)s, lease_until = null, finished_at = now(), model = %(model)s,
            tokens_input = %(tokens_input)s, tokens_output = %(tokens_output)s, cost = %(cost)s
        where client_id = %(client_id)s and id = %(turn_id)s and gen = %(gen)s and status = 'running'
        """,
        {"client_id": client_id, "turn_id": turn_id, "gen": gen, "status": status, "error": error, **columns_of(paid)},
    )


def columns_of(paid: Paid | None) -> dict[str, str | int | Decimal | None]:
    """As parameters of the statement that ends a turn."""
    return {name: getattr(paid, name, None) for name in Paid.__struct_fields__}


async def stop(
    conn: Conn, *, client_id: int, conversation_id: int, public_id: str, paid: Paid | None = None
) -> Turn | None:
    """Stops a queued or running turn and takes its owner's right to write. None when it had ended already."""
    async with conn.cursor(row_factory=class_row(Turn)) as cursor:
        # gen + 1: whoever writes it now changes nothing any more.
        await cursor.execute(
            """
            update turns
            set status = 'stopped', gen = gen + 1, lease_until = null, finished_at = now(), model = %(model)s,
                tokens_input = %(tokens_input)s, tokens_output = %(tokens_output)s, cost = %(cost)s
            where client_id = %(client_id)s and conversation_id = %(conversation_id)s and public_id = %(public_id)s
              and status in ('queued', 'running')
            returning id, public_id, conversation_id, client_id, message_id, answer_id, status, gen, owner,
                      lease_until, attempts, deadline, error
            """,
            {
                "client_id": client_id,
                "conversation_id": conversation_id,
                "public_id": public_id,
                **columns_of(paid),
            },
        )
        return await cursor.fetchone()
