"""The state machine of one turn: pure, no clock, no I/O. `engine` feeds it what happened and does what it returns.

    waiting --text--> streaming --finished--> completed
       |                  |
       '------ failed, stopped, out of time ------> failed | stopped

Deltas are cut here: the first text leaves at once, later text is gathered for `WINDOW_S`.
"""

from typing import Literal

import msgspec

from server.errors import ModelError, ModelGarbage, ModelTimeout
from server.llm.provider import Finished, ModelEvent, TextDelta, ToolCallDelta, Usage

# Seconds of text in one delta after the first. Below 25 ms the eye sees no difference and every frame costs; above
# 50 ms streaming begins to stutter.
WINDOW_S = 0.050
# Characters of one answer. 2,048 tokens are about 8,000; a model that goes on is not going to stop.
ANSWER_CHARACTERS = 64_000

Phase = Literal["waiting", "streaming", "ended"]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A piece to publish: the `n`-th of this turn and gen."""

    n: int
    text: str


class Completed(msgspec.Struct, frozen=True):
    """The answer is whole. `usage` is None where the provider reported nothing."""

    text: str
    usage: Usage | None
    reason: Literal["stop", "length", "filtered"]


class Failed(msgspec.Struct, frozen=True):
    """The visitor may try again if `retryable`. `text` had been said; `reason` is for the log."""

    code: str
    reason: str
    retryable: bool
    text: str
    usage: Usage | None


Outcome = Completed | Failed


class Turn:
    """One run of a model. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.phase: Phase = "waiting"
        self.text = ""
        self.n = 0
        self.outcome: Outcome | None = None
        self._sent = 0
        self._cut_at = 0.0
        self._usage: Usage | None = None
        self._finished: Finished | None = None

    def said(self, batch: list[ModelEvent], now: float) -> Delta | None:
        """Takes what the model sent. Returns a delta when it is time for one."""
        if self.phase == "ended":
            return None
        for event in batch:
            if type(event) is TextDelta:
                self.text += event.text
            else:
                self._take(event)
        if len(self.text) >= ANSWER_CHARACTERS:
            self.text = self.text[:ANSWER_CHARACTERS]
            self._finished = Finished("length")
            self.ended()
            return self._cut(now)
        if len(self.text) > self._sent and (self.n == 0 or now >= self._cut_at + WINDOW_S):
            return self._cut(now)
        return None

    def due(self) -> float | None:
        """When gathered text must leave; None when there is none."""
        if self.phase == "ended" or len(self.text) == self._sent:
            return None
        return self._cut_at + WINDOW_S

    def flush(self, now: float) -> Delta | None:
        """The gathered text, if any."""
        return self._cut(now) if len(self.text) > self._sent and self.phase != "ended" else None

    def ended(self) -> None:
        """The model's stream is over."""
        if self.phase == "ended":
            return
        if self._finished is None:
            self.failed(ModelGarbage("the stream ended without a finish"))
        elif self._finished.reason == "tool_calls":
            self.failed(ModelGarbage("a tool was called and none had been offered"))
        elif not self.text.strip():
            if self._finished.reason == "filtered":
                self._fail("model_filtered", "the provider's filter kept the whole answer", retryable=False)
            else:
                self.failed(ModelGarbage("the answer is empty"))
        else:
            self._end(Completed(self.text, self._usage, self._finished.reason))

    def failed(self, error: ModelError) -> None:
        """The provider failed. What was said is kept for accounting and not shown as an answer."""
        if self.phase != "ended":
            self._fail(error.code, error.message, retryable=True)

    def out_of_time(self) -> None:
        """The turn's deadline has passed."""
        self.failed(ModelTimeout("the turn's deadline passed"))

    def broke(self, reason: str) -> None:
        """Something of our own broke."""
        if self.phase != "ended":
            self._fail("internal", reason, retryable=True)

    def _take(self, event: ModelEvent) -> None:
        match event:
            case Usage():
                self._usage = event
            case Finished():
                self._finished = event
            case TextDelta() | ToolCallDelta():
                # A tool call without a tool on offer shows in `Finished.reason`.
                pass

    def _cut(self, now: float) -> Delta:
        piece = self.text[self._sent :]
        self._sent = len(self.text)
        self._cut_at = now
        self.n += 1
        if self.phase == "waiting":
            self.phase = "streaming"
        return Delta(self.n, piece)

    def _fail(self, code: str, reason: str, *, retryable: bool) -> None:
        self._end(Failed(code, reason, retryable, self.text, self._usage))

    def _end(self, outcome: Outcome) -> None:
        self.phase = "ended"
        self.outcome = outcome
