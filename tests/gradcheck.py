"""Gradients held against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def numeric_gradient(function: Callable[[F64], F64], at: F64, grad_output: F64, step: float = 1e-5) -> F64:
    """The gradient of sum(function(x) * grad_output) with respect to x, one element at a time."""
    at = np.array(at, dtype=np.float64)
    gradient = np.empty_like(at)
    for index in np.ndindex(*at.shape):
        middle = at[index]
        at[index] = middle + step
        above = function(at)
        at[index] = middle - step
        below = function(at)
        at[index] = middle
        gradient[index] = np.sum((above - below) * grad_output) / (2 * step)
    return gradient


def assert_gradient(
    function: Callable[[F64], F64], at: F64, grad_output: F64, gradient: F64, step: float = 1e-5
) -> None:
    """Fail unless `gradient` is the derivative of `function` at `at`, weighted by `grad_output`.

    Central differences err by step^2 from curvature and by eps/step from rounding: about 1e-9 of the values here.
    """
    expected = numeric_gradient(function, at, grad_output, step)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-8 * scale)
