"""Runs of test cases, and how each case did."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from server.repositories.pool import Conn


class RunRecord(msgspec.Struct, frozen=True):
    """`status` is `running`, `done` or `interrupted`; one that nobody beat for a while is interrupted too.

    `draft` is what it was run with, None for what is saved. `cost` is US dollars.
    """

    id: int
    client_id: int
    operator_name: str | None
    status: str
    draft: dict[str, Any] | None
    total: int
    passed: int
    failed: int
    tokens_input: int
    tokens_output: int
    cost: Decimal
    created_at: datetime
    finished_at: datetime | None


class ResultRecord(msgspec.Struct, frozen=True):
    """One case in a run. `answers` and `verdicts` are JSON as the run's own structs read it; `ms` is None until its
    end."""

    id: int
    run_id: int
    case_id: int
    name: str
    status: str
    answers: list[dict[str, Any]]
    verdicts: list[dict[str, Any]]
    tokens_input: int
    tokens_output: int
    cost: Decimal
    ms: int | None


async def create(
    conn: Conn, *, client_id: int, operator_id: int | None, draft: dict[str, Any] | None, silent_s: float
) -> int:
    """Its id. One of this client that was silent for `silent_s` seconds is interrupted first.

    Raises Conflict `run_active` at the end of the unit of work while another one runs.
    """
    # The instance that ran it went away.
    await conn.execute(
        """
        update test_runs set status = 'interrupted', finished_at = now()
        where client_id = %(client_id)s and status = 'running'
          and beat_at < now() - make_interval(secs => %(silent_s)s)
        """,
        {"client_id": client_id, "silent_s": silent_s},
    )
    # One at a time, by test_runs_one_running.
    cursor = await conn.execute(
        """
        insert into test_runs (client_id, operator_id, draft) values (%(client_id)s, %(operator_id)s, %(draft)s)
        returning id
        """,
        {
            "client_id": client_id,
            "operator_id": operator_id,
            "draft": None if draft is None else Jsonb(draft, dumps=msgspec.json.encode),
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def fill(conn: Conn, *, client_id: int, run_id: int, case_ids: list[int] | None) -> list[int]:
    """Puts cases into a run, all of the client's for None, oldest first: those that are there."""
    # As many results as cases, and their number on the run.
    cursor = await conn.execute(
        """
        with put as (
            insert into test_results (client_id, run_id, case_id, name)
            select t.client_id, %(run_id)s, t.id, t.name from test_cases t
            where t.client_id = %(client_id)s and (%(case_ids)s::bigint[] is null or t.id = any(%(case_ids)s::bigint[]))
            order by t.id
            returning case_id
        ), counted as (
            update test_runs set total = (select count(*) from put)
            where client_id = %(client_id)s and id = %(run_id)s
        )
        select case_id from put order by case_id
        """,
        {"client_id": client_id, "run_id": run_id, "case_ids": case_ids},
    )
    return [row[0] for row in await cursor.fetchall()]


async def beat(conn: Conn, *, client_id: int, run_id: int) -> bool:
    """Somebody still runs it. False when it is over."""
    # Silence is taken for a death.
    cursor = await conn.execute(
        """
        update test_runs set beat_at = now()
        where client_id = %(client_id)s and id = %(run_id)s and status = 'running'
        returning id
        """,
        {"client_id": client_id, "run_id": run_id},
    )
    return await cursor.fetchone() is not None


async def begin_case(conn: Conn, *, client_id: int, run_id: int, case_id: int) -> None:
    # It is being asked.
    await conn.execute(
        """
        update test_results set status = 'running'
        where client_id = %(client_id)s and run_id = %(run_id)s and case_id = %(case_id)s and status = 'waiting'
        """,
        {"client_id": client_id, "run_id": run_id, "case_id": case_id},
    )


