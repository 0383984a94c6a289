"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastconv.viz.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix_figure"]


def confusion_matrix_figure(matrix: NDArray[Any], names: Sequence[str] | None = None) -> Figure:
    """Draw a confusion matrix with its counts; the colour is the share of the true class.

    Parameters
    ----------
    matrix
        Counts, shape (classes, classes): row = true class, column = predicted class; see
        `fastconv.metrics.confusion_matrix`.
    names
        Names of the classes. Default: their numbers.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"confusion_matrix_figure: matrix must be square, got shape {matrix.shape}")
    classes = len(matrix)
    labels = [str(k) for k in range(classes)] if names is None else list(names)
    if len(labels) != classes:
        raise ValueError(f"confusion_matrix_figure: names must hold {classes} names, got {len(labels)}")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 1.5 + 0.5 * classes
    figure = new_figure(size + 0.8, size)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    long_names = max(len(label) for label in labels) > 3
    axes.set_xticks(range(classes), labels, rotation=45 if long_names else 0, ha="right" if long_names else "center")
    axes.set_yticks(range(classes), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    total = int(matrix.sum())
    right = int(np.trace(matrix))
    axes.set_title(f"{right} of {total} right" + (f" ({right / total:.2%})" if total else ""))
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure
