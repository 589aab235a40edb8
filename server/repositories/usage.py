"""Usage: what a client is billed for, by day, for ever. Days are the caller's (UTC unless a plan says otherwise)."""

from datetime import date
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class UsageDay(msgspec.Struct, frozen=True):
    """One client's day. `cost_estimate` is US dollars."""

    date: date
    conversation_count: int
    message_count: int
    tokens_input: int
    tokens_output: int
    tool_calls_count: int
    cached_answers: int
    cost_estimate: Decimal


class UsageTotal(msgspec.Struct, frozen=True):
    """One client's sum over a period. `cost_estimate` is US dollars."""

    client_id: int
    conversation_count: int
    message_count: int
    tokens_input: int
    tokens_output: int
    tool_calls_count: int
    cached_answers: int
    cost_estimate: Decimal


class UsageRow(msgspec.Struct, frozen=True):
    """One client's day, with the client's name. `cost_estimate` is US dollars."""

    date: date
    client_id: int
    client_name: str
    conversation_count: int
    message_count: int
    tokens_input: int
    tokens_output: int
    tool_calls_count: int
    cached_answers: int
    cost_estimate: Decimal


async def record(
    conn: Conn,
    *,
    client_id: int,
    day: date,
    conversations: int = 0,
    messages: int = 0,
    tokens_input: int = 0,
    tokens_output: int = 0,
    tool_calls: int = 0,
    cached_answers: int = 0,
    cost: Decimal = Decimal(0),
) -> None:
    """Adds to the day, in the transaction of what it counts. All else first: the day's row is every writer's."""
    # The first of the day makes the row, the others add to it.
    await conn.execute(
        """
        insert into api_usage as u (
            client_id, date, conversation_count, message_count, tokens_input, tokens_output, tool_calls_count,
            cached_answers, cost_estimate
        ) values (
            %(client_id)s, %(day)s, %(conversations)s, %(messages)s, %(tokens_input)s, %(tokens_output)s,
            %(tool_calls)s, %(cached_answers)s, %(cost)s
        )
        on conflict (client_id, date) do update set
            conversation_count = u.conversation_count + excluded.conversation_count,
            message_count = u.message_count + excluded.message_count,
            tokens_input = u.tokens_input + excluded.tokens_input,
            tokens_output = u.tokens_output + excluded.tokens_output,
            tool_calls_count = u.tool_calls_count + excluded.tool_calls_count,
            cached_answers = u.cached_answers + excluded.cached_answers,
            cost_estimate = u.cost_estimate + excluded.cost_estimate
        """,
        {
            "client_id": client_id,
            "day": day,
            "conversations": conversations,
            "messages": messages,
            "tokens_input": tokens_input,
            "tokens_output": tokens_output,
            "tool_calls": tool_calls,
            "cached_answers": cached_answers,
            "cost": cost,
        },
    )


async def period(conn: Conn, *, client_id: int, start: date, end: date) -> list[UsageDay]:
    """Days with any use from `start` to `end`, both included, in order."""
    async with conn.cursor(row_factory=class_row(UsageDay)) as cursor:
        # One client's days.
        await cursor.execute(
            """
            select date, conversation_count, message_count, tokens_input, tokens_output, tool_calls_count,
                   cached_answers, cost_estimate
            from api_usage
            where client_id = %(client_id)s and date between %(start)s and %(end)s
            order by date
            """,
            {"client_id": client_id, "start": start, "end": end},
        )
        return await cursor.fetchall()


async def current_period(conn: Conn, *, client_id: int, today: date) -> UsageTotal:
    """The sum of `today`'s month so far."""
    return await total(conn, client_id=client_id, start=today.replace(day=1), end=today)


