"""What this instance tells of itself, every few seconds, so that any instance can show all of them.

It goes to Postgres: it works without Redis, and a console that reads it reads what is no older than TELL_S.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from server import __version__, log
from server.errors import FrontdeskError
from server.fanout.hub import Hub
from server.llm.figures import ModelCalls, ModelCount
from server.repositories import instances
from server.repositories.pool import Pool, reading
from server.turns.supervisor import Supervisor

logger = log.get("turns")

# Seconds between two tellings: one small statement.
TELL_S = 5.0
# Seconds that an instance which ends takes to say so.
FORGET_S = 1.0
# Linux's; elsewhere memory is not told.
_STATM = Path("/proc/self/statm")
_PAGE = 4096


class SocketCount(msgspec.Struct, frozen=True):
    """Open sockets by who is at the other end."""

    visitors: int = 0
    operators: int = 0


class Figures(msgspec.Struct, frozen=True):
    """`memory_bytes` is what the process holds; None where that cannot be read."""

    sockets: SocketCount
    running_turns: int
    draining: bool
    redis_away: bool
    memory_bytes: int | None
    models: list[ModelCount]


class Vitals:
    """One instance's. `models` is where calls of models are counted."""

    def __init__(self, *, pool: Pool, hub: Hub, supervisor: Supervisor, instance: str, models: ModelCalls) -> None:
        self.models = models
        self._pool = pool
        self._hub = hub
        self._supervisor = supervisor
        self._instance = instance
        self._began = time.monotonic()
        self._sockets: Callable[[], SocketCount] = SocketCount
        self._task: asyncio.Task[None] | None = None

    def count_sockets(self, sockets: Callable[[], SocketCount]) -> None:
        """Where sockets are counted; there are none before."""
        self._sockets = sockets

    async def start(self) -> None:
        """Tells, and goes on telling."""
        await self._try_to_tell()
        self._task = asyncio.create_task(self._keep_telling(), name="vitals")

    async def stop(self) -> None:
        """Ends it. An instance that ended is not shown any more, one that died is, for an hour."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(FORGET_S), reading(self._pool) as conn:
                await instances.forget(conn, instance=self._instance)
        except (FrontdeskError, TimeoutError) as error:
            logger.info("not signed off; its row goes by itself", reason=str(error))

    def figures(self) -> Figures:
        """As of now."""
        return Figures(
            sockets=self._sockets(),
            running_turns=self._supervisor.running,
            draining=self._supervisor.draining,
            redis_away=self._hub.bus.away,
            memory_bytes=_memory(),
            models=self.models.now(),
        )

    async def tell(self) -> None:
        """Once, now. Raises Unavailable."""
        async with reading(self._pool) as conn:
            await instances.tell(
                conn,
                instance=self._instance,
                version=__version__,
                running_s=time.monotonic() - self._began,
                figures=self.figures(),
            )

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            await self._try_to_tell()

    async def _try_to_tell(self) -> None:
        try:
            await self.tell()
        except FrontdeskError as error:
            logger.warning("not told how this instance is", code=error.code, reason=error.message)
        except Exception:
            # Nothing depends on it, and the next round must come whatever this one met.
            logger.exception("telling how this instance is broke")


def _memory() -> int | None:
    try:
        return int(_STATM.read_text("ascii").split()[1]) * _PAGE
    except OSError:
        return None
