"""Several instances on one machine, in processes of their own, behind a balancer."""

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import uvloop

from server import log
from server.cli.balancer import Backend, Balancer
from server.settings import Settings
from server.ws.drain import END_S

logger = log.get("cli")

# Seconds between two looks whether a process has ended.
LOOK_S = 0.1
# The least seconds between two starts of an instance that keeps dying.
AGAIN_S = 1.0

# What a process does: serve on a socket that listens, until a signal.
Serve = Callable[[Settings, socket.socket], None]


class Instance:
    """One process after the other on the same port: the socket is this process's, and stays open in between."""

    def __init__(self, settings: Settings, serve: Serve) -> None:
        self._settings = settings
        self._serve = serve
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._context = multiprocessing.get_context("spawn")
        self._process = self._made()
        self._started_at = float("-inf")
        self.backend = Backend(self._socket.getsockname()[1])

    def start(self, now: float) -> None:
        self._started_at = now
        self._process = self._made()
        self._process.start()

    def terminate(self) -> None:
        """The first time it drains, the second time it ends at once."""
        self._process.terminate()

    @property
    def lives(self) -> bool:
        return self._process.is_alive()

    def revive(self, now: float) -> None:
        """Starts it again if it has ended."""
        if not self.lives and now - self._started_at > AGAIN_S:
            logger.warning("instance ended and is started again", exit_code=self._process.exitcode)
            self.start(now)

    def join(self) -> None:
        """Waits for its end, as long as it may take."""
        self._process.join(END_S)

    def close(self) -> None:
        """Ends it, however it is."""
        if self.lives:
            self._process.kill()
            self._process.join()
        self._socket.close()

    def _made(self) -> multiprocessing.process.BaseProcess:
        return self._context.Process(target=self._serve, args=(self._settings, self._socket), daemon=True)


def run_instances(
    settings: Settings, host: str, port: int, *, count: int, serve: Serve, ready: Callable[[], None]
) -> None:
    """Serves `port` with `count` instances until a signal; then they drain. `ready` is called when one can answer.

    An instance that dies is started again. A second signal ends them at once. `serve` is a module's function.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run([Instance(settings, serve) for _ in range(count)], host, port, ready))


async def _run(instances: Sequence[Instance], host: str, port: int, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    balancer = Balancer([instance.backend for instance in instances])
    told = asyncio.Event()

    def end() -> None:
        told.set()
        for instance in instances:
            instance.terminate()

    async with AsyncExitStack() as stack:
        for instance in instances:
            stack.callback(instance.close)
            instance.start(loop.time())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        stack.push_async_callback(balancer.stop)
        starting = loop.create_task(_start(balancer, host, port, ready), name="start")
        stack.callback(starting.cancel)
        while not told.is_set():
            await asyncio.sleep(LOOK_S)
            if starting.done():
                starting.result()
            for instance in instances:
                if not told.is_set():
                    instance.revive(loop.time())
        await asyncio.gather(*(asyncio.to_thread(instance.join) for instance in instances))


async def _start(balancer: Balancer, host: str, port: int, ready: Callable[[], None]) -> None:
    await balancer.start(host, port)
    ready()
