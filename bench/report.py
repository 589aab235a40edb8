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


class Row(msgspec.Struct, frozen=True):
    """One line: the same figure of both servers. `limit` bounds Frontdesk's median, or with `relative` its ratio."""

    name: str
    unit: str
    relay: Figure
    frontdesk: Figure
    limit: float
    relative: bool = False

    @property
    def ratio(self) -> float:
        return self.frontdesk.median / self.relay.median

    @property
    def reached(self) -> bool:
        return (self.ratio if self.relative else self.frontdesk.median) <= self.limit


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
        lines.append(
            f"{row.name + ', ' + row.unit:36}{_cell(row.relay):>24}{_cell(row.frontdesk):>24}{row.ratio:>7.2f}"
            f"  {limit} {'reached' if row.reached else 'MISSED'}"
        )
    return "\n".join(lines)


def _cell(figure: Figure) -> str:
    return f"{figure.median:.1f} ({figure.least:.1f} to {figure.most:.1f})"
