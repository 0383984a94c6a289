"""Poolings chosen on purpose, as data: every tail of channels and columns, border, stride, dilation and rounding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import reference

Pair = tuple[int, int]
NO_PADDING = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Pooling:
    """Padding is ((top, bottom), (left, right)); `stride` None is the window."""

    channels: int
    image: Pair
    kernel: Pair
    stride: Pair | None = None
    padding: tuple[Pair, Pair] = NO_PADDING
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    batch: int = 2

    def __str__(self) -> str:
        (top, bottom), (left, right) = self.padding
        numbers = {
            "n": (self.batch,),
            "c": (self.channels,),
            "i": self.image,
            "k": self.kernel,
            "s": self.steps,
            "p": (top, bottom, left, right),
            "d": self.dilation,
        }
        text = "-".join(name + "x".join(map(str, values)) for name, values in numbers.items())
        return text + ("-ceil" if self.ceil_mode else "")

    @property
    def steps(self) -> Pair:
        return self.stride or self.kernel

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.image)

    @property
    def average(self) -> dict[str, object]:
        """The options of average pooling, which has no dilation."""
        return {"kernel_size": self.kernel, "stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}

    @property
    def options(self) -> dict[str, object]:
        return {**self.average, "dilation": self.dilation}

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(sum(map(ord, str(self))))

    @cached_property
    def integers(self) -> NDArray[np.float64]:
        """Small whole numbers: many equal maxima, exact sums."""
        return self.rng.integers(-3, 4, self.shape).astype(np.float64)

    @cached_property
    def special(self) -> NDArray[np.float64]:
        """Windows with NaN, windows of -Inf alone, zeros of both signs."""
        x, rng = self.integers.copy(), self.rng
        x[rng.random(self.shape) < 0.4] = -np.inf
        x[rng.random(self.shape) < 0.1] = np.nan
        x[(x == 0) & (rng.random(self.shape) < 0.5)] = -0.0
        return x

    def maximum(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return reference.max_pool2d(x, self.kernel, self.steps, self.padding, self.dilation, self.ceil_mode)

    @cached_property
    def grad_output(self) -> NDArray[np.float64]:
        return self.rng.integers(-4, 5, self.maximum(self.integers)[0].shape).astype(np.float64)


CHANNELS = [Pooling(c, (5, 6), (2, 2)) for c in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 257)]
WIDTHS = [Pooling(2, (4, w), (2, 2)) for w in (2, 3, 8, 9, 15, 16, 17, 31, 33, 35, 67)]
WINDOWS = [
    Pooling(3, (1, 1), (1, 1)),
    Pooling(17, (7, 11), (1, 1)),
    Pooling(17, (7, 11), (1, 1), (2, 3)),
    Pooling(5, (11, 13), (3, 3), (2, 2)),
    Pooling(5, (11, 37), (3, 3), (1, 1)),
    Pooling(9, (13, 7), (2, 3), (5, 4)),
    Pooling(3, (7, 19), (5, 2), (1, 3)),
    Pooling(2, (17, 40), (5, 5), (1, 1)),
    Pooling(33, (9, 9), (2, 2), (1, 1)),
]
PADDED = [
    Pooling(3, (7, 11), (3, 3), (2, 2), ((1, 1), (1, 1))),
    Pooling(16, (5, 6), (2, 2), (2, 2), ((1, 0), (0, 1))),
    Pooling(3, (6, 23), (5, 5), (1, 1), ((2, 1), (2, 2))),
    Pooling(1, (1, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
    Pooling(2, (3, 4), (7, 9), (2, 1), ((3, 3), (4, 4))),
    Pooling(4, (8, 8), (4, 4), (3, 3), ((2, 2), (2, 2))),
]
DILATED = [
    Pooling(3, (9, 17), (2, 3), (1, 1), dilation=(3, 2)),
    Pooling(17, (11, 12), (3, 3), (2, 2), ((1, 1), (1, 0)), (2, 2)),
    Pooling(2, (12, 31), (3, 2), (3, 2), ((1, 1), (1, 1)), (1, 4), ceil_mode=True),
]
CEILING = [
    Pooling(3, (5, 7), (2, 2), ceil_mode=True),
    Pooling(16, (6, 10), (3, 3), (2, 2), ceil_mode=True),
    Pooling(3, (6, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), ceil_mode=True),
    Pooling(3, (5, 33), (2, 2), (3, 3), ((1, 1), (1, 1)), ceil_mode=True),  # another window would begin in the padding
    Pooling(2, (4, 4), (3, 3), (3, 3), ((0, 1), (1, 1)), ceil_mode=True),
    Pooling(2, (9, 9), (1, 1), (4, 5), ceil_mode=True),
]
# From 16 channels on small planes are computed side by side, as many as a cache line has elements.
BESIDE = [
    Pooling(16, (11, 12), (3, 3), (2, 2), ((1, 1), (1, 1))),
    Pooling(19, (9, 11), (3, 3), (3, 3), batch=3),
    Pooling(23, (10, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), batch=1),
    Pooling(17, (5, 33), (2, 2), batch=1),
    Pooling(33, (13, 9), (5, 4), (2, 3), ((2, 1), (1, 2)), ceil_mode=True),
]
GLOBAL = [Pooling(c, image, image) for c in (1, 16, 65) for image in ((1, 1), (3, 5), (7, 7), (4, 33), (12, 16))]
ALL = CHANNELS + WIDTHS + WINDOWS + PADDED + DILATED + CEILING + BESIDE + GLOBAL
UNDILATED = [case for case in ALL if case.dilation == (1, 1)]
