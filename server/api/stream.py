"""A response of server-sent events: what a reader needs to come back after any cut, and an end for one that is stuck.

An event of the conversation carries its position as `id`, which the reader gives back as `Last-Event-ID`.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Send

from server import log
from server.api.follow import Item, Position
from server.errors import Invalid

logger = log.get("api")

# Seconds that a reader may take for one write: as many as a socket's.
STUCK_S = 10.0
# Milliseconds until a reader comes back by itself. Each stream names its own, so that not all of an instance's
# readers come back in the same moment.
RETRY_MS = (500, 3_000)
# Keeps proxies and readers from taking silence for a dead link.
COMMENT = b": still here\n\n"
# Characters of an epoch, and of a bigint, as Postgres numbers events.
EPOCH_CHARACTERS = 64
SEQ_DIGITS = 19

# Proxies must pass each event on as it comes, and keep none.
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream(StreamingResponse):
    """Sends each chunk as soon as the reader takes it, and closes the chunks' generator whatever ends it."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(chunks, headers=_HEADERS)
        self._chunks = chunks

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(STUCK_S):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    logger.info("reader given up", reason=f"took nothing for {STUCK_S:g} s")
                    raise ClientDisconnect from None
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def opening() -> bytes:
    """What a stream begins with, to stand before its first event."""
    return b"retry: %d\n" % random.randint(*RETRY_MS)  # noqa: S311  # a pause, not a secret


def event(payload: bytes, at: Position | None = None) -> bytes:
    """One frame; `at` is where the reader stands once it has it."""
    head = f"id: {at.epoch}:{at.seq}\n".encode() if at else b""
    return b"%bdata: %b\n\n" % (head, payload)


def told(item: Item, epoch: str) -> bytes:
    """A follower's item, with its position where it moves the reader."""
    return event(item.payload, Position(epoch, item.seq) if item.seq else None)


def position(last_event_id: str | None) -> Position | None:
    """Where a reader stands that gives back the last `id` it got; None for one that gives none. Raises Invalid."""
    if not last_event_id:
        return None
    epoch, _, seq = last_event_id.rpartition(":")
    if not (1 <= len(epoch) <= EPOCH_CHARACTERS and seq.isascii() and seq.isdigit() and len(seq) <= SEQ_DIGITS):
        raise Invalid("`Last-Event-ID` is `epoch:seq`, as the stream's last `id` was", field="Last-Event-ID")
    return Position(epoch, int(seq))
