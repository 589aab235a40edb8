"""One WebSocket, below its protocol: a bounded queue, at most one writer task, a close code.

Sending never waits. A socket that takes a frame at once gets it at once; for one that does not, the rest of that write
and what comes after it go to a queue and a writer task, which exists only while there is something to write. A reader
that does not keep up loses the queue; once its transport takes something again it is brought up to date, in one go. The
second time within `SLOW_AGAIN_S`, or when nothing is taken for `STUCK_S`, it is closed.
"""

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from time import monotonic
from typing import Any

from server import log, metrics
from server.protocol.close import Close

logger = log.get("ws")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Dropped = Callable[[], None]

# What may wait for one reader (reliability: 256 KB, 500 frames or 5 s).
QUEUE_FRAMES = 500
QUEUE_BYTES = 256 * 1024
QUEUE_S = 5.0
# Seconds a write may take before the reader counts as stuck.
STUCK_S = 10.0
# Seconds within which a second overflow means that the reader is too slow for good.
SLOW_AGAIN_S = 60.0


class Connection:
    """The sending half of a socket. `on_overflow` is called when the queue was dropped and there is room again."""

    __slots__ = (
        "_bytes",
        "_close",
        "_on_overflow",
        "_overflowed_at",
        "_queue",
        "_reader",
        "_send",
        "_writer",
        "behind",
        "closed",
        "heard_at",
    )

    def __init__(self, send: Send, on_overflow: Callable[[], None]) -> None:
        self._send = send
        self._on_overflow = on_overflow
        # The task that serves the socket, which is the one that makes this.
        self._reader = asyncio.current_task() or _no_task()
        # What waits: the frame, whom to tell if it is dropped, since when.
        self._queue: deque[tuple[bytes, Dropped | None, float]] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._close: tuple[Close, str] | None = None
        self._overflowed_at = float("-inf")
        # The queue was dropped, and the transport has taken nothing since: what is put now is dropped as well.
        self.behind = False
        self.closed = False
        self.heard_at = monotonic()

    @property
    def closing(self) -> bool:
        """Whether a close is on its way: nothing more is taken from the other side."""
        return self.closed or self._close is not None

    def put(self, payload: bytes, dropped: Dropped | None = None) -> None:
        """Sends or queues a text frame, UTF-8. `dropped` is called if the other side will never get it though it stays
        connected, at once or later; `on_overflow` follows."""
        if self.closed or self._close is not None:
            return
        if self._writer is None and not self._queue:
            self._write_now(payload)
            return
        if self.behind:
            if dropped is not None:
                dropped()
            return
        now = monotonic()
        self._queue.append((payload, dropped, now))
        self._bytes += len(payload)
        # One frame may be larger than the queue's bound; alone it is let through.
        if len(self._queue) > 1 and self._full(now):
            self._overflow(now)
        else:
            self._wake()

    def close(self, code: Close, reason: str = "") -> None:
        """Closes once what is queued has been written."""
        if not self.closing:
            self._close = (code, reason)
            metrics.SOCKETS_CLOSED.labels(str(int(code))).inc()
            self._wake()

    def lost(self) -> None:
        """The socket is gone: nothing can be sent any more."""
        self.closed = True
        self._queue.clear()
        if self._writer is not None:
            self._writer.cancel()

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    def _full(self, now: float) -> bool:
        return len(self._queue) > QUEUE_FRAMES or self._bytes > QUEUE_BYTES or now - self._queue[0][2] > QUEUE_S

    def _overflow(self, now: float) -> None:
        metrics.SOCKETS_BEHIND.inc()
        self.behind = True
        waiting = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        for _, dropped, _ in waiting:
            if dropped is not None:
                dropped()
        again = now - self._overflowed_at < SLOW_AGAIN_S
        self._overflowed_at = now
        if again:
            self.close(Close.TOO_SLOW, "reading too slowly")
        # A writer is at work, or there would have been no queue; it goes on from here when there is room.
        self._wake()

    def _write_now(self, payload: bytes) -> None:
        """Runs a write up to where it would wait, which most never do: no task, and no pass of the event loop."""
        write = self._send({"type": "websocket.send", "text": payload.decode()}).__await__()
        try:
            waits_for = write.send(None)
        except StopIteration:
            return
        except (OSError, RuntimeError) as error:
            self._left(error)
        else:
            self._writer = asyncio.get_running_loop().create_task(self._write(_resumed(write, waits_for)))

    async def _write(self, begun: Awaitable[None] | None = None) -> None:
        queue, send = self._queue, self._send
        try:
            if begun is not None:
                async with asyncio.timeout(STUCK_S):
                    await begun
            while self._catch_up() or queue:
                if queue:
                    payload, _, _ = queue.popleft()
                    self._bytes -= len(payload)
                    async with asyncio.timeout(STUCK_S):
                        await send({"type": "websocket.send", "text": payload.decode()})
            if self._close is not None:
                await self._end(*self._close)
        except TimeoutError:
            await self._stuck()
        except (OSError, RuntimeError) as error:
            self._left(error)
        finally:
            self._writer = None
            if queue and not self.closed:
                self._wake()

    def _catch_up(self) -> bool:
        """There is room: whoever lost the queue is told."""
        if not self.behind:
            return False
        self.behind = False
        if self._close is None:
            self._on_overflow()
        return True

    async def _stuck(self) -> None:
        """Nothing was taken for so long that nothing more is waited for."""
        if self.closed:
            return self._give_up("not closing")  # it was the close that was not taken
        if self._close is None:
            self._close = (Close.TOO_SLOW, "not reading")
            metrics.SOCKETS_CLOSED.labels(str(int(Close.TOO_SLOW))).inc()
        self._queue.clear()
        self._bytes = 0
        try:
            await self._end(*self._close)
        except TimeoutError:
            self._give_up("not reading")
        except (OSError, RuntimeError) as error:
            self._left(error)

    async def _end(self, code: Close, reason: str) -> None:
        """Our server takes a close though nothing else is taken (`transport.WebSocket`)."""
        self.closed = True
        async with asyncio.timeout(STUCK_S):
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason})

    def _left(self, error: Exception) -> None:
        """The other side left between two frames, which uvicorn reports by an OSError or a RuntimeError."""
        logger.debug("socket gone while writing", reason=type(error).__name__)
        self._give_up("gone")

    def _give_up(self, reason: str) -> None:
        """Nothing can be written any more, not even a close: ends the reader, and with it the socket."""
        self.closed = True
        self._queue.clear()
        self._reader.cancel(reason)


@types.coroutine
def _resumed(write: Generator[Any, None, None], waits_for: object) -> Generator[Any, None, None]:
    """The rest of an awaitable that was run up to its first wait."""
    try:
        yield waits_for
    except BaseException:
        write.close()
        raise
    yield from write


def _no_task() -> asyncio.Task[Any]:
    raise RuntimeError("a connection is made by the task that serves its socket")
