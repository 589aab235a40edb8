"""Reads one conversation over HTTP as a socket would: from a seq on, in order, without gaps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from server.fanout import channels
from server.protocol import codec
from server.protocol.visitor import MessageDelta
from server.repositories.conversations import Conversation
from server.services import Services

# Frames waiting for a slow reader; past it they are dropped and read from the journal later.
QUEUE = 1_000


class Item(msgspec.Struct, frozen=True):
    """A frame; `seq` is 0 for a live one. An empty payload stands for silence."""

    seq: int
    payload: bytes


SILENCE = Item(0, b"")


class Follower:
    """One reader. Open it with `following`, then iterate `items`."""

    def __init__(self, services: Services, conversation: Conversation) -> None:
        self._services = services
        self._conversation = conversation
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._missed = False
        self._seq = 0
        # How far each turn's text has been told: gen and n.
        self._told: dict[str, tuple[int, int]] = {}

    def deliver(self, seq: int, payload: bytes) -> None:
        if self._queue.qsize() < QUEUE:
            self._queue.put_nowait(Item(seq, payload))
        else:
            self._missed = True

    def resync(self) -> None:
        self._missed = True
        self._queue.put_nowait(SILENCE)

    async def items(self, *, after: int, silence_s: float) -> AsyncIterator[Item]:
        """What came after `after`. `silence_s` seconds without a frame give a SILENCE and a look at the journal."""
        self._seq = after
        self._missed = True
        while True:
            if self._missed:
                for item in await self._catch_up():
                    yield item
            try:
                async with asyncio.timeout(silence_s):
                    item = await self._queue.get()
            except TimeoutError:
                self._missed = True
                yield SILENCE
                continue
            if item.seq > self._seq + 1:
                self._missed = True
            elif item.seq == self._seq + 1:
                self._seq = item.seq
                yield item
            elif item.seq == 0 and item.payload and not self._old(item.payload):
                yield item

    async def _catch_up(self) -> list[Item]:
        self._missed = False
        recovery = await self._services.recoverer.recover(
            self._conversation, epoch=self._conversation.epoch, last_seq=self._seq
        )
        self._seq = recovery.up_to
        items = [Item(event.seq, event.payload) for event in recovery.events]
        if snapshot := recovery.snapshot:
            live = snapshot.live
            news = live is not None and (live.gen, live.n) > self._told.get(live.turn_id, (0, 0))
            if live is not None and news:
                self._told[live.turn_id] = (live.gen, live.n)
            if news or snapshot.messages is not None:
                items.append(Item(0, codec.encode(snapshot)))
        return items

    def _old(self, payload: bytes) -> bool:
        """Whether a snapshot has told this delta already."""
        if not payload.startswith(b'{"type":"message.delta"'):
            return False
        delta = codec.decode_to_visitor(payload)
        if not isinstance(delta, MessageDelta):
            raise TypeError("a delta is a delta")
        if (delta.gen, delta.n) <= self._told.get(delta.turn_id, (0, 0)):
            return True
        self._told[delta.turn_id] = (delta.gen, delta.n)
        return False


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
