"""Redis pub/sub for one instance: one connection that sends, one that listens.

Sending never waits and never raises: commands are queued, and everything that came up while the last batch was under
way leaves as one write. When Redis is away, what cannot be sent is dropped; receivers find the gap by seq and fill it
from Postgres. Redis-py's connections are used below its client, because its pipeline and its PubSub object cost 5 to 10
times the CPU of the packing and parsing that is needed here.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from server import log

logger = log.get("fanout")

Argument = str | bytes | int
# Commands waiting while Redis does not answer: past it the oldest go, as pub/sub promises nothing.
OUTBOX = 10_000
# And their payloads' bytes: a partial text may have 64 KB, and an instance must outlive a Redis that is gone.
OUTBOX_BYTES = 8 * 1024 * 1024
# Seconds an answer of Redis may take before the connection is thrown away.
PATIENCE_S = 5.0
# Seconds that the end waits for what is still to be sent.
FLUSH_S = 1.0
# Seconds between two tries to connect; doubles up to the second figure.
RETRY_S = (0.1, 2.0)
# Seconds between two pings of the listener, and how many of them may stay without an answer: a Redis that vanished
# without a word is noticed within 4 s.
PING_S = 1.0
UNANSWERED = 3
# Seconds the sender waits between batches. At 20 streams flushing every 50 ms it halves the number of writes;
# the first batch after a pause leaves at once.
BATCH_S = 0.004


class Bus:
    """Two connections to Redis.

    `on_message(channel, payload)` and `on_return()` run on the event loop and must not block. `on_return` is called
    when the listening connection is (back) there with all its subscriptions: messages may have been missed. `on_loss()`
    is called when either connection is lost, and again at each try that fails.
    """

    def __init__(
        self,
        redis: Redis,
        on_message: Callable[[str, bytes], None],
        on_return: Callable[[], None],
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._on_message = on_message
        self._on_return = on_return
        self._on_loss = on_loss
        self._outbox: deque[tuple[Argument, ...]] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        # Set while nothing waits to be sent, and nothing that was sent waits for its answer.
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._channels: set[str] = set()
        self._confirmed: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        # Subscriptions that were not confirmed in time.
        self._late: set[str] = set()
        self._listener: AbstractConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = False
        # Which connections failed at their last try; at the start none was tried yet.
        self._lost: set[str] = set()
        # Whether the sender's connection is older than the loss of the listener's.
        self._stale = False
        self._unanswered = 0

    @property
    def away(self) -> bool:
        """Whether Redis is gone: messages may get lost both ways."""
        return bool(self._lost)

    async def start(self) -> None:
        """Begins sending and listening; returns at once, whether or not Redis is there."""
        self._tasks = [
            asyncio.create_task(self._forever(self._send, "sender"), name="bus sender"),
            asyncio.create_task(self._forever(self._listen, "listener"), name="bus listener"),
        ]

    async def stop(self) -> None:
        """What an instance says last, that somebody else should go on, is sent where Redis is there to take it."""
        if self._tasks and not self.away:
            try:
                await asyncio.wait_for(self._flushed.wait(), FLUSH_S)
            except TimeoutError:
                logger.warning("not all was sent", commands=len(self._outbox))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, channel: str, payload: bytes) -> None:
        """Tells every other instance. Order within one instance is kept."""
        self.command("PUBLISH", channel, payload)

    def command(self, *arguments: Argument) -> None:
        """Any command whose answer does not matter, in order with what is published."""
        self._flushed.clear()
        self._outbox.append(arguments)
        self._outbox_bytes += _size(arguments)
        while len(self._outbox) > OUTBOX or self._outbox_bytes > OUTBOX_BYTES:
            self._outbox_bytes -= _size(self._outbox.popleft())
        self._wake.set()

    async def subscribe(self, channel: str, *, within_s: float = 1.0) -> bool:
        """Listens to a channel. True once Redis confirms; False when it did not in time (it will when it is back)."""
        self._channels.add(channel)
        if channel in self._confirmed:
            return True
        future = self._waiting.get(channel)
        if future is None:
            if "listener" in self._lost:
                # Nothing to wait for: the listener subscribes to all of them once Redis is back.
                await asyncio.sleep(0)
                return False
            future = self._waiting[channel] = asyncio.get_running_loop().create_future()
            await self._tell_listener("SUBSCRIBE", channel)
        try:
            await asyncio.wait_for(asyncio.shield(future), within_s)
        except TimeoutError:
            self._late.add(channel)
            return False
        return True

    async def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)
        self._confirmed.discard(channel)
        self._late.discard(channel)
        if waiting := self._waiting.pop(channel, None):
            waiting.cancel()
        await self._tell_listener("UNSUBSCRIBE", channel)

    async def _tell_listener(self, *arguments: str) -> None:
        """Commands of the listening connection; when there is none, its next start subscribes to all."""
        if self._listener is None:
            return
        try:
            await self._listener.send_packed_command(self._listener.pack_command(*arguments), check_health=False)
        except (RedisError, OSError) as error:
            logger.warning("redis did not take a subscription", reason=str(error))

    async def _forever(self, work: Callable[[AbstractConnection], Any], name: str) -> None:
        delay, most = RETRY_S
        while True:
            make: Callable[[], AbstractConnection] = self._redis.connection_pool.make_connection
            connection = make()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                delay = RETRY_S[0]
                await work(connection)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("redis connection lost", connection=name, reason=str(error), retry_s=delay)
                self._lose(name)
            except Exception:
                # A bug in whoever listens: the instance must go on hearing the others.
                logger.exception("bus broke", connection=name, retry_s=delay)
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay)
            delay = min(delay * 2, most)

    def _lose(self, name: str) -> None:
        self._lost.add(name)
        if name == "listener":
            # The sender would notice by losing the first batch after Redis' return.
            self._stale = True
            self._wake.set()
        self._on_loss()

    async def _send(self, connection: AbstractConnection) -> None:
        self._lost.discard("sender")
        self._stale = False
        # What waited while Redis was away need not wait for more.
        self._wake.set()
        # One timeout around a batch instead of redis-py's own around every write and every answer.
        connection.socket_timeout = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._stale:
                raise ConnectionError("the listener lost redis")
            batch = list(self._outbox)
            if not batch:
                self._flushed.set()
                continue
            self._outbox.clear()
            self._outbox_bytes = 0
            async with asyncio.timeout(PATIENCE_S):
                await connection.send_packed_command(_packed(connection, batch), check_health=False)
                for _ in batch:
                    await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            if not self._outbox:
                self._flushed.set()
            await asyncio.sleep(BATCH_S)

    async def _listen(self, connection: AbstractConnection) -> None:
        self._unanswered = 0
        async with asyncio.timeout(None) as patience:
            watch = asyncio.create_task(self._watch(connection, patience), name="bus watch")
            try:
                await self._hear(connection)
            finally:
                watch.cancel()

    async def _watch(self, connection: AbstractConnection, patience: asyncio.Timeout) -> None:
        """Ends the listener's patience when Redis no longer answers."""
        while self._unanswered < UNANSWERED:
            self._unanswered += 1
            await self._tell_listener("PING")
            await asyncio.sleep(PING_S)
        patience.reschedule(asyncio.get_running_loop().time())

    async def _hear(self, connection: AbstractConnection) -> None:
        self._confirmed.clear()
        self._listener = connection
        try:
            restoring = set(self._channels)
            if restoring:
                await connection.send_packed_command(
                    connection.pack_command("SUBSCRIBE", *sorted(restoring)), check_health=False
                )
            else:
                self._return()
            while True:
                kind, *said = await connection.read_response(timeout=math.inf)
                self._unanswered = 0
                if kind == b"message":
                    self._on_message(said[0].decode(), said[1])
                elif kind == b"subscribe":
                    self._confirm(said[0].decode())
                    restoring.discard(said[0].decode())
                    # Told any earlier, a reader could read the journal before Redis delivers to us again.
                    if not restoring and not self.connected:
                        self._return()
        finally:
            self.connected = False
            self._listener = None

    def _return(self) -> None:
        self.connected = True
        self._lost.discard("listener")
        self._on_return()

    def _confirm(self, channel: str) -> None:
        if channel in self._channels:
            self._confirmed.add(channel)
        if waiting := self._waiting.pop(channel, None):
            waiting.set_result(None)
        if channel in self._late:
            # Whoever asked has gone on without; what was said since then was missed.
            self._late.discard(channel)
            self._on_return()


def _size(arguments: tuple[Argument, ...]) -> int:
    """Of the longest argument, which is the payload."""
    return max(0 if isinstance(argument, int) else len(argument) for argument in arguments)


def _packed(connection: AbstractConnection, batch: Iterable[tuple[Argument, ...]]) -> list[bytes]:
    packed: list[bytes] = connection.pack_commands(batch)
    return packed
