"""`to_categorical`, and the one source of random numbers behind this package."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastconv._checks import arguments

__all__ = ["generator", "set_random_seed", "to_categorical"]

_generator = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Let start values, orders of training data and dropout of all models made from here on follow from `seed`."""
    global _generator
    _generator = np.random.default_rng(arguments.integer("set_random_seed", "seed", seed))


def generator() -> np.random.Generator:
    """Return the source of random numbers; without `set_random_seed` each run of a program has others, as in Keras."""
    return _generator


def to_categorical(y: ArrayLike, num_classes: int | None = None, dtype: DTypeLike = "float32") -> NDArray[Any]:
    """Return one-hot rows of integer labels.

    Parameters
    ----------
    y : array of int
        Labels from 0, shape (N,) or (N, 1).
    num_classes : int, optional
        Default: the largest label plus one.
    dtype : default "float32"

    Returns
    -------
    numpy.ndarray
        Shape (N, num_classes).
    """
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu" and not np.array_equal(labels, labels.astype(np.int64)):
        raise TypeError(f"to_categorical: y must hold whole numbers, got {labels.dtype}")
    labels = labels.astype(np.int64)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    lowest, highest = (int(labels.min()), int(labels.max())) if labels.size else (0, -1)
    count = highest + 1 if num_classes is None else arguments.integer("to_categorical", "num_classes", num_classes)
    if lowest < 0 or highest >= count:
        raise ValueError(f"to_categorical: y must lie in 0..{count - 1}, got {lowest if lowest < 0 else highest}")
    rows = np.zeros((*labels.shape, count), dtype)
    np.put_along_axis(rows, labels[..., None], 1, -1)
    return rows
