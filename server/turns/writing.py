"""How a running turn writes: only while it is entitled to, and again when Postgres comes back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from server.errors import FenceLost
from server.journal import Entry, Journal
from server.repositories import turn_leases
from server.turns.clock import Clock
from server.turns.job import Job
from server.turns.lease import patiently

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
            ours = await turn_leases.fence(
                entry.conn, client_id=job.client.id, turn_id=row.id, gen=row.gen, owner=row.owner or ""
            )
            await entry.locked()
            if not ours:
                raise FenceLost(f"turn {row.public_id} is no longer ours")
            yield entry

    async def insist(
        self,
        job: Job,
        write: Callable[[], Awaitable[T]],
        *,
        written: Callable[[], Awaitable[T | None]],
        clock: Clock | None = None,
    ) -> T:
        """`write`, tried again when Postgres is back and the turn still ours; `clock` stands still meanwhile.

        A commit whose answer was lost may have gone through: `written` looks, and gives what `write` would have given.
        Raises FenceLost.
        """
        tried = False

        async def attempt() -> T:
            nonlocal tried
            if tried and (before := await written()) is not None:
                # Committed, and never published.
                await self._journal.republish(job.client.id, job.conversation)
                return before
            tried = True
            return await write()

        return await patiently(job.lease, attempt, clock=clock)
