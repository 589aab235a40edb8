"""The committed decisions of a turn: what the model wanted done, and what each call of a tool gave.

    no 1  llm   done     "Let me look." + two calls
    no 2  tool  done     what the model reads of the first
    no 3  tool  started  the second is under way
    no 4  llm   ...

A call's number is fixed by the model's step before it, so its key (`turn_id:no`) is the same for every try.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from server.llm.provider import ModelRequest, ToolCall, Usage
from server.repositories.turn_steps import TurnStep


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's step: what it said and what it wants done. `by` are provider and model of a fallback."""

    text: str
    calls: tuple[ToolCall, ...]
    tokens_input: int
    usage: Usage | None = None
    by: tuple[str, str] | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool's step: what the model reads of it. `mend`: the arguments were wrong and the model may try again;
    `declined`: the visitor did not approve it."""

    content: str
    ok: bool
    mend: bool = False
    declined: bool = False


class Asked(msgspec.Struct, frozen=True):
    """A model's step with its number. `kept` are the steps of its calls that an earlier life of the turn committed, by
    number; None when the step is new and nothing of it is committed."""

    no: int
    decision: Decision
    kept: dict[int, TurnStep] | None = None

    def number(self, at: int) -> int:
        """The number of the call at this place of `decision.calls`."""
        return self.no + 1 + at


def replayed(rows: Sequence[TurnStep]) -> list[Asked]:
    """What an earlier life of the turn committed, in order."""
    asked: list[Asked] = []
    kept: dict[int, TurnStep] = {}
    for row in rows:
        if row.kind == "llm":
            kept = {}
            asked.append(Asked(row.no, msgspec.convert(row.result, Decision), kept))
        else:
            kept[row.no] = row
    return asked


def result_of(step: TurnStep) -> Result:
    return msgspec.convert(step.result, Result)


def request_hash(request: ModelRequest) -> bytes:
    """Names what the model was asked, whatever time was left."""
    return _hash((request.model, request.messages, request.tools, request.tool_choice))


def call_hash(name: str, arguments: str) -> bytes:
    return _hash((name, arguments))


def _hash(value: Any) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()
