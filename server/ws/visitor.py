"""The visitor's protocol over one socket: `hello` first, then commands in, frames out."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from server import log, metrics
from server.access import Session, check_origin
from server.cache.rate_limit import Limit
from server.errors import (
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
from server.protocol.parts import Limits, LiveAnswer
from server.protocol.visitor import (
    Ack,
    Error,
    FeedbackGive,
    FromVisitor,
    HandoffRequest,
    Hello,
    MessageDelta,
    MessageSend,
    Nack,
    Ping,
    Pong,
    SessionProof,
    ToolConfirm,
    TurnStop,
    TypingSet,
    Welcome,
)
from server.recovery import Recovery
from server.repositories import conversations, messages
from server.repositories.pool import reading
from server.turns import phrases
from server.turns.intake import limits_of
from server.ws.connection import Connection, Send

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Frames held back while a reader is brought up to date; past it, it is brought up to date once more.
HELD_FRAMES = 1_000
LIMITS = Limits(message_characters=limits.MESSAGE_CHARACTERS, frame_bytes=limits.FRAME_BYTES)


class Visitor:
    """One visitor's socket. `handle` takes its frames one by one; `deliver` and `resync` are the hub's side."""

    __slots__ = (
        "_bad",
        "_channel",
        "_held",
        "_live",
        "_seq",
        "_services",
        "_tasks",
        "address",
        "connection",
        "origin",
        "session",
    )

    def __init__(self, services: "Services", send: Send, *, origin: str, address: str) -> None:
        self._services = services
        self.connection = Connection(send, self.resync)
        self.origin = origin
        self.address = address
        self.session: Session | None = None
        self._channel: str | None = None
        self._seq = 0
        # Not None while the reader is brought up to date: frames wait here.
        self._held: list[tuple[int, bytes]] | None = None
        # The last snapshot's running answer, until a delta comes that it does not hold: Redis may deliver one to us
        # after we have read the text that it belongs to.
        self._live: LiveAnswer | None = None
        self._bad = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # --- from the hub

    def deliver(self, seq: int, payload: bytes) -> None:
        if self._held is not None:
            if len(self._held) < HELD_FRAMES:
                self._held.append((seq, payload))
            else:
                self.connection.close(Close.GAP, "too much came in while catching up")
        elif seq == 0:
            if self._live is None or not self._told(payload, self._live):
                self.connection.put(payload)
        elif seq == self._seq + 1:
            self._seq = seq
            self.connection.put(payload)
        elif seq > self._seq:
            self.resync()

    def resync(self) -> None:
        """Reads from the journal what was missed."""
        if self._held is None and self.session is not None:
            self._held = []
            task = asyncio.create_task(self._catch_up(self.session), name="catch up")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # --- from the visitor

    async def handle(self, raw: str | None) -> None:
        """One frame; None is a binary one. Whatever is wrong with it is answered, nothing is raised."""
        if self.connection.closing:
            return
        cid: str | None = None
        try:
            if raw is None:
                raise Invalid("frames are text, UTF-8", code="not_text")
            frame = codec.decode_from_visitor(raw)
            cid = frame.cid if isinstance(frame, MessageSend) else None
            if isinstance(frame, Hello):
                await self._hello(frame)
            elif self.session is None:
                self._refuse(Error(code="hello_first", message="the first frame must be hello", temporary=False))
                self.connection.close(Close.PROTOCOL, "hello first")
            else:
                await self._command(self.session, frame)
        except RequestError as error:
            self._answer(error, cid)
        except Unavailable as error:
            logger.warning("dependency down", dependency=error.dependency, reason=error.message)
            self._unavailable(error, cid)
        except FrontdeskError as error:
            logger.warning("frame failed", reason=error.message, code=error.code)
            self._refuse(Error(code=error.code, message="something went wrong", temporary=error.temporary))
        except Exception:
            # A bug must cost this frame, not the socket, and be seen.
            logger.exception("frame broke")
            self._refuse(Error(code="internal", message="something went wrong", temporary=True))

    async def gone(self) -> None:
        """The socket is closed: forgets it."""
        self.connection.lost()
        for task in self._tasks:
            task.cancel()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await self._services.hub.leave(channel, self)

    async def _command(self, session: Session, frame: FromVisitor) -> None:
        match frame:
            case MessageSend():
                await self._message(session, frame)
            case TurnStop():
                await self._services.commands.stop(session, turn_id=frame.turn_id)
            case FeedbackGive():
                await self._services.limiter.check(*self._limits(session))
                await self._services.commands.rate(
                    session, message_id=frame.message_id, rating=frame.rating, comment=frame.comment
                )
            case Ping():
                await self._pong(session, frame)
            case TypingSet():
                pass  # Only operators see a visitor type, and none is listening on this channel.
            case ToolConfirm():
                await self._services.limiter.check(*self._limits(session))
                await self._services.commands.confirm(session, call_id=frame.call_id, approved=frame.approved)
            case HandoffRequest():
                raise RequestError("nobody can take over right now", code="handoff_unavailable")
            case Hello():
                raise RuntimeError("hello is not a command")

    async def _message(self, session: Session, frame: MessageSend) -> None:
        if frame.attachments:
            raise Invalid("attachments are not accepted here", code="attachments_unsupported", field="attachments")
        client = await self._services.access.refresh(session.client)
        session = Session(client, session.conversation, session.token)
        accepted = await self._services.intake.accept(
            session, cid=frame.cid, text=frame.text, address=self.address, channel="widget"
        )
        self._put(Ack(cid=frame.cid, message_id=accepted.message_id, seq=accepted.seq))

    async def _pong(self, session: Session, frame: Ping) -> None:
        try:
            head = await self._services.recoverer.head(session.conversation)
        except Unavailable:
            head = self._seq
        self._put(Pong(t=frame.t, head_seq=head))
        if head > self._seq:
            self.resync()

    # --- hello

    async def _hello(self, frame: Hello) -> None:
        if frame.v < VERSION:
            self._refuse(Error(code="version", message=f"the oldest version served is {VERSION}", temporary=False))
            self.connection.close(Close.VERSION, "version too old")
            return
        services = self._services
        client = await services.access.client_by_public_key(frame.key)
        check_origin(client, self.origin)
        await services.limiter.check(*limits_of(client, visitor=None, address=self.address))
        if frame.session is not None:
            session = await services.access.session(client, session_id=frame.session.id, token=frame.session.token)
        else:
            session = await services.access.new_session(client, channel="widget", locale=frame.locale)
        if self.session is not None and self.session.conversation.id != session.conversation.id:
            raise Invalid("this socket belongs to another session", code="other_session", field="session")
        if frame.locale is not None and frame.locale != session.conversation.locale:
            session = await self._speak(session, frame.locale)
        recovery, pending = await self._resume(session, frame)
        self.session = session
        self._welcome(session, recovery, pending)
        if frame.identity is not None:
            # After the welcome: whoever is not vouched for can chat all the same.
            self.session = await services.access.identify(session, frame.identity)

    async def _speak(self, session: Session, locale: str) -> Session:
        """The visitor changed the language."""
        conversation = session.conversation
        async with reading(self._services.pool) as conn:
            await conversations.set_locale(
                conn, client_id=conversation.client_id, conversation_id=conversation.id, locale=locale
            )
        return Session(session.client, msgspec.structs.replace(conversation, locale=locale), session.token)

    async def _resume(self, session: Session, frame: Hello) -> tuple[Recovery, dict[str, int | None]]:
        """Subscribes and reads what the visitor misses; frames are held back from here on until `_release`.

        What fails leaves the socket as it was: without a session it hears nothing, with one it goes on.
        """
        services = self._services
        for task in self._tasks:
            task.cancel()  # it would let go what is held back here
        self._held = []
        self._channel = channels.conversation(session.conversation.public_id)
        try:
            await services.hub.join(self._channel, self)
            recovery = await services.recoverer.recover(
                session.conversation, epoch=frame.epoch, last_seq=frame.last_seq
            )
            return recovery, await self._pending(session, frame.pending)
        except BaseException:
            self._held = None
            if self.session is None:
                channel, self._channel = self._channel, None
                await services.hub.leave(channel, self)
            else:
                self.resync()
            raise

    async def _pending(self, session: Session, cids: list[str]) -> dict[str, int | None]:
        if not cids:
            return {}
        async with reading(self._services.pool) as conn:
            stored = await messages.stored_cids(
                conn, client_id=session.client.id, conversation_id=session.conversation.id, cids=cids
            )
        return {cid: stored.get(cid) for cid in cids}

    def _welcome(self, session: Session, recovery: Recovery, pending: dict[str, int | None]) -> None:
        conversation = session.conversation
        self._put(
            Welcome(
                v=VERSION,
                session=SessionProof(id=conversation.session_id, token=session.token),
                conversation_id=conversation.public_id,
                epoch=conversation.epoch,
                head_seq=recovery.up_to,
                resumed=recovery.resumed,
                pending=pending,
                heartbeat_s=limits.HEARTBEAT_S,
                limits=LIMITS,
            )
        )
        self._release(recovery)

    async def _catch_up(self, session: Session) -> None:
        """Fills a gap of a live socket. A gap too wide ends in a close that makes the widget ask for a snapshot."""
        try:
            recovery = await self._services.recoverer.recover(
                session.conversation, epoch=session.conversation.epoch, last_seq=self._seq
            )
        except FrontdeskError as error:
            logger.warning("reader not brought up to date", reason=error.message)
            self.connection.close(Close.GAP, "could not catch up")
            return
        if recovery.resumed:
            self._release(recovery)
        else:
            self.connection.close(Close.GAP, "too far behind")

    def _release(self, recovery: Recovery) -> None:
        """Sends what was read, then what was held back and is newer."""
        for event in recovery.events:
            self.connection.put(event.payload)
        self._seq = recovery.up_to
        snapshot = recovery.snapshot
        if snapshot is not None:
            self._put(snapshot)
        self._live = snapshot.live if snapshot else None
        held, self._held = self._held or [], None
        for seq, payload in held:
            self.deliver(seq, payload)

    def _told(self, payload: bytes, live: LiveAnswer) -> bool:
        """Whether a live frame is a delta that this snapshot has in it."""
        frame = codec.decode_to_visitor(payload)
        if not isinstance(frame, MessageDelta) or frame.turn_id != live.turn_id:
            return False
        told = (frame.gen, frame.n) <= (live.gen, live.n)
        if not told:
            self._live = None
        return told

    # --- answers

    def _limits(self, session: Session) -> list[Limit]:
        return limits_of(session.client, visitor=session.conversation.session_id, address=self.address)

    def _put(self, frame: Frame) -> None:
        self.connection.put(codec.encode(frame))

    def _refuse(self, frame: Error) -> None:
        """Answers a bad frame, and counts it: a socket that sends nothing but nonsense is closed."""
        metrics.BAD_FRAMES.labels(frame.code).inc()
        self._put(frame)
        if not frame.temporary:
            self._bad += 1
            if self._bad > limits.BAD_FRAMES:
                self.connection.close(Close.PROTOCOL, "too many bad frames")

    def _answer(self, error: RequestError, cid: str | None) -> None:
        if cid is not None:
            self._put(Nack(cid=cid, code=error.code, message=self._kind(error), retry_after_ms=error.retry_after_ms))
        else:
            self._refuse(Error(code=error.code, message=error.message, temporary=error.temporary, field=error.field))
        if self.session is None or isinstance(error, Forbidden):
            match error:
                case Unauthorized():
                    self.connection.close(Close.BAD_KEY, error.code)
                case Forbidden():
                    self.connection.close(Close.ORIGIN, error.code)
                case RateLimited():
                    self.connection.close(Close.TOO_MANY, error.code)
                case NotFound():
                    self.connection.close(Close.ERASED, error.code)
                case _:
                    pass

    def _unavailable(self, error: Unavailable, cid: str | None) -> None:
        message = phrases.say("come_back", self._locale())
        if cid is not None:
            self._put(Nack(cid=cid, code=error.code, message=message, retry_after_ms=error.retry_after_ms))
        else:
            self._put(Error(code=error.code, message=message, temporary=True))
            if self.session is None:
                self.connection.close(Close.GAP, "come back")

    def _kind(self, error: RequestError) -> str:
        """A refused message is read by a person: limits get a kind sentence in their language."""
        if isinstance(error, RateLimited):
            return phrases.say("month_over" if error.code == "month_over" else "too_many", self._locale())
        return error.message

    def _locale(self) -> str:
        return self.session.conversation.locale if self.session else "en"
