"""The state machine of one turn, by itself: no clock but the one given."""

from itertools import pairwise

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.errors import ModelBusy, ModelRefused, ModelTimeout, ModelUnreachable
from server.llm.provider import READ_SLACK_S, Finished, ModelEvent, TextDelta, ToolCall, ToolCallDelta, Usage
from server.turns.turn import (
    ANSWER_CHARACTERS,
    ARGUMENTS_CHARACTERS,
    BREAK,
    WINDOW_S,
    Completed,
    Delta,
    Failed,
    Spent,
    Turn,
)

STOP = Finished("stop")
USAGE = Usage(12, 3)


def run(*batches: list[ModelEvent]) -> Turn:
    """A turn that was sent these, a second apart, and whose stream then ended."""
    turn = Turn()
    for second, batch in enumerate(batches):
        turn.said(batch, float(second))
    turn.ended()
    return turn


def test_the_first_text_leaves_at_once() -> None:
    """Whatever the clock says, nobody waits for the first word."""
    turn = Turn()
    assert turn.said([TextDelta("Hel")], 1000.0) == Delta(1, "Hel")
    assert turn.phase == "streaming"


def test_a_batch_without_text_is_no_delta() -> None:
    """Usage, tool calls and empty texts do not make a frame, and the first real text still leaves at once."""
    turn = Turn()
    assert turn.said([USAGE], 0.0) is None
    assert turn.said([TextDelta("")], 0.0) is None
    assert turn.said([ToolCallDelta(0, "call_1", "look", "{")], 0.0) is None
    assert (turn.phase, turn.n, turn.due()) == ("waiting", 0, None)
    assert turn.said([TextDelta("x")], 0.001) == Delta(1, "x")


def test_later_text_is_gathered_for_the_window() -> None:
    """Within the window after a delta text waits; at its end it leaves as one, by the clock that was given."""
    turn = Turn()
    turn.said([TextDelta("a")], 5.0)
    assert turn.said([TextDelta("b")], 5.0 + WINDOW_S / 2) is None
    assert turn.said([TextDelta("c")], 5.0 + (WINDOW_S - READ_SLACK_S) * 0.99) is None
    assert turn.due() == 5.0 + WINDOW_S + READ_SLACK_S
    assert turn.said([TextDelta("d")], 5.0 + WINDOW_S) == Delta(2, "bcd")
    assert turn.due() is None


def test_a_timer_sends_what_was_gathered() -> None:
    """`flush` at the due time gives the rest, once."""
    turn = Turn()
    turn.said([TextDelta("a")], 0.0)
    turn.said([TextDelta("b")], 0.01)
    assert turn.flush(WINDOW_S) == Delta(2, "b")
    assert turn.flush(WINDOW_S) is None
    assert turn.said([TextDelta("c")], WINDOW_S * 1.5) is None, "a flush opens a window too"


def test_nothing_leaves_after_the_end() -> None:
    """Once there is an outcome, text, flushes and other endings change nothing."""
    turn = run([TextDelta("whole"), STOP])
    outcome = turn.outcome
    assert turn.said([TextDelta("more")], 99.0) is None
    assert turn.flush(99.0) is None
    assert turn.due() is None
    turn.failed(ModelBusy("late"))
    turn.out_of_time()
    turn.broke("late")
    turn.ended()
    assert turn.outcome is outcome
    assert turn.text == "whole"


@pytest.mark.parametrize("reason", ["stop", "length", "filtered"])
def test_an_answer_with_text_is_completed(reason: str) -> None:
    """It keeps its text, its usage and why the model ended."""
    finished = Finished(reason)  # type: ignore[arg-type]  # the three of the table above
    turn = run([TextDelta("Hello")], [TextDelta(" you"), USAGE, finished])
    assert turn.outcome == Completed("Hello you", USAGE, reason)  # type: ignore[arg-type]  # as above
    assert turn.phase == "ended"


def test_the_last_usage_wins_and_may_come_after_the_finish() -> None:
    """Providers repeat it, and OpenAI sends it last of all."""
    turn = run([Usage(12, 1)], [TextDelta("Hi"), STOP], [USAGE])
    assert turn.outcome == Completed("Hi", USAGE, "stop")


@pytest.mark.parametrize(
    ("batch", "code", "retryable"),
    [
        ([STOP], "model_garbage", True),
        ([TextDelta(" \n\t"), STOP], "model_garbage", True),
        ([Finished("length")], "model_garbage", True),
        ([Finished("filtered")], "model_filtered", False),
        ([Finished("tool_calls")], "model_garbage", True),
        (
            [TextDelta("Let me look"), ToolCallDelta(0, "c", "look", "{}"), Finished("tool_calls")],
            "model_garbage",
            True,
        ),
        ([], "model_garbage", True),
        ([TextDelta("cut in the mid")], "model_garbage", True),
        ([TextDelta("cut"), USAGE], "model_garbage", True),
    ],
)
def test_what_is_no_answer_fails(batch: list[ModelEvent], code: str, retryable: bool) -> None:
    """Empty and blank answers, a filter's silence, a tool nobody offered, a stream without its end."""
    outcome = run(batch).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.retryable) == (code, retryable)
    assert outcome.reason


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelBusy("429"), "model_busy"),
        (ModelTimeout("idle"), "model_timeout"),
        (ModelUnreachable("reset"), "model_unreachable"),
        (ModelRefused("401"), "model_refused"),
    ],
)
def test_a_failure_keeps_what_was_said_and_used(error: ModelBusy, code: str) -> None:
    """The text and the usage are kept for accounting, the reason for the log."""
    turn = Turn()
    turn.said([TextDelta("half an ans"), USAGE], 0.0)
    turn.failed(error)
    assert turn.outcome == Failed(code, error.message, True, "half an ans", USAGE)


