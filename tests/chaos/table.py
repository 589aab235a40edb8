"""What a row is, and the table of what was measured beside what was promised."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tests.chaos.world import World


class Figure(msgspec.Struct, frozen=True):
    """One measured number. `goal` is the most it may be (the least with `least`), None where it only informs.

    A missed `promise` (0 lost, 0 doubled ...) fails the run; any other missed goal is printed.
    """

    name: str
    value: float
    unit: str = ""
    goal: float | None = None
    promise: bool = False
    least: bool = False

    @property
    def reached(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.least else self.value <= self.goal

    @property
    def text(self) -> str:
        """The value as people read it: whole numbers whole, others with two digits after the point."""
        number = f"{self.value:,.0f}" if self.value == int(self.value) else f"{self.value:,.2f}"
        return f"{number} {self.unit}".strip()


class Row(msgspec.Struct, frozen=True):
    """One line of the promises: its name, what is done, the goal in words, and how it is measured."""

    name: str
    what: str
    goal: str
    run: Callable[["World"], Awaitable[list[Figure]]]


class Outcome(msgspec.Struct, frozen=True):
    """A row that ran. `broke` is the error that ended it early; then nothing of it counts as reached."""

    row: Row
    figures: list[Figure]
    seed: int
    seconds: float
    broke: str | None = None

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return self.broke is None and all(figure.reached for figure in self.figures if figure.promise)


def rendered(outcomes: Sequence[Outcome]) -> str:
    """The table in Markdown, one line a figure."""
    lines = [
        "| row | goal | measured | | seed | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for outcome in outcomes:
        row = outcome.row
        first = f"| {row.what} | {row.goal}", f"| {outcome.seed} | {outcome.seconds:.0f} |"
        for text, verdict in measured(outcome):
            lines.append(f"{first[0]} | {text} | {verdict} {first[1]}")
            first = "| | ", "| | |"
    return "\n".join(lines)


def measured(outcome: Outcome) -> list[tuple[str, str]]:
    """Text and verdict of each line of one row: promises of which nothing was broken share one."""
    kept = [each.name for each in outcome.figures if each.promise and each.goal == each.value == 0]
    lines = [] if outcome.broke is None else [(outcome.broke.replace("\n", " "), "BROKE")]
    for figure in outcome.figures:
        verdict = "" if figure.goal is None else "reached" if figure.reached else "MISSED"
        if figure.name not in kept:
            lines.append((f"{figure.name}: {figure.text}", verdict))
        elif figure.name == kept[0]:
            lines.append((f"{', '.join(kept)}: 0", verdict))
    return lines


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]
