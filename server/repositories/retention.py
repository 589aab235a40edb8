"""What is kept for a time only. System-wide: the same for all clients, a batch at a time.

What was said goes, what was counted stays: a message's row with its tokens and cost, and `api_usage` for ever. Rows
that somebody holds are passed over, so that nobody waits for a batch, and two runs at once share the work.
"""

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from server.repositories.pool import Conn

# The words of a conversation: messages, events, what models decided, whispers, summaries, the console's raw calls.
MESSAGE_DAYS = 30
# Calls of tools, with what was sent and what came back.
TOOL_DAYS = 90
# What a finished run leaves in the audit log.
ACTION = "retention.run"


class Cutoffs(msgspec.Struct, frozen=True):
    """By the database's clock: what is older is not kept."""

    words: datetime
    tools: datetime


class Due(msgspec.Struct, frozen=True):
    """Rows past their time."""

    messages: int
    summaries: int
    events: int
    steps: int
    whispers: int
    model_traffic: int
    tool_calls: int


class Oldest(msgspec.Struct, frozen=True):
    """When the oldest was written; None where there is none. `at` is the database's time."""

    at: datetime
    content: datetime | None
    event: datetime | None
    tool_call: datetime | None


async def cutoffs(conn: Conn) -> Cutoffs:
    """Where the line is now."""
    async with conn.cursor(row_factory=class_row(Cutoffs)) as cursor:
        # The clock of the machine that runs this may be wrong.
        await cursor.execute(
            """
            select now() - make_interval(days => %(message_days)s) as words,
                   now() - make_interval(days => %(tool_days)s) as tools
            """,
            {"message_days": MESSAGE_DAYS, "tool_days": TOOL_DAYS},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def be_patient(conn: Conn) -> None:
    """For this transaction: counting a year's messages takes longer than a visitor would wait."""
    # Ends with the transaction.
    await conn.execute("set local statement_timeout = '10min'")


async def due(conn: Conn, *, words: datetime, tools: datetime) -> Due:
    """System-wide: how many rows a run would clear or delete."""
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        # Counted along the indexes by which a run finds them.
        await cursor.execute(
            """
            select
                (select count(*) from messages where content is not null and created_at < %(words)s) as messages,
                (
                    select count(*) from conversations c
                    join messages m on m.client_id = c.client_id and m.id = c.summary_through
                    where c.summary is not null and m.created_at < %(words)s
                ) as summaries,
                (select count(*) from events where created_at < %(words)s) as events,
                (select count(*) from turn_steps where result is not null and created_at < %(words)s) as steps,
                (select count(*) from whispers where created_at < %(words)s) as whispers,
                (select count(*) from model_traffic where created_at < %(words)s) as model_traffic,
                (select count(*) from tool_executions where timestamp < %(tools)s) as tool_calls
            """,
            {"words": words, "tools": tools},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def oldest(conn: Conn) -> Oldest:
    """System-wide: how far back what is kept goes."""
    async with conn.cursor(row_factory=class_row(Oldest)) as cursor:
        # The first entry of each index.
        await cursor.execute(
            """
            select clock_timestamp() as at,
                   (select min(created_at) from messages where content is not null) as content,
                   (select min(created_at) from events) as event,
                   (select min(timestamp) from tool_executions) as tool_call
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def clear_messages(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: takes the words out of the oldest messages; tokens, cost and rating stay. How many."""
    # Not `for update`: an answer that refers to a message must not wait.
    cursor = await conn.execute(
        """
        with due as (
            select id from messages
            where content is not null and created_at < %(before)s
            order by created_at
            limit %(limit)s
            for no key update skip locked
        ), cleared as (
            update messages m set content = null, parts = null, rating_comment = null
            from due where m.id = due.id
            returning m.id
        )
        select count(*) from cleared
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def clear_summaries(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: removes summaries whose newest message is older. How far they went stays. How many."""
    # Along the summaries, the oldest first.
    cursor = await conn.execute(
        """
        with due as (
            select c.id from conversations c
            join messages m on m.client_id = c.client_id and m.id = c.summary_through
            where c.summary is not null and m.created_at < %(before)s
            order by c.summary_through
            limit %(limit)s
            for no key update of c skip locked
        ), cleared as (
            update conversations c set summary = null
            from due where c.id = due.id
            returning c.id
        )
        select count(*) from cleared
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def delete_events(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: the oldest events. A reader who has not seen them gets a snapshot. How many."""
    # A conversation keeps its `last_seq`, so numbers are never given out again.
    cursor = await conn.execute(
        """
        with due as (
            select conversation_id, seq from events
            where created_at < %(before)s
            order by created_at
            limit %(limit)s
            for update skip locked
        ), gone as (
            delete from events e using due
            where e.conversation_id = due.conversation_id and e.seq = due.seq
            returning e.seq
        )
        select count(*) from gone
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def clear_steps(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: what models decided and tools gave, in the oldest steps; when and how they ended stays. How many."""
    # Steps are replayed for minutes after they were written, not for days.
    cursor = await conn.execute(
        """
        with due as (
            select id from turn_steps
            where result is not null and created_at < %(before)s
            order by created_at
            limit %(limit)s
            for no key update skip locked
        ), cleared as (
            update turn_steps s set result = null
            from due where s.id = due.id
            returning s.id
        )
        select count(*) from cleared
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def delete_whispers(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: the oldest whispers. How many."""
    # Words, and nothing that is counted.
    cursor = await conn.execute(
        """
        with due as (
            select id from whispers
            where created_at < %(before)s
            order by created_at
            limit %(limit)s
            for update skip locked
        ), gone as (
            delete from whispers w using due where w.id = due.id
            returning w.id
        )
        select count(*) from gone
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def delete_model_traffic(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: the oldest raw calls of models from the console. How many."""
    # Along model_traffic_created_at_idx.
    cursor = await conn.execute(
        """
        with due as (
            select id from model_traffic
            where created_at < %(before)s
            order by created_at
            limit %(limit)s
            for update skip locked
        ), gone as (
            delete from model_traffic t using due where t.id = due.id
            returning t.id
        )
        select count(*) from gone
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def delete_tool_calls(conn: Conn, *, before: datetime, limit: int) -> int:
    """System-wide: the oldest calls of tools; `api_usage` has counted them. How many."""
    # Along tool_executions_timestamp_idx.
    cursor = await conn.execute(
        """
        with due as (
            select id from tool_executions
            where timestamp < %(before)s
            order by timestamp
            limit %(limit)s
            for update skip locked
        ), gone as (
            delete from tool_executions e using due where e.id = due.id
            returning e.id
        )
        select count(*) from gone
        """,
        {"before": before, "limit": limit},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
