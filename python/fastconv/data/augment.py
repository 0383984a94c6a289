"""Small changes to training images that leave their meaning as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Compose", "RandomFlip", "RandomShift"]

Transform = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class RandomShift:
    """Move each image of a batch by a few whole pixels; what comes in from outside is `fill`.

    Parameters
    ----------
    pixels
        The most that an image moves up or down, and left or right: one number, or (vertical, horizontal).
    fill
        Value of the new pixels. Default: 0.
    """

    pixels: int | tuple[int, int]
    fill: float = 0.0

    def __post_init__(self) -> None:
        if min(self._reach) < 0:
            raise ValueError(f"RandomShift: pixels must be at least 0, got {self.pixels}")

    @property
    def _reach(self) -> tuple[int, int]:
        return (self.pixels, self.pixels) if isinstance(self.pixels, int) else self.pixels

    def __call__(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return shifted copies of `images`, shape (N, C, H, W)."""
        if images.ndim != 4:
            raise ValueError(f"RandomShift: images must have shape (N, C, H, W), got {images.shape}")
        height, width = images.shape[2:]
        down, across = self._reach
        padded = np.pad(images, ((0, 0), (0, 0), (down, down), (across, across)), constant_values=self.fill)
        top = rng.integers(0, 2 * down + 1, size=len(images))
        left = rng.integers(0, 2 * across + 1, size=len(images))
        # result[n, :, h, w] = padded[n, :, top[n] + h, left[n] + w]
        n = np.arange(len(images))[:, None, None]
        h = (top[:, None] + np.arange(height))[:, :, None]
        w = (left[:, None] + np.arange(width))[:, None, :]
        return np.ascontiguousarray(padded[n, :, h, w].transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class RandomFlip:
    """Mirror each image of a batch left to right with a probability.

    Parameters
    ----------
    probability
        From 0 to 1. Default: 0.5.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"RandomFlip: probability must lie in 0..1, got {self.probability}")

    def __call__(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return copies of `images`, shape (N, C, H, W), some of them mirrored."""
        if images.ndim != 4:
            raise ValueError(f"RandomFlip: images must have shape (N, C, H, W), got {images.shape}")
        flipped = rng.random(len(images)) < self.probability
        result = images.copy()
        result[flipped] = images[flipped, :, :, ::-1]
        return result


class Compose:
    """Several changes, one after another.

    Parameters
    ----------
    *transforms
        Each is called as ``transform(images, rng)``.
    """

    def __init__(self, *transforms: Transform) -> None:
        for transform in transforms:
            if not callable(transform):
                raise TypeError(f"Compose: transforms must be callable, got {transform!r}")
        self.transforms = transforms

    def __call__(self, images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Return what the last one returns."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"
