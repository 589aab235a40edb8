"""What a widget makes of the frames it gets."""

from server.protocol.parts import Message
from server.protocol.visitor import (
    Durable,
    MessageCompleted,
    MessageCreated,
    MessageDelta,
    Snapshot,
    ToVisitor,
    TurnReset,
    TurnStopped,
)


class Gap(Exception):
    """A delta is missing."""


class View:
    """What a widget shows. `apply` fails when a rule of the protocol was broken, and raises Gap for a missing delta."""

    def __init__(self) -> None:
        self.seq = 0
        self.texts: dict[str, str] = {}
        self.live: dict[str, tuple[int, int, str]] = {}
        # Texts of finished answers as they had been streamed to this reader; absent for those read from history.
        self.streamed: dict[str, str] = {}

    def apply(self, frame: ToVisitor) -> None:
        if isinstance(frame, Durable):
            assert frame.seq == self.seq + 1, f"seq {frame.seq} after {self.seq}"
            self.seq = frame.seq
        match frame:
            case Snapshot():
                self._snapshot(frame)
            case MessageDelta():
                self._delta(frame)
            case TurnReset():
                self.live[frame.turn_id] = (frame.gen, 0, "")
            case MessageCreated():
                self._keep(frame.message)
            case MessageCompleted() | TurnStopped():
                self._finish(frame)

    def _snapshot(self, frame: Snapshot) -> None:
        if frame.messages is not None:
            self.texts.clear()
            self.live.clear()
            self.seq = frame.up_to_seq
            for message in frame.messages:
                self._keep(message)
        if live := frame.live:
            self.live[live.turn_id] = (live.gen, live.n, live.text)

    def _delta(self, frame: MessageDelta) -> None:
        if frame.message_id in self.texts:
            return  # of a turn that was stopped elsewhere, a moment before its instance heard of it
        gen, n, text = self.live.get(frame.turn_id, (frame.gen, 0, ""))
        if (frame.gen, frame.n) <= (gen, n):
            return  # a snapshot had it, and what was on its way through Redis comes after
        if (frame.gen, frame.n) != (gen, n + 1):
            raise Gap(f"delta {frame.gen}.{frame.n} after {gen}.{n}")
        self.live[frame.turn_id] = (gen, frame.n, text + frame.text)

    def _finish(self, frame: MessageCompleted | TurnStopped) -> None:
        _, _, streamed = self.live.pop(frame.turn_id, (0, 0, ""))
        if frame.message is not None:
            assert frame.message.text.startswith(streamed), "the answer is not what was streamed"
            self._keep(frame.message)
            self.streamed[frame.message.id] = streamed

    def _keep(self, message: Message) -> None:
        assert message.id not in self.texts, "a message came twice"
        self.texts[message.id] = message.text
