"""Shows that this instance lives, and notices within about two seconds that another one does not.

It only ever hastens a takeover: the lease and the gen decide who writes. A wrong guess costs one restart of an answer.
So nobody is guessed dead whom this instance has not seen alive, or whose lock was not missing for a while, or by an
instance that has lost its own lock: then it is Postgres that went away, and the others come back as we do.

After such a blindness leases have run out that their owners could not extend. They may renew them, so an instance that
was blind, or has just begun, leaves them a while to owners whose lock is there; and it gives everybody a moment to get
the lock again. One who was not blind takes what has run out at once: the owner alone was away, or is frozen.
"""

import asyncio
import time

from server import log
from server.errors import FrontdeskError, Unavailable
from server.repositories import presence
from server.repositories.pool import Pool, reading
from server.repositories.presence import Look

logger = log.get("turns")

# Seconds an instance's lock must be missing before it counts as dead: time to come back to a Postgres that restarted.
# A little under the sweep's second, so that two looks in a row are enough.
MISSING_S = 0.9
# Seconds after a blindness in which nobody counts as dead: each comes back in its own time.
RETURN_S = 2.0
# Seconds after a blindness, or after the start, in which who lives may still renew a lease that ran out: a pool finds
# the database within 3 s of its return, and a lease is tried for again every half second.
FAIR_S = 5.0
# Seconds between two looks that are a blindness too, as of a Postgres that hung, or of this process: a lease that is
# extended every 5 s has 10 left at the least.
LATE_S = 8.0
# Seconds between two tries to get the lock back.
RETRY_S = 0.25
# Seconds the start waits for the lock.
PATIENCE_S = 5.0


class Presence:
    """One instance's own lock, and what it has seen of the others'."""

    def __init__(self, pool: Pool, instance: str) -> None:
        self._pool = pool
        self._instance = instance
        self._held = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Keys of instances that lived at some look.
        self._seen: set[int] = set()
        # Since when an instance's lock is missing, by the clock of this process.
        self._missing: dict[str, float] = {}
        # Since when this instance sees, by the same clock: the first look after the start or a blindness.
        self._sees_since: float | None = None
        self._was_blind = False
        self._looked_at = time.monotonic()

    async def start(self) -> None:
        """Takes the lock, and from now on keeps it. Without it the instance works, and leases alone decide."""
        self._task = asyncio.create_task(self._keep(), name="presence")
        try:
            await asyncio.wait_for(self._held.wait(), PATIENCE_S)
        except TimeoutError:
            logger.warning("no lock to show that this instance lives; its leases do", instance=self._instance)
            return
        await self._look_around()

    async def _look_around(self) -> None:
        """Who lives already: one of them may die before the first sweep has seen them."""
        try:
            async with reading(self._pool) as conn:
                self._seen |= (await presence.look(conn)).living
        except Unavailable as error:
            logger.warning("nobody seen yet", reason=error.message)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def dead(self, look: Look) -> list[str]:
        """The owners of running turns that have died, as of this look. Looks are a second apart."""
        now = time.monotonic()
        if now - self._looked_at > LATE_S:
            self.blind()
        self._looked_at = now
        self._seen |= look.living
        if not self._held.is_set():
            self._missing.clear()
            return []
        missing = [
            owner
            for owner in look.owners
            if owner != self._instance and presence.key(owner) in self._seen - look.living
        ]
        self._missing = {owner: self._missing.get(owner, now) for owner in missing}
        if self._was_blind and self._seeing(now) < RETURN_S:
            return []
        return [owner for owner, since in self._missing.items() if now - since >= MISSING_S]

    def spared(self, look: Look) -> list[str]:
        """The other owners of running turns whose leases are left alone as of this look, though they ran out."""
        now = time.monotonic()
        others = [owner for owner in look.owners if owner != self._instance]
        if self._was_blind and self._seeing(now) < RETURN_S:
            return others
        if self._seeing(now) < FAIR_S:
            return [owner for owner in others if presence.key(owner) in look.living]
        return []

    def blind(self) -> None:
        """A look failed: what was missing before it may be back by the next one."""
        self._missing.clear()
        self._sees_since, self._was_blind = None, True

    def _seeing(self, now: float) -> float:
        """Seconds since the first look that did not fail. A failed one may have been long before it."""
        if self._sees_since is None:
            self._sees_since = now
        return now - self._sees_since

    async def _keep(self) -> None:
        while True:
            try:
                async with presence.held(self._pool, instance=self._instance) as conn:
                    self._held.set()
                    await presence.watch(conn)
            except Unavailable as error:
                logger.warning("presence lost", reason=error.message, retry_s=RETRY_S)
            except FrontdeskError as error:
                logger.warning("presence refused", code=error.code, reason=error.message, retry_s=RETRY_S)
            except Exception:
                # A bug, or an error of Postgres without a name of ours: the lock must be tried for again.
                logger.exception("presence broke", retry_s=RETRY_S)
            finally:
                # A lock that cannot be had at all makes nobody blind: then leases alone decide.
                if self._held.is_set():
                    self._held.clear()
                    self.blind()
            await asyncio.sleep(RETRY_S)