def test_the_deadline_fails_a_turn() -> None:
    """Also one that said nothing yet."""
    turn = Turn()
    turn.out_of_time()
    assert isinstance(turn.outcome, Failed)
    assert (turn.outcome.code, turn.outcome.text) == ("model_timeout", "")


def test_a_bug_of_ours_fails_a_turn() -> None:
    """The visitor hears of it and may try again."""
    turn = Turn()
    turn.broke("KeyError")
    assert turn.outcome == Failed("internal", "KeyError", True, "", None)


@pytest.mark.parametrize("over", [0, 1, 5_000])
def test_an_endless_answer_is_cut(over: int) -> None:
    """At the cap it is whole, and the last delta says no more than the answer does."""
    turn = Turn()
    first = turn.said([TextDelta("a" * (ANSWER_CHARACTERS - 1))], 0.0)
    last = turn.said([TextDelta("b" * (1 + over))], 0.001)
    assert turn.outcome == Completed("a" * (ANSWER_CHARACTERS - 1) + "b", None, "length")
    assert first is not None
    assert last == Delta(2, "b")
    turn.ended()
    assert turn.outcome.reason == "length"


def test_an_endless_blank_is_no_answer() -> None:
    """64,000 spaces fail as an empty answer does."""
    turn = Turn()
    turn.said([TextDelta(" " * ANSWER_CHARACTERS)], 0.0)
    assert isinstance(turn.outcome, Failed)


def test_calls_are_gathered_from_their_pieces() -> None:
    """Two calls whose pieces come mixed; the first piece of each has its name."""
    turn = Turn()
    turn.asked(7, offered=True)
    turn.said(
        [TextDelta("Let me look."), ToolCallDelta(0, "a", "look", '{"x"'), ToolCallDelta(1, "b", "find", "")], 0.0
    )
    turn.said([ToolCallDelta(0, None, None, ":1}"), USAGE, Finished("tool_calls")], 1.0)
    turn.ended()
    assert turn.phase == "calling"
    assert turn.calls == (ToolCall("a", "look", '{"x":1}'), ToolCall("b", "find", ""))
    assert (turn.said_last, turn.outcome) == ("Let me look.", None)
    assert turn.spent == [Spent(7, 'Let me look.look{"x":1}find', USAGE)]


def test_what_is_said_after_a_tool_begins_a_paragraph() -> None:
    """The texts of all steps are one answer, and each call of the model is paid for."""
    turn = Turn()
    turn.asked(7, offered=True)
    turn.said([TextDelta("Let me look."), ToolCallDelta(0, "a", "look", "{}"), Finished("tool_calls")], 0.0)
    turn.ended()
    turn.asked(30, offered=True)
    assert turn.phase == "streaming"
    assert turn.said([TextDelta(""), TextDelta("It is"), TextDelta(" there.")], 1.0) == Delta(2, f"{BREAK}It is there.")
    turn.said([Usage(30, 4), STOP], 1.1)
    turn.ended()
    assert turn.outcome == Completed(f"Let me look.{BREAK}It is there.", Usage(30, 4), "stop")
    assert [(each.tokens_input, each.text, each.usage) for each in turn.spent] == [
        (7, "Let me look.look{}", None),
        (30, "It is there.", Usage(30, 4)),
    ]


def test_a_tool_before_any_word_leaves_no_gap() -> None:
    """The answer begins with its first word."""
    turn = Turn()
    turn.asked(7, offered=True)
    turn.said([ToolCallDelta(0, "a", "look", "{}"), Finished("tool_calls")], 0.0)
    turn.ended()
    turn.asked(9, offered=True)
    assert turn.phase == "waiting"
    assert turn.said([TextDelta("There.")], 1.0) == Delta(1, "There.")


def test_an_earlier_life_is_told_again() -> None:
    """What had been committed leaves at once in a new life, and is paid for once."""
    turn = Turn()
    turn.replayed("Let me look.", Spent(7, "Let me look.", USAGE))
    assert turn.flush(0.0) == Delta(1, "Let me look.")
    turn.asked(30)
    turn.said([TextDelta("Found."), STOP], 1.0)
    turn.ended()
    assert turn.outcome == Completed(f"Let me look.{BREAK}Found.", None, "stop")
    assert turn.spent == [Spent(7, "Let me look.", USAGE), Spent(30, "Found.", None)]


