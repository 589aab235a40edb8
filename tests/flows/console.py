"""An operator's console: signs in, opens the socket, reads what comes over it by conversation."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from server.protocol import VERSION, codec
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
from server.repositories import operators
from server.repositories.operators import Operator
from server.repositories.pool import reading
from server.staff import Signed, Staff
from tests.flows.peer import PATIENCE_S, Peer
from tests.flows.support import Desk, Reader, Shop, new_cid
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


class Watched(Reader):
    """What came of one conversation, and what a console makes of it."""

    def __init__(self, view: View | None = None) -> None:
        super().__init__()
        self.view = view or View()


class Console(Peer[ToOperator]):
    """One socket of an operator."""

    def __init__(self, socket: ClientConnection, sign: Sign) -> None:
        super().__init__(socket)
        self.sign = sign
        self.of_conversation: dict[str, Watched] = {}

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
        """Reads all that was sent before now."""
        return await self.ponged(OperatorPong)


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
