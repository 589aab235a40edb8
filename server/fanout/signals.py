"""Wakes whoever waits for something that another instance may be told first.

A signal says "look again", never what there is to see: that stands in Postgres. Redis may lose a signal, so whoever
waits looks by itself from time to time too.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from server.fanout.hub import Hub


class Signal(msgspec.Struct, frozen=True, tag_field="type", tag="signal"):
    """Said on the control channel."""

    key: str


_decoder = msgspec.json.Decoder(Signal)


class Signals:
    """The waiters of one instance, by key."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: dict[str, set[asyncio.Event]] = {}
        hub.on_control(self._heard)

    def send(self, key: str) -> None:
        """Wakes all waiters of `key`, here and everywhere."""
        self._hub.control(msgspec.json.encode(Signal(key)))

    @contextmanager
    def listening(self, key: str) -> Iterator[asyncio.Event]:
        """An event that is set by each signal for `key`; the waiter clears it."""
        event = asyncio.Event()
        waiters = self._waiting.setdefault(key, set())
        waiters.add(event)
        try:
            yield event
        finally:
            waiters.discard(event)
            if not waiters:
                self._waiting.pop(key, None)

    def _heard(self, payload: bytes) -> None:
        try:
            signal = _decoder.decode(payload)
        except msgspec.DecodeError:
            return  # another kind of control message
        for event in self._waiting.get(signal.key, ()):
            event.set()
