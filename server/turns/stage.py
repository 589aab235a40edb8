"""What those who watch see of one running answer: its text, its tools, and what whoever comes later finds."""

from server.fanout import channels
from server.fanout.hub import Hub
from server.fanout.live import LiveText, LiveTexts, LiveTool
from server.protocol import codec
from server.protocol.base import Frame
from server.protocol.visitor import MessageDelta
from server.turns.job import Job
from server.turns.turn import Delta, Turn


class Stage:
    """One turn's. Nothing here waits."""

    def __init__(self, job: Job, turn: Turn, *, hub: Hub, live: LiveTexts, provider: str, model: str) -> None:
        self.provider = provider
        self.model = model
        # What stopping the answer now would be accounted as.
        self.tokens_input = 0
        self._row = job.turn
        self._turn = turn
        self._hub = hub
        self._live = live
        self._channel = channels.conversation(job.conversation.public_id)
        self._tools: dict[str, LiveTool] = {}
        # What was shown: the number of its last piece, and its characters.
        self._shown = (0, 0)
        # The pieces since it was asked to hold; None while it may speak.
        self._held: list[Delta] | None = None
        self._closed = False

    def hold(self) -> LiveText:
        """Shows no more text until `go_on`. What was shown."""
        if self._held is None:
            self._held = []
        return self._state()

    def go_on(self) -> None:
        """Shows what came meanwhile, then the rest as it comes."""
        held, self._held = self._held, None
        for delta in held or ():
            self.say(delta)

    def close(self) -> None:
        """The turn is somebody else's, or over: nothing more is shown or kept from here."""
        self._closed, self._held = True, None

    def say(self, delta: Delta) -> None:
        """A piece of text."""
        if self._held is not None:
            self._held.append(delta)
            return
        row = self._row
        self._shown = (delta.n, self._shown[1] + len(delta.text))
        self._keep()
        self.show(
            MessageDelta(turn_id=row.public_id, message_id=row.answer_id, gen=row.gen, n=delta.n, text=delta.text)
        )

    def tool(self, call_id: str, label: str, state: str, text: str | None = None) -> None:
        """Where a tool stands, for whoever comes later; those who are here learn it from a frame."""
        self._tools[call_id] = LiveTool(call_id, label, state, text)
        self._keep()

    def said(self, call_id: str, text: str) -> None:
        """What a long tool says of its work, where visitors have been shown it."""
        tool = self._tools.get(call_id)
        if tool is not None and tool.state == "running":
            self.tool(call_id, tool.label, tool.state, text)

    def show(self, frame: Frame) -> None:
        """A live frame to everybody who watches now."""
        if self._closed:
            return
        self._hub.publish(self._channel, 0, codec.encode(frame))

    def _keep(self) -> None:
        if not self._closed:
            self._live.put(self._state())

    def _state(self) -> LiveText:
        row, (n, characters) = self._row, self._shown
        return LiveText(
            row.public_id,
            row.answer_id,
            row.gen,
            n,
            self._turn.text[:characters],
            self.provider,
            self.model,
            self.tokens_input,
            list(self._tools.values()),
        )
