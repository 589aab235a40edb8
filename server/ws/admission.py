"""Who may have one more socket here, and how fast it may talk.

What is counted is counted per instance, in memory: an instance protects itself with it, its descriptors and its memory.
An address may have as many sockets on each other instance; what an address may *do* is counted for all of them in
Redis (`cache.rate_limit`).
"""

import asyncio
import ipaddress
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import TypeVar

from server import metrics
from server.errors import RateLimited
from server.protocol import codec
from server.protocol.close import Close
from server.protocol.visitor import Drain
from server.ws.connection import Connection

# How long who is sent away is asked to wait (ms): long enough for a page that was left to be noticed as gone.
RETRY_AFTER_MS = 15_000
# Frames a second that one socket may send for long, and how many at once. A person who types, presses and heartbeats
# makes two or three; a widget that comes back resends what is pending, 100 at most.
FRAMES_PER_S = 20.0
FRAMES_AT_ONCE = 150
# Hellos that are looked at at the same time: half of the connections to Postgres, the other half is for messages.
HELLOS_AT_ONCE = 8
# Hellos that wait for that. A widget waits 25 s for its welcome, and an instance welcomes 100 a second and more.
HELLOS_WAITING = 2_000

T = TypeVar("T", str, int)


class Door:
    """Hellos are looked at a few at a time, in their order. When a network comes back, or an instance goes, thousands
    come at once: each would wait for a connection to Postgres in vain, and so would everybody's messages."""

    def __init__(self, *, at_once: int = HELLOS_AT_ONCE, line: int = HELLOS_WAITING) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._line = line
        self._waiting = 0

    @asynccontextmanager
    async def through(self) -> AsyncIterator[None]:
        """Raises RateLimited `too_many_at_once` when the line is too long to wait in it."""
        if self._waiting >= self._line:
            raise _refusal("hellos", "very many come back at this moment", code="too_many_at_once")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


class Admission:
    """The seats of one instance."""

    def __init__(self, *, per_address: int, per_client: int) -> None:
        self.door = Door()
        self._per_address = per_address
        self._per_client = per_client
        self._addresses: Counter[str] = Counter()
        self._clients: Counter[int] = Counter()

    def enter(self, address: str) -> "Seat":
        """A seat, to be left (`with`). A socket over the limit gets one too, for as long as it takes to tell it to wait
        (`Seat.refusal`). Raises RateLimited, `too_many_sockets_address`, when as many again are just being told."""
        group = network(address)
        refusal = None
        if self._addresses[group] >= self._per_address:
            refusal = _refusal("address", f"more than {self._per_address} open connections from this address")
            if self._addresses[group] >= 2 * self._per_address:
                raise refusal
        self._addresses[group] += 1
        return Seat(self, group, refusal)

    def join(self, client_id: int) -> None:
        """For `Seat`. Raises RateLimited, `too_many_sockets_client`."""
        if self._clients[client_id] >= self._per_client:
            raise _refusal("client", f"more than {self._per_client} open connections of this website's visitors")
        self._clients[client_id] += 1

    def left(self, group: str, client_id: int | None) -> None:
        """For `Seat`."""
        _less(self._addresses, group)
        if client_id is not None:
            _less(self._clients, client_id)

    @property
    def taken(self) -> tuple[int, int]:
        """Seats by address, and by client; both 0 when everybody has left."""
        return self._addresses.total(), self._clients.total()

    @property
    def keys(self) -> int:
        """Addresses and clients that are counted."""
        return len(self._addresses) + len(self._clients)


class Seat:
    """One socket's place: an address's from the handshake on, a client's from its hello on.

    `refusal` is what to tell a socket that has no right to stay: RateLimited, `too_many_sockets_address`.
    """

    __slots__ = ("_admission", "_client_id", "_group", "refusal")

    def __init__(self, admission: Admission, group: str, refusal: RateLimited | None) -> None:
        self.refusal = refusal
        self._admission = admission
        self._group = group
        self._client_id: int | None = None

    def take(self, client_id: int) -> None:
        """The socket is this client's. Taking it again changes nothing; a socket is one client's for good. Raises
        RateLimited, `too_many_sockets_client`."""
        if self._client_id is None:
            self._admission.join(client_id)
            self._client_id = client_id

    def hello(self) -> AbstractAsyncContextManager[None]:
        """What a hello is looked at in. Raises as `Door.through`."""
        return self._admission.door.through()

    def __enter__(self) -> "Seat":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._admission.left(self._group, self._client_id)


class Pace:
    """How fast one socket may send."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(FRAMES_AT_ONCE)
        self._at = time.monotonic()

    def allows(self, now: float) -> bool:
        """Counts a frame that came `now`, by the monotonic clock."""
        self._left = min(FRAMES_AT_ONCE, self._left + (now - self._at) * FRAMES_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def refusal(self) -> RateLimited:
        """What is wrong with a socket that is too fast."""
        return _refusal("frames", f"more than {FRAMES_PER_S:g} frames a second", code="too_many_frames")


def send_back(connection: Connection, error: RateLimited) -> None:
    """Closes a socket that may come back, here or where there is room; a widget obeys the time in `drain`."""
    wait_ms = error.retry_after_ms or RETRY_AFTER_MS
    # They come back spread out, not all in the same instant.
    connection.put(codec.encode(Drain(wait_ms + random.randrange(RETRY_AFTER_MS))))  # noqa: S311  # no secret
    connection.close(Close.TOO_MANY, error.code)


@lru_cache(maxsize=4_096)
def network(address: str) -> str:
    """What counts as one address: for IPv6 the /64 that one subscriber has, since he may use any address of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address  # a Unix socket's, or a proxy's word that is no address: all such are one
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


def _refusal(limit: str, what: str, code: str | None = None) -> RateLimited:
    metrics.SOCKETS_REFUSED.labels(limit).inc()
    code = code or f"too_many_sockets_{limit}"
    return RateLimited(f"{what}; come back later", code=code, retry_after_ms=RETRY_AFTER_MS)


def _less(counter: Counter[T], key: T) -> None:
    """One less, and no entry for none: the addresses of a day would stay for good."""
    left = counter[key] - 1
    if left > 0:
        counter[key] = left
    else:
        del counter[key]
