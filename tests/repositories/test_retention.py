"""What is past its time goes, a batch at a time; what is younger, counted or held stays."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import dict_row

from server.repositories import conversations, retention
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.retention import Due
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of
from tests.repositories.world import World, populate

Batch = Callable[..., Awaitable[int]]

# A function, its table, what it leaves of an old row: "false" is nothing.
KINDS: list[tuple[Batch, str, str]] = [
    (
        retention.clear_messages,
        "messages",
        "content is null and parts is null and rating_comment is null",
    ),
    (retention.delete_events, "events", "false"),
    (retention.clear_steps, "turn_steps", "result is null"),
    (retention.delete_whispers, "whispers", "false"),
    (retention.delete_model_traffic, "model_traffic", "false"),
    (retention.delete_tool_calls, "tool_executions", "false"),
]
TABLES = [table for _, table, _ in KINDS]


@pytest.fixture
async def world(pool: Pool, pizza: Shop) -> World:
    """Rows of every kind, all of them old by two years."""
    made = await populate(pool, pizza)
    async with reading(pool) as conn:
        # The tests' own statements.
        await conn.execute("update turn_steps set result = '{}', created_at = now() - interval '2 years'")
        for table in ("messages", "events", "whispers", "model_traffic"):
            await conn.execute(f"update {table} set created_at = now() - interval '2 years'".encode())
        await conn.execute("update tool_executions set timestamp = now() - interval '2 years'")
    return made


def _line() -> datetime:
    return datetime.now(UTC) - timedelta(days=30)


async def _rows(pool: Pool, table: str, where: str = "true") -> list[dict[str, Any]]:
    async with reading(pool) as conn, conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(f"select * from {table} where {where}".encode())
        return await cursor.fetchall()


@pytest.mark.parametrize(("batch", "table", "left"), KINDS, ids=TABLES)
@pytest.mark.usefixtures("world")
async def test_a_kind(pool: Pool, batch: Batch, table: str, left: str) -> None:
    """Nothing before its time; then batch by batch, to the last; nothing is counted twice."""
    before = await _rows(pool, table)
    async with reading(pool) as conn:
        assert await batch(conn, before=datetime.now(UTC) - timedelta(days=1000), limit=10) == 0
    assert await _rows(pool, table) == before
    done = []
    while True:
        async with unit_of_work(pool) as conn:
            done.append(await batch(conn, before=_line(), limit=1))
        if not done[-1]:
            break
    assert sum(done) == len(before) >= 1
    assert len(await _rows(pool, table, left)) == (0 if left == "false" else len(before))
    if left == "false":
        assert await _rows(pool, table) == []


async def test_nothing_to_do(pool: Pool) -> None:
    """An empty database: nothing is due, and nothing is removed."""
    async with unit_of_work(pool) as conn:
        given: dict[str, Any] = {"before": _line(), "limit": 10}
        assert await retention.delete_events(conn, **given) == 0
        assert await retention.clear_steps(conn, **given) == 0
        assert await retention.delete_whispers(conn, **given) == 0
        assert await retention.delete_model_traffic(conn, **given) == 0
        assert await retention.delete_tool_calls(conn, **given) == 0
        assert await retention.due(conn, words=_line(), tools=_line()) == Due(0, 0, 0, 0, 0, 0, 0)
        oldest = await retention.oldest(conn)
    assert (oldest.content, oldest.event, oldest.tool_call) == (None, None, None)


@pytest.mark.usefixtures("world")
async def test_what_is_counted_stays(pool: Pool) -> None:
    """Of a message everything but its words."""
    words = {"content", "parts", "rating_comment", "search"}
    before = await _rows(pool, "messages", "true order by id")
    usage = await _rows(pool, "api_usage")
    assert any(row["content"] for row in before) and any(row["rating_comment"] for row in before)
    async with reading(pool) as conn:
        await retention.clear_messages(conn, before=_line(), limit=100)
    after = await _rows(pool, "messages", "true order by id")
    assert [{k: v for k, v in row.items() if k not in words} for row in after] == [
        {k: v for k, v in row.items() if k not in words} for row in before
    ]
    assert all(row["content"] is None and row["rating_comment"] is None for row in after)
    assert await _rows(pool, "api_usage") == usage


@pytest.mark.parametrize(("batch", "table"), [(batch, table) for batch, table, _ in KINDS], ids=TABLES)
@pytest.mark.usefixtures("world")
async def test_who_holds_a_row_is_not_waited_for(pool: Pool, batch: Batch, table: str) -> None:
    """Such rows are passed over, and found the next time."""
    async with unit_of_work(pool) as holder:
        cursor = await holder.execute(f"select 1 from {table} for update".encode())
        held = len(await cursor.fetchall())
        async with asyncio.timeout(2), reading(pool) as conn:
            assert await batch(conn, before=_line(), limit=100) == 0
    async with reading(pool) as conn:
        assert await batch(conn, before=_line(), limit=100) == held > 0


@pytest.mark.parametrize(("batch", "table"), [(batch, table) for batch, table, _ in KINDS], ids=TABLES)
@pytest.mark.usefixtures("world")
async def test_two_at_once(pool: Pool, batch: Batch, table: str) -> None:
    """They share the rows: each is counted once."""
    total = len(await _rows(pool, table))

    async def run() -> int:
        done = 0
        while True:
            async with unit_of_work(pool) as conn:
                removed = await batch(conn, before=_line(), limit=1)
            done += removed
            if not removed:
                return done

    counts = await asyncio.gather(run(), run())
    # A row that one held at the other's last look is the first one's.
    assert sum(counts) == total > 0


async def test_a_summary_goes_with_its_messages(pool: Pool, pizza: Shop, world: World) -> None:
    """Once the newest message in it is too old; how far it went stays."""
    where = {"client_id": pizza.id, "conversation_id": world.cnv}
    async with reading(pool) as conn:
        await conversations.set_summary(conn, **where, summary="They like pizza.", summary_through=world.question_row)
        assert await retention.clear_summaries(conn, before=datetime.now(UTC) - timedelta(days=1000), limit=5) == 0
        assert (await retention.due(conn, words=_line(), tools=_line())).summaries == 1
        assert await retention.clear_summaries(conn, before=_line(), limit=5) == 1
        now = await conversations.find(conn, **where)
        assert now is not None and (now.summary, now.summary_through) == (None, world.question_row)
        assert await retention.clear_summaries(conn, before=_line(), limit=5) == 0


@pytest.mark.usefixtures("world")
async def test_what_is_due(pool: Pool) -> None:
    """Counted by the same lines; the oldest of each kind; the lines are the database's."""
    async with unit_of_work(pool) as conn:
        await retention.be_patient(conn)
        [patience] = await (await conn.execute("show statement_timeout")).fetchall()
        line = await retention.cutoffs(conn)
        due = await retention.due(conn, words=line.words, tools=line.tools)
        nothing = await retention.due(conn, words=line.words - timedelta(days=999), tools=line.tools - timedelta(999))
        oldest = await retention.oldest(conn)
    assert patience == ("10min",)
    assert (datetime.now(UTC) - line.words).days in {29, 30} and (line.words - line.tools).days == 60
    counts = {table: len(await _rows(pool, table)) for _, table, _ in KINDS}
    assert due == Due(
        messages=counts["messages"],
        summaries=0,
        events=counts["events"],
        steps=counts["turn_steps"],
        whispers=counts["whispers"],
        model_traffic=counts["model_traffic"],
        tool_calls=counts["tool_executions"],
    )
    assert nothing == Due(0, 0, 0, 0, 0, 0, 0)
    ages = {(oldest.at - at).days for at in (oldest.content, oldest.event, oldest.tool_call) if at is not None}
    assert ages <= {729, 730, 731} and ages


_OLD: dict[str, Any] = {"before": datetime(2031, 1, 1, tzinfo=UTC), "limit": 5}


@pytest.mark.parametrize(
    ("function", "index"),
    [
        (retention.clear_messages, "messages_created_at_idx"),
        (retention.clear_summaries, "conversations_summary_through_idx"),
        (retention.delete_events, "events_created_at_idx"),
        (retention.clear_steps, "turn_steps_created_at_idx"),
        (retention.delete_whispers, "whispers_created_at_idx"),
        (retention.delete_model_traffic, "model_traffic_created_at_idx"),
        (retention.delete_tool_calls, "tool_executions_timestamp_idx"),
        (retention.oldest, "events_created_at_idx"),
    ],
)
def test_plans(database_url: str, function: Batch, index: str) -> None:
    """The oldest are found without reading the others."""
    plan = plan_of(database_url, function, **_OLD)
    assert index in plan and "Seq Scan" not in plan, plan
