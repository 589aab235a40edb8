"""What instances do without Redis: notices through Postgres, and a look at it every 250 ms.

It is on while this instance has lost Redis, or has heard within `ABSENT_S` from another one that has: both sides of a
broken line must take the other way. Off, it costs an idle connection and a count of the instances now and then; nothing
of what a visitor waits for. A notice makes a look happen at once; the looks find what no notice told.

Durable frames are noticed in the transaction that writes them (`journal`); control messages and the small frames of
tools travel whole. Deltas do not: they are worth nothing later, and the message's end brings the text.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from server import log
from server.errors import Unavailable

logger = log.get("fanout")

# Seconds between two looks at Postgres (reliability).
POLL_S = 0.25
# Seconds between two notices of an instance that has lost Redis, and after the last one until it counts as back.
BEAT_S = 1.0
ABSENT_S = 3.0
# Seconds between two counts of the instances, without Redis and with it.
COUNT_S = (2.0, 10.0)
# Seconds in which losing Redis is noticed at the latest, with room: events younger than this may have been missed.
RECENT_S = 30.0
# Seconds between two rounds: what comes up meanwhile goes together.
TOGETHER_S = 0.01
# Bytes of one notice; Postgres takes less than 8,000.
NOTICE_BYTES = 7_900
# Seconds that the end waits for what is still to be said.
FLUSH_S = 1.0
# Notices waiting; past it the oldest go, as a signal may always be lost.
OUTBOX = 1_000
# Events one look gives at most: with payloads of 64 KB a bound on memory. After a full one comes the next at once.
FULL = 200


class Board(Protocol):
    """Postgres, as `repositories.notices` has it. Every call may raise Unavailable."""

    async def post(self, notices: Sequence[str]) -> None: ...
    async def listen(self, on_begin: Callable[[], None], on_notice: Callable[[str], None]) -> None: ...
    async def missed(
        self, heads: Mapping[str, int], *, recent_s: float, most: int
    ) -> list[tuple[str, int, bytes | None]]: ...
    async def answering(self, public_ids: Collection[str]) -> list[str]: ...
    async def instances(self) -> int: ...


class Rooms(Protocol):
    """The hub's conversations with local subscribers, by public id."""

    def heads(self) -> dict[str, int]:
        """The newest seq that subscribers of each were given; 0 where it is not known."""

    def head(self, public_id: str) -> int | None:
        """The same of one; None where nobody subscribes."""

    def found(self, public_id: str, seq: int, payload: bytes | None) -> None:
        """An event that Postgres has; without a payload, only that it got so far."""

    def heard(self, channel: str, payload: bytes) -> None:
        """A control message or a live frame of another instance."""

    def resync(self, public_ids: Collection[str]) -> None:
        """Live frames of these may have been missed."""


class Away(msgspec.Struct, frozen=True, tag_field="t", tag="away"):
    """An instance has no Redis: tell it by notice."""

    origin: str


class Written(msgspec.Struct, frozen=True, tag_field="t", tag="event"):
    """A conversation has events up to `seq`."""

    origin: str
    public_id: str
    seq: int


class Said(msgspec.Struct, frozen=True, tag_field="t", tag="said"):
    """A whole message. `published`: it went through Redis too, for whoever has that."""

    origin: str
    channel: str
    payload: str
    published: bool


_decoder = msgspec.json.Decoder(Away | Written | Said)


def _text(notice: Away | Written | Said) -> str:
    return msgspec.json.encode(notice).decode()


