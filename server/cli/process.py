"""A server process: it drains before it ends."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess, multiprocess

from server import log
from server.ws.drain import drain

logger = log.get("cli")


class Server(uvicorn.Server):
    """The first signal drains, and the process ends with 0; a second one ends it at once, as uvicorn does.

    `ready` is called once it listens. A `follower` has a parent that passes signals on as SIGTERM: it leaves SIGINT,
    which a terminal sends to both, to the parent.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        ready: Callable[[], None] = lambda: None,
        follower: bool = False,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._follower = follower
        self._told_to_end = False
        self._drain: asyncio.Task[None] | None = None

    async def on_tick(self, counter: int) -> bool:
        if counter == 0:
            self._ready()
        if self._told_to_end and self._drain is None:
            state = self.lifespan.state
            tasks = self.server_state.tasks
            self._drain = asyncio.create_task(
                drain(state["services"], state["sockets"], lambda: len(tasks), self._stop_listening), name="drain"
            )
        if self._drain is not None and self._drain.done():
            self.should_exit = True
            if error := self._drain.exception():
                # A bug; what is open is cut now, as without a drain.
                logger.error("drain broke", exc_info=error)
        return await super().on_tick(counter)

    def _stop_listening(self) -> None:
        """Others who share the port go on; uvicorn closes the same ones once more, which does nothing."""
        for each in self.servers:
            each.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._follower and sig == signal.SIGINT:
            return
        if self._told_to_end:
            self.force_exit = True
            super().handle_exit(sig, frame)
        elif self.started:
            self._told_to_end = True
        else:
            # Nobody is here yet.
            self.should_exit = True


class _Worker(multiprocess.Process):
    """One of the processes of `run_workers`."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config, follower=True)
        return self._server


def run_workers(config: uvicorn.Config) -> None:
    """Processes that share a port, restarted when they die, until a signal; it is passed on to each."""
    # uvicorn's parent has no other place to say what its children are.
    multiprocess.Process = _Worker  # type: ignore[misc]
    Multiprocess(config, sockets=[config.bind_socket()]).run()