@pytest.mark.parametrize(
    ("offered", "batch"),
    [
        (False, [ToolCallDelta(0, "a", "look", "{}"), Finished("tool_calls")]),
        (True, [Finished("tool_calls")]),
        (True, [ToolCallDelta(0, "a", "look", "{" * (ARGUMENTS_CHARACTERS + 1)), Finished("tool_calls")]),
        (True, [ToolCallDelta(0, "a", "look", "{}")]),
    ],
)
def test_calls_that_are_none(offered: bool, batch: list[ModelEvent]) -> None:
    """Of a tool that was not offered, of nothing, without an end, cut off."""
    turn = Turn()
    turn.asked(1, offered=offered)
    turn.said(batch, 0.0)
    turn.ended()
    assert isinstance(turn.outcome, Failed)
    assert turn.outcome.code == "model_garbage"
    assert turn.calls == ()


texts = st.text(max_size=12).map(TextDelta)
events = st.one_of(
    texts,
    texts,
    st.builds(Usage, st.integers(0, 99), st.integers(0, 99)),
    st.builds(ToolCallDelta, st.just(0), st.just("c"), st.just("t"), st.just("{")),
)


class Streaming(RuleBasedStateMachine):
    """Any order of batches, flushes and endings, with a clock that only goes forward."""

    @initialize(offered=st.booleans())
    def begin(self, offered: bool) -> None:
        self.turn = Turn()
        self.turn.asked(5, offered=offered)
        self.apart = ""
        self.now = 100.0
        self.said = ""
        self.deltas: list[tuple[float, Delta]] = []
        self.outcomes: list[object] = []

    def note(self, delta: Delta | None) -> None:
        if delta is not None:
            assert not self.outcomes, "a delta after the end"
            self.deltas.append((self.now, delta))
        if self.turn.outcome is not None and not any(self.turn.outcome is each for each in self.outcomes):
            self.outcomes.append(self.turn.outcome)

    @rule(seconds=st.floats(0, 0.1, allow_nan=False))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.turn.phase != "calling")
    @rule(batch=st.lists(events, max_size=4))
    def say(self, batch: list[ModelEvent]) -> None:
        text = "".join(event.text for event in batch if isinstance(event, TextDelta))
        if self.turn.phase != "ended" and text:
            self.said, self.apart = self.said + self.apart + text, ""
        self.note(self.turn.said(batch, self.now))

    @rule()
    def timer(self) -> None:
        """The engine's timer runs at the due time, or later."""
        if (due := self.turn.due()) is not None:
            self.now = max(self.now, due)
            self.note(self.turn.flush(self.now))
            assert self.turn.due() is None

    @precondition(lambda self: self.turn.phase == "calling")
    @rule(offered=st.booleans())
    def ask_again(self, offered: bool) -> None:
        """The tools' results go to the model."""
        assert self.turn.calls
        self.turn.asked(9, offered=offered)
        self.apart = BREAK if self.said.strip() else ""

    @precondition(lambda self: self.turn.phase != "calling")
    @rule(reason=st.sampled_from(["stop", "length", "tool_calls", "filtered"]))
    def finish(self, reason: str) -> None:
        self.note(self.turn.said([Finished(reason)], self.now))  # type: ignore[arg-type]  # the four reasons
        self.turn.ended()
        self.note(None)

    @precondition(lambda self: self.turn.phase != "calling")
    @rule()
    def cut(self) -> None:
        self.turn.ended()
        self.note(None)

    @rule()
    def fail(self) -> None:
        self.turn.failed(ModelUnreachable("reset"))
        self.note(None)

    @rule()
    def deadline(self) -> None:
        self.turn.out_of_time()
        self.note(None)

    @invariant()
    def text_is_what_was_said(self) -> None:
        """Deltas are a beginning of the text, in one piece; the outcome has all of it."""
        sent = "".join(delta.text for _, delta in self.deltas)
        assert self.turn.text == self.said
        assert self.said.startswith(sent)
        if self.turn.outcome is not None:
            assert self.turn.outcome.text == self.said
        if self.turn.phase == "streaming" and self.turn.due() is None:
            assert sent == self.said

    @invariant()
    def deltas_are_numbered_and_spaced(self) -> None:
        """1, 2, 3 ...; none empty; a window between two."""
        assert [delta.n for _, delta in self.deltas] == list(range(1, len(self.deltas) + 1))
        assert self.turn.n == len(self.deltas)
        assert all(delta.text for _, delta in self.deltas)
        times = [at for at, _ in self.deltas]
        # A due time is a sum of floats, so a difference may fall short of the window by its last bit.
        assert all(later - earlier >= WINDOW_S - 1e-9 for earlier, later in pairwise(times))

    @invariant()
    def there_is_one_outcome(self) -> None:
        """Set once, and with it the phase."""
        assert len(self.outcomes) <= 1
        assert (self.turn.phase == "ended") == (self.turn.outcome is not None)


Streaming.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStreaming = Streaming.TestCase