async def total(conn: Conn, *, client_id: int, start: date, end: date) -> UsageTotal:
    """The sum from `start` to `end`, both included."""
    async with conn.cursor(row_factory=class_row(UsageTotal)) as cursor:
        # A period without use is a row of zeros.
        await cursor.execute(
            """
            select %(client_id)s::bigint as client_id,
                   coalesce(sum(conversation_count), 0)::bigint as conversation_count,
                   coalesce(sum(message_count), 0)::bigint as message_count,
                   coalesce(sum(tokens_input), 0)::bigint as tokens_input,
                   coalesce(sum(tokens_output), 0)::bigint as tokens_output,
                   coalesce(sum(tool_calls_count), 0)::bigint as tool_calls_count,
                   coalesce(sum(cached_answers), 0)::bigint as cached_answers,
                   coalesce(sum(cost_estimate), 0) as cost_estimate
            from api_usage
            where client_id = %(client_id)s and date between %(start)s and %(end)s
            """,
            {"client_id": client_id, "start": start, "end": end},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def cost_between(conn: Conn, *, client_id: int, start: date, end: date) -> Decimal:
    """US dollars from `start` to `end`, both included."""
    # What the answers cost.
    cursor = await conn.execute(
        """
        select coalesce(sum(cost_estimate), 0) from api_usage
        where client_id = %(client_id)s and date between %(start)s and %(end)s
        """,
        {"client_id": client_id, "start": start, "end": end},
    )
    row = await cursor.fetchone()
    return Decimal(row[0]) if row else Decimal(0)


async def messages_since(conn: Conn, *, client_id: int, start: date) -> int:
    """Messages from `start` on, that day included."""
    # What a plan's limit counts.
    cursor = await conn.execute(
        """
        select coalesce(sum(message_count), 0)::bigint from api_usage
        where client_id = %(client_id)s and date >= %(start)s
        """,
        {"client_id": client_id, "start": start},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def over_limit(conn: Conn, *, client_id: int, today: date) -> bool:
    """Whether `today`'s month has used up the plan's messages. Never, for a plan without a limit."""
    # The month against the plan.
    cursor = await conn.execute(
        """
        select coalesce((
            select sum(u.message_count) from api_usage u
            where u.client_id = %(client_id)s and u.date between %(start)s and %(today)s
        ), 0) >= p.monthly_messages
        from clients c join plans p on p.name = c.plan_type
        where c.id = %(client_id)s
        """,
        {"client_id": client_id, "start": today.replace(day=1), "today": today},
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def period_of_all(conn: Conn, *, start: date, end: date) -> list[UsageDay]:
    """System-wide: the same over all clients."""
    async with conn.cursor(row_factory=class_row(UsageDay)) as cursor:
        # Along api_usage_date_idx.
        await cursor.execute(
            """
            select date,
                   sum(conversation_count)::bigint as conversation_count,
                   sum(message_count)::bigint as message_count,
                   sum(tokens_input)::bigint as tokens_input,
                   sum(tokens_output)::bigint as tokens_output,
                   sum(tool_calls_count)::bigint as tool_calls_count,
                   sum(cached_answers)::bigint as cached_answers,
                   sum(cost_estimate) as cost_estimate
            from api_usage
            where date between %(start)s and %(end)s
            group by date
            order by date
            """,
            {"start": start, "end": end},
        )
        return await cursor.fetchall()


async def rows(conn: Conn, *, client_id: int | None, start: date, end: date) -> list[UsageRow]:
    """Each client's days from `start` to `end`, both included, by day and client. System-wide where none is named."""
    async with conn.cursor(row_factory=class_row(UsageRow)) as cursor:
        # For an export, some days at a time.
        await cursor.execute(
            """
            select u.date, u.client_id, c.name as client_name, u.conversation_count, u.message_count, u.tokens_input,
                   u.tokens_output, u.tool_calls_count, u.cached_answers, u.cost_estimate
            from api_usage u join clients c on c.id = u.client_id
            where u.date between %(start)s and %(end)s
              and (%(client_id)s::bigint is null or u.client_id = %(client_id)s)
            order by u.date, u.client_id
            """,
            {"client_id": client_id, "start": start, "end": end},
        )
        return await cursor.fetchall()


async def clients(conn: Conn, *, start: date, end: date) -> list[UsageTotal]:
    """System-wide: each client that used anything from `start` to `end`, both included, the dearest first."""
    async with conn.cursor(row_factory=class_row(UsageTotal)) as cursor:
        # The owner's bill.
        await cursor.execute(
            """
            select client_id,
                   sum(conversation_count)::bigint as conversation_count,
                   sum(message_count)::bigint as message_count,
                   sum(tokens_input)::bigint as tokens_input,
                   sum(tokens_output)::bigint as tokens_output,
                   sum(tool_calls_count)::bigint as tool_calls_count,
                   sum(cached_answers)::bigint as cached_answers,
                   sum(cost_estimate) as cost_estimate
            from api_usage
            where date between %(start)s and %(end)s
            group by client_id
            order by sum(cost_estimate) desc, client_id
            """,
            {"start": start, "end": end},
        )
        return await cursor.fetchall()
