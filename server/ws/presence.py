"""Who is there: the visitor and the operators of each conversation that somebody watches, over all instances.

An instance asks the others about the conversations that its own operators watch, and asks again every `REFRESH_S`.
Who has somebody there answers, and from then on tells of each change. What is told holds for `LIFETIME_S`, so that it
goes with an instance that died. Nobody watches most conversations: their visitors cost a count here and no message.

Messages go by the control channel, which reaches every instance without Redis too.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import msgspec

from server import log
from server.fanout.hub import Hub
from server.protocol import operator
from server.protocol.operator import Colleague

logger = log.get("ws")

# Seconds between two asks, and that an answer holds: two asks may get lost.
REFRESH_S = 5.0
LIFETIME_S = 12.5
# Seconds after the first ask within which the others answer: until then nobody is said to be away.
ANSWER_S = 1.0
# Seconds until a visitor who left counts as away: a page that loads anew is back by then.
AWAY_S = 2.0
# Conversations in one message: without Redis it has to fit into a notice of Postgres.
TOGETHER = 5


class Here(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who of a conversation has a socket on one instance."""

    visitor: bool = False
    operators: list[Colleague] = []


class Told(msgspec.Struct, frozen=True, tag_field="type", tag="presence"):
    """Said by an instance on the control channel: who is here. `asks`: and who is there?"""

    origin: str
    asks: bool
    here: dict[str, Here]


class Watcher(Protocol):
    """An operator's socket that watches a conversation."""

    @property
    def colleague(self) -> Colleague: ...

    def present(self, frame: operator.Presence) -> None:
        """Who is there has changed. Returns at once."""


class _Room:
    """A conversation that is watched here. `others` has by instance who is there, and until when that holds."""

    def __init__(self, now: float) -> None:
        self.watchers: set[Watcher] = set()
        self.others: dict[str, tuple[Here, float]] = {}
        self.since = now
        self.told: operator.Presence | None = None


_decoder = msgspec.json.Decoder(Told)


class Presence:
    """Of one instance. Conversations are named by their public ids."""

    def __init__(self, hub: Hub, instance: str) -> None:
        self._hub = hub
        self._instance = instance
        self._visitors: Counter[str] = Counter()
        self._rooms: dict[str, _Room] = {}
        # Conversations that other instances watch, and until when.
        self._wanted: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None
        hub.on_control(self._heard)

    # --- visitors

    def came(self, public_id: str) -> None:
        """A visitor's socket reads this conversation."""
        self._visitors[public_id] += 1
        if self._visitors[public_id] == 1 and self.watched(public_id):
            self._changed(public_id)

    def left(self, public_id: str) -> None:
        """It no longer does."""
        self._visitors[public_id] -= 1
        if not self._visitors[public_id]:
            del self._visitors[public_id]
            if self.watched(public_id):
                asyncio.get_running_loop().call_later(AWAY_S, self._changed, public_id)

    def watched(self, public_id: str) -> bool:
        """Whether an operator anywhere watches it."""
        return public_id in self._rooms or self._wanted.get(public_id, 0.0) > _now()

    # --- operators

    def watch(self, public_id: str, watcher: Watcher) -> None:
        """From now on the watcher is there, and is told who else is, beginning now."""
        room = self._rooms.get(public_id)
        new = room is None
        if room is None:
            room = self._rooms[public_id] = _Room(_now())
            asyncio.get_running_loop().call_later(ANSWER_S + 0.01, self._tell, public_id)
        room.watchers.add(watcher)
        room.told = None  # all are told, the new one among them
        self._tell(public_id)
        self._say([public_id], asks=new)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="presence")

    def unwatch(self, public_id: str, watcher: Watcher) -> None:
        """The watcher is no longer there."""
        room = self._rooms.get(public_id)
        if room is None or watcher not in room.watchers:
            return
        room.watchers.discard(watcher)
        if not room.watchers:
            del self._rooms[public_id]
        if not self._rooms and self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._tell(public_id)
        self._say([public_id], asks=False)

    # --- between instances

    async def _ask(self) -> None:
        """Asks about all conversations watched here, again and again."""
        while True:
            await asyncio.sleep(REFRESH_S)
            self._say(list(self._rooms), asks=True)
            for public_id in list(self._rooms):
                self._tell(public_id)

    def _say(self, public_ids: Iterable[str], *, asks: bool) -> None:
        all_here = [(public_id, self._here(public_id)) for public_id in public_ids]
        for first in range(0, len(all_here), TOGETHER):
            here = dict(all_here[first : first + TOGETHER])
            self._hub.control(msgspec.json.encode(Told(self._instance, asks, here)))

    def _heard(self, payload: bytes) -> None:
        try:
            told = _decoder.decode(payload)
        except msgspec.DecodeError:
            return  # another kind of control message
        if told.origin == self._instance:
            return
        until = _now() + LIFETIME_S
        if told.asks:
            self._want(told.here, until)
        for public_id, here in told.here.items():
            if room := self._rooms.get(public_id):
                room.others[told.origin] = (here, until)
                self._tell(public_id)
        if told.asks:
            self._say([each for each in told.here if self._visitors[each] or each in self._rooms], asks=False)

    def _want(self, public_ids: Iterable[str], until: float) -> None:
        now = _now()
        self._wanted = {each: held for each, held in self._wanted.items() if held > now}
        self._wanted.update(dict.fromkeys(public_ids, until))

    def _changed(self, public_id: str) -> None:
        self._tell(public_id)
        if self.watched(public_id):
            self._say([public_id], asks=False)

    # --- what is known

    def _here(self, public_id: str) -> Here:
        room = self._rooms.get(public_id)
        return Here(
            visitor=self._visitors.get(public_id, 0) > 0,
            operators=_sorted(watcher.colleague for watcher in room.watchers) if room else [],
        )

    def _tell(self, public_id: str) -> None:
        """Tells the watchers here, if it is news to them."""
        room = self._rooms.get(public_id)
        if room is None:
            return
        frame = self._view(public_id, room)
        if frame != room.told:
            room.told = frame
            for watcher in room.watchers:
                watcher.present(frame)

    def _view(self, public_id: str, room: _Room) -> operator.Presence:
        now, away = _now(), self._hub.bus.away
        fresh = [here for here, until in room.others.values() if until > now]
        if not away:
            room.others = {origin: told for origin, told in room.others.items() if told[1] > now}
        own = self._here(public_id)
        online: bool | None = own.visitor or any(here.visitor for here in fresh)
        # Without Redis an answer may be late: who was there a moment ago is then neither there nor away.
        stale = any(here.visitor for here, _ in room.others.values())
        if not online and (now < room.since + ANSWER_S or stale):
            online = None
        operators = _sorted([*own.operators, *(each for here in fresh for each in here.operators)])
        return operator.Presence(conversation_id=public_id, visitor_online=online, operators=operators)


def _sorted(colleagues: Iterable[Colleague]) -> list[Colleague]:
    """Each once, however many sockets they have."""
    return sorted({each.id: each for each in colleagues}.values(), key=lambda each: each.id)


def _now() -> float:
    return asyncio.get_running_loop().time()
