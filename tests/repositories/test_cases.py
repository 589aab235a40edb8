"""Test cases and their runs in Postgres."""

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from server.errors import Conflict, NotFound
from server.repositories import case_runs, cases, operators
from server.repositories.pool import Pool, reading, unit_of_work
from tests.repositories.conftest import Shop
from tests.repositories.world import QUESTIONS

RULES: dict[str, Any] = {"must_call": [], "must_contain": ["hello"], "must_not_contain": []}
RESULT: dict[str, Any] = {
    "answers": [{"question": "Hi?"}],
    "verdicts": [{"rule": "answered"}],
    "tokens_input": 7,
    "tokens_output": 3,
    "cost": Decimal("0.25"),
    "ms": 90,
}


async def _case(pool: Pool, shop: Shop, name: str = "Greeting") -> int:
    async with unit_of_work(pool) as conn:
        return await cases.create(
            conn,
            client_id=shop.id,
            conversation_id=shop.cnv,
            name=name,
            locale="he",
            verified=True,
            questions=QUESTIONS,
            rules=RULES,
        )


async def _run(pool: Pool, shop: Shop, *, silent_s: float = 45) -> int:
    async with unit_of_work(pool) as conn:
        run = await case_runs.create(conn, client_id=shop.id, operator_id=None, draft=None, silent_s=silent_s)
        await case_runs.fill(conn, client_id=shop.id, run_id=run, case_ids=None)
    return run


async def test_a_case(pool: Pool, pizza: Shop) -> None:
    """Is read whole, edited by who saw its version, and deleted."""
    case_id = await _case(pool, pizza)
    async with reading(pool) as conn:
        row = await cases.find(conn, client_id=pizza.id, case_id=case_id)
        assert row is not None
        assert (row.name, row.locale, row.verified, row.version) == ("Greeting", "he", True, 1)
        assert (row.questions, row.rules, row.conversation_public_id) == (
            QUESTIONS,
            RULES,
            pizza.conversation.public_id,
        )
        assert await cases.client_of(conn, case_id=case_id) == pizza.id
        assert await cases.client_of(conn, case_id=0) is None
        edit: dict[str, Any] = {"client_id": pizza.id, "case_id": case_id, "name": "Other", "rules": {}}
        assert await cases.update(conn, **edit, seen=1) == 2
        assert await cases.update(conn, **{**edit, "name": "Lost"}, seen=1) is None
        row = await cases.find(conn, client_id=pizza.id, case_id=case_id)
        assert row is not None and (row.name, row.rules, row.version) == ("Other", {}, 2)
        assert row.updated_at > row.created_at
        assert await cases.delete(conn, client_id=pizza.id, case_id=case_id)
        assert not await cases.delete(conn, client_id=pizza.id, case_id=case_id)
        assert await cases.find(conn, client_id=pizza.id, case_id=case_id) is None


