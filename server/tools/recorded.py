"""Tools of a test: their calls are answered from the record of a conversation, and nothing ever goes out.

The tools are the client's own as they are now, with their descriptions, schemas and policies; only what does their work
is replaced, so that no address and no secret is within reach.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from server.tools.result import failure
from server.tools.tool import Outcome, Recorded, RecordedCall, Tool
from server.tools.toolbox import Toolbox

# How the error of a call begins that is not on record: the results of a run say so.
UNMATCHED = "not on record: "
# Recorded arguments that the model is shown beside its own.
_SHOWN = 3


class Recording(msgspec.Struct, frozen=True):
    """The calls of a conversation, by question. `verified`: its visitor was signed in."""

    verified: bool
    questions: list[list[RecordedCall]]


def recorded_toolbox(toolbox: Toolbox, recording: Recording, *, question: int) -> Toolbox:
    """The same tools, answered from the record: first from that of this question (counted from 1), then of the others.

    None of them asks the visitor first: nothing can happen.
    """
    first = recording.questions[question - 1] if 0 < question <= len(recording.questions) else []
    others = [call for no, calls in enumerate(recording.questions, 1) if no != question for call in calls]
    calls = [*first, *others]
    return Toolbox(
        msgspec.structs.replace(
            tool, confirm=False, source=Recorded(tuple(call for call in calls if call.tool == tool.name))
        )
        for tool in toolbox.tools.values()
    )


def answer(tool: Tool, source: Recorded, arguments: Mapping[str, Any]) -> Outcome:
    """What the model read of the same call; an error for one that is not on record.

    Arguments that the server fills do not count: another visitor stands there. A call that was made several times is
    answered with each in turn, then with the last.
    """
    wanted = _free(tool, arguments)
    same = [at for at, call in enumerate(source.calls) if _free(tool, call.arguments) == wanted]
    if not same:
        return _unmatched(tool, source, wanted)
    at = next((at for at in same if at not in source.served), same[-1])
    source.served.add(at)
    call = source.calls[at]
    return Outcome(call.ok, call.content, error=None if call.ok else "failed on record")


def _free(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in tool.bound}


def _unmatched(tool: Tool, source: Recorded, wanted: Mapping[str, Any]) -> Outcome:
    known = [msgspec.json.encode(_free(tool, call.arguments)).decode() for call in source.calls[:_SHOWN]]
    there = f"recorded are the arguments {' and '.join(known)}" if known else f"no call of {tool.name} is recorded"
    words = f"this is a test, and its record has no such call; {there}"
    asked = msgspec.json.encode(wanted).decode()
    return Outcome(False, failure(words), error=f"{UNMATCHED}{tool.name} with {asked}"[:500])
