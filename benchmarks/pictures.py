"""Pictures of many rows: the roofline of all layers, and bars of ratios by family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import summary
from arrays import PASSES
from shapes import FAMILIES
from summary import Result
from table import SHORT_PASS

MARKERS = {"forward": "o", "backward_input": "^", "backward_weight": "s"}
PASS_COLOURS = {"forward": "#3b6fb6", "backward_input": "#e08a2e", "backward_weight": "#5a9e5a"}
SIZE = (13.0, 6.2)  # inches: readable at 100 dots each


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Two files for every instruction set and dtype; the numbers of threads side by side."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for isa, dtype in sorted({(r.isa, r.dtype) for r in results}):
        chosen = [r for r in results if (r.isa, r.dtype) == (isa, dtype)]
        for name, picture in (("roofline", _roofline), ("ratios", _bars)):
            figure = picture(chosen, f"{isa}, {dtype}")
            if figure is not None:
                files.append(folder / f"{name}_{isa}_{dtype}.png")
                figure.savefig(files[-1], dpi=100)
    return files


def _panels(results: Sequence[Result], **options: Any) -> tuple[Any, list[tuple[int, Any]]]:
    from matplotlib.figure import Figure

    counts = sorted({r.threads for r in results})
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots(1, len(counts), squeeze=False, **options)[0]
    for threads, panel in zip(counts, axes, strict=True):
        panel.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=11)
    return figure, list(zip(counts, axes, strict=True))


def _plain(value: float, _: int) -> str:
    return f"{value:g}"


def _roofline(results: Sequence[Result], setting: str) -> Any:
    """FLOP by byte against FLOP per second, with what the machine can do."""
    import matplotlib
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter

    figure, panels = _panels(results, sharex=True, sharey=True)
    colours = dict(zip(FAMILIES, matplotlib.colormaps["tab20"](np.linspace(0, 1, 20))[: len(FAMILIES)], strict=True))
    intensities = [r.flops / r.bytes for r in results]
    ends = np.array([min(intensities) / 1.6, max(intensities) * 1.6])
    for threads, panel in panels:
        chosen = [r for r in results if r.threads == threads]
        # The best that was seen beside any row: a disturbed moment is no limit of the machine.
        peak = max(r.peak_flops_per_s for r in chosen) / 1e9
        copy = max(r.copy_bytes_per_s for r in chosen) / 1e9
        for r in chosen:
            panel.plot(
                r.flops / r.bytes,
                r.flops / r.seconds / 1e9,
                MARKERS[r.pass_name],
                color=colours[r.family],
                markersize=6,
                markeredgecolor="#333333",
                markeredgewidth=0.4,
                alpha=0.85,
            )
        knee = peak / copy
        line = np.unique(np.clip([ends[0], knee, ends[1]], *ends))
        panel.plot(line, np.minimum(line * copy, peak), "k-", linewidth=1.4, zorder=1)
        panel.set(xscale="log", yscale="log", xlim=ends, xlabel="FLOP by byte of input, weight and output")
        panel.set_title(
            f"{threads} thread{'s' * (threads > 1)}: multiply-adds {peak:.0f} GFLOP/s, copy {copy:.0f} GB/s",
            fontsize=11,
        )
        panel.yaxis.set_major_formatter(_plain)
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_major_formatter(_plain)
        panel.grid(which="major", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
    panels[0][1].set_ylabel("GFLOP/s, counted as the direct algorithm")
    shown = [family for family in FAMILIES if any(r.family == family for r in results)]
    handles = [Line2D([], [], marker="o", linestyle="", color=colours[family], label=family) for family in shown]
    handles += [
        Line2D([], [], marker=MARKERS[name], linestyle="", color="#555555", label=SHORT_PASS[name]) for name in PASSES
    ]
    handles.append(Line2D([], [], color="black", label="roof measured\nin the same run"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=9, frameon=False)
    note = "above the roof: Winograd (fewer multiplications than counted), or data in a cache"
    figure.suptitle(
        f"fastconv, {len({(r.layer, r.batch) for r in results})} layers and batches, {setting}\n{note}", fontsize=12
    )
    return figure


def _bars(results: Sequence[Result], setting: str) -> Any:
    """The best rival's time by ours: geometric mean of a family as a bar, smallest and largest as a line."""
    rated = [r for r in results if r.best() is not None]
    if not rated:
        return None
    figure, panels = _panels(rated, sharex=True, sharey=True)
    shown = [family for family in FAMILIES if any(r.family == family for r in rated)]
    passes = [name for name in PASSES if any(r.pass_name == name for r in rated)]
    height = 0.8 / len(passes)
    for threads, panel in panels:
        for row, family in enumerate(shown):
            for index, name in enumerate(passes):
                ratios = [
                    ratio
                    for r in rated
                    if (r.threads, r.family, r.pass_name) == (threads, family, name) and (ratio := r.best())
                ]
                if not ratios:
                    continue
                y = row + (index - (len(passes) - 1) / 2) * height
                mean = summary.geometric_mean(ratios)
                # Bars grow from 1, where both are equally fast.
                panel.barh(y, mean - 1, height * 0.9, left=1, color=PASS_COLOURS[name])
                panel.plot([min(ratios), max(ratios)], [y, y], "-", color="#222222", linewidth=1)
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter(_plain)
        panel.set_xlabel("best rival's time / ours: right of 1 we are faster")
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
    first = panels[0][1]
    first.set_yticks(range(len(shown)), shown)
    first.invert_yaxis()
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=PASS_COLOURS[name], label=SHORT_PASS[name]) for name in passes]
    handles.append(Line2D([], [], color="#222222", linewidth=1, label="smallest to largest"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
    who = sorted(
        {name.split()[0].rstrip(",") for r in rated for name in r.ratios if summary.is_rival(name)} - {"numpy"}
    )
    figure.suptitle(f"fastconv against the best of {', '.join(who)} by family, geometric mean, {setting}", fontsize=12)
    return figure
