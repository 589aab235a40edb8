"""The server's side of the socket, played frame by frame from the golden samples of the protocol.

For states that no server reaches at a test's wish: tools, people, refusals. Each frame is a sample with some fields
changed, and is decoded by the server's own codec before it goes out, so that no test plays what the protocol has not.
"""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import Page, WebSocketRoute

from server.protocol import codec

GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"
PATIENCE_S = 20.0


def sample(kind: str, **changes: Any) -> dict[str, Any]:
    """The golden frame of a kind, said now. `changes` replace its fields; a dict changes the fields inside."""
    frame: dict[str, Any] = msgspec.json.decode((GOLDEN / f"{kind}.json").read_bytes())
    if isinstance(message := frame.get("message"), dict):
        message["created_at"] = datetime.now(UTC).isoformat()
    for name, value in changes.items():
        frame[name] = (
            {**frame[name], **value} if isinstance(value, dict) and isinstance(frame.get(name), dict) else value
        )
    return {name: value for name, value in frame.items() if value is not None}


class Player:
    """Plays one conversation. `heard` are the visitor's frames, in order."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.seq = 0
        # A link that breaks again and again.
        self.refuses = False
        self._hello: list[dict[str, Any]] = []
        self._route: WebSocketRoute | None = None
        self._changed = asyncio.Condition()
        self._n = 0

    async def play(self, page: Page) -> None:
        """From now on the page's socket ends here."""
        await page.route_web_socket(re.compile(r"/api/v1/ws$"), self._opened)

    def greet(self, **snapshot: Any) -> None:
        """`hello` is answered with a welcome to a new or, given `messages`, a known conversation. It may be resumed."""
        self.seq = int(snapshot.get("up_to_seq", 0))
        self._hello = [
            sample("welcome", head_seq=self.seq, resumed=False, pending={}),
            sample("snapshot", **{"up_to_seq": 0, "messages": [], "live": None, **snapshot}),
        ]

    def hold_back(self) -> None:
        """`hello` is answered with the welcome to a known conversation, and its snapshot never comes."""
        self._hello = [sample("welcome", head_seq=self.seq, resumed=False, pending={})]

    async def say(self, kind: str, **changes: Any) -> None:
        """Sends a frame. Durable ones get the next seq, deltas the next n."""
        frame = sample(kind, **changes)
        if "seq" in frame and kind != "ack":
            self.seq += 1
            frame["seq"] = self.seq
        if kind == "turn.started":
            self._n = 0
        if kind == "message.delta":
            self._n += 1
            frame["n"] = self._n
        self._send(frame)

    def count(self, kind: str) -> int:
        """How many frames of a kind came from the visitor so far."""
        return sum(frame["type"] == kind for frame in self.heard)

    async def hear(self, kind: str, nth: int = 1) -> dict[str, Any]:
        """The `nth` frame of a kind from the visitor."""

        def found() -> list[dict[str, Any]]:
            return [frame for frame in self.heard if frame["type"] == kind]

        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: len(found()) >= nth)
            return found()[nth - 1]

    async def take(self, nth: int = 1) -> str:
        """Accepts the visitor's `nth` message, which then waits for its answer. Gives its text."""
        sent = await self.hear("message.send", nth)
        await self.say("ack", cid=sent["cid"], message_id=f"msg_{nth}", seq=self.seq + 1)
        await self.say("message.created", message={"id": f"msg_{nth}", "text": sent["text"], "cid": sent["cid"]})
        return str(sent["text"])

    async def close(self, code: int) -> None:
        """Closes the socket with a code; what comes after is refused where the code lets the visitor come back."""
        assert self._route is not None, "nobody is connected"
        self.refuses = True
        await self._route.close(code=code)

    def _send(self, frame: dict[str, Any]) -> None:
        assert self._route is not None, "nobody is connected"
        raw = msgspec.json.encode(frame)
        codec.decode_to_visitor(raw)
        self._route.send(raw.decode())

    async def _opened(self, route: WebSocketRoute) -> None:
        if self.refuses:
            await route.close(code=1012)
            return
        self._route = route
        route.on_message(self._message)

    async def _message(self, raw: str | bytes) -> None:
        frame = msgspec.json.decode(raw)
        if frame["type"] == "hello" and frame.get("last_seq") is not None:
            self._send(sample("welcome", head_seq=self.seq, resumed=True, pending={}))
        elif frame["type"] == "hello":
            for answer in self._hello:
                self._send(answer)
        elif frame["type"] == "ping":
            self._send(sample("pong", t=frame["t"], head_seq=self.seq))
        async with self._changed:
            self.heard.append(frame)
            self._changed.notify_all()
