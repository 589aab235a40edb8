"""An operator's console: signs in, opens the socket, reads what comes over it by conversation."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from server.protocol import VERSION, codec
from server.protocol.base import Frame
from server.protocol.operator import (
    CommandDone,
    ConversationFrame,
    ConversationRelease,
    ConversationTake,
    ConversationWatch,
    ConversationWatched,
    OfConversation,
    OperatorAck,
    OperatorError,
    OperatorHello,
    OperatorMessageSend,
    OperatorPong,
    OperatorWelcome,
    ToOperator,
)
from server.protocol.visitor import Durable, Ping, ToVisitor
from server.repositories import operators
from server.repositories.operators import Operator
from server.repositories.pool import reading
from server.staff import Signed, Staff
from tests.flows.support import PATIENCE_S, Desk, Shop, new_cid
from tests.flows.view import View

T = TypeVar("T")
_numbers = itertools.count(1)


class Sign:
    """An operator who has signed in. `token` is the cookie's secret."""

    def __init__(self, desk: Desk, operator: Operator, token: str, signed: Signed) -> None:
        self.desk = desk
        self.staff = Staff(desk.pool, desk.keyring)
        self.operator = operator
        self.token = token
        self.signed = signed

    async def ticket(self) -> str:
        return await self.staff.ticket(self.signed)


async def staff_of(desk: Desk, shop: Shop | None, *, role: str = "operator", name: str | None = None) -> Sign:
    """A new operator of a shop, or of all of them, signed in by a link."""
    number = next(_numbers)
    async with reading(desk.pool) as conn:
        operator = await operators.create(
            conn,
            client_id=None if shop is None else shop.id,
            email=f"operator{number}@example.com",
            name=name or f"Operator {number}",
            password_hash="no password",  # nobody signs in with one here
            role=role,
        )
    staff = Staff(desk.pool, desk.keyring)
    token, signed = await staff.sign_in_by_link(await staff.login_link(operator.id), address="127.0.0.1")
    return Sign(desk, operator, token, signed)


class Watched:
    """What came of one conversation: the visitor's frames, to the byte, and what a console makes of them."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self.frames: list[ToVisitor] = []
        self.payloads: list[bytes] = []

    def events(self) -> list[bytes]:
        """The durable frames so far, to the byte."""
        return [raw for raw, frame in zip(self.payloads, self.frames, strict=True) if isinstance(frame, Durable)]

    def of(self, kind: type[T]) -> list[T]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Console:
    """One socket of an operator."""

    def __init__(self, socket: ClientConnection, sign: Sign) -> None:
        self.socket = socket
        self.sign = sign
        self.frames: list[ToOperator] = []
        self.of_conversation: dict[str, Watched] = {}

    def of(self, kind: type[T]) -> list[T]:
        """The frames of a kind so far."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.raw(codec.encode(frame))

    async def raw(self, data: bytes | str) -> None:
        """A text frame, whatever is in it."""
        await self.socket.send(data, text=True)

    async def read(self) -> ToOperator:
        """The next frame. A visitor's is taken out of its wrapping by its bytes, not by what they mean."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.socket.recv(decode=False)
        frame = codec.decode_to_operator(raw)
        self.frames.append(frame)
        if isinstance(frame, ConversationFrame):
            head = b'{"type":"conversation.frame","conversation_id":"%b","frame":' % frame.conversation_id.encode()
            assert raw.startswith(head) and raw.endswith(b"}")
            watched = self.of_conversation.setdefault(frame.conversation_id, Watched())
            watched.payloads.append(raw[len(head) : -1])
            watched.frames.append(frame.frame)
            watched.view.apply(frame.frame)
        return frame

    async def next(self, kind: type[T], where: Callable[[T], bool] = lambda _: True) -> T:
        """Reads on until a frame of this kind."""
        while True:
            frame = await self.read()
            if isinstance(frame, kind) and where(frame):
                return frame

    async def sees(self, conversation_id: str, kind: type[T], where: Callable[[T], bool] = lambda _: True) -> T:
        """Reads on until a visitor's frame of this kind comes of this conversation."""
        while True:
            frame = await self.next(ConversationFrame, lambda frame: frame.conversation_id == conversation_id)
            if isinstance(frame.frame, kind) and where(frame.frame):
                return frame.frame

    async def watch(self, conversation_id: str, *, view: View | None = None, epoch: str | None = None) -> Watched:
        """Watches a conversation, from what `view` shows on."""
        watched = self.of_conversation[conversation_id] = Watched(view)
        last_seq = None if epoch is None else watched.view.seq
        await self.send(ConversationWatch(conversation_id=conversation_id, epoch=epoch, last_seq=last_seq))
        await self.next(ConversationWatched, lambda frame: frame.conversation_id == conversation_id)
        return watched

    async def do(self, frame: OfConversation) -> CommandDone | OperatorError:
        """A command, and its answer."""
        await self.send(frame)
        return await self.answer(frame)

    async def answer(self, frame: OfConversation) -> CommandDone | OperatorError:
        command = str(frame.__struct_config__.tag)
        while True:
            came = await self.read()
            if isinstance(came, CommandDone | OperatorError) and (came.conversation_id, came.command) == (
                frame.conversation_id,
                command,
            ):
                return came

    async def take(self, conversation_id: str) -> CommandDone | OperatorError:
        return await self.do(ConversationTake(conversation_id=conversation_id))

    async def release(self, conversation_id: str) -> CommandDone | OperatorError:
        return await self.do(ConversationRelease(conversation_id=conversation_id))

    async def say(self, conversation_id: str, text: str) -> OperatorAck:
        """Sends a message and reads on to its ack."""
        cid = new_cid()
        await self.send(OperatorMessageSend(conversation_id=conversation_id, cid=cid, text=text))
        return await self.next(OperatorAck, lambda ack: ack.cid == cid)

    async def settle(self) -> OperatorPong:
        """Reads all that was sent before now: the pong comes after it."""
        t = float(next(_numbers))
        await self.send(Ping(t=t))
        return await self.next(OperatorPong, lambda pong: pong.t == t)

    async def closed(self) -> int:
        """Reads on to the close; its code."""
        try:
            while True:
                await self.read()
        except ConnectionClosed as gone:
            assert gone.rcvd is not None, "the connection broke without a close frame"
            return gone.rcvd.code

    def cut(self) -> None:
        """The network goes away: no close frame, nothing."""
        self.socket.transport.abort()


@asynccontextmanager
async def dialled(
    sign: Sign, *, on: int = 0, url: str | None = None, origin: str | None = None
) -> AsyncIterator[Console]:
    """A socket that has said nothing yet, of a page of the console's own (an `origin` of "" sends none).

    `url` is that of another server than the desk's own.
    """
    url = url or sign.desk.instances[on].url
    async with connect(
        url.replace("http://", "ws://") + "/api/v1/admin/ws",
        origin=Origin(url if origin is None else origin) or None,
        compression=None,
        max_size=None,
        ping_interval=None,
        proxy=None,
    ) as socket:
        yield Console(socket, sign)


@asynccontextmanager
async def console(sign: Sign, *, on: int = 0, url: str | None = None) -> AsyncIterator[Console]:
    """A socket that has said hello."""
    async with dialled(sign, on=on, url=url) as opened:
        await opened.send(OperatorHello(v=VERSION, ticket=await sign.ticket()))
        await opened.next(OperatorWelcome)
        yield opened
