"""The visitor's protocol over one socket: `hello` first, then commands in, frames out."""

import time
from collections.abc import Collection
from functools import partial
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
from server.protocol.operator import ConversationFrame
from server.protocol.parts import Limits
from server.protocol.visitor import (
    Ack,
    Error,
    FeedbackGive,
    FromVisitor,
    HandoffRequest,
    Hello,
    MessageSend,
    Nack,
    Ping,
    Pong,
    SessionProof,
    ToolConfirm,
    TurnStop,
    Typing,
    TypingSet,
    Welcome,
)
from server.recovery import Recovery
from server.repositories import conversations, messages
from server.repositories.clients import Client
from server.repositories.pool import reading
from server.turns import phrases
from server.turns.counting import is_console
from server.turns.intake import limits_of
from server.ws.admission import Seat, send_back
from server.ws.connection import Connection, Send
from server.ws.presence import Presence
from server.ws.reader import Reader

if TYPE_CHECKING:
    from server.services import Services

logger = log.get("ws")

# Seconds between two words that a visitor types; what comes faster is dropped.
TYPING_S = 0.5
LIMITS = Limits(message_characters=limits.MESSAGE_CHARACTERS, frame_bytes=limits.FRAME_BYTES)


class Visitor:
    """One visitor's socket. `handle` takes its frames one by one."""

    __slots__ = (
        "_bad",
        "_own_page",
        "_presence",
        "_reader",
        "_seat",
        "_services",
        "_typed_at",
        "address",
        "connection",
        "origin",
        "session",
    )

    def __init__(
        self,
        services: "Services",
        presence: Presence,
        send: Send,
        seat: Seat,
        *,
        origin: str,
        address: str,
        own_page: bool,
    ) -> None:
        self._services = services
        self._presence = presence
        self._seat = seat
        self._own_page = own_page
        self.connection = Connection(send, self._overflowed)
        self.origin = origin
        self.address = address
        self.session: Session | None = None
        self._reader = Reader(services, self.connection, self._gap)
        self._bad = 0
        self._typed_at = float("-inf")

    @property
    def greeted(self) -> bool:
        """Whether a hello was taken."""
        return self.session is not None

    def reads(self, conversation_ids: Collection[int]) -> bool:
        """Whether it reads one of these conversations."""
        return self.session is not None and self.session.conversation.id in conversation_ids

    def _overflowed(self) -> None:
        self._reader.resync()

    def _gap(self, reason: str) -> None:
        self.connection.close(Close.GAP, reason)

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
        if self.session is not None:
            self._presence.left(self.session.conversation.public_id)
        await self._reader.leave()

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
                self._services.heads.ask(session.conversation, partial(self._pong, frame.t))
            case TypingSet():
                self._type(session, frame)
            case ToolConfirm():
                await self._services.limiter.check(*self._limits(session))
                await self._services.commands.confirm(session, call_id=frame.call_id, approved=frame.approved)
            case HandoffRequest():
                await self._services.limiter.check(*self._limits(session))
                await self._services.handover.request(session, reason=frame.reason)
            case Hello():
                raise RuntimeError("hello is not a command")

    async def _message(self, session: Session, frame: MessageSend) -> None:
        if frame.attachments:
            raise Invalid("attachments are not accepted here", code="attachments_unsupported", field="attachments")
        client = await self._services.access.refresh(session.client)
        session = Session(client, session.conversation, session.token)
        accepted = await self._services.intake.accept(
            session,
            cid=frame.cid,
            text=frame.text,
            address=self.address,
            channel=conversations.CONSOLE if is_console(session.conversation) else "widget",
        )
        self._tell(Ack(cid=frame.cid, message_id=accepted.message_id, seq=accepted.seq))

    def _type(self, session: Session, frame: TypingSet) -> None:
        """Only operators see a visitor type: mostly none is there, and nothing is sent."""
        public_id, now = session.conversation.public_id, time.monotonic()
        if self._presence.watched(public_id) and now - self._typed_at >= TYPING_S:
            self._typed_at = now
            seen = ConversationFrame(conversation_id=public_id, frame=Typing(who="visitor", on=frame.on))
            self._services.hub.publish(channels.operators(public_id), 0, codec.encode(seen))

    def _pong(self, t: float, head: int | FrontdeskError) -> None:
        """A ping's clock goes back with the newest seq; without Postgres with what was sent."""
        if isinstance(head, RequestError):
            self._answer(head, None)
            return
        newest = self._reader.seq if isinstance(head, FrontdeskError) else head
        self._put(Pong(t=t, head_seq=newest))
        if newest > self._reader.seq:
            self._reader.resync()

    # --- hello

    async def _hello(self, frame: Hello) -> None:
        if frame.v < VERSION:
            self._refuse(Error(code="version", message=f"the oldest version served is {VERSION}", temporary=False))
            self.connection.close(Close.VERSION, "version too old")
            return
        async with self._seat.hello():
            if not self.connection.closing:
                await self._greet(frame)

    async def _greet(self, frame: Hello) -> None:
        services = self._services
        client = await services.access.client_by_public_key(frame.key)
        playing = self._check_page(client, frame)
        self._seat.take(client.id)
        await services.limiter.check(*limits_of(client, visitor=None, address=self.address, console=playing))
        if frame.session is not None:
            session = await services.access.session(client, session_id=frame.session.id, token=frame.session.token)
            if playing and not is_console(session.conversation):
                check_origin(client, self.origin)
        else:
            session = await services.access.new_session(client, channel="widget", locale=frame.locale)
        if self.session is not None and self.session.conversation.id != session.conversation.id:
            raise Invalid("this socket belongs to another session", code="other_session", field="session")
        if frame.locale is not None and frame.locale != session.conversation.locale:
            session = await self._speak(session, frame.locale)
        recovery, pending = await self._resume(session, frame)
        if self.session is None:
            self._presence.came(session.conversation.public_id)
        self.session = session
        self._welcome(session, recovery, pending)
        if frame.identity is not None:
            # After the welcome: whoever is not vouched for can chat all the same.
            self.session = await services.access.identify(session, frame.identity)

    def _check_page(self, client: Client, frame: Hello) -> bool:
        """Raises Forbidden unless the page is one of the client's. One of the console's, which may go on with a chat of
        its own and with nothing else, gives True."""
        playing = self.origin not in client.allowed_origins and frame.session is not None and self._own_page
        if not playing:
            check_origin(client, self.origin)
        return playing

    async def _speak(self, session: Session, locale: str) -> Session:
        """The visitor changed the language."""
        conversation = session.conversation
        async with reading(self._services.pool) as conn:
            await conversations.set_locale(
                conn, client_id=conversation.client_id, conversation_id=conversation.id, locale=locale
            )
        return Session(session.client, msgspec.structs.replace(conversation, locale=locale), session.token)

    async def _resume(self, session: Session, frame: Hello) -> tuple[Recovery, dict[str, int | None]]:
        """Subscribes and reads what the visitor misses, and which of the messages he is unsure of are stored.

        What fails leaves the socket as it was: without a session it hears nothing, with one it goes on.
        """
        conversation = session.conversation
        recovery = await self._reader.begin(conversation, epoch=frame.epoch, last_seq=frame.last_seq)
        try:
            return recovery, await self._pending(session, frame.pending)
        except BaseException:
            await self._reader.undo(conversation)
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
        self._tell(
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
        self._reader.release(conversation, recovery)

    # --- answers

    def _limits(self, session: Session) -> list[Limit]:
        conversation = session.conversation
        return limits_of(
            session.client, visitor=conversation.session_id, address=self.address, console=is_console(conversation)
        )

    def _put(self, frame: Frame) -> None:
        self.connection.put(codec.encode(frame))

    def _tell(self, frame: Welcome | Ack | Nack) -> None:
        """An answer that is waited for: a widget that cannot get it has to ask again."""
        self.connection.put(codec.encode(frame), partial(self._gap, "an answer was lost"))

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
            self._tell(Nack(cid=cid, code=error.code, message=self._kind(error), retry_after_ms=error.retry_after_ms))
        else:
            self._refuse(Error(code=error.code, message=error.message, temporary=error.temporary, field=error.field))
        if self.session is None or isinstance(error, Forbidden):
            match error:
                case Unauthorized():
                    self.connection.close(Close.BAD_KEY, error.code)
                case Forbidden():
                    self.connection.close(Close.ORIGIN, error.code)
                case RateLimited():
                    send_back(self.connection, error)
                case NotFound():
                    self.connection.close(Close.ERASED, error.code)
                case _:
                    pass

    def _unavailable(self, error: Unavailable, cid: str | None) -> None:
        message = phrases.say("come_back", self._locale())
        if cid is not None:
            self._tell(Nack(cid=cid, code=error.code, message=message, retry_after_ms=error.retry_after_ms))
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
