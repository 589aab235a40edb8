"""What every reader of a conversation does, whoever sits behind the socket: told in order, or brought up to date.

A reader is a subscriber of the hub. While it is brought up to date, frames are held back and merged by seq afterwards.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from server import log
from server.errors import FrontdeskError
from server.fanout import channels
from server.protocol import codec
from server.protocol.parts import LiveAnswer
from server.protocol.visitor import MessageDelta
from server.recovery import Recovery
from server.repositories.conversations import Conversation
from server.ws.connection import Dropped

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Frames held back while a reader is brought up to date; past it, it is brought up to date once more.
HELD_FRAMES = 1_000
# In place of a seq: the other side knows nothing.
NOTHING = -1


class Sink(Protocol):
    """A connection, or what stands before one."""

    def put(self, payload: bytes, dropped: Dropped | None = None) -> None:
        """Takes a frame's bytes and never waits. `dropped` is called if they do not get there; `Reader.resync` follows.

        A method, not a function that is handed over: each token to each socket goes through here, and Python is a
        little quicker with methods.
        """


class Reader:
    """One socket's reading of one conversation.

    `gap` is told why frames are missing that this reader cannot fill: the other side has to begin anew. With `whole` a
    gap too wide is filled by a snapshot instead.

    `begin`, then `release` what it gave, then frames come; `leave` at the end.
    """

    __slots__ = (
        "_again",
        "_catching",
        "_conversation",
        "_gap",
        "_held",
        "_live",
        "_services",
        "_sink",
        "_whole",
        "seq",
    )

    def __init__(
        self,
        services: "Services",
        sink: Sink,
        gap: Callable[[str], None],
        *,
        whole: bool = False,
    ) -> None:
        self._services = services
        self._sink = sink
        self._gap = gap
        self._whole = whole
        # The newest event that was sent, as far as is known; all before it were too.
        self.seq = 0
        # Not None once it has begun, for good: only then there is something to catch up with.
        self._conversation: Conversation | None = None
        # Not None while the reader is brought up to date: frames wait here.
        self._held: list[tuple[int, bytes]] | None = None
        # The last snapshot's running answer, until a delta comes that it does not hold: Redis may deliver one to us
        # after we have read the text that it belongs to.
        self._live: LiveAnswer | None = None
        self._catching: asyncio.Task[None] | None = None
        # Whether something may have been missed since that began.
        self._again = False

    # --- from the hub

    def deliver(self, seq: int, payload: bytes) -> None:
        if self._held is not None:
            if len(self._held) < HELD_FRAMES:
                self._held.append((seq, payload))
            else:
                self._gap("too much came in while catching up")
        elif seq == 0:
            if self._live is None or not self._told(payload, self._live):
                self._sink.put(payload)
        elif seq == self.seq + 1:
            self._send(seq, payload)
        elif seq > self.seq:
            self.resync()

    def resync(self) -> None:
        """Reads from the journal what was missed; once more afterwards, when it is being read already."""
        if self._held is not None:
            self._again = True
        elif self._conversation is not None:
            self._held = []
            self._catching = asyncio.create_task(self._catch_up(self._conversation), name="catch up")

    # --- from the socket

    async def begin(self, conversation: Conversation, *, epoch: str | None, last_seq: int | None) -> Recovery:
        """Subscribes and reads what the other side misses; frames are held back from here on until `release`.

        May be called again, for the same conversation. What fails leaves the reader as it was (`undo`). Raises
        Unavailable, NotFound.
        """
        self._stop_catching()  # it would let go what is held back here
        self._held = []
        try:
            await self._services.hub.join(channels.conversation(conversation.public_id), self)
            return await self._services.recoverer.recover(conversation, epoch=epoch, last_seq=last_seq)
        except BaseException:
            await self.undo(conversation)
            raise

    async def undo(self, conversation: Conversation) -> None:
        """In place of `release`: a reader that is new hears nothing, one that was told before goes on."""
        self._held = None
        if self._conversation is None:
            await self._services.hub.leave(channels.conversation(conversation.public_id), self)
        else:
            self.resync()

    def release(self, conversation: Conversation, recovery: Recovery) -> None:
        """Sends what was read, then what was held back and is newer."""
        self._conversation = conversation
        self.seq = recovery.up_to
        for event in recovery.events:
            self._sink.put(event.payload, partial(self._lost, event.seq))
        snapshot = recovery.snapshot
        if snapshot is not None:
            # One of an answer alone is read anew by `resync`.
            self._sink.put(codec.encode(snapshot), None if recovery.resumed else partial(self._lost, NOTHING + 1))
        self._live = snapshot.live if snapshot else None
        held, self._held = self._held or [], None
        for seq, payload in held:
            self.deliver(seq, payload)
        if self._again:
            self._again = False
            self.resync()

    async def leave(self) -> None:
        """Hears nothing any more. Whatever else happens meanwhile, nothing is sent after this was called."""
        self._stop_catching()
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await self._services.hub.leave(channels.conversation(conversation.public_id), self)

    def _send(self, seq: int, payload: bytes) -> None:
        self.seq = seq
        self._sink.put(payload, partial(self._lost, seq))

    def _lost(self, seq: int) -> None:
        """This event did not get there: it is the next one to send."""
        self.seq = min(self.seq, seq - 1)

    def _stop_catching(self) -> None:
        if self._catching is not None:
            self._catching.cancel()
            self._catching = None

    async def _catch_up(self, conversation: Conversation) -> None:
        """Fills a gap of a live socket."""
        try:
            last_seq = None if self.seq == NOTHING else self.seq
            recovery = await self._services.recoverer.recover(conversation, epoch=conversation.epoch, last_seq=last_seq)
        except FrontdeskError as error:
            logger.warning("reader not brought up to date", reason=error.message)
            self._gap("could not catch up")
            return
        except Exception:
            # A bug must not leave the reader holding back for good.
            logger.exception("catching up broke")
            self._gap("could not catch up")
            return
        finally:
            if self._catching is asyncio.current_task():
                self._catching = None
        if recovery.resumed or self._whole:
            self.release(conversation, recovery)
        else:
            self._gap("too far behind")

    def _told(self, payload: bytes, live: LiveAnswer) -> bool:
        """Whether a live frame is a delta that this snapshot has in it."""
        frame = codec.decode_to_visitor(payload)
        if not isinstance(frame, MessageDelta) or frame.turn_id != live.turn_id:
            return False
        told = (frame.gen, frame.n) <= (live.gen, live.n)
        if not told:
            self._live = None
        return told
