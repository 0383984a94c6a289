"""Arrays that begin on a cache line: parameters, gradients, optimiser state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastconv import _core


def aligned_zeros(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros in new memory that begins at a multiple of 64 bytes."""
    shape, dtype = tuple(shape), np.dtype(dtype)
    array = _core.empty_aligned(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
    array.fill(0)
    return array
