"""The embedded data set: 1,797 real handwritten digits of 8 x 8 pixels. See uci_digits/README.md for its source."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data.dataset import Dataset
from fastconv.data.idx import read_idx

__all__ = ["load_digits"]

_SPLIT_SEED = 1998  # never change it: every figure quoted for this data set depends on it
_TEST_SHARE = 5


def load_digits() -> Dataset:
    """Load the digits, a fixed fifth of them held out.

    The file keeps the order of the forms that the digits were written on, so that neighbours come from one hand;
    the held-out fifth is therefore drawn at random, once and for all (NumPy PCG64, a fixed seed).

    Returns
    -------
    Dataset
        1,438 training and 359 test images: uint8, N x 1 x 8 x 8, values 0..16 (ink of a 4 x 4 block); labels 0..9.

    Reference
    ---------
    E. Alpaydin, C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    doi:10.24432/C50P49, licence CC BY 4.0.
    """
    images = _read("images-idx3-ubyte.gz")[:, None]
    labels = _read("labels-idx1-ubyte.gz").astype(np.int64)
    order = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(len(images))
    test, train = np.split(order, [len(order) // _TEST_SHARE])
    return Dataset((images[train], labels[train]), (images[test], labels[test]))


def _read(name: str) -> NDArray[Any]:
    with (files(__package__) / "uci_digits" / name).open("rb") as file:
        return read_idx(file)  # type: ignore[arg-type]
