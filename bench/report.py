"""Figures, rows and curves; sections to a table."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import msgspec

OURS = "Frontdesk"


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


class Goal(msgspec.Struct, frozen=True):
    """Frontdesk's figure is at most `limit`, or at most `limit` times that of the server `against`."""

    limit: float
    against: str | None = None


class Row(msgspec.Struct, frozen=True):
    """One line: the same figure of each server that has it, by the server's name. `decimals` are those shown."""

    name: str
    unit: str
    figures: dict[str, Figure]
    goals: tuple[Goal, ...] = ()
    decimals: int = 1

    def ratio(self, against: str) -> float | None:
        """Frontdesk's over another's; None where one of them has no such figure."""
        ours, theirs = self.figures.get(OURS), self.figures.get(against)
        return None if ours is None or theirs is None else ours.median / theirs.median

    def held(self, goal: Goal) -> tuple[float, bool] | None:
        """What is held against the goal, and whether it is reached; None where that server was not in the run."""
        value = self.figures[OURS].median if goal.against is None else self.ratio(goal.against)
        return None if value is None else (value, value <= goal.limit)


class Point(msgspec.Struct, frozen=True):
    """One place of a curve."""

    x: float
    figure: Figure


class Curve(msgspec.Struct, frozen=True):
    """A plot: one line for each server or part. `slug` names its file; `x` and `y` are the axes' words, with units."""

    slug: str
    title: str
    x: str
    y: str
    series: dict[str, list[Point]]
    log_x: bool = True
    log_y: bool = False


class Section(msgspec.Struct, frozen=True):
    """Rows that belong together. `notes` say what a reader must know of them."""

    title: str
    rows: list[Row]
    curves: list[Curve] = []
    notes: list[str] = []


class Report(msgspec.Struct, frozen=True):
    """A whole run. `machine` says what it ran on, `at` when (ISO 8601, UTC), `commit` what was measured."""

    at: str
    machine: str
    commit: str
    rounds: int
    sections: list[Section]


def machine() -> str:
    """The kind of machine and what is on it."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores of {cpu}, {platform.system()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def commit() -> str:
    """The commit that is measured, with a `+` where files differ from it; "unknown" outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    told = subprocess.run(git, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation; of a single value it is that."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def table(report: Report) -> str:
    """Markdown: a table for each section, each figure with the least and most of its rounds."""
    head = f"{report.machine}; commit {report.commit}; {report.at}; {report.rounds} rounds; median (least to most)"
    return "\n\n".join([head, *map(_section, report.sections)])


def _section(section: Section) -> str:
    servers = list(dict.fromkeys(name for row in section.rows for name in row.figures))
    # Frontdesk last, beside what it is to reach.
    servers = [name for name in servers if name != OURS] + [OURS] * (OURS in servers)
    lines = [
        f"#### {section.title}",
        "",
        f"| {' | '.join(['', *servers, 'to reach'])} |",
        f"| --- |{' ---: |' * len(servers)} --- |",
    ]
    for row in section.rows:
        cells = (_cell(row, row.figures.get(name)) for name in servers)
        goals = "; ".join(_goal(row, goal) for goal in row.goals)
        lines.append(f"| {row.name}, {row.unit} | {' | '.join(cells)} | {goals} |")
    if section.notes:
        lines += ["", *(f"- {note}" for note in section.notes)]
    return "\n".join(lines)


def _cell(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return ""
    shown, least, most = (f"{each:,.{row.decimals}f}" for each in (figure.median, figure.least, figure.most))
    return shown if least == most else f"{shown} ({least} to {most})"


def _goal(row: Row, goal: Goal) -> str:
    held = row.held(goal)
    words = f"<= {goal.limit:g}" if goal.against is None else f"<= {goal.limit:.3g} x {goal.against}"
    if held is None:
        return f"{words}: not in this run"
    value, reached = held
    verdict = "reached" if reached else "MISSED"
    return f"{words}: {verdict}" if goal.against is None else f"{words}: {value:.3g}, {verdict}"
