"""Usage over all clients, by row and by tool, and who changed what."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest

from server.llm.figures import percentile_ms
from server.repositories import audit, drafts, operators, tool_usage, usage
from server.repositories.pool import Pool, reading, unit_of_work
from server.repositories.tool_usage import ToolUsage
from server.repositories.usage import UsageDay, UsageTotal
from tests.repositories.conftest import Shop
from tests.repositories.plans import plan_of
from tests.repositories.world import ask, say

MAY = date(2031, 5, 1)
JUNE = date(2031, 6, 1)


@pytest.fixture
async def month(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Both used something on the 2nd, pizza on the 4th as well, and on days before and after May."""
    async with unit_of_work(pool) as conn:
        for shop, day, messages in (
            (pizza, date(2031, 4, 30), 1),
            (pizza, date(2031, 5, 2), 2),
            (bakery, date(2031, 5, 2), 4),
            (pizza, date(2031, 5, 4), 8),
            (pizza, JUNE, 16),
        ):
            await usage.record(
                conn,
                client_id=shop.id,
                day=day,
                conversations=1,
                messages=messages,
                tokens_input=10 * messages,
                tokens_output=3,
                tool_calls=2,
                cached_answers=1,
                cost=Decimal("0.1") * messages,
            )


@pytest.mark.usefixtures("month")
async def test_days_of_all_clients(pool: Pool, pizza: Shop) -> None:
    """One row a day, both ends included, money exact; one client's total is its own."""
    async with reading(pool) as conn:
        days = await usage.period_of_all(conn, start=MAY, end=date(2031, 5, 31))
        total = await usage.total(conn, client_id=pizza.id, start=date(2031, 4, 30), end=date(2031, 5, 4))
        nothing = await usage.total(conn, client_id=pizza.id, start=date(2030, 1, 1), end=date(2030, 1, 2))
    assert days == [
        UsageDay(date(2031, 5, 2), 2, 6, 60, 6, 4, 2, Decimal("0.6")),
        UsageDay(date(2031, 5, 4), 1, 8, 80, 3, 2, 1, Decimal("0.8")),
    ]
    assert total == UsageTotal(pizza.id, 3, 11, 110, 9, 6, 3, Decimal("1.1"))
    assert nothing == UsageTotal(pizza.id, 0, 0, 0, 0, 0, 0, Decimal(0))


