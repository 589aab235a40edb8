"""Circuit breakers: a table of stories, and any sequence of calls against a plain model of the rules."""

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.tools.webhook import breaker as breaker_module
from server.tools.webhook.breaker import FAILURES, REST_S, Breaker, Breakers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def call(breaker: Breaker, healthy: bool | None) -> bool:
    """One call that ends at once; whether it went out."""
    ticket = breaker.admit()
    if ticket is not None:
        breaker.report(ticket, healthy)
    return ticket is not None


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert call(breaker, False)
    assert breaker.state == "open"
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """A good call between them starts the count anew; one that says nothing leaves it."""
    breaker = Breaker(Clock())
    for healthy in [False] * (FAILURES - 1) + [True] + [False] * (FAILURES - 1) + [None]:
        assert call(breaker, healthy) and breaker.state == "closed"
    assert call(breaker, False)
    assert breaker.state == "open" and breaker.rests_s == REST_S
    assert not call(breaker, True)


def test_one_trial_after_the_rest() -> None:
    """While it is under way nothing else goes out; a good one closes it."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += REST_S - 0.001
    assert not call(breaker, True)
    clock.now += 0.001
    assert (breaker.state, breaker.rests_s) == ("half_open", 0.0)
    trial = breaker.admit()
    assert trial is not None and breaker.admit() is None
    breaker.report(trial, True)
    assert breaker.state == "closed"
    assert call(breaker, False) and breaker.state == "closed", "the count starts anew"


def test_a_trial_that_fails_rests_again() -> None:
    """From the time of its failure."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += REST_S
    trial = breaker.admit()
    assert trial is not None
    clock.now += 15
    breaker.report(trial, False)
    assert (breaker.state, breaker.rests_s) == ("open", REST_S)


def test_a_cancelled_trial_gives_its_place_to_the_next() -> None:
    """A visitor who stops must not shut the tool for good."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += REST_S
    trial = breaker.admit()
    assert trial is not None
    breaker.report(trial, None)
    assert breaker.state == "half_open" and call(breaker, True)
    assert breaker.rests_s == 0 and [breaker.admit() for _ in range(2)] != [None, None]


@pytest.mark.parametrize("healthy", [True, False, None])
def test_a_call_from_before_says_nothing_of_now(healthy: bool | None) -> None:
    """It went out before the breaker opened and ends during the trial: neither closes nor opens anything."""
    clock = Clock()
    breaker = Breaker(clock)
    late = breaker.admit()
    assert late is not None
    for _ in range(FAILURES):
        call(breaker, False)
    clock.now += REST_S
    trial = breaker.admit()
    assert trial is not None
    breaker.report(late, healthy)
    assert breaker.state == "half_open" and breaker.admit() is None


def test_one_for_each_client_and_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the same, a bounded number, the least recently used forgotten first."""
    monkeypatch.setattr(breaker_module, "KEPT", 3)
    breakers = Breakers(Clock())
    first = breakers.of(1, "a")
    assert breakers.of(1, "a") is first
    others = {id(breakers.of(2, "a")), id(breakers.of(1, "b")), id(first)}
    assert len(others) == len(breakers) == 3
    breakers.of(1, "a")
    breakers.of(3, "a")
    assert len(breakers) == 3 and breakers.of(1, "a") is first
    assert breakers.of(2, "a") is not None and len(breakers) == 3


class AnySequence(RuleBasedStateMachine):
    """Calls begin, end in any order and at any time; the rules are kept whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(self.clock)
        # Under way: the ticket, and whether it is of the state that is now.
        self.current: deque[int] = deque()
        self.stale: deque[int] = deque()
        self.in_a_row = 0
        self.opened_at: float | None = None

    def change(self) -> None:
        self.stale += self.current
        self.current.clear()
        self.in_a_row = 0

    @rule()
    def begin(self) -> None:
        ticket = self.breaker.admit()
        if self.opened_at is None:
            assert ticket is not None
        elif self.clock.now - self.opened_at < REST_S:
            assert ticket is None
        else:
            assert (ticket is None) == bool(self.current), "one trial at a time, and one is always possible"
        if ticket is not None:
            self.current.append(ticket)

    @precondition(lambda self: self.current)
    @rule(healthy=st.sampled_from([True, False, False, False, None]), newest=st.booleans())
    def end(self, healthy: bool | None, newest: bool) -> None:
        ticket = self.current.pop() if newest else self.current.popleft()
        self.breaker.report(ticket, healthy)
        if healthy is None:
            return
        if healthy:
            self.in_a_row = 0
            if self.opened_at is not None:
                self.opened_at = None
                self.change()
            return
        self.in_a_row += 1
        if self.opened_at is not None or self.in_a_row == FAILURES:
            self.opened_at = self.clock.now
            self.change()

    @precondition(lambda self: self.stale)
    @rule(healthy=st.sampled_from([True, False, None]))
    def end_a_stale_one(self, healthy: bool | None) -> None:
        before = self.breaker.state, self.breaker.rests_s
        self.breaker.report(self.stale.popleft(), healthy)
        assert before == (self.breaker.state, self.breaker.rests_s)

    @rule(seconds=st.sampled_from([0.5, 10.0, REST_S]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def state_is_as_the_rules_say(self) -> None:
        if self.opened_at is None:
            assert self.breaker.state == "closed" and self.breaker.rests_s == 0
        else:
            rested = self.clock.now - self.opened_at >= REST_S
            assert self.breaker.state == ("half_open" if rested else "open")
            assert (self.breaker.rests_s == 0) == rested


TestAnySequence = AnySequence.TestCase
