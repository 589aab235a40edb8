"""How often a stream is read.

A model's server writes each token by itself, and reading one costs as much as reading ten: the poll, the system call,
the parsing of HTTP. Text that will be shown together is left in the kernel until it is wanted. A stream faster than
`SLOW_BYTES_S` is read as it comes: its reads are large by themselves, and waiting would only hold it up.

Who shows the text counts from what was shown last, so this does too: a read that came out of step would be shown one
whole wait late, and so would all that follow.
"""

import asyncio
import time

import aiohttp

from server.llm.provider import READ_SLACK_S

# Between 100 tokens a second of 350 bytes (hosted models at their fastest) and what a local server writes from memory.
SLOW_BYTES_S = 100_000


class Pace:
    """One response's. `gather_s` are the seconds for which text may be left; with 0 nothing is."""

    def __init__(self, response: aiohttp.ClientResponse, gather_s: float) -> None:
        self._response = response
        self._gather_s = gather_s
        self._read_at = time.monotonic()
        self._slow = False
        # When text may be shown again (the loop's clock): `gather_s` after what was shown last.
        self._due = 0.0

    def read(self, size: int) -> None:
        """So many bytes came, all that there were."""
        now = time.monotonic()
        self._slow = size < SLOW_BYTES_S * (now - self._read_at)
        self._read_at = now

    def left_s(self, now: float) -> float:
        """Seconds until text is shown again, for who shows what came by `now`."""
        if now >= self._due - READ_SLACK_S:
            self._due = now + self._gather_s
        return self._due - now

    async def rest(self) -> None:
        """Leaves what comes next where it is, for as long as it may be left. Call it after a piece of text."""
        left_s = self.left_s(asyncio.get_running_loop().time())
        connection = self._response.connection
        if not self._slow or not self._gather_s or connection is None:
            return  # without a connection the body is here to its end
        transport = connection.transport
        if transport is None or transport.is_closing():
            return
        transport.pause_reading()
        try:
            await asyncio.sleep(left_s)
        finally:
            if not transport.is_closing():
                transport.resume_reading()
