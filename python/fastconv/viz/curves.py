"""Learning curves: how the figures of a run went from epoch to epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

_LOG_SCALE = ("loss",)


def plot_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw each figure over the epochs; a figure and its "val_" twin share a panel.

    Parameters
    ----------
    history
        Figures by name, one value per epoch: `History.history`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = [name for name in history if not name.startswith("val_") or name[4:] not in history]
    if not names:
        raise ValueError("plot_history: history must hold at least one figure, got none")
    figure = new_figure(4.2 * len(names), 3.4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            if key in history:
                epochs = range(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], marker="o" if len(epochs) < 40 else "", markersize=3, label=label)
        if name in _LOG_SCALE and all(value > 0 for value in history[name]):
            axes.set_yscale("log")
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if f"val_{name}" in history:
            axes.legend()
    return figure
