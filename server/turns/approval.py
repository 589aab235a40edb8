"""Tools that ask first: waits for the visitor's yes or no, which any instance may have been told."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from server import log
from server.errors import Unavailable
from server.fanout.signals import Signals
from server.repositories import tool_executions
from server.repositories.pool import Pool, reading
from server.turns.job import Job

logger = log.get("turns")

# Seconds a visitor has to answer: long enough to read and decide, short enough that nobody acts on an old yes.
APPROVAL_S = 90.0
# Seconds between two looks, for the case that Redis lost the signal; the question is asked again then too, because
# a visitor who came meanwhile may not have seen it.
LOOK_S = 3.0

Verdict = Literal["approved", "declined", "expired"]


class Approvals:
    """Waits for answers; they are kept in `tool_executions`."""

    def __init__(self, pool: Pool, signals: Signals) -> None:
        self._pool = pool
        self._signals = signals

    async def wait(self, job: Job, call_id: str, *, until: datetime, ask: Callable[[], None]) -> Verdict:
        """The visitor's verdict. `ask` shows the question; it is called again and again until there is an answer."""
        with self._signals.listening(call_id) as told:
            while True:
                told.clear()
                try:
                    verdict = await self._look(job, call_id, expired=datetime.now(UTC) >= until)
                except Unavailable as error:
                    # The answer, if there is one, is safe; the turn's lease decides how long to wait for Postgres.
                    logger.warning("approval not read", turn=job.turn.public_id, reason=error.message)
                    verdict = None
                if verdict is not None:
                    return verdict
                ask()
                left = (until - datetime.now(UTC)).total_seconds()
                try:
                    async with asyncio.timeout(min(LOOK_S, max(left, 0.05))):
                        await told.wait()
                except TimeoutError:
                    continue

    async def _look(self, job: Job, call_id: str, *, expired: bool) -> Verdict | None:
        client_id = job.client.id
        async with reading(self._pool) as conn:
            # From then on nobody can approve: whoever was quicker counts.
            if expired and await tool_executions.decline(
                conn, client_id=client_id, turn_id=job.turn.id, call_id=call_id
            ):
                return "expired"
            row = await tool_executions.find_call(conn, client_id=client_id, turn_id=job.turn.id, call_id=call_id)
        if row is None or row.approval == "asked":
            return None
        return "approved" if row.approval == "approved" else "declined"
