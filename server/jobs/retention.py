"""Removes what has been kept long enough: the words of conversations after 30 days, calls of tools after 90.

In batches, each a short transaction of its own, which passes over rows that somebody holds: it may run beside servers
and beside itself, and be stopped at any time. What was counted stays (`repositories.retention`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from server import log
from server.repositories import audit, retention
from server.repositories.pool import Conn, Pool, unit_of_work
from server.repositories.retention import Due

logger = log.get("jobs")

# Rows of a transaction: 1,000 of them take some 20 ms.
BATCH = 1_000


class Batch(Protocol):
    """Clears or deletes the oldest rows, in one statement; how many."""

    def __call__(self, conn: Conn, *, before: datetime, limit: int) -> Awaitable[int]: ...


class Kind(msgspec.Struct, frozen=True):
    """`name` is the field of `Due`, `label` says what is done, `tools` whether tools' time counts for it."""

    name: str
    label: str
    batch: Batch
    tools: bool = False


# Events first: a replay with words is never newer than a snapshot without.
KINDS: tuple[Kind, ...] = (
    Kind("events", "events deleted", retention.delete_events),
    Kind("messages", "messages emptied", retention.clear_messages),
    Kind("summaries", "summaries removed", retention.clear_summaries),
    Kind("steps", "steps of turns emptied", retention.clear_steps),
    Kind("whispers", "whispers deleted", retention.delete_whispers),
    Kind("model_traffic", "raw calls of models deleted", retention.delete_model_traffic),
    Kind("tool_calls", "tool calls deleted", retention.delete_tool_calls, tools=True),
)


# Told after every batch: of which kind, how many rows are done, and how many were due when the run began.
Progress = Callable[[Kind, int, int], None]


class Result(msgspec.Struct, frozen=True):
    """Rows by kind, in the order of `KINDS`: removed, or in a dry run still to be removed."""

    rows: dict[str, int]
    dry_run: bool
    words_before: datetime
    tools_before: datetime
    seconds: float


def _quiet(_kind: Kind, _done: int, _due: int) -> None:
    """Nobody looks."""


async def run(
    pool: Pool,
    *,
    dry_run: bool = False,
    batch: int = BATCH,
    progress: Progress = _quiet,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """One run, to the end. Raises Unavailable; what was removed until then stays removed, and another run goes on.

    After each batch `pause` is awaited with the seconds that it took: half of the time is the servers'.
    """
    began = time.monotonic()
    async with unit_of_work(pool) as conn:
        await retention.be_patient(conn)
        line = await retention.cutoffs(conn)
        due = await retention.due(conn, words=line.words, tools=line.tools)
    rows: dict[str, int] = {}
    for kind in KINDS:
        expected = _due(due, kind)
        rows[kind.name] = expected
        progress(kind, 0, expected)
        if not dry_run:
            before = line.tools if kind.tools else line.words
            rows[kind.name] = await _remove(pool, kind, before, expected, batch, progress, pause)
    if not dry_run:
        async with unit_of_work(pool) as conn:
            await audit.record(
                conn,
                client_id=None,
                operator_id=None,
                action=retention.ACTION,
                target_type="installation",
                target_id="retention",
                details=rows,
            )
        logger.info("retention ran", **rows)
    return Result(rows, dry_run, line.words, line.tools, time.monotonic() - began)


async def _remove(
    pool: Pool,
    kind: Kind,
    before: datetime,
    due: int,
    batch: int,
    progress: Progress,
    pause: Callable[[float], Awaitable[None]],
) -> int:
    done = 0
    while True:
        began = time.monotonic()
        async with unit_of_work(pool) as conn:
            removed = await kind.batch(conn, before=before, limit=batch)
        done += removed
        progress(kind, done, due)
        if removed < batch:
            return done
        await pause(time.monotonic() - began)


def _due(due: Due, kind: Kind) -> int:
    count: int = getattr(due, kind.name)
    return count
