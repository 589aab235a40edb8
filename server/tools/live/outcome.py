"""How a look-up in a client's own system ended: what the model reads, what is recorded. Pure."""

from typing import Any

from server.errors import EgressError, RateLimited
from server.tools.result import IN_DOUBT, UNDONE, failure, reading, recordable
from server.tools.tool import Effect, Outcome
from server.tools.webhook import answer

NOTHING_FOUND = "The business's system was asked and has nothing that matches this."
DONE = answer.NOTHING_TO_SAY
_UNCHECKED = "; this cannot be checked now: say so honestly, do not guess"
# A system without what was asked for says it in one of these ways.
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def found(effect: Effect, value: Any, *, status: int | None, cached: bool = False) -> Outcome:
    """The system's answer. Nothing is an answer too, and is told as nothing."""
    record: dict[str, Any] = {"status": status} if status is not None else {}
    record["data"] = recordable(value)
    if cached:
        record["cached"] = True
    if value in _NOTHING:
        return Outcome(True, NOTHING_FOUND if effect == "read_only" else DONE, response=record)
    return Outcome(True, reading(value), response=record)


def unreachable(effect: Effect, error: EgressError) -> Outcome:
    """No answer."""
    said = answer.unreached(error)
    return failed(effect, said.words, f"{error.kind}: {error.message}", acted=said.acted)


def busy(effect: Effect, error: RateLimited) -> Outcome:
    """The integration's own limit: nothing was sent."""
    return failed(effect, answer.BUSY, f"rate_limit: {error.message}")


def failed(effect: Effect, words: str, error: str, *, acted: bool = False, response: Any = None) -> Outcome:
    """`words` are for the model, `error` for the operator. `acted`: the system may have done what was asked."""
    if effect == "read_only":
        ending, in_doubt = _UNCHECKED, False
    else:
        ending, in_doubt = (IN_DOUBT, True) if acted else (UNDONE, False)
    return Outcome(False, failure(f"{words}{ending}"), response=recordable(response), error=error, in_doubt=in_doubt)


def unusable_arguments(message: str, error: str | None = None) -> Outcome:
    """A value that cannot be sent. The model can mend it. `error` is for the operator, where it says more."""
    return Outcome(False, failure(f"{message}; correct this and try again"), error=error or message)
