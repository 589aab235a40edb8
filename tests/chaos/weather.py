"""A Postgres and a Redis that a row takes away at once, freezes, and brings back at the same address.

They are the embedded ones on Unix sockets, Postgres with its durable settings: what it said it committed must be there
after `kill`. Every spell without the service is kept with its times, by this process' monotonic clock.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Literal

import msgspec
import psutil

from server.embedded.postgres import Postgres
from server.embedded.redis import Redis

# Seconds between two restarts (reliability).
EVERY_S = (5.0, 40.0)
# Seconds that a restart takes at most besides the start itself.
DOWN_S = 1.5
# One spell in so many is a freeze: connections stay, and nothing is said on them.
FREEZE_ONE_IN = 5


class Spell(msgspec.Struct):
    """A time without the service. `ended` is when it answered again; infinite while it does not."""

    kind: Literal["killed", "frozen"]
    began: float
    ended: float = float("inf")


class Service:
    """One server process. `url` stays the same over every start."""

    def __init__(self, name: str, server: Postgres | Redis, kill_with: signal.Signals) -> None:
        self.name = name
        self.url = ""
        self.spells: list[Spell] = []
        self._server = server
        self._kill_with = kill_with

    async def start(self) -> None:
        """Returns when it answers."""
        self.url = await asyncio.to_thread(self._server.start)
        self._over()

    async def kill(self) -> None:
        """At once, nothing is finished: Postgres as by `pg_ctl stop -m immediate`, Redis by SIGKILL."""
        child = self._server.child
        assert child is not None, f"{self.name} was never started"
        self.spells.append(Spell("killed", _now()))
        child.send_signal(self._kill_with)
        await asyncio.to_thread(child.wait)

    def freeze(self) -> None:
        """SIGSTOP to it and its children: connections stay, new ones are taken by the kernel, nobody answers."""
        self.spells.append(Spell("frozen", _now()))
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._over()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[Spell]:
        """Gone within the block."""
        await self.kill()
        try:
            yield self.spells[-1]
        finally:
            await self.start()

    async def storm(
        self, rng: Random, *, until: float, every_s: tuple[float, float] = EVERY_S, down_s: float = DOWN_S
    ) -> None:
        """Restarts it again and again, and freezes it now and then, until that time of the loop's clock."""
        while _now() + every_s[0] < until:
            await asyncio.sleep(min(rng.uniform(*every_s), until - _now()))
            down = rng.uniform(0, down_s)
            if rng.randrange(FREEZE_ONE_IN) == 0:
                self.freeze()
                try:
                    await asyncio.sleep(down)
                finally:
                    self.thaw()
            else:
                async with self.away():
                    await asyncio.sleep(down)

    def stop(self) -> None:
        """In good order, for good; from any state."""
        child = self._server.child
        if child is not None and child.poll() is None:
            self._signal(signal.SIGCONT)
        self._server.stop()

    def _signal(self, number: signal.Signals) -> None:
        child = self._server.child
        assert child is not None, f"{self.name} was never started"
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(child.pid)
            # The parent first when freezing, so that it begins no more children; the order matters to nobody else.
            for process in (main, *main.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def _over(self) -> None:
        if self.spells:
            self.spells[-1].ended = min(self.spells[-1].ended, _now())


@asynccontextmanager
async def postgres(directory: Path) -> AsyncIterator[Service]:
    """A Postgres with an empty database in `directory`, which goes with it."""
    server = Postgres(directory, durable=True)
    async with _running(Service("postgres", server, signal.SIGQUIT), server.remove) as service:
        yield service


@asynccontextmanager
async def redis(directory: Path) -> AsyncIterator[Service]:
    """A Redis in `directory`; what it holds is gone after a `kill`."""
    async with _running(Service("redis", Redis(directory), signal.SIGKILL), lambda: None) as service:
        yield service


@asynccontextmanager
async def _running(service: Service, remove: Callable[[], None]) -> AsyncIterator[Service]:
    try:
        await service.start()
        yield service
    finally:
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(remove)


def _now() -> float:
    return asyncio.get_running_loop().time()
