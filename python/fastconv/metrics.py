"""Figures of merit for a batch of predictions, and their exact mean over many batches.

A metric is a function ``metric(output, target) -> float``, the mean over the batch. `WeightedMean` puts
batches of different sizes together again: the last, short batch counts for what it holds and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Metric", "WeightedMean", "accuracy", "confusion_matrix", "get", "mean_absolute_error", "top_k_accuracy"]

Metric = Callable[[NDArray[Any], NDArray[Any]], float]


def _class_labels(op: str, output: NDArray[Any], target: NDArray[Any]) -> NDArray[np.int64]:
    """Integer labels of `target`, which may be labels (N,) already or one-hot rows (N, C)."""
    if output.ndim != 2:
        raise ValueError(f"{op}: output must have shape (N, C), got {output.shape}")
    target = np.asarray(target)
    if target.ndim == 2 and target.shape == output.shape:
        return np.asarray(target.argmax(axis=1), np.int64)
    if target.shape != (len(output),):
        raise ValueError(f"{op}: target must have shape ({len(output)},) or {output.shape}, got {target.shape}")
    if target.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integer labels, got {target.dtype}; use target.astype(np.int64)")
    return target.astype(np.int64, copy=False)


def _pixels_as_rows(output: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Take scores (N, C, H, W) and labels (N, H, W), or one-hot (N, C, H, W), as rows of N*H*W samples."""
    if output.ndim != 4:
        return output, target
    target, classes = np.asarray(target), output.shape[1]
    pixels = (output.shape[0], *output.shape[2:])
    if target.shape == output.shape:
        target = np.moveaxis(target, 1, -1).reshape(-1, classes)
    elif target.shape == pixels:
        target = target.reshape(-1)
    else:
        raise ValueError(f"accuracy: target must have shape {pixels} or {output.shape}, got {target.shape}")
    return np.moveaxis(output, 1, -1).reshape(-1, classes), target


def accuracy(output: NDArray[Any], target: NDArray[Any]) -> float:
    """Share of rows, or pixels, whose largest value stands at the true class.

    Parameters
    ----------
    output
        Logits or probabilities, shape (N, C), or (N, C, H, W) for a label per pixel.
    target
        Labels, shape (N,) or (N, H, W), or one-hot of the output's shape.

    Returns
    -------
    float
        0..1; NaN when N = 0.
    """
    output, target = _pixels_as_rows(output, target)
    labels = _class_labels("accuracy", output, target)
    return float(np.mean(output.argmax(axis=1) == labels)) if len(labels) else float("nan")


def top_k_accuracy(output: NDArray[Any], target: NDArray[Any], k: int = 5) -> float:
    """Share of rows whose true class is among the `k` largest values; a tie counts for the row.

    Parameters
    ----------
    output
        Logits or probabilities, shape (N, C).
    target
        Labels, shape (N,), or one-hot rows, shape (N, C).
    k
        1..C. Default: 5.
    """
    labels = _class_labels("top_k_accuracy", output, target)
    classes = output.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy: k must lie in 1..{classes} (the number of classes), got {k}")
    if not len(labels):
        return float("nan")
    true_value = np.take_along_axis(output, labels[:, None], axis=1)
    return float(np.mean(np.count_nonzero(output > true_value, axis=1) < k))


def mean_absolute_error(output: NDArray[Any], target: NDArray[Any]) -> float:
    """Mean of ``|output - target|`` over all elements of two arrays of one shape."""
    if output.shape != target.shape:
        raise ValueError(f"mean_absolute_error: target must have output's shape {output.shape}, got {target.shape}")
    return float(np.mean(np.abs(output - target), dtype=np.float64)) if output.size else float("nan")


def confusion_matrix(target: NDArray[Any], prediction: NDArray[Any], classes: int | None = None) -> NDArray[np.int64]:
    """Count how often class `row` was taken for class `column`.

    Parameters
    ----------
    target, prediction
        Integer labels, shape (N,).
    classes
        Number of classes. Default: the largest label plus one.

    Returns
    -------
    ndarray
        int64, shape (classes, classes); the sum is N.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    for name, labels in (("target", target), ("prediction", prediction)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"confusion_matrix: {name} must be integer labels of shape (N,), got {labels.dtype} {labels.shape}"
            )
    if len(target) != len(prediction):
        raise ValueError(f"confusion_matrix: {len(target)} targets do not match {len(prediction)} predictions")
    both = np.concatenate([target, prediction]).astype(np.int64)
    if classes is None:
        classes = int(both.max()) + 1 if both.size else 0
    if both.size and not (both.min() >= 0 and both.max() < classes):
        raise ValueError(f"confusion_matrix: labels must lie in 0..{classes - 1}, got {both.min()}..{both.max()}")
    flat = both[: len(target)] * classes + both[len(target) :]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


class WeightedMean:
    """Mean of several figures over batches, each batch weighted by its number of samples."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, figures: Mapping[str, float], weight: float) -> None:
        """Add one batch; a batch of weight 0 leaves everything as it was."""
        if weight == 0:
            return
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value) * weight
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def result(self) -> dict[str, float]:
        """Return the means so far, in the order in which the figures first came."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._sums.clear()
        self._weights.clear()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on bit for bit."""
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self._sums = {name: float(value) for name, value in state["sums"].items()}
        self._weights = {name: float(value) for name, value in state["weights"].items()}


_METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "top_k_accuracy": top_k_accuracy,
    "mean_absolute_error": mean_absolute_error,
}
_ALIASES = {"acc": "accuracy", "mae": "mean_absolute_error"}


def get(metric: str | Metric) -> Metric:
    """Return the metric of this name; a function comes back as it is."""
    if callable(metric):
        return metric
    name = _ALIASES.get(metric, metric)
    if name not in _METRICS:
        raise ValueError(f"metrics.get: metric must be one of {', '.join(_METRICS)}, got {metric!r}")
    return _METRICS[name]
