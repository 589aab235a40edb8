"""How much a database has sent, asked of the kernel.

libpq takes in a whole row before anybody can look at it, and one value may have 1 GB. On Linux, the system tells how
much a connection has received; when it is too much, the connection is shut. Elsewhere nothing is watched.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# Bytes of one look-up's answer on the wire: far above what is kept of it, so that only a mistake or malice meets it.
MOST_RECEIVED: Final = 8 * 1024 * 1024
# Seconds between two looks: about 2 MB at 1 Gbit/s.
_INTERVAL: Final = 0.02
# struct tcp_info of Linux: `tcpi_bytes_received` is a u64 at byte 128 (since Linux 4.1).
_RECEIVED_AT: Final = 128


class Meter:
    """Watches one TCP connection. `fileno` is asked each time, for numbers are given again; below 0 it is closed."""

    def __init__(self, fileno: Callable[[], int]) -> None:
        self._fileno = fileno
        self.exceeded: str | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Shuts the connection down when more than MOST_RECEIVED comes in meanwhile; `exceeded` then says so."""
        start = _received(self._fileno())
        if start is None:
            yield
            return
        watch = asyncio.create_task(self._watch(start))
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self, start: int) -> None:
        while (now := _received(self._fileno())) is not None:
            if now - start > MOST_RECEIVED:
                self.exceeded = f"the rows have more than {MOST_RECEIVED >> 20} MB; select fewer columns"
                _shut_down(self._fileno())
                return
            await asyncio.sleep(_INTERVAL)


def _shut_down(fileno: int) -> None:
    """Hangs up: whoever waits for the socket sees its end at once. The file descriptor stays its owner's."""
    with socket.socket(fileno=os.dup(fileno)) as again, suppress(OSError):  # the other side may have been faster
        again.shutdown(socket.SHUT_RDWR)


def _received(fileno: int) -> int | None:
    if sys.platform != "linux" or fileno < 0:
        return None
    with socket.socket(fileno=os.dup(fileno)) as again:
        info = again.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("=Q", info, _RECEIVED_AT)[0]) if len(info) >= _RECEIVED_AT + 8 else None
