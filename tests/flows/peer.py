"""The other end of a socket: sends frames as structs, and reads until the frame that it waits for."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from server.protocol import codec
from server.protocol.base import Frame
from server.protocol.operator import OperatorPong
from server.protocol.visitor import Ping, Pong

# Seconds after which a test gives up waiting for something that takes milliseconds.
PATIENCE_S = 30.0

Came = TypeVar("Came")
Kind = TypeVar("Kind")
Answer = TypeVar("Answer", Pong, OperatorPong)
_numbers = itertools.count(1)


class Frames(Generic[Came]):
    """What came, in order."""

    def __init__(self) -> None:
        self.frames: list[Came] = []

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The frames of a kind so far."""
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Peer(Frames[Came], ABC):
    """One socket to the server."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self.socket = socket

    @abstractmethod
    async def read(self) -> Came:
        """The next frame, kept."""

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.raw(codec.encode(frame))

    async def raw(self, data: bytes | str) -> None:
        """A text frame, whatever is in it."""
        await self.socket.send(data, text=True)

    async def next(self, kind: type[Kind], where: Callable[[Kind], bool] = lambda _: True) -> Kind:
        """Reads on until a frame of this kind."""
        while True:
            frame = await self.read()
            if isinstance(frame, kind) and where(frame):
                return frame

    async def ponged(self, kind: type[Answer]) -> Answer:
        """Reads all that was sent before now: the pong comes after it."""
        t = float(next(_numbers))
        await self.send(Ping(t=t))
        return await self.next(kind, lambda pong: pong.t == t)

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
