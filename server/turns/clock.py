"""A turn's time. It stands still while a visitor decides, which is theirs and not the model's, and while the turn waits
for Postgres: then nobody works on it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds of a turn that tools may not have, so that the model can still say what became of them.
ANSWER_S = 15.0


class Clock:
    """Wraps the timeout that ends the turn."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._time = asyncio.get_running_loop().time
        self._pauses = 0
        self._left = 0.0

    def left(self) -> float:
        """Seconds until the turn ends."""
        when = self._timeout.when()
        return self._left if when is None else max(0.0, when - self._time())

    def for_tools(self) -> float:
        """Seconds that a tool may take. At least 1, so that it fails by itself and says so."""
        return max(1.0, self.left() - ANSWER_S)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Several may pause it at once; it goes on when the last one does. Once the time is over it stays so."""
        if self._timeout.expired():
            yield
            return
        if self._pauses == 0:
            self._left = self.left()
            self._timeout.reschedule(None)
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if self._pauses == 0 and not self._timeout.expired():
                self._timeout.reschedule(self._time() + self._left)
