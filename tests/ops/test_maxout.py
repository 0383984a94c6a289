"""Maxout against NumPy: every axis, ties, NaN, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
import gradcheck
from fastconv import ops


@pytest.mark.parametrize(
    ("shape", "pieces", "axis"),
    [
        ((5, 6), 2, 1),
        ((5, 6), 3, -1),
        ((5, 6), 1, 1),
        ((3, 508), 254, 1),
        ((2, 12, 5, 7), 4, 1),
        ((2, 5, 7, 12), 2, 3),
        ((1, 34, 17, 1), 2, 1),
        ((64,), 2, 0),
        ((0, 4, 3, 3), 2, 1),
        ((2, 4, 0), 2, 1),
    ],
)
def test_maxout(
    shape: tuple[int, ...], pieces: int, axis: int, dtype: np.dtype, isa: str, rng: np.random.Generator
) -> None:
    x = rng.integers(-3, 4, shape).astype(dtype)  # ties among them
    last = np.moveaxis(x, axis, -1)
    groups = last.reshape(*last.shape[:-1], last.shape[-1] // pieces, pieces)
    y = ops.maxout(x, pieces, axis)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, np.moveaxis(groups.max(-1), -1, axis))
    grad = rng.integers(-9, 9, y.shape).astype(dtype)
    expected = np.zeros_like(groups)
    if x.size:
        np.put_along_axis(expected, groups.argmax(-1)[..., None], np.moveaxis(grad, axis, -1)[..., None], -1)
    expected = np.moveaxis(expected.reshape(last.shape), -1, axis)
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            np.testing.assert_array_equal(ops.maxout_backward(grad, x, pieces, axis), expected)
    out = np.empty_like(x)
    assert ops.maxout_backward(grad, x, pieces, axis, out=out) is out
    strided = np.repeat(x, 2, axis=0)[::2]
    np.testing.assert_array_equal(ops.maxout(strided, pieces, axis), y)


def test_nan_stays(isa: str) -> None:
    x = np.array([[1, np.nan, 3, 2], [np.inf, 0, -np.inf, -np.inf]])
    np.testing.assert_array_equal(ops.maxout(x, 2), [[np.nan, 3], [np.inf, -np.inf]])
    np.testing.assert_array_equal(ops.maxout_backward(np.ones((2, 2)), x, 2), [[0, 1, 1, 0], [1, 0, 1, 0]])


def test_gradient_is_the_derivative(rng: np.random.Generator) -> None:
    x, grad = rng.standard_normal((2, 6, 3)), rng.standard_normal((2, 2, 3))
    gradcheck.assert_gradient(lambda v: ops.maxout(v, 3), x, grad, ops.maxout_backward(grad, x, 3))


def test_errors() -> None:
    x = np.ones((2, 6), np.float32)
    for call, error, text in (
        (lambda: ops.maxout(x, 4), ValueError, "maxout: input must have a multiple of pieces=4 channels on axis 1"),
        (lambda: ops.maxout(x, 0), ValueError, "maxout: pieces must lie in 1..254, got 0"),
        (lambda: ops.maxout(x, 2.0), TypeError, "maxout: pieces must be an integer"),
        (lambda: ops.maxout(x, 2, 2), ValueError, r"maxout: axis must lie in -2..1, got 2 for shape \(2, 6\)"),
        (lambda: ops.maxout(x[:, :0], 2), ValueError, "maxout: input must have a multiple"),
        (lambda: ops.maxout(x.astype(int), 2), TypeError, "maxout: input must be float32 or float64"),
        (lambda: ops.maxout(x, 1, out=x), ValueError, "maxout: out must not overlap an input"),
        (lambda: ops.maxout_backward(x, x, 2), ValueError, r"maxout_backward: grad_output must have shape \(2, 3\)"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            call()
