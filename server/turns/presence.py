"""Shows that this instance lives, and notices within about two seconds that another one does not.

It only ever hastens a takeover: the lease and the gen decide who writes. A wrong guess costs one restart of an answer.
So nobody is guessed dead whom this instance has not seen alive, or whose lock was not missing for a while, or by an
instance that has lost its own lock: then it is Postgres that went away, and the others come back as we do.
"""

import asyncio
import time

from server import log
from server.errors import FrontdeskError, Unavailable
from server.repositories import presence
from server.repositories.pool import Pool
from server.repositories.presence import Look

logger = log.get("turns")

# Seconds an instance's lock must be missing before it counts as dead: time to come back to a Postgres that restarted.
# A little under the sweep's second, so that two looks in a row are enough.
MISSING_S = 0.9
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

    async def start(self) -> None:
        """Takes the lock, and from now on keeps it. Without it the instance works, and leases alone decide."""
        self._task = asyncio.create_task(self._keep(), name="presence")
        try:
            await asyncio.wait_for(self._held.wait(), PATIENCE_S)
        except TimeoutError:
            logger.warning("no lock to show that this instance lives; its leases do", instance=self._instance)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def dead(self, look: Look) -> list[str]:
        """The owners of running turns that have died, as of this look. Looks are a second apart."""
        self._seen |= look.living
        if not self._held.is_set():
            self._missing.clear()
            return []
        now = time.monotonic()
        missing = [
            owner
            for owner in look.owners
            if owner != self._instance and presence.key(owner) in self._seen - look.living
        ]
        self._missing = {owner: self._missing.get(owner, now) for owner in missing}
        return [owner for owner, since in self._missing.items() if now - since >= MISSING_S]

    def blind(self) -> None:
        """A look failed: what was missing before it may be back by the next one."""
        self._missing.clear()

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
                self._held.clear()
                self.blind()
            await asyncio.sleep(RETRY_S)
