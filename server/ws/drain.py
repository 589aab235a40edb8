"""The end of an instance that was told to end: nobody loses an answer by it, and nobody sees an error.

uvicorn closes every socket as soon as it is told to stop, whatever its grace. So this runs before uvicorn is told.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from server import log
from server.ws.endpoint import Sockets

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Seconds from the signal to the end of the process: what Kubernetes gives by default.
END_S = 30.0
# Seconds of these for giving back what is not finished, for closing, and for uvicorn's own end.
RESERVE_S = 5.0
# Seconds between two looks whether somebody may go.
LOOK_S = 0.05
# Seconds the other sides get to answer a close.
CLOSE_S = 1.0


async def drain(
    services: "Services", sockets: Sockets, tasks: Callable[[], int], stop_listening: Callable[[], None]
) -> None:
    """Unready at once, no new turns, idle sockets sent away; answers that run may end, the rest is given back.

    `tasks` counts what the server is at, sockets and HTTP requests. At the end nobody is let in any more
    (`stop_listening`): who came after the last look would be cut off without a word. Returns when all of it is done, or
    `END_S - RESERVE_S` seconds after the call and as long as the closing takes.
    """
    supervisor = services.supervisor
    until = time.monotonic() + END_S - RESERVE_S
    supervisor.drain()
    logger.info("draining", instance=services.instance, sockets=sockets.open, turns=supervisor.running)
    sockets.drain(supervisor.answering)
    while time.monotonic() < until and (supervisor.running or tasks() > sockets.open):
        await asyncio.sleep(LOOK_S)
        sockets.drain(supervisor.answering)
    stop_listening()
    await supervisor.stop()
    sockets.drain(())
    await sockets.empty(within_s=CLOSE_S)
    logger.info("drained", instance=services.instance, sockets=sockets.open, requests=tasks() - sockets.open)
