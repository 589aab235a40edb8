"""A visitor's page that stays open: it knows what its welcome said, and beats as the widget does."""

import asyncio
import itertools
import time

import msgspec

from bench.client import Socket
from bench.servers import Process
from bench.speakers import ORIGIN, FrontdeskVisitor

# Seconds for a welcome, and for the answer to a ping.
PATIENCE_S = 30.0
# Every page comes from an address of its own, in the range of providers' own networks, where no other visitor here is.
_numbers = itertools.count(1)


class Welcome(msgspec.Struct, frozen=True):
    """What of it is used here."""

    conversation_id: str
    heartbeat_s: float


class _Pong(msgspec.Struct, frozen=True):
    t: float


class Tab(FrontdeskVisitor):
    """One page. `frames` is all that was said to it but pongs, and when (`time.perf_counter`, read from the socket)."""

    welcome: Welcome

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[float, bytes]] = []
        self.pings = 0
        self.pongs = 0
        self._period_s = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answered: asyncio.Future[None] | None = None

    def on_text(self, payload: bytes) -> None:
        now = time.perf_counter()
        if payload.startswith(b'{"type":"pong"'):
            self._pong(msgspec.json.decode(payload, type=_Pong))
            return
        self.frames.append((now, payload))
        if payload.startswith(b'{"type":"welcome"'):
            self.welcome = msgspec.json.decode(payload, type=Welcome)
        super().on_text(payload)

    def beat(self, times: float = 1.0) -> None:
        """From now on pings every `welcome.heartbeat_s`, or so many times as often."""
        self._period_s = self.welcome.heartbeat_s / times
        self._due = asyncio.get_running_loop().time()
        self._wait()

    async def hush(self) -> None:
        """Beats no more, and returns when the last ping is answered. Raises ConnectionError when the page is cut off
        or not answered."""
        if self._timer is not None:
            self._timer.cancel()
        if self.pongs < self.pings:
            self._answered = asyncio.get_running_loop().create_future()
            await asyncio.wait(
                (self._answered, self.socket.lost), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
        if self.socket.lost.done():
            raise ConnectionError(f"an idle socket was lost: {self.socket.lost.result()}")
        if self.pongs != self.pings:
            raise ConnectionError(f"{self.pings} pings had {self.pongs} answers")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().close()

    def _wait(self) -> None:
        self._due += self._period_s
        self._timer = asyncio.get_running_loop().call_at(self._due, self._ping)

    def _ping(self) -> None:
        self.pings += 1
        # The count is its clock: a pong that answers another ping is found.
        self.socket.send(b'{"type":"ping","t":%d}' % self.pings)
        self._wait()

    def _pong(self, pong: _Pong) -> None:
        self.pongs += 1
        if pong.t != self.pongs and not self.socket.lost.done():
            self.socket.lost.set_result(f"pong {pong.t:g} where {self.pongs} was due")
        elif self._answered is not None and self.pongs == self.pings and not self._answered.done():
            self._answered.set_result(None)


class TabSite:
    """Frontdesk, visited by pages. With `beats` they ping so many times in a heartbeat, from their welcome on."""

    def __init__(self, process: Process, public_key: str, *, beats: float | None = None) -> None:
        self.process = process
        self._hello = msgspec.json.encode({"type": "hello", "v": 1, "key": public_key})
        self._beats = beats

    async def visit(self) -> Tab:
        """TCP, upgrade, and hello to snapshot. Raises ConnectionError, and RuntimeError when the server refuses."""
        tab, number = Tab(), next(_numbers)
        address = f"100.{64 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}"
        headers = {"Origin": ORIGIN, "X-Forwarded-For": address}
        tab.socket = await Socket.open(self.process.port, "/api/v1/ws", headers, tab.on_text)
        tab.socket.send(self._hello)
        await asyncio.wait((tab.done, tab.socket.lost), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not tab.done.done():
            lost = tab.socket.lost
            raise ConnectionError(lost.result() if lost.done() else f"no snapshot within {PATIENCE_S:g} s")
        tab.done.result()
        if self._beats is not None:
            tab.beat(self._beats)
        return tab
