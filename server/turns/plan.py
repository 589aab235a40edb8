"""What becomes of each call that a model wants made: refused, asked of the visitor first, or sent out. Pure."""

from typing import Any

import msgspec

from server.llm.provider import ToolCall
from server.repositories.turn_steps import TurnStep
from server.tools.labels import label
from server.tools.policy import Refused, admit
from server.tools.result import failure
from server.tools.tool import Caller, Tool
from server.tools.toolbox import BadArguments, Toolbox
from server.turns.budget import STEP_CALLS, Budget
from server.turns.steps import Asked, Result, result_of

# Characters kept of a tool's name that no tool has: a model may write anything.
NAME_CHARACTERS = 64

# A visitor is asked one thing of a kind at a time.
ONE_QUESTION = "the visitor is being asked about another call of this tool; wait for what they say"
DECLINED = "the visitor did not approve this; do not ask them again, offer something else"


class Planned(msgspec.Struct):
    """One call of a step. `result` is there once it is over; with `attempt` 0 it has not gone out."""

    no: int
    key: str
    made: ToolCall
    tool: Tool | None
    label: str
    arguments: dict[str, Any] = {}
    result: Result | None = None
    # What an earlier life of the turn recorded of it.
    kept: TurnStep | None = None
    asks: bool = False
    # It had gone out when the turn's instance died, and must not go out again.
    lost: bool = False
    attempt: int = 0

    @property
    def ended_before(self) -> bool:
        """It was over in an earlier life of the turn."""
        return self.kept is not None and self.kept.state != "started"

    @property
    def went_out(self) -> bool:
        """It may have had an effect."""
        return self.attempt > 0 or self.kept is not None

    @property
    def over(self) -> Result:
        if self.result is None:
            raise RuntimeError(f"{self.key} has no result")
        return self.result


def plan(asked: Asked, *, toolbox: Toolbox, caller: Caller, budget: Budget) -> list[Planned]:
    """All calls of a model's step, in its order."""
    planned = [
        _plan(asked, at, toolbox=toolbox, caller=caller, budget=budget) for at in range(len(asked.decision.calls))
    ]
    asking: set[str] = set()
    for call in planned:
        if call.asks and call.made.name in asking:
            call.asks, call.result = False, Result(failure(ONE_QUESTION), ok=False)
        elif call.asks:
            asking.add(call.made.name)
    return planned


def _plan(asked: Asked, at: int, *, toolbox: Toolbox, caller: Caller, budget: Budget) -> Planned:
    made, no = asked.decision.calls[at], asked.number(at)
    tool = toolbox.tools.get(made.name)
    words = label(tool, caller.locale) if tool else made.name[:NAME_CHARACTERS]
    planned = Planned(no, f"{caller.turn_id}:{no}", made, tool, words, kept=(asked.kept or {}).get(no))
    if planned.kept is not None and planned.ended_before:
        planned.result = result_of(planned.kept)
        if planned.result.mend:
            budget.wrong(made.name)
        if planned.result.declined:
            budget.declined.add(made.name)
        return planned
    refusal = _refusal(planned, at, toolbox=toolbox, caller=caller, budget=budget)
    if planned.kept is None:
        planned.result = refusal
        planned.asks = refusal is None and tool is not None and tool.confirm
    else:
        # What may not go out now may have had its effect before.
        planned.lost = refusal is not None or tool is None or tool.effect == "unsafe"
    return planned


def _refusal(planned: Planned, at: int, *, toolbox: Toolbox, caller: Caller, budget: Budget) -> Result | None:
    """Why the call may not go out, in words for the model; None when it may. Fills the arguments."""
    tool, name = planned.tool, planned.made.name
    if at >= STEP_CALLS or not budget.take():
        return Result(failure("too many calls; answer with what is known"), ok=False)
    if name in budget.declined:
        return Result(failure(DECLINED), ok=False)
    if tool is None or name in budget.withheld():
        budget.wrong(name)
        there = ", ".join(sorted(toolbox.tools.keys() - budget.withheld())) or "none"
        return Result(failure(f"there is no such tool; there are: {there}"), ok=False, mend=True)
    try:
        planned.arguments = admit(tool, toolbox.checked(tool, planned.made.arguments), caller)
    except BadArguments as error:
        words = error.message if budget.wrong(name) else "the arguments are wrong; this tool cannot be used any more"
        return Result(failure(words), ok=False, mend=True)
    except Refused as error:
        return Result(failure(str(error)), ok=False)
    return None
