"""The state machine of one turn: pure, no clock, no I/O. `engine` feeds it what happened and does what it returns.

    waiting --text--> streaming --finished--> completed
     |  ^                |  |
     |  '---asked---- calling <--tool calls--'
     |                   |
     '---- failed, stopped, out of time ----> failed | stopped

A turn asks its model once or, with tools, several times; the texts of all times are one answer. Deltas are cut here:
the first text leaves at once, later text is gathered for `WINDOW_S`.
"""

from typing import Literal

import msgspec

from server.errors import ModelError, ModelGarbage, ModelTimeout
from server.llm.provider import READ_SLACK_S, Finished, ModelEvent, TextDelta, ToolCall, ToolCallDelta, Usage

# Seconds of text in one delta after the first. Below 25 ms the eye sees no difference and every frame costs; above
# 50 ms streaming begins to stutter.
WINDOW_S = 0.050
# Characters of one answer. 2,048 tokens are about 8,000; a model that goes on is not going to stop.
ANSWER_CHARACTERS = 64_000
# Characters of one call's arguments: a form of many fields has 2,000; a model that goes on is not going to stop.
ARGUMENTS_CHARACTERS = 64_000
# Between what was said before a tool ran and what is said after it.
BREAK = "\n\n"

Phase = Literal["waiting", "streaming", "calling", "ended"]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A piece to publish: the `n`-th of this turn and gen."""

    n: int
    text: str


class Spent(msgspec.Struct, frozen=True):
    """One call of the model, to be paid. `usage` is None where the provider reported none: then the counts stand in.

    `by` are provider and model, where they are others than at the turn's end.
    """

    tokens_input: int
    text: str
    usage: Usage | None
    whole: bool = True
    by: tuple[str, str] | None = None


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


class _Part(msgspec.Struct):
    """A tool call as it grows."""

    call_id: str
    name: str
    arguments: str = ""


class Turn:
    """One answer. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.phase: Phase = "waiting"
        self.text = ""
        self.n = 0
        self.outcome: Outcome | None = None
        # What the model wants done while the phase is "calling".
        self.calls: tuple[ToolCall, ...] = ()
        # The text of the last call of the model that is over.
        self.said_last = ""
        self.spent: list[Spent] = []
        self.sent = 0
        self._cut_at = 0.0
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._tokens_input = 0
        self._offered = False
        # Where the text of this call of the model begins, and what goes before it.
        self._from = 0
        self._break = ""
        self._parts: dict[int, _Part] = {}

    @property
    def said_now(self) -> str:
        """The text of this call of the model."""
        return self.text[self._from :]

    def asked(self, tokens_input: int, *, offered: bool = False) -> None:
        """The model is asked, for the first time or again. `offered`: it may call tools."""
        if self.phase == "ended":
            return
        self.phase = "streaming" if self.n else "waiting"
        self.calls = ()
        self._usage, self._finished, self._parts = None, None, {}
        self._tokens_input, self._offered = tokens_input, offered
        self._from = len(self.text)
        self._break = BREAK if self.text.strip() else ""

    def replayed(self, text: str, spent: Spent) -> None:
        """An earlier life of this turn had asked the model and committed what it said."""
        self.text += (BREAK if self.text.strip() and text.strip() else "") + text
        self.spent.append(spent)

    def given_up(self, *, by: tuple[str, str]) -> None:
        """A call failed before its first word, and somebody else is asked. All calls so far were `by` this one."""
        before = len(self.spent)
        self._pay(whole=False)
        if len(self.spent) == before:
            # Nothing to pay; but a call it was.
            self.spent.append(Spent(0, "", None, whole=False))
        self.spent = [msgspec.structs.replace(each, by=each.by or by) for each in self.spent]

    def said(self, batch: list[ModelEvent], now: float) -> Delta | None:
        """Takes what the model sent. Returns a delta when it is time for one."""
        if self.phase == "ended":
            return None
        for event in batch:
            if type(event) is TextDelta:
                if self._break and event.text:
                    self.text, self._break = self.text + self._break, ""
                    self._from = len(self.text)
                self.text += event.text
            else:
                self._take(event)
        if len(self.text) >= ANSWER_CHARACTERS:
            self.text = self.text[:ANSWER_CHARACTERS]
            self._finished = Finished("length")
            self.ended()
            return self._cut(now)
        if len(self.text) > self.sent and (self.n == 0 or now >= self._cut_at + WINDOW_S - READ_SLACK_S):
            return self._cut(now)
        return None

    def due(self) -> float | None:
        """When gathered text must leave; None when there is none."""
        if self.phase == "ended" or len(self.text) == self.sent:
            return None
        return self._cut_at + WINDOW_S + READ_SLACK_S

    def flush(self, now: float) -> Delta | None:
        """The gathered text, if any."""
        return self._cut(now) if len(self.text) > self.sent and self.phase != "ended" else None

    def ended(self) -> None:
        """The model's stream is over."""
        if self.phase == "ended":
            return
        if self._finished is None:
            self.failed(ModelGarbage("the stream ended without a finish"))
        elif self._finished.reason == "tool_calls":
            self._call()
        elif not self.said_now.strip():
            if self._finished.reason == "filtered":
                self._fail("model_filtered", "the provider's filter kept the whole answer", retryable=False)
            else:
                self.failed(ModelGarbage("the answer is empty"))
        else:
            usage = self._pay(whole=True)
            self._end(Completed(self.text, usage, self._finished.reason))

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
            case ToolCallDelta():
                self._piece(event)
            case TextDelta():
                raise TypeError("text is taken by itself")

    def _piece(self, event: ToolCallDelta) -> None:
        part = self._parts.get(event.index)
        if part is None:
            part = self._parts[event.index] = _Part(event.call_id or f"call_{event.index}", event.name or "")
        part.arguments += event.arguments
        if len(part.arguments) > ARGUMENTS_CHARACTERS:
            self.failed(ModelGarbage(f"the arguments of {part.name} have more than {ARGUMENTS_CHARACTERS} characters"))

    def _call(self) -> None:
        if not self._offered or not self._parts:
            offered = "and none came" if self._offered else "and none had been offered"
            self.failed(ModelGarbage(f"a tool was called {offered}"))
            return
        self.calls = tuple(ToolCall(part.call_id, part.name, part.arguments) for _, part in sorted(self._parts.items()))
        self._pay(whole=True)
        self.phase = "calling"

    def _pay(self, *, whole: bool) -> Usage | None:
        """Notes what this call of the model cost, if it was one. Its usage."""
        called = "".join(f"{part.name}{part.arguments}" for part in self._parts.values())
        self.said_last, usage = self.said_now, self._usage
        if usage is not None or self.said_last or called:
            self.spent.append(Spent(self._tokens_input, self.said_last + called, usage, whole))
        self._usage, self._parts, self._from = None, {}, len(self.text)
        return usage

    def _cut(self, now: float) -> Delta:
        piece = self.text[self.sent :]
        self.sent = len(self.text)
        self._cut_at = now
        self.n += 1
        if self.phase == "waiting":
            self.phase = "streaming"
        return Delta(self.n, piece)

    def _fail(self, code: str, reason: str, *, retryable: bool) -> None:
        usage = self._pay(whole=False)
        self._end(Failed(code, reason, retryable, self.text, usage))

    def _end(self, outcome: Outcome) -> None:
        self.phase = "ended"
        self.outcome = outcome
