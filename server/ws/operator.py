"""The operator's protocol over one socket: `hello` with a ticket first, then commands in, frames out.

`staff.find_conversation` says which conversations an operator may name.
"""

import asyncio
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from server import log, metrics
from server.cache.rate_limit import Limit
from server.errors import (
    Conflict,
    Forbidden,
    FrontdeskError,
    Invalid,
    NotFound,
    RateLimited,
    RequestError,
    Unauthorized,
    Unavailable,
)
from server.fanout import channels
from server.protocol import VERSION, codec, limits
from server.protocol.base import Frame
from server.protocol.close import Close
from server.protocol.operator import (
    Colleague,
    CommandDone,
    ConversationClose,
    ConversationRelease,
    ConversationTake,
    ConversationUnwatch,
    ConversationWatch,
    FromOperator,
    InboxWatch,
    OfConversation,
    OperatorAck,
    OperatorHello,
    OperatorMessageSend,
    OperatorPong,
    OperatorTurnStop,
    OperatorTypingSet,
    OperatorWelcome,
    ToolApprove,
    WhisperSend,
)
from server.protocol.visitor import Ping, Typing
from server.repositories.conversations import Conversation
from server.staff import Signed, find_conversation, serves
from server.turns.handover import limit_of
from server.ws.admission import Seat
from server.ws.connection import Connection, Send
from server.ws.inbox import Inbox
from server.ws.presence import Presence
from server.ws.refusal import refusal, tag
from server.ws.visitor import LIMITS
from server.ws.watch import Watch

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Seconds between two looks whether the session still holds: a revoked one is closed within 5 s.
STILL_S = 3.0
# Conversations that one socket watches at once.
WATCHES = 50
# Hellos a minute from one address.
ADDRESS_HELLOS = 120
# Seconds between two words that somebody types.
TYPING_S = 0.5


