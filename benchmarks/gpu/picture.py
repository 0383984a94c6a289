"""One picture of a report: classes of layers against their gates; single calls and training steps beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu.layers import CLASSES
from gpu.table import AIMS, aim_ratios, geometric_mean, ratio

SIZE = (13.0, 7.0)  # inches: readable at 100 dots each
Bar = tuple[str, list[float], float | None, float | None]  # name, ratios, gate, goal


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write it; ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    classes = class_bars(report["rows"])
    host: list[Bar] = [(aim.name, aim_ratios(report, aim), aim.gate, aim.goal) for aim in AIMS]
    figure = Figure(figsize=SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, classes, "layers in graphs: time(cuDNN) / time(ours)")
    _panel(right, host, "from the host: time(PyTorch) / time(ours)")
    machine = report["machine"]
    figure.suptitle(f"{machine['device']}, commit {machine.get('commit', '')}, {machine.get('date', '')}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def class_bars(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """A bar for each class that was measured."""
    bars: list[Bar] = []
    for kind in CLASSES.values():
        found = [r for row in rows if row["case"]["kind"] == kind.name and (r := ratio(row)) is not None]
        if found:
            bars.append((kind.name, found, kind.gate, kind.goal))
    return bars


def _panel(axes: Any, bars: Sequence[Bar], title: str) -> None:
    """The mean as a bar, smallest to largest as a line, gate and goal as marks."""
    axes.set_title(title, fontsize=11)
    for place, (_, ratios, gate, goal) in enumerate(bars):
        if ratios:
            mean = geometric_mean(ratios)
            colour = "#999999" if gate is None else "#5a9e5a" if mean >= gate else "#c75146"
            axes.barh(place, mean, color=colour, height=0.7)
            axes.plot([min(ratios), max(ratios)], [place, place], color="#333333", linewidth=1)
        else:
            axes.text(0.02, place, "not run", va="center", fontsize=9, color="#777777")
        for at, mark in ((gate, "|"), (goal, "*")):
            if at is not None:
                axes.plot([at], [place], mark, color="#222222", markersize=9)
    axes.axvline(1, color="#777777", linewidth=0.8)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in bars], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("above 1 we are faster; | gate, * goal; line: worst to best", fontsize=9)
