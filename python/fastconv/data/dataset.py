"""What every data set here is: images and labels to learn from, and others to be judged by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset"]


class Dataset(NamedTuple):
    """Images and labels; unpacks as ``(x_train, y_train), (x_test, y_test) = load_digits()``.

    Images are as their file holds them, N x C x H x W and uint8, never rescaled (see `Rescale` and `Standardize`).
    Labels are int64, shape (N,).
    """

    train: tuple[NDArray[Any], NDArray[np.int64]]
    test: tuple[NDArray[Any], NDArray[np.int64]]
