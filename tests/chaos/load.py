"""Visitors who ask one question after the other while a row does its worst, and what their recordings say about it."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from server.protocol import codec
from server.protocol.visitor import Ack, Error, MessageDelta, Nack, ToVisitor, TurnFailed
from tests.chaos.cluster import Cluster
from tests.chaos.model import question
from tests.chaos.visitor import Line, Sent, Visitor
from tests.flows.support import Shop

# Seconds that a visitor waits for an ack or an answer: longer than any outage of a row. A row's own end is earlier.
WAIT_S = 900.0
# Clients that visitors belong to. Of one client, a commit waits for the one before it: both count on the same row.
SHOPS = 5
# Seconds of a visitor's longest pause before coming back: a tenth of the widget's, for rows that end some time.
PAUSE_S = 2.0


class Habit(msgspec.Struct, frozen=True):
    """How visitors ask. Ranges are drawn from evenly; `tool_one_in` questions is one that needs a tool, 0 for none.

    A visitor may say 20 things a minute, half of that where two instances count for themselves: turn and pause together
    take 3 s at least on the average, or 6 s.
    """

    tokens: tuple[int, int] = (5, 20)
    pace_ms: tuple[float, float] = (20, 80)
    pause_s: tuple[float, float] = (1.0, 4.0)
    tool_one_in: int = 8


class Load:
    """Visitors of some shops. They begin to ask with `begin`, and each ends what it is at after `enough`."""

    def __init__(
        self,
        shops: Sequence[Shop],
        where: Callable[[], str],
        rng: random.Random,
        habit: Habit,
        longest_pause_s: float = PAUSE_S,
    ) -> None:
        self.shops = shops
        self.visitors: list[Visitor] = []
        # A second tab of some visitors, by the visitor's name.
        self.watchers: dict[str, Visitor] = {}
        self._where = where
        self._rng = random.Random(rng.random())
        self._habit = habit
        self._pause_s = longest_pause_s
        self._enough = asyncio.Event()
        self._asking: list[asyncio.Task[None]] = []

    async def arrive(self, count: int, *, where: Callable[[], str] | None = None) -> list[Visitor]:
        """So many more visitors, each welcomed; of one instance only, with `where`."""
        before = len(self.visitors)
        fresh = [
            Visitor(
                self.shops[number % len(self.shops)],
                where or self._where,
                rng=self._rng,
                name=f"v{number}",
                longest_pause_s=self._pause_s,
            )
            for number in range(before, before + count)
        ]
        self.visitors += fresh
        await asyncio.gather(*(each.start() for each in fresh))
        return fresh

    async def watch(self, visitor: Visitor, where: Callable[[], str]) -> Visitor:
        """Opens a second tab of a visitor's."""
        watcher = Visitor(
            visitor.shop, where, rng=self._rng, name=f"{visitor.name}-watcher", longest_pause_s=self._pause_s
        )
        assert visitor.welcome is not None
        watcher.welcome = visitor.welcome  # what tabs share: the session
        self.watchers[visitor.name] = watcher
        await watcher.start()
        await watcher.until(lambda: watcher.welcomed)
        return watcher

    def begin(self) -> None:
        self._asking = [asyncio.create_task(self._ask(each), name=f"asks {each.name}") for each in self.visitors]

    async def until(self, true: Callable[[], bool], within_s: float) -> None:
        """Until it is so, or so many seconds are over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while not true() and loop.time() < end:
            self.raise_if_broken()
            await asyncio.sleep(0.05)

    async def enough(self, within_s: float) -> int:
        """No more questions. Returns when all are answered, or when so many seconds are over: how many are not."""
        self._enough.set()
        _, unanswered = await asyncio.wait(self._asking, timeout=within_s)
        self.raise_if_broken()
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*unanswered, return_exceptions=True)
        return len(unanswered)

    async def stop(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in (*self.visitors, *self.watchers.values())))

    def raise_if_broken(self) -> None:
        """A visitor that may not come back, or a bug of the rig's, ends the row."""
        for task in self._asking:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    @property
    def sents(self) -> list[Sent]:
        return [sent for visitor in self.visitors for sent in visitor.sents]

    @property
    def asked(self) -> int:
        return sum(len(visitor.sents) for visitor in self.visitors)

    async def _ask(self, visitor: Visitor) -> None:
        # Not all in the same instant.
        await self._pause(self._rng.uniform(0, self._habit.pause_s[1]))
        while not self._enough.is_set():
            sent = await visitor.say(self._question(visitor), within_s=WAIT_S)
            if sent.refused is None:
                await visitor.answer(sent, WAIT_S)
            await self._pause(self._rng.uniform(*self._habit.pause_s))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        except TimeoutError:
            pass

    def _question(self, visitor: Visitor) -> str:
        habit, rng = self._habit, self._rng
        tool = None
        if habit.tool_one_in and rng.randrange(habit.tool_one_in) == 0:
            tool = rng.choice(["look_up", "reserve", "pay"])
        return question(
            f"{visitor.name}.{len(visitor.sents)}",
            tokens=rng.randint(*habit.tokens),
            pace_ms=round(rng.uniform(*habit.pace_ms)),
            tool=tool,
        )


