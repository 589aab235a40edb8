"""What a visitor's page holds, and what it makes of each frame, by the letter of protocol.md. No sockets here."""

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from server.protocol.parts import Message, Owner
from server.protocol.visitor import (
    Ack,
    Durable,
    Error,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    OwnerChanged,
    Snapshot,
    ToVisitor,
    TurnFailed,
    TurnReset,
    TurnStopped,
    Welcome,
)

Ended = MessageCompleted | TurnFailed | TurnStopped
Wish = Literal["hello", "reconnect"]
"""What a frame makes the page want: to ask again on the same socket, or to come back on another one."""

_MARK = re.compile(r"\bmark=(\S+)")


class Sent(msgspec.Struct):
    """A message on its way. Times are None until it is so; `refused` is the code of a nack that says never."""

    cid: str
    text: str
    sent_at: float
    acked_at: float | None = None
    seq: int | None = None
    refused: str | None = None

    @property
    def mark(self) -> str | None:
        """The mark it asks the model for."""
        found = _MARK.match(self.text)
        return found[1] if found else None

    @property
    def pending(self) -> bool:
        return self.acked_at is None and self.refused is None


class Seen(msgspec.Struct, frozen=True):
    """What a visitor sees: messages as (id, role, text) in their order, and the texts that stream, by turn."""

    seq: int
    owner: Owner
    messages: list[tuple[str, str, str]]
    live: dict[str, str]


class _Live(msgspec.Struct):
    """A streaming text. `n` is the last delta's number."""

    gen: int
    n: int
    text: str


class Page:
    """`clock` gives the time that acks are noted with."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seq = 0
        self.welcome: Welcome | None = None
        self.sents: list[Sent] = []
        # What ended its turns, in order.
        self.ends: list[Ended] = []
        self.errors: list[Error] = []
        self._clock = clock
        self._owner: Owner = "ai"
        self._messages: dict[str, Message] = {}
        self._live: dict[str, _Live] = {}

    def state(self) -> Seen:
        return Seen(
            self.seq,
            self._owner,
            [(each.id, each.role, each.text) for each in self._messages.values()],
            {turn_id: live.text for turn_id, live in self._live.items() if live.text},
        )

    def answer_of(self, sent: Sent) -> Ended | Message | None:
        """The answer to a message that has a mark, or the first failure or stop after it; a Message from a snapshot."""
        if sent.seq is None:
            return None
        for end in self.ends:
            if isinstance(end, MessageCompleted):
                if end.message.text.startswith(f"{sent.mark}:"):
                    return end
            elif end.seq > sent.seq:
                return end
        for message in self._messages.values():
            if message.role == "assistant" and message.text.startswith(f"{sent.mark}:"):
                return message
        return None

    def apply(self, frame: ToVisitor) -> Wish | None:
        """Takes one frame in."""
        if isinstance(frame, Durable):
            return self._durable(frame)
        match frame:
            case Welcome():
                self.welcome = frame
                for cid, seq in frame.pending.items():
                    if seq is not None:
                        self._acked(cid, seq)
            case Snapshot():
                self._snapshot(frame)
            case Ack():
                self._acked(frame.cid, frame.seq)
            case MessageDelta():
                return self._delta(frame)
            case TurnReset():
                live = self._live.get(frame.turn_id)
                if live is None or live.gen < frame.gen:
                    self._live[frame.turn_id] = _Live(frame.gen, 0, "")
            case Error():
                self.errors.append(frame)
        return None

    def _durable(self, frame: Durable) -> Wish | None:
        if frame.seq <= self.seq:
            return None
        if frame.seq > self.seq + 1:
            # Missed some: come back with last_seq.
            return "reconnect"
        self.seq = frame.seq
        match frame:
            case MessageCreated():
                self._messages[frame.message.id] = frame.message
                if frame.message.cid is not None:
                    self._acked(frame.message.cid, frame.seq)
            case MessageCompleted() | TurnFailed() | TurnStopped():
                self._live.pop(frame.turn_id, None)
                self.ends.append(frame)
                if not isinstance(frame, TurnFailed) and frame.message is not None:
                    self._messages[frame.message.id] = frame.message
            case OwnerChanged():
                self._owner = frame.owner
        return None

    def _snapshot(self, frame: Snapshot) -> None:
        if frame.messages is not None:
            self._messages = {message.id: message for message in frame.messages}
            self._live.clear()
            self.seq, self._owner = frame.up_to_seq, frame.owner
        if frame.live is not None:
            live = frame.live
            self._live[live.turn_id] = _Live(live.gen, live.n, live.text)

    def _delta(self, frame: MessageDelta) -> Wish | None:
        if frame.message_id in self._messages:
            return None  # it has ended
        live = self._live.setdefault(frame.turn_id, _Live(frame.gen, 0, ""))
        if frame.gen < live.gen or (frame.gen == live.gen and frame.n <= live.n):
            return None
        if frame.gen == live.gen and frame.n == live.n + 1:
            live.n, live.text = frame.n, live.text + frame.text
            return None
        return "hello"

    def _acked(self, cid: str, seq: int) -> None:
        for sent in self.sents:
            if sent.cid == cid and sent.acked_at is None:
                sent.acked_at, sent.seq = self._clock(), seq
