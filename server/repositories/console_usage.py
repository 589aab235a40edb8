"""What the console itself used of a client's models: the playground and test cases. No plan counts it."""

from datetime import date
from decimal import Decimal

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn


class ConsoleUse(msgspec.Struct, frozen=True):
    """One client's sum. `cost_estimate` is US dollars."""

    conversation_count: int
    message_count: int
    tokens_input: int
    tokens_output: int
    tool_calls_count: int
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
    cost: Decimal = Decimal(0),
) -> None:
    """Adds to the day, in the transaction of what it counts, after all else."""
    # The first of the day makes the row, the others add to it.
    await conn.execute(
        """
        insert into console_usage as u (
            client_id, date, conversation_count, message_count, tokens_input, tokens_output, tool_calls_count,
            cost_estimate
        ) values (
            %(client_id)s, %(day)s, %(conversations)s, %(messages)s, %(tokens_input)s, %(tokens_output)s,
            %(tool_calls)s, %(cost)s
        )
        on conflict (client_id, date) do update set
            conversation_count = u.conversation_count + excluded.conversation_count,
            message_count = u.message_count + excluded.message_count,
            tokens_input = u.tokens_input + excluded.tokens_input,
            tokens_output = u.tokens_output + excluded.tokens_output,
            tool_calls_count = u.tool_calls_count + excluded.tool_calls_count,
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
            "cost": cost,
        },
    )


async def since(conn: Conn, *, client_id: int, start: date) -> ConsoleUse:
    """From `start` on, that day included; zeros for none."""
    async with conn.cursor(row_factory=class_row(ConsoleUse)) as cursor:
        # One client's days.
        await cursor.execute(
            """
            select coalesce(sum(conversation_count), 0)::bigint as conversation_count,
                   coalesce(sum(message_count), 0)::bigint as message_count,
                   coalesce(sum(tokens_input), 0)::bigint as tokens_input,
                   coalesce(sum(tokens_output), 0)::bigint as tokens_output,
                   coalesce(sum(tool_calls_count), 0)::bigint as tool_calls_count,
                   coalesce(sum(cost_estimate), 0) as cost_estimate
            from console_usage
            where client_id = %(client_id)s and date >= %(start)s
            """,
            {"client_id": client_id, "start": start},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row
