"""Where a client's widget was seen. The request that tells it waits for nothing: what is seen is written behind it.

An origin is noted once a minute. What is kept here and written is bounded, because anybody can send any origin: those
that a client allows always count, of others ten a minute.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress

from server import log
from server.errors import Unavailable
from server.net.origin import normal_origin
from server.repositories import sightings
from server.repositories.clients import Client
from server.repositories.pool import Pool, unit_of_work
from server.repositories.sightings import MARK_S

logger = log.get("sightings")

# Seconds in which sightings are gathered into one statement.
GATHER_S = 1.0
# Pairs of client and origin that one statement writes.
AT_ONCE = 500
# Pairs that are remembered as noted; past it the oldest go, and are noted again.
KEPT = 10_000
# Origins a minute that a client does not allow.
STRANGERS = 10
# Characters of an origin: a host has 253.
LONGEST = 300
# Characters of a Referer that is looked at.
_PAGE_LONGEST = 4_000


class Sightings:
    """One instance's. `note` never waits and never fails."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # When each pair was last noted, the oldest first.
        self._noted: dict[tuple[int, str], float] = {}
        self._waiting: set[tuple[int, str]] = set()
        self._strangers: Counter[int] = Counter()
        self._minute = 0
        self._writer: asyncio.Task[None] | None = None

    def note(self, client: Client, page: str | None) -> None:
        """A page loaded this client's widget. `page` is its `Origin`, or its `Referer`."""
        origin = normal_origin(page) if page and len(page) <= _PAGE_LONGEST else None
        if origin is None or len(origin) > LONGEST:
            return
        key, now = (client.id, origin), time.monotonic()
        noted = self._noted.get(key)
        if noted is not None and now - noted < MARK_S:
            return
        if origin not in client.allowed_origins and not self._room_for_stranger(client.id, now):
            return
        self._noted.pop(key, None)
        self._noted[key] = now
        while len(self._noted) > KEPT:
            del self._noted[next(iter(self._noted))]
        self._waiting.add(key)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """What is not written yet is not worth waiting for: the page will be seen again."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer

    def _room_for_stranger(self, client_id: int, now: float) -> bool:
        if (minute := int(now // MARK_S)) != self._minute:
            self._minute = minute
            self._strangers.clear()
        self._strangers[client_id] += 1
        return self._strangers[client_id] <= STRANGERS

    async def _write(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_S)
                seen = sorted(self._waiting)[:AT_ONCE]
                self._waiting.difference_update(seen)
                try:
                    async with unit_of_work(self._pool) as conn:
                        await sightings.record(conn, seen=seen)
                        await sightings.prune(conn, client_ids=sorted({client_id for client_id, _ in seen}))
                except Unavailable as error:
                    logger.warning("sightings not written", count=len(seen), reason=error.message)
                except Exception:
                    # No request may ever hear of it, and the next sighting tries again.
                    logger.exception("sightings not written", count=len(seen))
        finally:
            self._writer = None
