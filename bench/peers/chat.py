"""A visitor of Chainlit, as its page in a browser speaks: socket.io 5 in Engine.IO 4 over one WebSocket.

As cheap as the visitors of `bench.speakers`: a token is kept as it came, and all of them are read at the answer's end.
"""

import asyncio
import time
import uuid
from datetime import UTC, datetime

import msgspec

from bench.client import Socket
from bench.servers import Process
from bench.speakers import Answered, counted

_PATH = "/ws/socket.io/?EIO=4&transport=websocket"
# Seconds for a whole answer.
_PATIENCE_S = 600.0
_SUCCESSFUL = b'42["connection_successful"]'


class _Step(msgspec.Struct, rename="camel"):
    """What Chainlit says of a message: its text as a whole, or the next piece of it."""

    output: str = ""
    token: str = ""
    type: str = ""
    is_error: bool = False


_EVENT = msgspec.json.Decoder(tuple[str, _Step])


class ChatSite:
    """Chainlit."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def visit(self) -> "ChatVisitor":
        """Greeted and ready. Raises ConnectionError when it is not let in."""
        visitor = ChatVisitor()
        headers = {"Origin": f"http://127.0.0.1:{self.process.port}"}
        visitor.socket = await Socket.open(self.process.port, _PATH, headers, visitor.on_text)
        visitor.socket.lost.add_done_callback(lambda lost: visitor.fail(ConnectionError(lost.result())))
        try:
            await visitor.greet()
        except (ConnectionError, TimeoutError):
            visitor.close()
            raise
        return visitor


class ChatVisitor:
    """`done` is what is waited for: the socket's first packet, the greeting's end, an answer's end."""

    socket: Socket

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = False
        self._events: list[tuple[float, bytes]] = []

    async def greet(self) -> None:
        """As the page does when it is loaded."""
        await asyncio.wait_for(self.done, _PATIENCE_S)
        self.done = asyncio.get_running_loop().create_future()
        session = str(uuid.uuid4())
        who = {"clientType": "webapp", "sessionId": session, "threadId": "", "userEnv": "{}", "chatProfile": ""}
        self.socket.send(b"40" + msgspec.json.encode(who))
        await asyncio.wait_for(self.done, _PATIENCE_S)

    async def ask(self, question: str) -> Answered:
        self.done = asyncio.get_running_loop().create_future()
        self._asked, self._events = True, []
        message = {
            "threadId": "",
            "id": str(uuid.uuid4()),
            "name": "User",
            "type": "user_message",
            "output": question,
            "createdAt": datetime.now(UTC).isoformat(),
        }
        event = msgspec.json.encode(["client_message", {"message": message, "fileReferences": []}])
        began = time.perf_counter()
        self.socket.send(b"42" + event)
        await asyncio.wait_for(self.done, _PATIENCE_S)
        pieces = streamed(self._events)
        return Answered("".join(text for _, text in pieces), pieces[0][0] - began, counted(pieces))

    def on_text(self, payload: bytes) -> None:
        # The most frequent packet by far is told by its first bytes.
        if payload.startswith(b'42["stream_token",'):
            self._events.append((time.perf_counter(), payload))
        elif payload.startswith(b"42"):
            self._on_event(payload)
        elif payload == b"2":
            self.socket.send(b"3")
        elif payload.startswith(b"0"):
            self._end()
        elif payload.startswith(b"40"):
            self.socket.send(_SUCCESSFUL)
        else:
            self.fail(ConnectionError(f"Chainlit said {payload.decode()}"))

    def _on_event(self, payload: bytes) -> None:
        name = payload[4 : payload.index(b'"', 4)]
        if name in {b"stream_start", b"new_message", b"update_message"}:
            self._events.append((time.perf_counter(), payload))
        # The last words of the greeting and of an answer.
        elif name == (b"task_end" if self._asked else b"clear_call_fn"):
            self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Whoever waits hears of it."""
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> None:
        self.socket.close()


def streamed(events: list[tuple[float, bytes]]) -> list[tuple[float, str]]:
    """The pieces of an answer that came in these packets, with their times. Raises RuntimeError when Chainlit tells of
    an error, when its last word on the message has another text, and when nothing was streamed."""
    pieces: list[tuple[float, str]] = []
    for at, packet in events:
        name, step = _EVENT.decode(packet[2:])
        if step.is_error:
            raise RuntimeError(f"Chainlit answered: {step.output}")
        # The first piece comes with the stream's start.
        if name == "stream_start":
            pieces.append((at, step.output))
        elif name == "stream_token":
            pieces.append((at, step.token))
        elif step.type == "assistant_message" and step.output != "".join(text for _, text in pieces):
            raise RuntimeError(f"Chainlit's answer of {len(step.output)} characters is not what it streamed")
    if not pieces:
        raise RuntimeError("Chainlit streamed nothing")
    return pieces