async def end_case(
    conn: Conn,
    *,
    client_id: int,
    run_id: int,
    case_id: int,
    passed: bool,
    answers: list[Any],
    verdicts: list[Any],
    tokens_input: int,
    tokens_output: int,
    cost: Decimal,
    ms: int,
) -> None:
    """How it did, and the run's sums with it. Nothing where the run is over."""
    # Both at once, so that progress is never ahead of the results.
    await conn.execute(
        """
        with run as (
            update test_runs set passed = passed + %(passed)s::int, failed = failed + 1 - %(passed)s::int,
                tokens_input = tokens_input + %(tokens_input)s, tokens_output = tokens_output + %(tokens_output)s,
                cost = cost + %(cost)s, beat_at = now()
            where client_id = %(client_id)s and id = %(run_id)s and status = 'running'
            returning id
        )
        update test_results set status = case when %(passed)s then 'passed' else 'failed' end,
            answers = %(answers)s, verdicts = %(verdicts)s, tokens_input = %(tokens_input)s,
            tokens_output = %(tokens_output)s, cost = %(cost)s, ms = %(ms)s
        where client_id = %(client_id)s and run_id = (select id from run) and case_id = %(case_id)s
        """,
        {
            "client_id": client_id,
            "run_id": run_id,
            "case_id": case_id,
            "passed": passed,
            "answers": Jsonb(answers, dumps=msgspec.json.encode),
            "verdicts": Jsonb(verdicts, dumps=msgspec.json.encode),
            "tokens_input": tokens_input,
            "tokens_output": tokens_output,
            "cost": cost,
            "ms": ms,
        },
    )


async def end(conn: Conn, *, client_id: int, run_id: int, status: str) -> None:
    """`done` or `interrupted`. The first end counts."""
    # Nobody runs it any more.
    await conn.execute(
        """
        update test_runs set status = %(status)s, finished_at = now()
        where client_id = %(client_id)s and id = %(run_id)s and status = 'running'
        """,
        {"client_id": client_id, "run_id": run_id, "status": status},
    )


async def client_of(conn: Conn, *, run_id: int) -> int | None:
    """System-wide: whose it is, for the console, which checks whom its operator serves."""
    # By the run's own id.
    cursor = await conn.execute("select client_id from test_runs where id = %(run_id)s", {"run_id": run_id})
    row = await cursor.fetchone()
    return row[0] if row else None


async def find(conn: Conn, *, client_id: int, run_id: int, silent_s: float) -> RunRecord | None:
    """One that was silent for `silent_s` seconds counts as interrupted."""
    async with conn.cursor(row_factory=class_row(RunRecord)) as cursor:
        # One run.
        await cursor.execute(
            """
            select r.id, r.client_id, o.name as operator_name, r.draft, r.total, r.passed, r.failed, r.tokens_input,
                   r.tokens_output, r.cost, r.created_at, r.finished_at,
                   case when r.status = 'running' and r.beat_at < now() - make_interval(secs => %(silent_s)s)
                        then 'interrupted' else r.status end as status
            from test_runs r left join operators o on o.id = r.operator_id
            where r.client_id = %(client_id)s and r.id = %(run_id)s
            """,
            {"client_id": client_id, "run_id": run_id, "silent_s": silent_s},
        )
        return await cursor.fetchone()


async def page(conn: Conn, *, client_id: int, before: int | None, limit: int, silent_s: float) -> list[RunRecord]:
    """The `limit` runs before the one with id `before` (the newest ones for None), newest first. Else as `find`."""
    async with conn.cursor(row_factory=class_row(RunRecord)) as cursor:
        # Along test_runs_client_id_id_key.
        await cursor.execute(
            """
            select r.id, r.client_id, o.name as operator_name, r.draft, r.total, r.passed, r.failed, r.tokens_input,
                   r.tokens_output, r.cost, r.created_at, r.finished_at,
                   case when r.status = 'running' and r.beat_at < now() - make_interval(secs => %(silent_s)s)
                        then 'interrupted' else r.status end as status
            from test_runs r left join operators o on o.id = r.operator_id
            where r.client_id = %(client_id)s and (%(before)s::bigint is null or r.id < %(before)s)
            order by r.id desc
            limit %(limit)s
            """,
            {"client_id": client_id, "before": before, "limit": limit, "silent_s": silent_s},
        )
        return await cursor.fetchall()


async def results(conn: Conn, *, client_id: int, run_id: int) -> list[ResultRecord]:
    """Of all cases of a run, in its order."""
    async with conn.cursor(row_factory=class_row(ResultRecord)) as cursor:
        # Along test_results_run_id_id_idx.
        await cursor.execute(
            """
            select id, run_id, case_id, name, status, answers, verdicts, tokens_input, tokens_output, cost, ms
            from test_results
            where client_id = %(client_id)s and run_id = %(run_id)s
            order by id
            """,
            {"client_id": client_id, "run_id": run_id},
        )
        return await cursor.fetchall()
