"""Runs cases in the background: one run of a client at a time, a few of its cases at once, progress in Postgres.

A run beats while somebody runs it. One that fell silent, because its instance went away, counts as interrupted; its
results so far stand.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from server import log
from server.errors import FrontdeskError, Invalid
from server.repositories import audit, case_runs, cases
from server.repositories.pool import Pool, reading, unit_of_work
from server.turns.cases.asking import Asked, Asker, Used
from server.turns.cases.case import NewAnswer, Question, Rules, Verdict
from server.turns.cases.rules import judge
from server.turns.playground import DraftSettings, Playground

logger = log.get("cases")

# Cases asked at once: a model's provider bears them, and visitors of the same instance notice nothing.
AT_ONCE = 4
# Seconds between two signs of life, and of silence after which a run counts as interrupted.
BEAT_S = 10.0
SILENT_S = 45.0

# Told of each case when it is over: its name, whether it passed, the verdicts.
Told = Callable[[str, bool, list[Verdict]], None]


class _Run(msgspec.Struct, frozen=True):
    id: int
    client_id: int
    settings: DraftSettings


class CaseRuns:
    """The runs of one instance."""

    def __init__(self, *, pool: Pool, playground: Playground, asker: Asker) -> None:
        self._pool = pool
        self._playground = playground
        self._asker = asker
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def start(
        self,
        *,
        operator_id: int | None,
        client_id: int,
        case_ids: list[int] | None = None,
        settings: DraftSettings | None = None,
        told: Told | None = None,
    ) -> int:
        """Begins a run of these cases, or of all of them, with what is saved or with a draft. Its id.

        Raises Invalid (no cases, an unknown one, a draft that could not be saved), Conflict `run_active`.
        """
        checked = await self._playground.checked(client_id, settings or DraftSettings())
        async with unit_of_work(self._pool) as conn:
            run_id = await case_runs.create(
                conn,
                client_id=client_id,
                operator_id=operator_id,
                draft=None if settings is None else msgspec.to_builtins(checked),
                silent_s=SILENT_S,
            )
            there = await case_runs.fill(conn, client_id=client_id, run_id=run_id, case_ids=case_ids)
            if unknown := sorted(set(case_ids or ()) - set(there)):
                raise Invalid(f"this client has no case {unknown[0]}", field="case_ids")
            if not there:
                raise Invalid("this client has no cases; save a conversation as one first", code="empty")
            await audit.record(
                conn,
                client_id=client_id,
                operator_id=operator_id,
                action="case.run",
                target_type="run",
                target_id=str(run_id),
                details={"cases": len(there), "draft": checked.parts()},
            )
        run = _Run(run_id, client_id, checked)
        task = asyncio.create_task(self._run(run, there, told), name=f"cases {run_id}")
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))
        return run_id

    async def ended(self, run_id: int) -> None:
        """Returns when a run of this instance is over."""
        if (task := self._tasks.get(run_id)) is not None:
            await asyncio.wait([task])

    async def stop(self) -> None:
        """Interrupts what runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, run: _Run, case_ids: list[int], told: Told | None) -> None:
        status = "interrupted"
        beating = asyncio.create_task(self._beat(run), name=f"beat of run {run.id}")
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(case_id: int) -> None:
            async with gate:
                await self._case(run, case_id, told)

        try:
            async with asyncio.TaskGroup() as group:
                for case_id in case_ids:
                    group.create_task(one(case_id))
            status = "done"
        except* FrontdeskError as errors:
            logger.warning("run interrupted", run=run.id, reason="; ".join(str(each) for each in errors.exceptions))
        except* Exception as errors:
            # A bug: nobody awaits this task, so it is told here.
            logger.error("run broke", run=run.id, exc_info=errors)  # noqa: TRY400  # the group is not the current one
        finally:
            beating.cancel()
            await self._end(run, status)

    async def _case(self, run: _Run, case_id: int, told: Told | None) -> None:
        async with reading(self._pool) as conn:
            case = await cases.find(conn, client_id=run.client_id, case_id=case_id)
            if case is None:
                return  # deleted meanwhile, and its result with it
            await case_runs.begin_case(conn, client_id=run.client_id, run_id=run.id, case_id=case_id)
        try:
            asked = await self._asker.ask(case, run.settings)
        except FrontdeskError as error:
            # This one has failed; the others may do better.
            logger.warning("case not asked", run=run.id, case=case_id, reason=error.message)
            asked = _unasked(msgspec.convert(case.questions, list[Question]), error.message)
        verdicts = judge(msgspec.convert(case.rules, Rules), asked.answers)
        passed = all(each.passed for each in verdicts)
        async with reading(self._pool) as conn:
            await case_runs.end_case(
                conn,
                client_id=run.client_id,
                run_id=run.id,
                case_id=case_id,
                passed=passed,
                answers=_plain(asked.answers),
                verdicts=_plain(verdicts),
                tokens_input=asked.used.tokens_input,
                tokens_output=asked.used.tokens_output,
                cost=asked.used.cost,
                ms=asked.ms,
            )
        if told is not None:
            told(case.name, passed, verdicts)

    async def _beat(self, run: _Run) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                async with reading(self._pool) as conn:
                    await case_runs.beat(conn, client_id=run.client_id, run_id=run.id)
            except FrontdeskError as error:
                # The next one may get through; else the run counts as silent.
                logger.warning("run did not beat", run=run.id, reason=error.message)

    async def _end(self, run: _Run, status: str) -> None:
        try:
            async with reading(self._pool) as conn:
                await case_runs.end(conn, client_id=run.client_id, run_id=run.id, status=status)
        except FrontdeskError as error:
            # Its silence will tell.
            logger.warning("run not ended", run=run.id, reason=error.message)


def _unasked(questions: list[Question], reason: str) -> Asked:
    answers = [NewAnswer(each.text, each.answer, None, [], None, reason) for each in questions]
    return Asked(answers, Used(), ms=0)


def _plain(values: list[NewAnswer] | list[Verdict]) -> list[Any]:
    return [msgspec.to_builtins(each) for each in values]
