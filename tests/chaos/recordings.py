"""What a visitor records, and what a reader who trusts neither side finds in it."""

from typing import Literal, assert_never

import msgspec

from server.protocol import codec
from server.protocol.parts import Message
from server.protocol.visitor import (
    Ack,
    Durable,
    Hello,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    MessageSend,
    Nack,
    Snapshot,
    ToVisitor,
    TurnFailed,
    TurnReset,
    TurnStopped,
    Welcome,
)
from tests.chaos.broken import Broken, Promise, asked_for, wrong_text


class Line(msgspec.Struct, frozen=True):
    """One thing that happened on a socket: it `opened` or `closed` (raw says how), or a frame was `sent` or `got`."""

    at: float
    what: Literal["opened", "sent", "got", "closed"]
    raw: bytes = b""


class Recording(msgspec.Struct):
    """All of one visitor, in order. `name` is for people."""

    name: str
    lines: list[Line] = []


def check_recording(recording: Recording, *, quiet: bool = True) -> list[Broken]:
    """Every promise that it shows broken. `quiet`: the visitor was there when all was over, so that what is
    acknowledged must have been seen, and seen answered or failed."""
    reading = _Reading(recording)
    reading.read()
    if quiet:
        reading.finish()
    return reading.broken


class _Reading:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.broken: list[Broken] = []
        # What was said: cid to text, in order; and what became of it.
        self._sent: dict[str, str] = {}
        # Marks, and how many tokens were asked for.
        self._asked: dict[str, int] = {}
        self._acked: dict[str, tuple[str, int]] = {}
        self._refused: set[str] = set()
        # Events by seq, to the byte; which message came with which.
        self._events: dict[int, bytes] = {}
        self._created: dict[str, int] = {}
        self._messages: dict[str, Message] = {}
        # Message id to the seq that reported it.
        self._reported: dict[str, int] = {}
        # The newest seq of this connection; None before its welcome.
        self._seq: int | None = None
        self._hello: Hello | None = None
        self._live: dict[str, tuple[int, int, str]] = {}
        self._ended: dict[str, int] = {}
        # Seqs that were skipped by a snapshot: their events were never shown, as the protocol has it.
        self._skipped = False

    def read(self) -> None:
        for line in self._recording.lines:
            match line.what:
                case "opened" | "closed":
                    self._seq = None
                case "sent":
                    self._said(line.raw)
                case "got":
                    self._got(line.raw, codec.decode_to_visitor(line.raw))
                case _:
                    assert_never(line.what)

    def finish(self) -> None:
        """After all is over."""
        for cid, (message_id, seq) in self._acked.items():
            if cid not in self._created and message_id not in self._messages:
                self._note("lost", f"{cid} was acknowledged as {seq}, and is not there")
        self._check_answers()

    def _check_answers(self) -> None:
        """Each message with a mark has its answer, or a failure or stop that could be its own."""
        answered = {message.text.split(":", 1)[0] for message in self._messages.values() if message.role == "assistant"}
        failures = sum(b'"message.completed"' not in self._events[seq][:40] for seq in self._ended.values())
        unanswered = []
        for cid in self._acked:
            asked = asked_for(self._sent.get(cid, ""))
            if asked is not None and asked[0] not in answered:
                unanswered.append(cid)
        if len(unanswered) > failures and not self._skipped:
            self._note("lost", f"{unanswered} have no answer, and {failures} turns failed or were stopped")

    def _said(self, raw: bytes) -> None:
        frame = codec.decode_from_visitor(raw.decode())
        if isinstance(frame, Hello):
            self._hello = frame
        elif isinstance(frame, MessageSend):
            self._sent.setdefault(frame.cid, frame.text)
            if asked := asked_for(frame.text):
                self._asked[asked[0]] = asked[1]

    def _got(self, raw: bytes, frame: ToVisitor) -> None:
        if isinstance(frame, Durable):
            self._durable(raw, frame)
            return
        match frame:
            case Welcome():
                # What it missed comes from here on; a snapshot says where it is.
                self._seq = self._hello.last_seq if frame.resumed and self._hello else None
                for cid, seq in frame.pending.items():
                    if seq is None and cid in self._acked:
                        self._note("lost", f"{cid} was acknowledged, and is not stored")
            case Snapshot():
                self._snapshot(frame)
            case Ack():
                self._ack(frame)
            case Nack():
                if frame.cid in self._acked:
                    self._note("differs", f"{frame.cid} was acknowledged and then refused: {frame.code}")
                elif frame.retry_after_ms is None:
                    self._refused.add(frame.cid)
            case TurnReset():
                gen, _, _ = self._live.get(frame.turn_id, (0, 0, ""))
                if frame.gen > gen:
                    self._live[frame.turn_id] = (frame.gen, 0, "")
            case MessageDelta():
                self._delta(frame)

    def _durable(self, raw: bytes, frame: Durable) -> None:
        if self._seq is None:
            self._note("gap", f"event {frame.seq} came before the welcome or the snapshot")
        elif frame.seq <= self._seq:
            self._note("doubled", f"event {frame.seq} came after {self._seq}")
        elif frame.seq > self._seq + 1:
            self._note("gap", f"event {frame.seq} came after {self._seq}")
        self._seq = frame.seq
        if (before := self._events.setdefault(frame.seq, raw)) != raw:
            self._note("differs", f"event {frame.seq} was {before!r} and then {raw!r}")
        match frame:
            case MessageCreated():
                self._message(frame.seq, frame.message)
                if frame.message.cid is not None:
                    self._create(frame.seq, frame.message.cid)
            case MessageCompleted() | TurnFailed() | TurnStopped():
                self._end(frame)

    def _create(self, seq: int, cid: str) -> None:
        if self._created.setdefault(cid, seq) != seq:
            self._note("doubled", f"{cid} is {self._created[cid]} and {seq}")
        if cid in self._acked and self._acked[cid][1] != seq:
            self._note("differs", f"{cid} was acknowledged as {self._acked[cid][1]}, and is {seq}")
        order = list(self._sent)
        if cid in order:
            later = [other for other in order[order.index(cid) + 1 :] if self._created.get(other, seq) < seq]
            if later:
                self._note("reordered", f"{cid} came after {later}, which were said later")

    def _end(self, frame: MessageCompleted | TurnFailed | TurnStopped) -> None:
        if self._ended.setdefault(frame.turn_id, frame.seq) != frame.seq:
            self._note("doubled", f"turn {frame.turn_id} ended at {self._ended[frame.turn_id]} and at {frame.seq}")
        self._live.pop(frame.turn_id, None)
        if not isinstance(frame, TurnFailed) and frame.message is not None:
            self._message(frame.seq, frame.message)

    def _message(self, seq: int, message: Message) -> None:
        if self._reported.setdefault(message.id, seq) != seq:
            self._note("doubled", f"message {message.id} is {self._reported[message.id]} and {seq}")
        self._keep(message)

    def _keep(self, message: Message) -> None:
        before = self._messages.setdefault(message.id, message)
        if before.text != message.text:
            self._note("differs", f"message {message.id} was {before.text!r} and then {message.text!r}")
            return
        if message.role == "assistant":
            self._check_answer(message)

    def _check_answer(self, message: Message) -> None:
        mark = message.text.split(":", 1)[0]
        if mark in self._asked:
            tokens = None if message.stopped else self._asked[mark]
            if wrong := wrong_text(message.text, mark=mark, tokens=tokens):
                self._note(*wrong)

    def _snapshot(self, frame: Snapshot) -> None:
        if frame.messages is not None:
            self._skipped = self._skipped or frame.up_to_seq > max(self._events, default=0)
            self._seq = frame.up_to_seq
            shown = [message.id for message in frame.messages]
            if len(set(shown)) != len(shown):
                self._note("doubled", f"a message is twice in the snapshot {shown}")
            known = [each for each in shown if each in self._reported]
            if known != sorted(known, key=self._reported.__getitem__):
                self._note("reordered", f"the snapshot has {known}, the events had another order")
            for message in frame.messages:
                self._keep(message)
            self._live.clear()
        if frame.live is not None:
            live = frame.live
            self._live[live.turn_id] = (live.gen, live.n, live.text)
            self._check_live(live.text)

    def _ack(self, frame: Ack) -> None:
        before = self._acked.setdefault(frame.cid, (frame.message_id, frame.seq))
        if before != (frame.message_id, frame.seq):
            self._note("differs", f"{frame.cid} was acknowledged as {before}, and then as {frame}")
        if frame.cid in self._created and self._created[frame.cid] != frame.seq:
            self._note("differs", f"{frame.cid} is {self._created[frame.cid]}, and acknowledged as {frame.seq}")

    def _delta(self, frame: MessageDelta) -> None:
        if frame.turn_id in self._ended:
            return  # of an instance that had not heard of the end; a reader has the whole text
        gen, n, text = self._live.get(frame.turn_id, (frame.gen, 0, ""))
        if (frame.gen, frame.n) <= (gen, n):
            return
        if (frame.gen, frame.n) != (gen, n + 1):
            return  # the visitor asks again, and gets a snapshot
        self._live[frame.turn_id] = (gen, frame.n, text + frame.text)
        self._check_live(text + frame.text)

    def _check_live(self, text: str) -> None:
        # Of anything but numbered tokens nothing is known.
        if text.split(":", 1)[0] in self._asked and (wrong := wrong_text(text)):
            self._note(*wrong)

    def _note(self, promise: Promise, what: str) -> None:
        self.broken.append(Broken(promise, self._recording.name, what))
