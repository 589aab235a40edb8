"""Who is here: the local subscribers of each channel.

Publishing reaches local subscribers at once, without Redis, and every other instance through the bus. What comes back
from the bus and was ours is dropped, so a local subscriber gets each payload once.
"""

from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis

from server import log
from server.fanout import channels
from server.fanout.bus import Bus

logger = log.get("fanout")


class Subscriber(Protocol):
    """A socket, or whatever reads one conversation. Both calls return at once and never raise."""

    def deliver(self, seq: int, payload: bytes) -> None:
        """A frame. `seq` is 0 for a live one."""

    def resync(self) -> None:
        """Frames may have been missed: read the journal."""


class Hub:
    """The local subscribers of one instance."""

    def __init__(self, redis: Redis, instance: str) -> None:
        self._instance = instance.encode()
        self._subscribers: dict[str, set[Subscriber]] = {}
        self._on_control: list[Callable[[bytes], None]] = []
        self.bus = Bus(redis, self._receive, self._returned)

    async def start(self) -> None:
        await self.bus.start()
        await self.bus.subscribe(channels.CONTROL)

    async def stop(self) -> None:
        await self.bus.stop()

    def on_control(self, listener: Callable[[bytes], None]) -> None:
        """Hears what any instance, this one included, says to all of them."""
        self._on_control.append(listener)

    def control(self, payload: bytes) -> None:
        """Tells every instance, this one included."""
        self.publish(channels.CONTROL, 0, payload)
        for listener in self._on_control:
            listener(payload)

    async def join(self, channel: str, subscriber: Subscriber) -> None:
        """From its return on, every frame published anywhere is delivered, or `resync` is called."""
        self._subscribers.setdefault(channel, set()).add(subscriber)
        await self.bus.subscribe(channel)

    async def leave(self, channel: str, subscriber: Subscriber) -> None:
        members = self._subscribers.get(channel)
        if members is None:
            return
        members.discard(subscriber)
        if not members:
            del self._subscribers[channel]
            await self.bus.unsubscribe(channel)

    def publish(self, channel: str, seq: int, payload: bytes) -> None:
        """Delivers a frame here and everywhere else. `seq` is 0 for a live one."""
        for subscriber in self._subscribers.get(channel, ()):
            subscriber.deliver(seq, payload)
        self.bus.publish(channel, b"%b %d %b" % (self._instance, seq, payload))

    def subscribers(self) -> int:
        """How many there are, over all channels."""
        return sum(map(len, self._subscribers.values()))

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
            for listener in self._on_control:
                listener(payload)
            return
        for subscriber in self._subscribers.get(channel, ()):
            subscriber.deliver(number, payload)

    def _returned(self) -> None:
        for members in self._subscribers.values():
            for subscriber in members:
                subscriber.resync()