class Fallback:
    """Of one instance. `away()` says whether it has lost Redis."""

    def __init__(self, instance: str, board: Board, rooms: Rooms, away: Callable[[], bool]) -> None:
        self._instance = instance
        self._board = board
        self._rooms = rooms
        self._away = away
        # How many instances share a limit while nobody counts for all; at least 1.
        self.instances = 1
        self._counted_at = float("-inf")
        self._looked_at = float("-inf")
        self._others_until = 0.0
        self._outbox: deque[str] = deque(maxlen=OUTBOX)
        self._due: set[str] = set()
        self._returned = False
        # Whether a look was begun and failed: the next one is at all.
        self._owed = False
        self._tell = asyncio.Event()
        self._look = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def active(self) -> bool:
        """Whether messages must go by notice."""
        return self._away() or bool(self._others_until and self._others_until > _now())

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._forever(self._listening, "listener"), name="notice listener"),
            asyncio.create_task(self._forever(self._telling, "sender"), name="notice sender"),
            asyncio.create_task(self._forever(self._looking, "look"), name="notice look"),
        ]

    async def stop(self) -> None:
        """What waits to be said is said, where Postgres is there to take it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._outbox:
            try:
                await asyncio.wait_for(self._board.post([*self._outbox]), FLUSH_S)
            except (Unavailable, TimeoutError):
                logger.warning("not all was said", notices=len(self._outbox))

    def written(self, public_id: str, seq: int) -> str:
        """The notice that goes with a transaction's events."""
        return _text(Written(self._instance, public_id, seq))

    def say(self, channel: str, payload: bytes) -> None:
        """Sends a small message to every other instance, soon."""
        notice = _text(Said(self._instance, channel, payload.decode(), published=not self._away()))
        if len(notice.encode()) > NOTICE_BYTES:
            logger.warning("too large for a notice", channel=channel, size=len(payload))
            return
        self._outbox.append(notice)
        self._tell.set()

    def lost(self) -> None:
        """Redis is gone from here."""
        self._counted_at = float("-inf")
        self._tell.set()
        self._look.set()

    def returned(self) -> None:
        """Redis delivers again: what it did not deliver meanwhile is looked for."""
        self._returned = True
        self._look.set()

    async def _forever(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                logger.warning("no notices without postgres", part=name, reason=error.message)
            except Exception:
                # A bug must not leave the instance deaf.
                logger.exception("fallback broke", part=name)
            await asyncio.sleep(POLL_S)

    # --- hears

    async def _listening(self) -> None:
        await self._board.listen(self._begun, self._noticed)

    def _begun(self) -> None:
        # From now on this instance is counted, and hears; what was said before may have been missed.
        self._counted_at = float("-inf")
        self._look.set()

    def _noticed(self, text: str) -> None:
        try:
            notice = _decoder.decode(text)
        except msgspec.DecodeError as error:
            # Of another version of this program, or of whoever has the database's password.
            logger.warning("notice not understood", size=len(text), reason=str(error))
            return
        if notice.origin == self._instance:
            return
        match notice:
            case Away():
                if not self.active:
                    self._look.set()
                self._others_until = _now() + ABSENT_S
            case Written(public_id=public_id, seq=seq):
                head = self._rooms.head(public_id)
                if head is not None and head < seq:
                    self._due.add(public_id)
                    self._look.set()
            case Said(channel=channel, payload=payload, published=published):
                if self._away() or not published:
                    self._rooms.heard(channel, payload.encode())

    # --- tells

    async def _telling(self) -> None:
        while True:
            await _set_within(self._tell, BEAT_S if self._away() else None)
            self._tell.clear()
            batch = [*self._outbox]
            self._outbox.clear()
            if self._away():
                # First: what follows is answered by notice then.
                batch.insert(0, _text(Away(self._instance)))
            if batch:
                try:
                    await self._board.post(batch)
                except asyncio.CancelledError:
                    # The end says it, perhaps again.
                    self._outbox.extendleft(reversed(batch))
                    raise
            await asyncio.sleep(TOGETHER_S)

    # --- looks

    async def _looking(self) -> None:
        while True:
            await _set_within(self._look, POLL_S if self.active or self._returned or self._owed else COUNT_S[1])
            self._look.clear()
            await self._count()
            if self._returned or self._owed or (self.active and _now() - self._looked_at >= POLL_S):
                await self._look_at_all()
            elif self._due:
                await self._look_at({each: head for each in self._due if (head := self._rooms.head(each)) is not None})
            await asyncio.sleep(TOGETHER_S)

    async def _count(self) -> None:
        if _now() - self._counted_at >= COUNT_S[0 if self.active else 1]:
            self.instances = max(1, await self._board.instances())
            self._counted_at = _now()

    async def _look_at_all(self) -> None:
        """At every conversation with local subscribers, in one statement."""
        # Redis may come back once more while this looks.
        returned, self._returned = self._returned, False
        heads = self._rooms.heads()
        try:
            await self._look_at(heads)
            self._looked_at = _now()
            if returned:
                # Only an answer that is running can have lost something that no event brings.
                self._rooms.resync(await self._board.answering(heads) if heads else ())
        except BaseException:
            self._returned |= returned
            raise

    async def _look_at(self, heads: dict[str, int]) -> None:
        self._due.clear()
        self._owed = True
        while heads:
            found = await self._board.missed(heads, recent_s=RECENT_S, most=FULL)
            for public_id, seq, payload in found:
                self._rooms.found(public_id, seq, payload)
            if len(found) < FULL:
                break
            heads = {each: head for each in heads if (head := self._rooms.head(each)) is not None}
        self._owed = False


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _set_within(event: asyncio.Event, seconds: float | None) -> None:
    """Waits for the event, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
