"""Reads one conversation over HTTP as a socket would: brought up to date whole or by every missed event, then live, in
order, without gaps.

The reader pulls. What comes in while it is not ready waits in a bounded queue; past the bound the queue is dropped and
one catch-up takes its place.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from server.fanout import channels
from server.protocol import codec
from server.protocol.visitor import MessageDelta, Snapshot
from server.repositories.conversations import Conversation
from server.services import Services

# What may wait for one reader: as much as for a socket (`ws/connection`), and 5 s at most.
QUEUE_FRAMES = 500
QUEUE_BYTES = 256 * 1024
QUEUE_S = 5.0
# Seconds within which a second overflow means that the reader is too slow for good.
SLOW_AGAIN_S = 60.0
# Seconds between two looks for the start of a text that goes on without it: Redis may have lost it.
LOOK_AGAIN_S = 1.0

_DELTA = b'{"type":"message.delta"'


class Position(msgspec.Struct, frozen=True):
    """Where a reader stands: `seq` is the last event it has seen, in the conversation's life `epoch`."""

    epoch: str
    seq: int


class Item(msgspec.Struct, frozen=True):
    """A frame. `seq` is 0 for a live one. A `whole` snapshot stands for all events up to its `seq`."""

    seq: int
    payload: bytes
    whole: bool = False


class Follower:
    """One reader. Open it with `following`, say where it stands, `catch_up`, then take `next` until there is none."""

    def __init__(self, services: Services, conversation: Conversation) -> None:
        self._services = services
        self._conversation = conversation
        self._position = Position(conversation.epoch, 0)
        # Frames with the time at which they came.
        self._queue: deque[tuple[float, Item]] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._missed = False
        self._overflowed_at = float("-inf")
        # Whether the queue overflowed again so soon that this reader will not keep up.
        self.too_slow = False
        # How far each turn's text has been told: gen and n.
        self._told: dict[str, tuple[int, int]] = {}
        self._looked_at = float("-inf")

    # --- from the hub

    def deliver(self, seq: int, payload: bytes) -> None:
        if self._missed:
            return  # the catch-up that is due has it
        if len(self._queue) >= QUEUE_FRAMES or (self._queue and self._bytes + len(payload) > QUEUE_BYTES):
            self._overflow()
            return
        self._queue.append((time.monotonic(), Item(seq, payload)))
        self._bytes += len(payload)
        self._woken.set()

    def resync(self) -> None:
        self._missed = True
        self._woken.set()

    # --- from the reader

    def begin(self, position: Position) -> None:
        """Where the reader stands: the first catch-up starts there."""
        self._position = position

    async def catch_up(self) -> list[Item]:
        """Every event that was missed, and the running answer's text if there is news of it; or a whole snapshot.

        Raises Unavailable, NotFound; then the catch-up is still due.
        """
        # What waits is in what is read now: an event is committed, and live text kept, before either is published.
        missed = self._missed or bool(self._queue)
        self._drop()
        self._missed = False
        try:
            recovery = await self._services.recoverer.recover(
                self._conversation, epoch=self._position.epoch, last_seq=self._position.seq
            )
        except BaseException:
            self.resync()
            raise
        self._position = Position(self._conversation.epoch, recovery.up_to)
        items = [Item(event.seq, event.payload) for event in recovery.events]
        if snapshot := recovery.snapshot:
            whole = snapshot.messages is not None
            if self._to_be_told(snapshot, whole=whole, missed=missed):
                items.append(Item(recovery.up_to if whole else 0, codec.encode(snapshot), whole))
        return items

    async def next(self, *, within_s: float) -> Item | None:
        """The next frame in order. None when it is time to catch up: something was missed, or nothing came."""
        while not self._missed:
            if not self._queue:
                self._woken.clear()
                try:
                    async with asyncio.timeout(within_s):
                        await self._woken.wait()
                except TimeoutError:
                    return None
                continue
            came_at, item = self._queue.popleft()
            self._bytes -= len(item.payload)
            if time.monotonic() - came_at > QUEUE_S:
                self._overflow()
            elif self._in_order(item):
                return item
        return None

    def _in_order(self, item: Item) -> bool:
        """Whether this is what comes next. A gap makes a catch-up due; what was told before is passed over."""
        if item.seq == 0:
            return not item.payload.startswith(_DELTA) or self._continues(item.payload)
        if item.seq == self._position.seq + 1:
            self._position = Position(self._position.epoch, item.seq)
            return True
        if item.seq > self._position.seq:
            self._missed = True
        return False

    def _continues(self, payload: bytes) -> bool:
        """Whether a delta continues the text that was told."""
        delta = codec.decode_to_visitor(payload)
        if not isinstance(delta, MessageDelta):
            raise TypeError("a delta is a delta")
        gen, n = self._told.get(delta.turn_id, (0, 0))
        if (delta.gen, delta.n) <= (gen, n):
            return False
        if delta.n == (n + 1 if delta.gen == gen else 1):
            self._told[delta.turn_id] = (delta.gen, delta.n)
            return True
        # Its start is missing. Where nobody has that any more, the whole answer comes at the end.
        if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            self._missed = True
        return False

    def _to_be_told(self, snapshot: Snapshot, *, whole: bool, missed: bool) -> bool:
        """Whether a reader needs it: everything, or a running answer that is further than what was told.

        It may have less, where Redis has lost the text; then what was told stands.
        """
        live = snapshot.live
        if live is None:
            return whole
        had, has = self._told.get(live.turn_id, (0, -1)), (live.gen, live.n)
        # At the same place its tools may be further.
        if whole or has > had or (missed and has == had):
            self._told[live.turn_id] = has
            return True
        return False

    def _overflow(self) -> None:
        now = time.monotonic()
        self.too_slow = self.too_slow or now - self._overflowed_at < SLOW_AGAIN_S
        self._overflowed_at = now
        self._drop()
        self.resync()

    def _drop(self) -> None:
        self._queue.clear()
        self._bytes = 0


@asynccontextmanager
async def following(services: Services, conversation: Conversation) -> AsyncIterator[Follower]:
    """Subscribed from here on, so that nothing that happens later is missed."""
    follower = Follower(services, conversation)
    channel = channels.conversation(conversation.public_id)
    try:
        await services.hub.join(channel, follower)
        yield follower
    finally:
        await services.hub.leave(channel, follower)