@asynccontextmanager
async def load(
    cluster: Cluster,
    visitors: int,
    habit: Habit,
    *,
    where: Callable[[], str] | None = None,
    longest_pause_s: float = PAUSE_S,
) -> AsyncIterator[Load]:
    """Visitors that have been welcomed, at any instance unless told `where`; they ask from `begin` on."""
    shops = [await cluster.shop() for _ in range(SHOPS)]
    made = Load(shops, where or cluster.some_url, cluster.rng, habit, longest_pause_s)
    try:
        await made.arrive(visitors)
        yield made
    finally:
        await made.stop()


# --- what recordings say


def lines(visitors: list[Visitor], since: float = 0.0, until: float = float("inf")) -> Iterator[Line]:
    """What happened to any of them in that time, visitor by visitor."""
    for visitor in visitors:
        for line in visitor.recording.lines:
            if since <= line.at < until:
                yield line


def frames(
    visitors: list[Visitor], since: float = 0.0, until: float = float("inf")
) -> Iterator[tuple[float, ToVisitor]]:
    """Time and frame of what they got."""
    for line in lines(visitors, since, until):
        if line.what == "got":
            yield line.at, codec.decode_to_visitor(line.raw)


class Heard(msgspec.Struct, frozen=True):
    """What a visitor could take for an error, and what else a row counts."""

    acks: int
    nacks: list[Nack]
    errors: list[Error]
    failed: list[TurnFailed]
    deltas: int

    @property
    def unkind(self) -> int:
        """Frames that say that something went wrong."""
        return len(self.nacks) + len(self.errors) + len(self.failed)

    @property
    def codes(self) -> str:
        """Their codes, for the log of a run."""
        found = Counter([each.code for each in self.nacks])
        found.update(each.code for each in self.errors)
        found.update(each.code for each in self.failed)
        return ", ".join(f"{code} x{count}" for code, count in found.most_common())


def heard(visitors: list[Visitor], since: float = 0.0, until: float = float("inf")) -> Heard:
    found = [frame for _, frame in frames(visitors, since, until)]
    return Heard(
        acks=sum(isinstance(frame, Ack) for frame in found),
        nacks=[frame for frame in found if isinstance(frame, Nack)],
        errors=[frame for frame in found if isinstance(frame, Error)],
        failed=[frame for frame in found if isinstance(frame, TurnFailed)],
        deltas=sum(isinstance(frame, MessageDelta) for frame in found),
    )


def closes(visitors: list[Visitor], since: float = 0.0, until: float = float("inf")) -> list[str]:
    """How sockets ended in that time: a close code, or `lost`."""
    return [line.raw.decode() for line in lines(visitors, since, until) if line.what == "closed"]
