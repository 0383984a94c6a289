"""Small changes to training images that leave their meaning as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RandomShift"]


@dataclass(frozen=True)
class RandomShift:
    """Move each image of a batch by up to `pixels` in each direction; what comes in from outside is `fill`.

    Parameters
    ----------
    pixels
        At least 0.
    fill
        Value of the new pixels. Default: 0.
    """

    pixels: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"RandomShift: pixels must be at least 0, got {self.pixels}")

    def __call__(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return shifted copies of `images`, shape (N, C, H, W)."""
        if images.ndim != 4:
            raise ValueError(f"RandomShift: images must have shape (N, C, H, W), got {images.shape}")
        height, width = images.shape[2:]
        reach = self.pixels
        frame = ((0, 0), (0, 0), (reach, reach), (reach, reach))
        padded = np.pad(images, frame, constant_values=self.fill)
        top, left = rng.integers(0, 2 * reach + 1, size=(2, len(images)))
        # result[n, :, h, w] = padded[n, :, top[n] + h, left[n] + w]
        n = np.arange(len(images))[:, None, None]
        h = (top[:, None] + np.arange(height))[:, :, None]
        w = (left[:, None] + np.arange(width))[:, None, :]
        return np.ascontiguousarray(padded[n, :, h, w].transpose(0, 3, 1, 2))
