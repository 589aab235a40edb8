"""Where the time of a turn went, as bars for a waterfall. Pure.

All times are the database's, so that bars of models and of tools stand where they belong.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from server.repositories.model_traffic import Exchange
from server.repositories.tool_executions import ToolExecution
from server.repositories.turn_steps import TurnStep

SpanKind = Literal["preparing", "model", "first", "approval", "tool", "writing"]


class Span(msgspec.Struct, frozen=True):
    """`start_ms` after the turn was made, `ms` long; None while it lasts, or where nobody can know."""

    kind: SpanKind
    name: str
    start_ms: int
    ms: int | None
    ok: bool | None


def spans(
    created_at: datetime,
    finished_at: datetime | None,
    exchanges: Sequence[Exchange],
    executions: Sequence[ToolExecution],
    steps: Sequence[TurnStep],
) -> list[Span]:
    """In the order in which they began."""
    bars = [*_models(created_at, exchanges), *_tools(created_at, executions, steps)]
    if bars:
        bars.append(Span("preparing", "prompt, history, tools", 0, min(bar.start_ms for bar in bars), ok=True))
    if exchanges and finished_at is not None:
        said = _since(created_at, exchanges[-1].started_at) + exchanges[-1].ms
        bars.append(Span("writing", "answer", said, max(0, _since(created_at, finished_at) - said), ok=True))
    return sorted(bars, key=lambda bar: bar.start_ms)


def _models(created_at: datetime, exchanges: Sequence[Exchange]) -> Iterator[Span]:
    for each in exchanges:
        start, ok = _since(created_at, each.started_at), each.error is None
        yield Span("model", each.model, start, each.ms, ok)
        if each.first_ms is not None:
            yield Span("first", each.model, start, each.first_ms, ok)


def _tools(created_at: datetime, executions: Sequence[ToolExecution], steps: Sequence[TurnStep]) -> Iterator[Span]:
    ended = {step.no: step.finished_at for step in steps if step.kind == "tool"}
    for row in executions:
        asked, over = _since(created_at, row.timestamp), ended.get(number_of(row.call_id))
        if row.approval is None:
            if row.attempt:
                yield Span("tool", row.tool_name, asked, row.execution_time_ms, row.success)
            continue
        # The row was made when the visitor was asked; when it ended and how long it took is known.
        began = None if over is None else max(asked, _since(created_at, over) - (row.execution_time_ms or 0))
        decided = None if began is None else began - asked
        yield Span("approval", row.tool_name, asked, decided, row.approval == "approved")
        if began is not None and row.attempt:
            yield Span("tool", row.tool_name, began, row.execution_time_ms, row.success)


def number_of(call_id: str) -> int:
    """The step's number in a call's key, `turn_id:no`."""
    return int(call_id.rpartition(":")[2])


def _since(created_at: datetime, at: datetime) -> int:
    return max(0, round((at - created_at).total_seconds() * 1000))
