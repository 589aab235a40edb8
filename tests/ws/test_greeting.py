"""The time that a socket has for its hello, where the process itself has none."""

import asyncio
import socket
import time
from collections.abc import Collection, MutableMapping
from typing import Any

import pytest
import uvloop

from server.protocol import limits
from server.protocol.close import Close
from server.ws.connection import Connection
from server.ws.endpoint import _listen

STILL_S = 0.3


class Peer:
    """Whoever says hello with anything it says. What it was told is kept."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.connection = Connection(self._send, lambda: None)
        self.greeted = False
        self.settled = asyncio.Event()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        self.settled.set()

    def reads(self, conversation_ids: Collection[int]) -> bool:
        return False

    async def handle(self, raw: str | None) -> None:
        self.greeted = raw == "hello"
        if self.greeted:
            self.settled.set()

    async def gone(self) -> None:
        self.connection.lost()


async def _stand_still(says: bytes) -> Peer:
    """A process that is stopped for longer than a hello may take, while its peer sends something."""
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    listening = asyncio.Event()
    peers: list[Peer] = []

    async def receive() -> MutableMapping[str, Any]:
        listening.set()
        heard = await asyncio.get_running_loop().sock_recv(ours, 100)
        return {"type": "websocket.receive", "text": heard.decode()} if heard else {"type": "websocket.disconnect"}

    async def serve() -> None:
        peers.append(Peer())
        await _listen(peers[0], receive)

    with theirs, ours:
        serving = asyncio.create_task(serve())
        await listening.wait()
        theirs.send(says)
        time.sleep(2 * STILL_S)  # noqa: ASYNC251  # nothing runs meanwhile
        await peers[0].settled.wait()
        theirs.close()
        await serving
    return peers[0]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(("says", "closed"), [(b"hello", []), (b"nonsense", [Close.PROTOCOL])])
def test_what_came_while_the_process_stood_still(
    monkeypatch: pytest.MonkeyPatch, factory: Any, says: bytes, closed: list[Close]
) -> None:
    """A hello that is there when it wakes up was in time; who said something else is closed a little later."""
    monkeypatch.setattr(limits, "HELLO_S", STILL_S)
    with asyncio.Runner(loop_factory=factory) as runner:
        peer = runner.run(_stand_still(says))
    assert [message["code"] for message in peer.sent if message["type"] == "websocket.close"] == closed
    assert peer.greeted is not bool(closed)
