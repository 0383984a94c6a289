"""`mnist.load_data()` and `fashion_mnist.load_data()`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data import Dataset, load_fashion_mnist, load_mnist

__all__ = ["fashion_mnist", "mnist"]

Part = tuple[NDArray[Any], NDArray[np.uint8]]


class _Images:
    """A data set that listings import like a module."""

    def __init__(self, load: Callable[..., Dataset]) -> None:
        self._load = load

    def load_data(
        self, path: str | None = None, *, data_dir: str | os.PathLike[str] | None = None, download: bool = True
    ) -> tuple[Part, Part]:
        """Return ``(x_train, y_train), (x_test, y_test)``: uint8 images N x 28 x 28, uint8 labels.

        Parameters
        ----------
        path
            Taken for Keras's sake, and not used.
        data_dir
            Folder of the idx files, see `fastconv.data.load_mnist`. Default: the environment variable FASTCONV_DATA.
        download
            As in Keras, calling this asks to fetch what isn't there (checksums are compared); False forbids it.
        """
        train, test = self._load(data_dir, download=download)
        return (train[0][:, 0], train[1].astype(np.uint8)), (test[0][:, 0], test[1].astype(np.uint8))


mnist = _Images(load_mnist)
fashion_mnist = _Images(load_fashion_mnist)
