"""Host names to addresses by the machine's own resolver.

In threads of its own: a name whose servers do not answer holds its thread for 10 to 30 s, and neither the event loop's
few threads nor the other names should wait for it. Lookups of the same name share one.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# A lookup is one thread that waits; it costs a stack that is hardly touched.
_THREADS: Final = 32


class SystemResolver:
    """`await resolver(host)` gives addresses as text, best first (RFC 6724). Raises OSError when there is none."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._running: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str) -> list[str]:
        lookup = self._running.get(host)
        if lookup is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dns")
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host)
            self._running[host] = lookup
            lookup.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(lookup)

    def close(self) -> None:
        """Lets lookups that are under way end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _forget(self, host: str, done: asyncio.Future[list[str]]) -> None:
        del self._running[host]
        if not done.cancelled():
            done.exception()  # seen, even where everybody who asked has gone


def _getaddrinfo(host: str) -> list[str]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))
