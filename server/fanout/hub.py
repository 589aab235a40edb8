"""Who is here: the local subscribers of each channel.

Publishing reaches local subscribers at once, without Redis, and every other instance through the bus, or through the
fallback while an instance has no Redis. What comes back from the bus and was ours is dropped, so a local subscriber
gets each payload once.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from redis.asyncio import Redis

from server import log
from server.fanout import channels
from server.fanout.bus import Bus
from server.fanout.fallback import Board, Fallback

logger = log.get("fanout")

# Live frames that go by notice when Redis cannot carry them: few, small, and a visitor may have to answer one.
_OF_TOOLS = b'{"type":"tool.'


class Subscriber(Protocol):
    """A socket, or whatever reads one conversation. Both calls return at once and never raise."""

    def deliver(self, seq: int, payload: bytes) -> None:
        """A frame. `seq` is 0 for a live one."""

    def resync(self) -> None:
        """Frames may have been missed: read the journal."""


class _Room:
    """The subscribers of one channel, and the newest seq they were given; 0 when none was since the first joined."""

    __slots__ = ("members", "seq")

    def __init__(self) -> None:
        self.members: set[Subscriber] = set()
        self.seq = 0

    def deliver(self, seq: int, payload: bytes) -> None:
        self.seq = max(self.seq, seq)
        for subscriber in self.members:
            subscriber.deliver(seq, payload)

    def resync(self) -> None:
        for subscriber in self.members:
            subscriber.resync()


class Hub:
    """The local subscribers of one instance. Without a `board` there is no fallback: Redis or nothing."""

    def __init__(self, redis: Redis, instance: str, board: Board | None = None) -> None:
        self._instance = instance.encode()
        self._rooms: dict[str, _Room] = {}
        self._on_control: list[Callable[[bytes], None]] = []
        self.bus = Bus(redis, self._receive, self._returned, self._lost)
        self._fallback = None if board is None else Fallback(instance, board, self, lambda: self.bus.away)

    async def start(self) -> None:
        await self.bus.start()
        await self.bus.subscribe(channels.CONTROL)
        if self._fallback is not None:
            await self._fallback.start()

    async def stop(self) -> None:
        if self._fallback is not None:
            await self._fallback.stop()
        await self.bus.stop()

    def on_control(self, listener: Callable[[bytes], None]) -> None:
        """Hears what any instance, this one included, says to all of them, once or more often."""
        self._on_control.append(listener)

    def control(self, payload: bytes) -> None:
        """Tells every instance, this one included."""
        self.publish(channels.CONTROL, 0, payload)
        self._hear(payload)

    async def join(self, channel: str, subscriber: Subscriber) -> None:
        """From its return on, every frame published anywhere is delivered, or `resync` is called.

        While Redis is away this holds for durable frames, within about 250 ms.
        """
        self._rooms.setdefault(channel, _Room()).members.add(subscriber)
        await self.bus.subscribe(channel)

    async def leave(self, channel: str, subscriber: Subscriber) -> None:
        room = self._rooms.get(channel)
        if room is None:
            return
        room.members.discard(subscriber)
        if not room.members:
            del self._rooms[channel]
            await self.bus.unsubscribe(channel)

    def publish(self, channel: str, seq: int, payload: bytes) -> None:
        """Delivers a frame here and everywhere else. `seq` is 0 for a live one."""
        if room := self._rooms.get(channel):
            room.deliver(seq, payload)
        if seq == 0 and (channel == channels.CONTROL or payload.startswith(_OF_TOOLS)):
            fallback = self._fallback
            if fallback is not None and fallback.active:
                fallback.say(channel, payload)
                if self.bus.away:
                    return  # kept for Redis' return it would be said twice
        self.bus.publish(channel, b"%b %d %b" % (self._instance, seq, payload))

    def notice(self, public_id: str, seq: int) -> str | None:
        """What a transaction that writes events up to `seq` has to post; None while Redis carries them."""
        fallback = self._fallback
        return fallback.written(public_id, seq) if fallback is not None and fallback.active else None

    @property
    def degraded(self) -> bool:
        """Whether live frames may get lost: Redis is away from here, or from another instance."""
        return self.bus.away or (self._fallback is not None and self._fallback.active)

    def instances(self) -> int:
        """How many instances there are, as last counted; 1 where nobody counts."""
        return 1 if self._fallback is None else self._fallback.instances

    def subscribers(self) -> int:
        """How many there are, over all channels."""
        return sum(len(room.members) for room in self._rooms.values())

    # --- from the bus

    def _receive(self, channel: str, data: bytes) -> None:
        try:
            origin, seq, payload = data.split(b" ", 2)
            number = int(seq)
        except ValueError:
            logger.warning("not a message of ours", channel=channel, size=len(data))
            return
        if origin == self._instance:
            return
        if channel == channels.CONTROL:
            self._hear(payload)
        elif room := self._rooms.get(channel):
            room.deliver(number, payload)

    def _hear(self, payload: bytes) -> None:
        for listener in self._on_control:
            listener(payload)

    def _lost(self) -> None:
        if self._fallback is not None:
            self._fallback.lost()

    def _returned(self) -> None:
        if self._fallback is not None:
            self._fallback.returned()
        for channel, room in self._rooms.items():
            # What a conversation missed the fallback finds.
            if self._fallback is None or channels.conversation_of(channel) is None:
                room.resync()

    # --- from the fallback

    def heads(self) -> dict[str, int]:
        """The newest seq given to the subscribers of each conversation; 0 where it is not known."""
        named = ((channels.conversation_of(channel), room.seq) for channel, room in self._rooms.items())
        return {public_id: seq for public_id, seq in named if public_id is not None}

    def head(self, public_id: str) -> int | None:
        """The same of one; None where nobody subscribes."""
        room = self._rooms.get(channels.conversation(public_id))
        return None if room is None else room.seq

    def found(self, public_id: str, seq: int, payload: bytes | None) -> None:
        """An event that Postgres has; without a payload, only that it got so far."""
        room = self._rooms.get(channels.conversation(public_id))
        if room is None or seq <= room.seq:
            return
        if payload is None:
            room.seq = seq
        else:
            room.deliver(seq, payload)

    def heard(self, channel: str, payload: bytes) -> None:
        """A control message or a live frame of another instance."""
        if channel == channels.CONTROL:
            self._hear(payload)
        elif room := self._rooms.get(channel):
            room.deliver(0, payload)

    def resync(self, public_ids: Collection[str]) -> None:
        """Live frames of these may have been missed."""
        for public_id in public_ids:
            if room := self._rooms.get(channels.conversation(public_id)):
                room.resync()
