"""A turn's lease as far as its own process can know it: whether what the model says may still be shown.

Postgres decides who writes; this says, without asking, whether the last thing it said still holds. It does not once an
extension failed, or once the lease could have run out since the last one that did not. From then on the turn reads and
shows nothing, and its clock stands still (`clock`), until the row says again that it is ours.

Still ours is a turn whose row has this owner and this gen, however long ago its lease ran out: nobody took it, and the
extension makes the lease whole again in one statement. Whoever takes it raises the gen; then the extension finds
nothing, and the turn stops at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from server import log
from server.errors import FenceLost, FrontdeskError, Unavailable
from server.turns.clock import Clock

logger = log.get("turns")

# Seconds a lease lasts by the database's clock (reliability).
LEASE_S = 15.0
# Seconds of it that its owner does not count on: the way of the statement, and clocks that do not run alike.
MARGIN_S = 1.0
# Seconds between two tries while Postgres is away.
RETRY_S = 0.5
# Tries of one thing while the lease holds: then it is not the database that is away. Half a minute.
TRIES = 60

T = TypeVar("T")


class Interrupted(FrontdeskError):
    """The model's stream did not outlive the wait for Postgres: the turn is to be begun again. Internal."""

    code = "interrupted"
    temporary = True


class Lease:
    """One turn's. It was claimed not before `asked_at` (seconds of `time.monotonic`), which is now if not given."""

    __slots__ = ("_renewed", "_until")

    def __init__(self, asked_at: float | None = None) -> None:
        self._renewed = asyncio.Event()
        self._until = 0.0
        self.renew(time.monotonic() if asked_at is None else asked_at)

    @property
    def holds(self) -> bool:
        """Whether the turn is surely ours. Asked for every piece of text."""
        return time.monotonic() < self._until

    def renew(self, asked_at: float) -> None:
        """Postgres said so to a question that was asked then."""
        self._until = asked_at + LEASE_S - MARGIN_S
        self._renewed.set()

    def doubt(self) -> None:
        """An extension failed."""
        self._until = float("-inf")

    async def again(self) -> None:
        """Returns when the turn is surely ours. Never, when it is not any more: then its task is cancelled."""
        while not self.holds:
            self._renewed.clear()
            await self._renewed.wait()


async def patiently(lease: Lease, work: Callable[[], Awaitable[T]], *, clock: Clock | None = None) -> T:
    """`work`, tried again while Postgres is away, with `clock` standing still meanwhile.

    Raises FenceLost when Postgres renews leases and still does not do this: the next owner tries it.
    """
    for _ in range(TRIES):
        if not lease.holds:
            await waiting(lease, clock)
        try:
            return await work()
        except Unavailable as error:
            if error.dependency != "postgres":
                raise
            logger.warning("turn waits for postgres", reason=error.message)
        await asyncio.sleep(RETRY_S)
    raise FenceLost("postgres did not take it, though it is there")


async def waiting(lease: Lease, clock: Clock | None) -> None:
    """Until the lease holds again; the turn's clock, where it has one, stands still."""
    if clock is None:
        await lease.again()
        return
    with clock.paused():
        await lease.again()
