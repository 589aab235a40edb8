"""Reading in step with showing: what is left in the kernel for a while is shown as soon as it is read."""

from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from server.llm.pace import Pace
from server.llm.provider import READ_SLACK_S, TextDelta
from server.turns.turn import WINDOW_S, Turn


def test_a_read_out_of_step_falls_back_in() -> None:
    """The rest ends when text is shown again, however soon after the last a piece was read."""
    pace = Pace(Mock(), 1.0)
    assert pace.left_s(10.0) == 1.0
    assert pace.left_s(10.25) == 0.75
    assert pace.left_s(11.0 - READ_SLACK_S / 2) == 1.0


@given(
    second=st.floats(0.0, 0.2),
    lates=st.lists(st.floats(-READ_SLACK_S * 0.9, READ_SLACK_S * 0.9), min_size=1, max_size=60),
)
def test_what_is_read_is_shown(second: float, lates: list[float]) -> None:
    """Wherever the second piece falls and however inexact the timers are, each later read is a delta of its own."""
    pace, turn, at = Pace(Mock(), WINDOW_S), Turn(), 100.0
    assert turn.said([TextDelta("a")], at)
    pace.left_s(at)
    at += second
    turn.said([TextDelta("b")], at)
    for late in lates:
        at += max(0.0, pace.left_s(at) + late)
        if (due := turn.due()) is not None and due <= at:
            turn.flush(due)
        assert turn.said([TextDelta("c")], at), (at, turn.due())
