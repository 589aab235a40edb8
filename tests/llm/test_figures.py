"""How calls of models are counted and added up."""

import asyncio
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ModelBusy, ModelTimeout
from server.llm.figures import WINDOW_S, ModelCalls, ModelCount, merged, percentile_ms


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_counted() -> None:
    """What worked, what failed and why; what was stopped, broke or is excused is not counted."""
    calls = ModelCalls()
    with calls.call("openai", "m") as call:
        assert call.first_s is None
        call.heard()
    with pytest.raises(ModelBusy), calls.call("openai", "m"):
        raise ModelBusy("429")
    with pytest.raises(ModelTimeout), calls.call("openai", "m"):
        raise ModelTimeout("slow")
    with pytest.raises(asyncio.CancelledError), calls.call("openai", "m"):
        raise asyncio.CancelledError
    with pytest.raises(ModelBusy), calls.call("openai", "m") as call:
        call.excused = True
        raise ModelBusy("postgres was away")
    with calls.call("anthropic", "n"):
        pass
    other, mine = calls.now()
    assert (other.provider, other.calls, sum(other.first.values()), sum(other.whole.values())) == ("anthropic", 1, 0, 1)
    assert (mine.model, mine.calls, mine.errors) == ("m", 3, {"model_busy": 1, "model_timeout": 1})
    assert sum(mine.first.values()) == sum(mine.whole.values()) == 1


def test_the_window() -> None:
    """What is older than a quarter of an hour goes, a minute at a time."""
    clock = Clock()
    calls = ModelCalls(clock)
    for _ in range(3):
        calls.count("p", "m").worked(first_s=None, whole_s=0.1)
        clock.now += WINDOW_S / 2
    assert [each.calls for each in calls.now()] == [1]
    clock.now += WINDOW_S
    assert calls.now() == []


def test_models_without_end() -> None:
    """Beyond 50 a minute they are counted together."""
    calls = ModelCalls(Clock())
    for number in range(60):
        calls.count("p", f"model {number}").failed("model_busy")
    now = calls.now()
    assert len(now) == 51
    assert next(each for each in now if each.model == "others").calls == 10


@given(st.lists(st.lists(st.floats(1, 300_000), max_size=30), max_size=5), st.sampled_from([0.5, 0.95, 1.0]))
def test_percentiles_over_instances(instances: list[list[float]], share: float) -> None:
    """However the calls are spread, through JSON and back, the percentile is right to a twentieth."""
    counts = []
    for each in instances:
        count = ModelCount("p", "m")
        for ms in each:
            count.worked(first_s=ms / 1000, whole_s=ms / 1000)
        counts.append(msgspec.convert(msgspec.json.decode(msgspec.json.encode(count)), ModelCount, str_keys=True))
    everything = sorted(ms for each in instances for ms in each)
    [total] = merged(counts) or [ModelCount("p", "m")]
    found = percentile_ms(total.whole, share)
    if not everything:
        assert found is None
        return
    exact = everything[math.ceil(len(everything) * share) - 1]
    assert found is not None and exact / 1.06 - 1 <= found <= exact * 1.06 + 1
    assert percentile_ms(total.first, share) == found
    assert total.calls == len(everything)
