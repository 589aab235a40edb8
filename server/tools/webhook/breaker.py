"""Circuit breakers: a webhook that fails again and again is left alone for a while, and calls fail at once instead.

A visitor who waits 15 s to hear that the shop's system is down, and every other visitor after them, is what this
spares; and a system that is struggling is not asked on top of it.

    closed --5 failures in a row--> open --30 s--> half open --the one trial succeeds--> closed
                                      ^                 |
                                      +--- it fails ----+

Only what the other side does counts. An answer that refuses (4xx) is an answer: whoever gives it is there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]

# Failures in a row: two visitors who each try twice, and one more.
FAILURES = 5
# Seconds of rest: about what restarting a workflow server takes.
REST_S = 30.0
# Breakers kept, the least recently used go first: 500 clients with four tools each. One is about 200 bytes.
KEPT = 2_000


class Breaker:
    """The state of one webhook. Pure: time comes from `clock`, in seconds.

    `admit` before a call; what it returns is handed back to `report` with how the call went, whatever happens.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        # A call that was admitted before the last change of state says nothing about the state now.
        self._era = 0
        self._trial = False

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() - self._opened_at < REST_S else "half_open"

    @property
    def rests_s(self) -> float:
        """Seconds until a trial may go out; 0 when calls may."""
        return 0.0 if self._opened_at is None else max(0.0, self._opened_at + REST_S - self._clock())

    def admit(self) -> int | None:
        """A ticket for one call; None when it must not go out."""
        match self.state:
            case "closed":
                return self._era
            case "half_open" if not self._trial:
                self._trial = True
                return self._era
            case _:
                return None

    def report(self, ticket: int, healthy: bool | None) -> None:
        """How the call went: True when the other side was there, None when nothing can be said (it was cancelled)."""
        if ticket != self._era:
            return
        self._trial = False
        if healthy:
            self._failures = 0
            if self._opened_at is not None:
                self._opened_at = None
                self._era += 1
        elif healthy is not None:
            self._failures += 1
            if self._opened_at is not None or self._failures >= FAILURES:
                self._opened_at = self._clock()
                self._failures = 0
                self._era += 1


class Breakers:
    """One breaker for each webhook of each client: another client's calls say nothing about this one's rights there."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breakers: OrderedDict[tuple[int, str], Breaker] = OrderedDict()

    def of(self, client_id: int, url: str) -> Breaker:
        breaker = self._breakers.get((client_id, url))
        if breaker is None:
            while len(self._breakers) >= KEPT:
                self._breakers.popitem(last=False)
            breaker = self._breakers[client_id, url] = Breaker(self._clock)
        self._breakers.move_to_end((client_id, url))
        return breaker

    def __len__(self) -> int:
        return len(self._breakers)
