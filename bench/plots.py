"""Curves as PNG files."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from bench.report import OURS, Curve, Point

# One colour a server in every plot; Frontdesk's stands out.
_COLORS = ("#6b7280", "#d97706", "#0891b2", "#be185d", "#4d7c0f", "#7c3aed")
_OURS = "#2563eb"


def draw(curve: Curve, folder: Path) -> Path:
    """Writes `<slug>.png`, 960 x 600 pixels; the bars are the least and the most of the rounds."""
    canvas = Canvas(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = canvas.add_subplot()
    others = iter(_COLORS * (len(curve.series) // len(_COLORS) + 1))
    for name, points in curve.series.items():
        _line(axes, name, points, _OURS if name == OURS else next(others))
    axes.set_title(curve.title, loc="left", fontsize=11)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    if curve.log_x:
        axes.set_xscale("log")
    if curve.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({point.x for points in curve.series.values() for point in points}))
    for axis, logarithmic in ((axes.xaxis, curve.log_x), (axes.yaxis, curve.log_y)):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        if logarithmic:
            axis.minorticks_off() if axis is axes.xaxis else None
    axes.grid(visible=True, which="major", color="#e5e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    path = folder / f"{curve.slug}.png"
    canvas.savefig(path)
    return path


def _line(axes: Axes, name: str, points: list[Point], color: str) -> None:
    middle = [point.figure.median for point in points]
    below = [point.figure.median - point.figure.least for point in points]
    above = [point.figure.most - point.figure.median for point in points]
    axes.errorbar(
        [point.x for point in points],
        middle,
        yerr=[[max(0.0, each) for each in below], [max(0.0, each) for each in above]],
        label=name,
        color=color,
        marker="o",
        markersize=5,
        linewidth=2.4 if name == OURS else 1.6,
        capsize=3,
    )
