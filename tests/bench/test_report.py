"""The table and the plots."""

from pathlib import Path

from PIL import Image

from bench.plots import draw
from bench.report import OURS, Curve, Figure, Goal, Point, Report, Row, Section, percentile, table

CPU = Row(
    "CPU a token",
    "us",
    {"relay": Figure.of([10, 12, 11]), OURS: Figure.of([15, 14, 2_000])},
    (Goal(1.5, "relay"), Goal(0.125, "peer"), Goal(14)),
)


def told(*rows: Row) -> list[str]:
    return table(Report("2026-01-01T00:00+00:00", "a machine", "abc", 3, [Section("What", list(rows))])).splitlines()


def test_the_table_says_what_was_reached() -> None:
    """A ratio is held against a ratio, a figure against the figure; what was not in the run is told."""
    lines = told(CPU)
    assert lines[0] == "a machine; commit abc; 2026-01-01T00:00+00:00; 3 rounds; median (least to most)"
    assert lines[2:6] == ["#### What", "", "|  | relay | Frontdesk | to reach |", "| --- | ---: | ---: | --- |"]
    assert lines[6] == (
        "| CPU a token, us | 11.0 (10.0 to 12.0) | 15.0 (14.0 to 2,000.0) | "
        "<= 1.5 x relay: 1.36, reached; <= 0.125 x peer: not in this run; <= 14: MISSED |"
    )


def test_what_only_frontdesk_does() -> None:
    """One column less, and one figure where there is no more."""
    lines = told(Row("ten tools", "x slowest", {OURS: Figure.of([1.05])}, (Goal(1.1),), decimals=2))
    assert lines[4] == "|  | Frontdesk | to reach |"
    assert lines[6] == "| ten tools, x slowest | 1.05 | <= 1.1: reached |"


def test_percentiles() -> None:
    """Of a hundred and one even steps; of one value it is that."""
    values = [float(number) for number in range(101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7


def test_a_curve_is_drawn(tmp_path: Path) -> None:
    """A picture of its size, with something on it; a curve of one point too."""
    points = [Point(x, Figure.of([x, 2 * x])) for x in (1, 20, 200)]
    for curve in (
        Curve("cpu", "CPU a token", "streams", "us", {OURS: points, "relay": points[:1]}, log_y=True),
        Curve("one", "One", "streams", "us", {OURS: points[:1]}, log_x=False),
    ):
        path = draw(curve, tmp_path)
        assert path.name == f"{curve.slug}.png"
        with Image.open(path) as image:
            assert image.size == (960, 600)
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20