@pytest.mark.usefixtures("month")
async def test_rows(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """By day and client, both ends included; one client's have nobody else's."""

    async def told(client_id: int | None, start: date, end: date) -> list[tuple[date, int, str, int]]:
        async with reading(pool) as conn:
            found = await usage.rows(conn, client_id=client_id, start=start, end=end)
        return [(row.date, row.client_id, row.client_name, row.message_count) for row in found]

    mine = [
        (date(2031, 5, 2), pizza.id, "pizza", 2),
        (date(2031, 5, 4), pizza.id, "pizza", 8),
        (JUNE, pizza.id, "pizza", 16),
    ]
    assert await told(pizza.id, MAY, JUNE) == mine
    assert await told(None, MAY, JUNE) == sorted([*mine, (date(2031, 5, 2), bakery.id, "bakery", 4)])
    assert await told(pizza.id, date(2031, 5, 3), date(2031, 5, 4)) == mine[1:2]


async def _calls(pool: Pool, shop: Shop, tool: str, outcomes: list[dict[str, Any]]) -> None:
    """Calls of a tool, as rows: what is left out is as of one that runs."""
    message = await say(pool, shop.id, shop.cnv, seq=1)
    await ask(pool, shop.id, shop.cnv, message, owner=None)
    async with reading(pool) as conn:
        for number, outcome in enumerate(outcomes):
            given = {"success": None, "attempt": 1, "ms": None, "at": datetime.now(UTC), **outcome}
            await conn.execute(
                """
                insert into tool_executions (
                    client_id, conversation_id, turn_id, call_id, tool_name, parameters, success, attempt,
                    execution_time_ms, timestamp
                ) select %(client)s, %(cnv)s, max(id), %(call)s, %(tool)s, '{}', %(success)s, %(attempt)s, %(ms)s,
                         %(at)s
                from turns where client_id = %(client)s
                """,
                {"client": shop.id, "cnv": shop.cnv, "call": f"{tool}:{number}", "tool": tool, **given},
            )


async def test_tools_by_calls(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """The most called first; what never went out and what has no outcome are apart; times are of those with one."""
    now = datetime.now(UTC)
    worked = [{"success": True, "ms": ms} for ms in range(1, 101)]
    other = [{"success": False, "ms": 1000}, {"success": False, "attempt": 0, "ms": 0}, {}, {"attempt": 0}]
    await _calls(pool, pizza, "find", [*worked, *other, {"success": True, "ms": 9, "at": now - timedelta(days=3)}])
    await _calls(pool, pizza, "pay", [{}])
    await _calls(pool, bakery, "find", [{"success": True, "ms": 5000}])
    day = {"start": now - timedelta(days=1), "end": now + timedelta(hours=1)}
    async with reading(pool) as conn:
        mine = await tool_usage.top(conn, client_id=pizza.id, **day, limit=5)
        first = await tool_usage.top(conn, client_id=pizza.id, **day, limit=1)
        every = await tool_usage.top_of_all(conn, **day, limit=5)
    find, pay = mine
    assert msgspec.structs.replace(find, classes={}) == ToolUsage("find", 104, 100, 1, 2, 1, {})
    assert pay == ToolUsage("pay", 1, 0, 0, 0, 1, {})
    assert sum(find.classes.values()) == 101 and find.classes[0] == 1 and find.classes[72] == 1
    assert percentile_ms(find.classes, 0.5) == pytest.approx(51, rel=0.06)
    assert percentile_ms(find.classes, 1.0) == pytest.approx(1000, rel=0.06)
    assert first == mine[:1]
    assert [(row.tool_name, row.calls) for row in every] == [("find", 105), ("pay", 1)]


async def test_calls_of_the_console_are_no_visitors(pool: Pool, pizza: Shop) -> None:
    """A playground's and a test run's calls do not count."""
    now = datetime.now(UTC)
    await _calls(pool, pizza, "find", [{"success": True, "ms": 5}])
    day = {"start": now - timedelta(days=1), "end": now + timedelta(hours=1)}
    async with reading(pool) as conn:
        assert [row.calls for row in await tool_usage.top(conn, client_id=pizza.id, **day, limit=5)] == [1]
        await drafts.create(
            conn,
            client_id=pizza.id,
            conversation_id=pizza.cnv,
            session_id="ses_console",
            system_prompt=None,
            model_config=None,
            tools=None,
        )
        assert await tool_usage.top(conn, client_id=pizza.id, **day, limit=5) == []
        assert await tool_usage.top_of_all(conn, **day, limit=5) == []


async def test_the_audit_log_by_page(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """With names of today, narrowed by client, person and action, newest first; and when something was last done."""
    async with unit_of_work(pool) as conn:
        ann, ben = [
            await operators.create(
                conn, client_id=None, email=f"{n}@x.example", name=n, password_hash="h", role="owner"
            )
            for n in ("Ann", "Ben")
        ]
        for client_id, operator_id, action in (
            (pizza.id, ann.id, "client.update"),
            (bakery.id, ben.id, "client.update"),
            (None, ann.id, "retention.run"),
            (pizza.id, ben.id, "client.suspend"),
            (pizza.id, None, "client.update"),
        ):
            await audit.record(
                conn,
                client_id=client_id,
                operator_id=operator_id,
                action=action,
                target_type="client",
                target_id="1",
            )
    everything: dict[str, Any] = {"operator_id": None, "action": None, "before": None, "limit": 10}

    async def told(client_id: int | None, **narrowed: Any) -> list[tuple[str | None, str | None, str]]:
        async with reading(pool) as conn:
            given = {**everything, **narrowed}
            if client_id is None:
                rows = await audit.page_of_all(conn, **given)
            else:
                rows = await audit.page(conn, client_id=client_id, **given)
        return [(row.client_name, row.operator_name, row.action) for row in rows]

    pizzas = [
        ("pizza", None, "client.update"),
        ("pizza", "Ben", "client.suspend"),
        ("pizza", "Ann", "client.update"),
    ]
    assert await told(pizza.id) == pizzas
    assert await told(pizza.id, operator_id=ben.id) == pizzas[1:2]
    assert await told(pizza.id, action="client.update") == [pizzas[0], pizzas[2]]
    assert await told(pizza.id, limit=1) == pizzas[:1]
    every = [*pizzas[:2], (None, "Ann", "retention.run"), ("bakery", "Ben", "client.update"), pizzas[2]]
    assert await told(None) == every
    assert await told(None, operator_id=ann.id) == [every[2], every[4]]
    assert await told(None, action="client.update") == [every[0], every[3], every[4]]
    async with reading(pool) as conn:
        newest = (await audit.page_of_all(conn, **everything))[0]
        older = await audit.page_of_all(conn, **{**everything, "before": newest.id, "limit": 2})
        assert [row.action for row in older] == ["client.suspend", "retention.run"]
        ran = await audit.latest(conn, action="retention.run")
        assert ran is not None and abs((ran - datetime.now(UTC)).total_seconds()) < 60
        assert await audit.latest(conn, action="never") is None


_DAYS: dict[str, Any] = {"start": MAY, "end": JUNE}
_AUDIT: dict[str, Any] = {"operator_id": None, "action": None, "before": None, "limit": 50}


@pytest.mark.parametrize(
    ("function", "given", "index"),
    [
        (usage.period_of_all, _DAYS, "api_usage_date_idx"),
        (usage.total, {**_DAYS, "client_id": 1}, "api_usage_client_id_date_key"),
        (usage.rows, {**_DAYS, "client_id": None}, "api_usage_date_idx"),
        (tool_usage.top_of_all, _DAYS, "tool_executions_timestamp_idx"),
        (audit.page, {**_AUDIT, "client_id": 1, "before": 9}, "audit_log_client_id_id_idx"),
        (audit.page_of_all, {**_AUDIT, "before": 9}, "audit_log_pkey"),
        (audit.latest, {"action": "retention.run"}, "audit_log_action_id_idx"),
    ],
)
def test_plans(database_url: str, function: Any, given: dict[str, Any], index: str) -> None:
    """Each walks an index that has what it asks for."""
    plan = plan_of(database_url, function, **given)
    assert index in plan and "Seq Scan on api_usage" not in plan and "Seq Scan on audit_log" not in plan, plan


def test_one_clients_calls_have_an_index(database_url: str) -> None:
    """Among those of 50 clients."""
    with psycopg.connect(database_url) as conn:
        # Rows without the conversations and turns that they belong to.
        conn.execute("set session_replication_role = replica")
        conn.execute(
            """
            insert into tool_executions (client_id, conversation_id, turn_id, call_id, tool_name, parameters, timestamp)
            select n % 50 + 1, 1, n, 'c', 't', '{}', date '2031-05-01' + make_interval(mins => n)
            from generate_series(1, 10000) n
            """
        )
        conn.execute("analyze tool_executions")
    plan = plan_of(database_url, tool_usage.top, client_id=1, start=MAY, end=JUNE)
    assert "tool_executions_client_id_timestamp_idx" in plan, plan