class Operator:
    """One operator's socket. `handle` takes its frames one by one."""

    def __init__(self, services: "Services", presence: Presence, send: Send, seat: Seat, *, address: str) -> None:
        self._services = services
        self._presence = presence
        self.connection = Connection(send, self._overflowed)
        self.address = address
        self.signed: Signed | None = None
        self._watches: dict[str, Watch] = {}
        self._inbox: Inbox | None = None
        self._bad = 0
        self._typed_at = float("-inf")
        self._degraded = False
        self._checking: asyncio.Task[None] | None = None

    @property
    def greeted(self) -> bool:
        """Whether a hello was taken."""
        return self.signed is not None

    def reads(self, conversation_ids: Collection[int]) -> bool:
        """Whether it watches one of these conversations."""
        return any(watch.conversation.id in conversation_ids for watch in self._watches.values())

    async def gone(self) -> None:
        """The socket is closed: forgets it."""
        self.connection.lost()
        if self._checking is not None:
            self._checking.cancel()
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            await watch.end()
        if self._inbox is not None:
            await self._inbox.end()

    def _overflowed(self) -> None:
        for watch in self._watches.values():
            watch.reader.resync()
        if self._inbox is not None:
            self._inbox.resync()

    # --- from the operator

    async def handle(self, raw: str | None) -> None:
        """One frame; None is a binary one. Whatever is wrong with it is answered, nothing is raised."""
        if self.connection.closing:
            return
        frame: FromOperator | None = None
        try:
            if raw is None:
                raise Invalid("frames are text, UTF-8", code="not_text")
            frame = codec.decode_from_operator(raw)
            if self.signed is not None:
                await self._command(self.signed, frame)
            elif isinstance(frame, OperatorHello):
                await self._hello(frame)
            else:
                self._refuse(frame, RequestError("the first frame must be hello", code="hello_first"))
                self.connection.close(Close.PROTOCOL, "hello first")
        except RequestError as error:
            self._refuse(frame, error)
        except Unavailable as error:
            logger.warning("dependency down", dependency=error.dependency, reason=error.message)
            self._answer(frame, error)
            if self.signed is None:
                self.connection.close(Close.GAP, "come back")
        except FrontdeskError as error:
            logger.warning("frame failed", reason=error.message, code=error.code)
            self._answer(frame, error)
        except Exception:
            # A bug must cost this frame, not the socket, and be seen.
            logger.exception("frame broke")
            self._answer(frame, FrontdeskError("something went wrong"))

    async def _hello(self, frame: OperatorHello) -> None:
        services = self._services
        await services.limiter.check(Limit("address", f"operators:ip:{self.address}", ADDRESS_HELLOS))
        if frame.v < VERSION:
            self._refuse(frame, RequestError(f"the oldest version served is {VERSION}", code="version"))
            self.connection.close(Close.VERSION, "version too old")
            return
        self.signed = await services.staff.redeem(frame.ticket)
        who = self.signed.operator
        self._put(
            OperatorWelcome(
                v=VERSION,
                operator=_colleague(self.signed),
                role=who.role,
                heartbeat_s=limits.HEARTBEAT_S,
                limits=LIMITS,
                watches=WATCHES,
                client_id=who.client_id,
            )
        )
        self._checking = asyncio.create_task(self._check(), name="operator check")

    async def _command(self, signed: Signed, frame: FromOperator) -> None:
        match frame:
            case Ping():
                await self._pong(frame)
            case OperatorHello():
                raise RequestError("this socket said hello already", code="hello_again")
            case InboxWatch():
                await self._count(signed)
                await self._watch_inbox(signed, frame)
            case ConversationUnwatch():
                await self._unwatch(frame.conversation_id)
                self._done(frame)
            case OperatorTypingSet() if not self._types():
                pass
            case OfConversation():
                await self._count(signed)
                conversation = await find_conversation(self._services.pool, signed.operator, frame.conversation_id)
                await self._about(signed, conversation, frame)

    async def _about(self, signed: Signed, conversation: Conversation, frame: OfConversation) -> None:
        """A command about a conversation that this operator may see."""
        handover, operator = self._services.handover, signed.operator
        match frame:
            case ConversationWatch():
                await self._watch(signed, conversation, frame)
                return
            case OperatorMessageSend():
                said = await handover.reply(operator, conversation, cid=frame.cid, text=frame.text)
                self._put(
                    OperatorAck(
                        conversation_id=conversation.public_id, cid=frame.cid, message_id=said.message_id, seq=said.seq
                    )
                )
                return
            case OperatorTypingSet():
                self._type(signed, conversation, frame)
                return
            case WhisperSend():
                await handover.whisper(operator, conversation, text=frame.text)
            case ConversationTake():
                await handover.take(operator, conversation)
            case ConversationRelease():
                await handover.release(operator, conversation)
            case ConversationClose():
                await handover.close(operator, conversation)
            case OperatorTurnStop():
                await handover.stop(operator, conversation, turn_id=frame.turn_id)
            case ToolApprove():
                await handover.approve(operator, conversation, call_id=frame.call_id, approved=frame.approved)
            case _:
                raise RuntimeError(f"nobody handles {tag(frame)}")
        self._done(frame)

    async def _count(self, signed: Signed) -> None:
        await self._services.limiter.check(limit_of(signed.operator))

    # --- what is watched

    async def _watch_inbox(self, signed: Signed, frame: InboxWatch) -> None:
        client_id = frame.client_id if frame.client_id is not None else signed.operator.client_id
        if client_id is not None and not serves(signed.operator, client_id):
            raise NotFound("there is no such client", field="client_id")
        if self._inbox is not None:
            inbox, self._inbox = self._inbox, None
            await inbox.end()
        self._inbox = Inbox(self._services, self.connection, client_id)
        await self._inbox.begin()

    async def _watch(self, signed: Signed, conversation: Conversation, frame: ConversationWatch) -> None:
        watch = self._watches.get(conversation.public_id)
        if watch is not None:
            await watch.begin(epoch=frame.epoch, last_seq=frame.last_seq, glance=frame.glance)
            return
        if len(self._watches) >= WATCHES:
            raise Invalid(f"a socket watches {WATCHES} conversations at most", code="too_many_watched")
        watch = Watch(self._services, self._presence, self.connection, _colleague(signed), conversation)
        try:
            await watch.begin(epoch=frame.epoch, last_seq=frame.last_seq, glance=frame.glance)
        except BaseException:
            await watch.end()
            raise
        self._watches[conversation.public_id] = watch

    async def _unwatch(self, public_id: str) -> None:
        watch = self._watches.pop(public_id, None)
        if watch is not None:
            await watch.end()

    async def _pong(self, frame: Ping) -> None:
        watched = {public_id: watch.conversation for public_id, watch in self._watches.items()}
        try:
            found = await self._services.heads.read([*watched.values()])
        except Unavailable:
            found = [None] * len(watched)
        heads = {public_id: head for public_id, head in zip(watched, found, strict=True) if head is not None}
        self._put(OperatorPong(t=frame.t, heads=heads))
        for public_id, head in heads.items():
            if (watch := self._watches.get(public_id)) is not None and head > watch.reader.seq:
                watch.reader.resync()

    # --- typing

    def _types(self) -> bool:
        """Whether it is time for another word that somebody types; what comes faster is dropped."""
        now = time.monotonic()
        if now - self._typed_at < TYPING_S:
            return False
        self._typed_at = now
        return True

    def _type(self, signed: Signed, conversation: Conversation, frame: OperatorTypingSet) -> None:
        if conversation.owner != "human" or conversation.owner_operator_id != signed.operator.id:
            raise Conflict("take this conversation before you type in it", code="not_yours")
        typing = codec.encode(Typing(who="operator", on=frame.on))
        self._services.hub.publish(channels.conversation(conversation.public_id), 0, typing)

    # --- as long as it is open

    async def _check(self) -> None:
        """Closes the socket when its session no longer holds; without Redis, reads the inbox again and again."""
        while not self.connection.closing:
            await asyncio.sleep(STILL_S)
            try:
                await self._hold_good()
                self._look()
            except Unavailable as error:
                # Nothing can be done over this socket meanwhile, and nobody can be revoked.
                logger.warning("operator not checked", dependency=error.dependency, reason=error.message)
            except Exception:
                logger.exception("operator check broke")
                self.connection.close(Close.GAP, "could not check the session")

    async def _hold_good(self) -> None:
        if self.signed is None:
            return
        before = self.signed.operator
        try:
            self.signed = await self._services.staff.still(self.signed)
        except Unauthorized as error:
            self.connection.close(Close.BAD_KEY, error.code)
            return
        now = self.signed.operator
        if (now.role, now.client_id) != (before.role, before.client_id):
            # What is watched was watched with other rights.
            self.connection.close(Close.GAP, "other rights")

    def _look(self) -> None:
        """Rows of the inbox go through Redis alone: without it they are read, and once more when it is back."""
        degraded = self._services.hub.degraded
        if self._inbox is not None and (degraded or self._degraded):
            self._inbox.resync()
        self._degraded = degraded

    # --- answers

    def _put(self, frame: Frame) -> None:
        self.connection.put(codec.encode(frame), self._lost)

    def _lost(self) -> None:
        self.connection.close(Close.GAP, "an answer was lost")

    def _done(self, frame: OfConversation) -> None:
        self._put(CommandDone(conversation_id=frame.conversation_id, command=tag(frame)))

    def _refuse(self, frame: FromOperator | None, error: RequestError) -> None:
        """Answers a frame that is wrong, and counts it: a socket that sends nothing but nonsense is closed."""
        metrics.BAD_FRAMES.labels(error.code).inc()
        self._answer(frame, error)
        # Who was a moment too late for a conversation has done nothing wrong.
        if not error.temporary and not isinstance(error, Conflict):
            self._bad += 1
            if self._bad > limits.BAD_FRAMES:
                self.connection.close(Close.PROTOCOL, "too many bad frames")
        if self.signed is None:
            match error:
                case Unauthorized() | Forbidden():
                    self.connection.close(Close.BAD_KEY, error.code)
                case RateLimited():
                    self.connection.close(Close.TOO_MANY, error.code)
                case _:
                    pass

    def _answer(self, frame: FromOperator | None, error: FrontdeskError) -> None:
        self._put(refusal(frame, error))


def _colleague(signed: Signed) -> Colleague:
    operator = signed.operator
    return Colleague(id=operator.id, name=operator.name, avatar_url=operator.avatar_url)
