"""How often a stream is read.

A model's server writes each token by itself, and reading one costs as much as reading ten: the poll, the system call,
the parsing of HTTP. Text that will be shown together is left in the kernel until it is wanted. A stream faster than
`SLOW_BYTES_S` is read as it comes: its reads are large by themselves, and waiting would only hold it up.
"""

import asyncio
import time

import aiohttp

# Between 100 tokens a second of 350 bytes (hosted models at their fastest) and what a local server writes from memory.
SLOW_BYTES_S = 100_000


class Pace:
    """One response's. `gather_s` are the seconds for which text may be left; with 0 nothing is."""

    def __init__(self, response: aiohttp.ClientResponse, gather_s: float) -> None:
        self._response = response
        self._gather_s = gather_s
        self._read_at = time.monotonic()
        self._slow = False

    def read(self, size: int) -> None:
        """So many bytes came, all that there were."""
        now = time.monotonic()
        self._slow = size < SLOW_BYTES_S * (now - self._read_at)
        self._read_at = now

    async def rest(self) -> None:
        """Leaves what comes next where it is, for as long as it may be left. Call it after a piece of text."""
        connection = self._response.connection
        if not self._slow or not self._gather_s or connection is None:
            return  # without a connection the body is here to its end
        transport = connection.transport
        if transport is None or transport.is_closing():
            return
        transport.pause_reading()
        try:
            await asyncio.sleep(self._gather_s)
        finally:
            if not transport.is_closing():
                transport.resume_reading()
