"""Start values of weights, always from a Generator that the caller passes.

Drawn in float64 and rounded, so that a float32 and a float64 model of one seed start from the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return how many inputs an output sees and how many outputs an input feeds; weights are (O, I, window...)."""
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def he_normal(shape: Sequence[int], generator: np.random.Generator) -> NDArray[np.float64]:
    """Normal with variance 2 / fan_in: keeps the variance of activations through ReLU (He et al. 2015, eq. 10)."""
    return generator.standard_normal(tuple(shape)) * math.sqrt(2 / fans(shape)[0])


def glorot_uniform(shape: Sequence[int], generator: np.random.Generator) -> NDArray[np.float64]:
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16)."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return generator.uniform(-limit, limit, tuple(shape))


def weight(shape: Sequence[int], generator: np.random.Generator, relu_follows: bool) -> NDArray[np.float64]:
    """He before a ReLU, Glorot otherwise."""
    return he_normal(shape, generator) if relu_follows else glorot_uniform(shape, generator)
