"""A visitor that follows protocol.md to the letter and records every frame with its time.

    async with visiting(shop, cluster.some_url, rng=world.rng, name="v1") as visitor:
        sent = await visitor.say(question("v1.1", tokens=20, pace_ms=50))      # returns with the ack
        end = await visitor.answer(sent)                                       # completed, failed or stopped

It comes back by itself, with full jitter, wherever `where()` sends it; it resumes by epoch and last_seq, lists its
pending cids and resends those that were not stored. `state()` is what a visitor sees. Times are the loop's clock.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Origin

from server.protocol import VERSION, codec
from server.protocol.parts import Message
from server.protocol.visitor import Drain, Error, Hello, MessageSend, Nack, Ping, SessionProof, ToVisitor, Welcome
from tests.chaos.cluster import PATIENCE_S, Instance
from tests.chaos.page import Ended, Page, Seen, Sent
from tests.chaos.recordings import Line, Recording
from tests.flows.support import Shop

__all__ = ["Ended", "Line", "Recording", "Seen", "Sent", "Visitor", "connection", "first_to", "visiting"]

# Seconds of silence after which a link is dead, and the widget's pauses before it comes back (protocol).
SILENCE_S = 35.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 20.0
HEALTHY_S = 30.0

_numbers = itertools.count(1)


class Visitor:
    """One browser. `recording` has all of it; `sents` its messages; `ends` what ended its turns; `page` the rest."""

    def __init__(
        self,
        shop: Shop,
        where: Callable[[], str],
        *,
        rng: random.Random,
        name: str | None = None,
        address: str | None = None,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        number = next(_numbers)
        self.name = name or f"v{number}"
        self.shop = shop
        self.recording = Recording(self.name)
        self.page = Page(self._now)
        # Closed with a code that says: do not come back.
        self.verdict: int | None = None
        # Times (loop clock) at which a resumption was complete.
        self.welcomed: list[float] = []
        self._where = where
        self._rng = random.Random(rng.random())
        # Each visitor has an address of its own, as on the internet: 127.0.0.0/8 is all ours.
        self.address = address or f"127.{1 + number // 62500 % 200}.{number // 250 % 250}.{1 + number % 250}"
        self._longest_pause_s = longest_pause_s
        self._socket: ClientConnection | None = None
        self._asks_again = False
        self._attempt = 0
        self._retry_after_s: float | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._sending: set[asyncio.Task[None]] = set()

    # --- what a row does with it

    async def start(self) -> None:
        """Connects, and returns with the first welcome."""
        self._task = asyncio.create_task(self._visit(), name=f"visitor {self.name}")
        await self.until(lambda: self.welcome is not None)

    async def stop(self) -> None:
        """Closes the tab."""
        for timer in self._timers:
            timer.cancel()
        tasks = [*self._sending, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, text: str, *, cid: str | None = None) -> Sent:
        """Sends a message, now or once there is a connection, and does not wait for its ack."""
        sent = Sent(cid or f"{self.name}-{len(self.sents)}-{self._rng.getrandbits(32):08x}", text, self._now())
        self.sents.append(sent)
        if self._socket is not None and self.welcome is not None:
            await self._put(self._socket, MessageSend(cid=sent.cid, text=text))
        return sent

    async def say(self, text: str, *, cid: str | None = None, within_s: float = PATIENCE_S) -> Sent:
        """Sends a message and returns with its ack, or with its refusal."""
        sent = await self.send(text, cid=cid)
        await self.until(lambda: not sent.pending, within_s)
        return sent

    async def answer(self, sent: Sent, within_s: float = PATIENCE_S) -> Ended | Message:
        """What ended the turn of a message that has a mark: its answer, or the first failure or stop after it.

        A Message where it was read from a snapshot.
        """
        await self.until(lambda: self.page.answer_of(sent) is not None, within_s)
        found = self.page.answer_of(sent)
        assert found is not None
        return found

    async def until(self, true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        """Until it is so; asked after every frame. Raises TimeoutError, and ConnectionError once told to stay away."""
        async with asyncio.timeout(within_s):
            while not true():
                if self._task is not None and self._task.done():
                    raise ConnectionError(f"{self.name} may not come back: {self.verdict}") from self._task.exception()
                await self._changed.wait()

    def cut(self) -> None:
        """The network goes away: no close frame, nothing."""
        if self._socket is not None:
            self._socket.transport.abort()

    def state(self) -> Seen:
        """What it sees."""
        return self.page.state()

    @property
    def sents(self) -> list[Sent]:
        return self.page.sents

    @property
    def ends(self) -> list[Ended]:
        return self.page.ends

    @property
    def errors(self) -> list[Error]:
        return self.page.errors

    @property
    def welcome(self) -> Welcome | None:
        """The newest one; whoever opens a second tab gives it the first one's."""
        return self.page.welcome

    @welcome.setter
    def welcome(self, welcome: Welcome | None) -> None:
        self.page.welcome = welcome

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def unacked(self) -> list[Sent]:
        return [sent for sent in self.sents if sent.pending]

    # --- the connection

    async def _visit(self) -> None:
        while self.verdict is None:
            began = self._now()
            await self._once()
            if self._now() - began > HEALTHY_S:
                self._attempt = 0
            pause = self._rng.uniform(0, min(self._longest_pause_s, FIRST_PAUSE_S * 2**self._attempt))
            if self._retry_after_s is not None:
                pause, self._retry_after_s = self._retry_after_s, None
            self._attempt += 1
            self._changed_now()
            if self.verdict is None:
                await asyncio.sleep(pause)

    async def _once(self) -> None:
        """One connection, to its end."""
        how = b"lost"
        try:
            async with connection(self._where(), self.shop, self.address) as socket:
                self._line("opened")
                self._socket, self._asks_again = socket, False
                await self._hello(socket)
                await self._read(socket)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            how = f"{code}".encode()
            if code is not None and 4400 <= code < 4500:
                self.verdict = code
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            how = type(error).__name__.encode()
        finally:
            if self._socket is not None:
                self._line("closed", how)
            self._socket = None

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            async with asyncio.timeout(SILENCE_S):
                raw = await socket.recv(decode=False)
            self._line("got", raw)
            await self._take(socket, codec.decode_to_visitor(raw))
            self._changed_now()

    async def _hello(self, socket: ClientConnection) -> None:
        before = self.welcome
        proof = SessionProof(id=before.session.id, token=before.session.token) if before else None
        await self._put(
            socket,
            Hello(
                v=VERSION,
                key=self.shop.key,
                session=proof,
                epoch=before.epoch if before else None,
                last_seq=self.page.seq if before else None,
                pending=[sent.cid for sent in self.unacked] if before else [],
            ),
        )

    async def _put(self, socket: ClientConnection, frame: Hello | MessageSend | Ping) -> None:
        raw = codec.encode(frame)
        self._line("sent", raw)
        # The reader notices too, and comes back.
        with suppress(ConnectionClosed):
            await socket.send(raw, text=True)

    # --- the frames

    async def _take(self, socket: ClientConnection, frame: ToVisitor) -> None:
        first = self.welcome is None
        wish = self.page.apply(frame)
        if wish == "reconnect":
            await socket.close()
        elif wish == "hello" and not self._asks_again:
            self._asks_again = True
            await self._hello(socket)
        match frame:
            case Welcome():
                await self._resend(socket, frame, first=first)
            case Nack():
                self._nacked(socket, frame)
            case Drain():
                # Finish reading, then come back elsewhere.
                self._retry_after_s = frame.retry_after_ms / 1000
                self._later(self._retry_after_s, self._leave)

    async def _resend(self, socket: ClientConnection, frame: Welcome, *, first: bool) -> None:
        """What is not stored goes out again, with the same cid."""
        self._asks_again = False
        self.welcomed.append(self._now())
        self._later(frame.heartbeat_s, lambda: self._beat(socket, frame.heartbeat_s))
        for sent in self.unacked:
            if first or sent.cid in frame.pending:
                await self._put(socket, MessageSend(cid=sent.cid, text=sent.text))

    def _nacked(self, socket: ClientConnection, frame: Nack) -> None:
        sent = next((each for each in self.unacked if each.cid == frame.cid), None)
        if sent is None:
            return
        if frame.retry_after_ms is None:
            sent.refused = frame.code
            return
        again = MessageSend(cid=sent.cid, text=sent.text)

        def send() -> None:
            if self._socket is socket and sent.acked_at is None:
                self._soon(self._put(socket, again))

        self._later(frame.retry_after_ms / 1000, send)

    # --- small things

    def _beat(self, socket: ClientConnection, seconds: float) -> None:
        if self._socket is socket:
            self._soon(self._put(socket, Ping(t=self._now())))
            self._later(seconds, lambda: self._beat(socket, seconds))

    def _leave(self) -> None:
        if self._socket is not None:
            self._soon(self._socket.close())

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _line(self, what: Literal["opened", "sent", "got", "closed"], raw: bytes = b"") -> None:
        self.recording.lines.append(Line(self._now(), what, raw))

    def _changed_now(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def first_to(first: Instance, others: Sequence[Instance], rng: random.Random) -> Callable[[], str]:
    """Where a visitor goes: to one instance first, and to any of the others after that."""
    ways = itertools.chain([first], iter(lambda: rng.choice(others), None))
    return lambda: next(ways).ws_url


def connection(url: str, shop: Shop, address: str) -> connect:
    """A socket as a browser on the shop's website opens it, from one of this machine's loopback addresses."""
    return connect(
        url,
        origin=Origin(shop.origin),
        # What a proxy in between would say; of anybody but 127.0.0.1 it is not believed.
        additional_headers={"x-forwarded-for": address},
        compression=None,
        max_size=None,
        ping_interval=None,
        open_timeout=10,
        close_timeout=1,
        proxy=None,
        local_addr=(address, 0),
    )


@asynccontextmanager
async def visiting(
    shop: Shop,
    where: Callable[[], str],
    *,
    rng: random.Random,
    name: str | None = None,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> AsyncIterator[Visitor]:
    """A visitor that has been welcomed; the tab closes at the end."""
    visitor = Visitor(shop, where, rng=rng, name=name, longest_pause_s=longest_pause_s)
    try:
        await visitor.start()
        yield visitor
    finally:
        await visitor.stop()
