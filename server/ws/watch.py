"""A conversation that an operator watches: all that its visitor gets, what only operators see, and who is there."""

from typing import TYPE_CHECKING

from server.fanout import channels
from server.protocol import codec, operator
from server.protocol.close import Close
from server.protocol.operator import Colleague, ConversationWatched
from server.recovery import Recovery
from server.repositories import whispers
from server.repositories.conversations import Conversation
from server.repositories.pool import reading
from server.repositories.whispers import WhisperRow
from server.turns.handover import recorded_whisper
from server.ws.connection import Connection, Dropped
from server.ws.presence import Presence
from server.ws.reader import Reader

if TYPE_CHECKING:
    from server.services import Services

# Whispers that an operator is shown who begins to watch.
WHISPERS = 50


class Watch:
    """One operator's socket on one conversation. `begin` may be called again, as a visitor may say hello again.

    It is itself the subscriber of what only operators see; the `reader` subscribes to the visitor's frames.
    """

    def __init__(
        self,
        services: "Services",
        presence: Presence,
        connection: Connection,
        colleague: Colleague,
        conversation: Conversation,
    ) -> None:
        self._services = services
        self._presence = presence
        self._connection = connection
        self._colleague = colleague
        self.conversation = conversation
        self._head = b'{"type":"conversation.frame","conversation_id":%b,"frame":' % codec.encode(
            conversation.public_id
        )
        self.reader = Reader(services, self, self._gap, whole=True)
        # Not None until `begin` is through: privileged frames wait here.
        self._held: list[bytes] | None = []

    @property
    def colleague(self) -> Colleague:
        return self._colleague

    async def begin(self, *, epoch: str | None, last_seq: int | None, glance: bool = False) -> None:
        """Subscribes, tells what was missed and, unless at a `glance`, who is there. What fails leaves it as it was.

        Raises Unavailable, NotFound.
        """
        recovery = await self.reader.begin(self.conversation, epoch=epoch, last_seq=last_seq)
        try:
            await self._services.hub.join(channels.operators(self.conversation.public_id), self)
            recorded = await self._whispers()
        except BaseException:
            await self.reader.undo(self.conversation)
            raise
        self._connection.put(codec.encode(self._watched(recovery, recorded)), self._lost)
        self.reader.release(self.conversation, recovery)
        held, self._held = self._held or [], None
        for payload in held:
            self._connection.put(payload)
        if glance:
            self._presence.unwatch(self.conversation.public_id, self)
        else:
            self._presence.watch(self.conversation.public_id, self)

    async def end(self) -> None:
        """Hears nothing any more."""
        self._held = []
        self._presence.unwatch(self.conversation.public_id, self)
        await self.reader.leave()
        await self._services.hub.leave(channels.operators(self.conversation.public_id), self)

    # --- from the hub

    def deliver(self, seq: int, payload: bytes) -> None:
        """A privileged frame. They are live: one that is lost is not told again."""
        if self._held is None:
            self._connection.put(payload)
        else:
            self._held.append(payload)

    def resync(self) -> None:
        pass  # the reader's is called too, and there is nothing stored to read here

    # --- from the presence

    def present(self, frame: operator.Presence) -> None:
        self._connection.put(codec.encode(frame))

    # --- to the socket

    def put(self, payload: bytes, dropped: Dropped | None = None) -> None:
        """A visitor's frame, as it is: it may be a token of an answer, so nothing is decoded for it."""
        self._connection.put(b"%b%b}" % (self._head, payload), dropped)

    def _gap(self, reason: str) -> None:
        self._connection.close(Close.GAP, reason)

    def _lost(self) -> None:
        self._gap("an answer was lost")

    def _watched(self, recovery: Recovery, recorded: list[WhisperRow]) -> ConversationWatched:
        return ConversationWatched(
            conversation_id=self.conversation.public_id,
            client_id=self.conversation.client_id,
            epoch=self.conversation.epoch,
            head_seq=recovery.up_to,
            resumed=recovery.resumed,
            whispers=[recorded_whisper(self.conversation, row) for row in recorded],
        )

    async def _whispers(self) -> list[WhisperRow]:
        async with reading(self._services.pool) as conn:
            return await whispers.recent(
                conn,
                client_id=self.conversation.client_id,
                conversation_id=self.conversation.id,
                limit=WHISPERS,
            )
