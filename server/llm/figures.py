"""How models do: calls, failures and times of the last quarter of an hour, per instance, to be added up over instances.

Times are counted in classes that each are a tenth wider than the one below, so that figures of several instances add up
and a percentile is right to a twentieth.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final

import msgspec

from server import metrics
from server.errors import ModelError

# Seconds that figures look back, and how many of them are dropped at once.
WINDOW_S: Final = 900
_SLOT_S: Final = 60
# Models that are counted at a time. A deployment has a handful; a client may name any, so there is an end.
_MODELS: Final = 50
_GROWTH: Final = math.log(1.1)


class ModelCount(msgspec.Struct):
    """Calls of one model. `errors` by code; `first` and `whole` are classes of milliseconds, of calls that worked."""

    provider: str
    model: str
    calls: int = 0
    errors: dict[str, int] = {}
    first: dict[int, int] = {}
    whole: dict[int, int] = {}

    def add(self, other: "ModelCount") -> None:
        """Takes up what another instance, or another minute, counted."""
        self.calls += other.calls
        for code, count in other.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count
        for mine, theirs in ((self.first, other.first), (self.whole, other.whole)):
            for number, count in theirs.items():
                mine[number] = mine.get(number, 0) + count

    def failed(self, code: str) -> None:
        self.calls += 1
        self.errors[code] = self.errors.get(code, 0) + 1

    def worked(self, *, first_s: float | None, whole_s: float) -> None:
        self.calls += 1
        for classes, seconds in ((self.first, first_s), (self.whole, whole_s)):
            if seconds is not None:
                number = _class(seconds)
                classes[number] = classes.get(number, 0) + 1


class ModelCalls:
    """What this instance saw. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: OrderedDict[int, dict[tuple[str, str], ModelCount]] = OrderedDict()

    def call(self, provider: str, model: str) -> "Call":
        """`with` it a model is called."""
        return Call(self, provider, model)

    def now(self) -> list[ModelCount]:
        """What the window holds, by provider and model."""
        self._drop()
        return merged(count for slot in self._slots.values() for count in slot.values())

    def count(self, provider: str, model: str) -> ModelCount:
        """For `Call`: the running minute's."""
        self._drop()
        slot = self._slots.setdefault(int(self._clock() // _SLOT_S), {})
        key = (provider, model)
        if key not in slot and len(slot) >= _MODELS:
            key = (provider, "others")
        return slot.setdefault(key, ModelCount(*key))

    def _drop(self) -> None:
        oldest = int((self._clock() - WINDOW_S) // _SLOT_S)
        while self._slots and next(iter(self._slots)) <= oldest:
            self._slots.popitem(last=False)


class Call:
    """One call. What is cancelled, as by a visitor who stops it, is nobody's failure and is not counted.

    `first_s` is how many seconds after its begin it was `heard`; None before. With `excused` a failure is not the
    model's: it is not counted either.
    """

    __slots__ = ("_at", "_calls", "_model", "_provider", "excused", "first_s")

    def __init__(self, calls: ModelCalls, provider: str, model: str) -> None:
        self.excused = False
        self.first_s: float | None = None
        self._calls = calls
        self._provider = provider
        self._model = model
        self._at = 0.0

    def heard(self) -> None:
        """The model has begun to answer."""
        self.first_s = time.monotonic() - self._at

    def __enter__(self) -> "Call":
        self._at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            outcome = "ok"
            whole_s = time.monotonic() - self._at
            self._calls.count(self._provider, self._model).worked(first_s=self.first_s, whole_s=whole_s)
        elif isinstance(error, ModelError) and not self.excused:
            outcome = error.code
            self._calls.count(self._provider, self._model).failed(outcome)
        else:
            return
        metrics.MODEL_CALLS.labels(self._provider, outcome).inc()


def merged(counts: Iterable[ModelCount]) -> list[ModelCount]:
    """One for each model, by provider and model."""
    found: dict[tuple[str, str], ModelCount] = {}
    for each in counts:
        found.setdefault((each.provider, each.model), ModelCount(each.provider, each.model)).add(each)
    return [found[key] for key in sorted(found)]


def percentile_ms(classes: Mapping[int, int], share: float) -> int | None:
    """The time in ms that so many (0 to 1) of the calls did not pass; None without calls."""
    wanted = math.ceil(sum(classes.values()) * share)
    seen = 0
    for number in sorted(classes):
        seen += classes[number]
        if seen >= wanted:
            # The middle of the class.
            return round(math.exp((number + 0.5) * _GROWTH))
    return None


def _class(seconds: float) -> int:
    return int(math.log(max(1.0, seconds * 1000)) / _GROWTH)
