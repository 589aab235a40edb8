"""How a running turn writes: only while it is entitled to, and again when Postgres comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from server import log
from server.errors import FenceLost, Unavailable
from server.journal import Entry, Journal
from server.repositories import turns
from server.turns.job import Job

logger = log.get("turns")

# Seconds between tries to write while Postgres is away; the lease decides when to give up.
COMMIT_RETRY_S = 0.5
COMMIT_TRIES = 60

T = TypeVar("T")


class Writer:
    """The writes of turns of one instance."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @asynccontextmanager
    async def fenced(self, job: Job) -> AsyncIterator[Entry]:
        """One transaction of this turn. Raises FenceLost, and nothing is written, when somebody else took it over."""
        row = job.turn
        async with self._journal.write(client_id=job.client.id, conversation_id=job.conversation.id) as entry:
            ours = await turns.fence(
                entry.conn, client_id=job.client.id, turn_id=row.id, gen=row.gen, owner=row.owner or ""
            )
            await entry.locked()
            if not ours:
                raise FenceLost(f"turn {row.public_id} is no longer ours")
            yield entry

    async def insist(
        self, job: Job, write: Callable[[], Awaitable[T]], *, written: Callable[[], Awaitable[T | None]]
    ) -> T:
        """`write`, tried again while Postgres is away. Raises FenceLost.

        A commit whose answer was lost may have gone through: `written` looks, and gives what `write` would have given.
        """
        for attempt in range(COMMIT_TRIES):
            try:
                if attempt and (before := await written()) is not None:
                    # Committed, and never published.
                    await self._journal.republish(job.client.id, job.conversation)
                    return before
                return await write()
            except Unavailable as error:
                logger.warning("turn waits for postgres", turn=job.turn.public_id, reason=error.message)
                await asyncio.sleep(COMMIT_RETRY_S)
        raise FenceLost("postgres stayed away longer than the lease")