async def test_no_case_of_nobodys_conversation(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Another client's is none."""
    with pytest.raises(NotFound):
        async with unit_of_work(pool) as conn:
            await cases.create(
                conn,
                client_id=bakery.id,
                conversation_id=pizza.cnv,
                name="n",
                locale="en",
                verified=False,
                questions=[],
                rules={},
            )


async def test_pages_of_cases(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """Newest first, with the newest result of each; nobody else's."""
    made = [await _case(pool, pizza, f"case {no}") for no in range(5)]
    await _case(pool, bakery)
    run = await _run(pool, pizza)
    async with reading(pool) as conn:
        await case_runs.end_case(conn, client_id=pizza.id, run_id=run, case_id=made[-1], passed=True, **RESULT)
        first = await cases.page(conn, client_id=pizza.id, before=None, limit=3)
        rest = await cases.page(conn, client_id=pizza.id, before=first[-1].id, limit=3)
    assert [row.id for row in [*first, *rest]] == made[::-1]
    assert [(row.run_id, row.run_status) for row in first[:2]] == [(run, "passed"), (run, "waiting")]
    assert (first[0].questions, first[0].rules, first[0].version) == (1, RULES, 1)


async def test_a_run(pool: Pool, pizza: Shop) -> None:
    """Counts as its cases end, whoever started it is named, and its end is final."""
    one, two = await _case(pool, pizza, "one"), await _case(pool, pizza, "two")
    async with unit_of_work(pool) as conn:
        olga = await operators.create(
            conn, client_id=pizza.id, email="o@x.example", name="Olga", password_hash="h", role="admin"
        )
        run = await case_runs.create(
            conn, client_id=pizza.id, operator_id=olga.id, draft={"system_prompt": "p"}, silent_s=45
        )
        assert await case_runs.fill(conn, client_id=pizza.id, run_id=run, case_ids=[two, one, 999]) == [one, two]
    names: dict[str, Any] = {"client_id": pizza.id, "run_id": run}
    async with reading(pool) as conn:
        await case_runs.begin_case(conn, **names, case_id=one)
        assert [row.status for row in await case_runs.results(conn, **names)] == ["running", "waiting"]
        await case_runs.end_case(conn, **names, case_id=one, passed=True, **RESULT)
        await case_runs.end_case(conn, **names, case_id=two, passed=False, **RESULT)
        assert await case_runs.beat(conn, **names)
        await case_runs.end(conn, **names, status="done")
        await case_runs.end(conn, **names, status="interrupted")
        assert not await case_runs.beat(conn, **names)
        row = await case_runs.find(conn, **names, silent_s=0)
        assert row is not None
        assert (row.status, row.operator_name, row.draft) == ("done", "Olga", {"system_prompt": "p"})
        assert (row.total, row.passed, row.failed) == (2, 1, 1)
        assert (row.tokens_input, row.tokens_output, row.cost) == (14, 6, Decimal("0.5"))
        assert row.finished_at is not None
        first, second = await case_runs.results(conn, **names)
        assert (first.name, first.status, second.status) == ("one", "passed", "failed")
        assert {name: getattr(first, name) for name in RESULT} == RESULT
        assert await case_runs.client_of(conn, run_id=run) == pizza.id
        assert await case_runs.client_of(conn, run_id=0) is None
        # What comes after the end counts for nothing.
        await case_runs.end_case(conn, **names, case_id=one, passed=False, **RESULT)
        assert await case_runs.find(conn, **names, silent_s=0) == row


async def test_one_run_at_a_time(pool: Pool, pizza: Shop, bakery: Shop) -> None:
    """A second of the same client is refused, until the first is over or was silent; another client's is not."""
    await _case(pool, pizza)
    first = await _run(pool, pizza)
    await _run(pool, bakery)
    with pytest.raises(Conflict) as refused:
        await _run(pool, pizza)
    assert refused.value.code == "run_active"
    second = await _run(pool, pizza, silent_s=-1)
    async with reading(pool) as conn:
        rows = await case_runs.page(conn, client_id=pizza.id, before=None, limit=5, silent_s=45)
        assert [(row.id, row.status) for row in rows] == [(second, "running"), (first, "interrupted")]
        assert await case_runs.page(conn, client_id=pizza.id, before=first, limit=5, silent_s=45) == []
        # Nobody beats: whoever reads it sees that.
        [silent, _] = await case_runs.page(conn, client_id=pizza.id, before=None, limit=5, silent_s=-1)
        assert (silent.id, silent.status) == (second, "interrupted")


async def test_a_case_takes_its_results_along(pool: Pool, pizza: Shop) -> None:
    """And an erased conversation its cases: they hold the visitor's words."""
    case_id = await _case(pool, pizza)
    run = await _run(pool, pizza)
    async with reading(pool) as conn:
        # The test's own statement.
        await conn.execute("delete from conversations where id = %s", [pizza.cnv])
        assert await cases.find(conn, client_id=pizza.id, case_id=case_id) is None
        assert await case_runs.results(conn, client_id=pizza.id, run_id=run) == []
        assert await case_runs.find(conn, client_id=pizza.id, run_id=run, silent_s=45) is not None


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("select id from test_cases where client_id = 1 and id < 9 order by id desc limit 5", "test_cases_client_id"),
        ("select id from test_runs where client_id = 1 and id < 9 order by id desc limit 5", "test_runs_client_id"),
        ("select id from test_results where client_id = 1 and run_id = 2 order by id", "test_results_run_id_id_idx"),
        (
            "select id from test_results where client_id = 1 and case_id = 2 order by id desc limit 1",
            "test_results_case_id_id_idx",
        ),
    ],
)
def test_the_reads_have_indexes(database_url: str, query: str, index: str) -> None:
    """With sequential scans and sorts off each plan walks its index."""
    with psycopg.connect(database_url) as conn:
        conn.execute("set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off")
        text = "\n".join(line for (line,) in conn.execute(f"explain {query}".encode()).fetchall())
    assert index in text and "Sort" not in text, text
