"""From stored pixels to numbers that a network likes: explicit steps that can be written down beside the weights.

Both are the map ``(x - offset) / scale`` and differ in where the two numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Rescale", "Standardize"]


@dataclass(frozen=True)
class Rescale:
    """Map ``x`` to ``(x - offset) / scale``.

    Parameters
    ----------
    scale
        Not 0; 255 brings uint8 images to 0..1.
    offset
        Default: 0.
    """

    scale: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale != 0):
            raise ValueError(f"Rescale: scale must be finite and not 0, offset finite, got {self.scale}, {self.offset}")

    def __call__(self, x: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return a new array of type `dtype`; `x` stays as it is."""
        result = np.array(x, dtype)
        result -= result.dtype.type(self.offset)
        result /= result.dtype.type(self.scale)
        return result


class Standardize(Rescale):
    """Map to mean 0 and standard deviation 1 by the figures of the training data (never those of the test data)."""

    @classmethod
    def fit(cls, x: NDArray[Any]) -> Standardize:
        """Take mean and deviation over all values of `x`."""
        if not x.size:
            raise ValueError(f"Standardize: x must hold at least one value, got shape {x.shape}")
        deviation = float(np.std(x, dtype=np.float64))
        return cls(scale=deviation or 1.0, offset=float(np.mean(x, dtype=np.float64)))
