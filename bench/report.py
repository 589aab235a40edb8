"""Figures to a table, and to JSON."""

from collections.abc import Sequence
from statistics import median, quantiles

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """The median of several rounds, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(median(values), min(values), max(values))

    @classmethod
    def over(cls, rounds: Sequence[float], value: float) -> "Figure":
        """`value` is that of all samples together; the least and the most are rounds'."""
        return cls(value, min(rounds), max(rounds))


class Row(msgspec.Struct, frozen=True):
    """One line: the same figure of both servers, or Frontdesk's alone where `relay` is None.

    `limit` bounds Frontdesk's median, or with `relative` its ratio; `decimals` are those that are shown.
    """

    name: str
    unit: str
    relay: Figure | None
    frontdesk: Figure
    limit: float
    relative: bool = False
    decimals: int = 1

    @property
    def ratio(self) -> float | None:
        """Frontdesk's over the relay's; None when the relay has none."""
        return None if self.relay is None else self.frontdesk.median / self.relay.median

    @property
    def reached(self) -> bool:
        """Raises ValueError for a ratio that is to be reached and that nothing gives."""
        if not self.relative:
            return self.frontdesk.median <= self.limit
        if self.ratio is None:
            raise ValueError(f"{self.name} is held against the relay, which has no such figure")
        return self.ratio <= self.limit


class Report(msgspec.Struct, frozen=True):
    """A whole run. `machine` says what it ran on, `at` when (ISO 8601, UTC)."""

    at: str
    machine: str
    rounds: int
    rows: list[Row]


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def table(report: Report) -> str:
    """Lines of at most 120 characters: median, and least to most of the rounds."""
    lines = [
        f"{report.machine}, {report.at}, {report.rounds} rounds; median (least to most)",
        f"{'':36}{'bare relay':>24}{'Frontdesk':>24}{'ratio':>7}  to reach",
    ]
    for row in report.rows:
        limit = f"{'ratio ' if row.relative else ''}<= {row.limit:g}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"{row.name + ', ' + row.unit:36}{_cell(row, row.relay):>24}{_cell(row, row.frontdesk):>24}{ratio:>7}"
            f"  {limit} {'reached' if row.reached else 'MISSED'}"
        )
    return "\n".join(lines)


def _cell(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return "-"
    median, least, most = (f"{each:.{row.decimals}f}" for each in (figure.median, figure.least, figure.most))
    return f"{median} ({least} to {most})"
