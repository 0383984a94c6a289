"""ReLU, addition and softmax: definitions, special values, in place, bits, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
import gradcheck
from fastconv import _core, ops

SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 1009, 8191, 8192, 8193, 100_003]


def special(size: int, dtype: np.dtype) -> NDArray[Any]:
    """Each special value at every place of a vector and of what remains behind it."""
    values = [1.5, -2.0, np.nan, 0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).tiny / 2, -np.finfo(dtype).tiny / 2]
    return np.resize(np.array(values, dtype), size)


@pytest.mark.parametrize("size", SIZES)
def test_relu(size: int, dtype: np.dtype, isa: str) -> None:
    x = special(size, dtype)
    expected = np.where(np.isnan(x), x, np.where(x > 0, x, dtype.type(0)))
    y = ops.relu(x)
    np.testing.assert_array_equal(y, expected)
    assert not np.signbit(y[~np.isnan(x)]).any()  # -0.0 has become +0.0
    assert ops.relu(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("size", SIZES)
def test_relu_backward(size: int, dtype: np.dtype, isa: str) -> None:
    """The gradient passes where the output is positive or NaN; at 0 it is 0, whatever the gradient is."""
    x = special(size, dtype)
    grad = np.resize(np.array([1, -2, np.nan, 3, np.inf], dtype), size)
    expected = np.where(x <= 0, dtype.type(0), grad)
    np.testing.assert_array_equal(ops.relu_backward(grad, ops.relu(x)), expected)
    np.testing.assert_array_equal(ops.relu_backward(grad, x), expected)
    output = x.copy()
    assert ops.relu_backward(grad, output, out=output) is output
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(ops.relu_backward(grad, x, out=grad), expected)


@pytest.mark.parametrize("size", SIZES)
def test_add(size: int, dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    a, b = special(size, dtype), rng.standard_normal(size).astype(dtype)
    with np.errstate(invalid="ignore"):
        expected = a + b
    np.testing.assert_array_equal(ops.add(a, b), expected)
    np.testing.assert_array_equal(ops.add(a, b, out=a), expected)
    np.testing.assert_array_equal(ops.add(b, b, out=b), b)


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "shape", [(0, 3), (1, 1), (5, 1), (4, 10), (3, 2, 7), (2, 3, 4, 5), (11,), (1000, 33)], ids=str
)
def test_softmax(shape: tuple[int, ...], dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    x = (4 * rng.standard_normal(shape)).astype(dtype)
    y = ops.softmax(x)
    assert y.dtype == dtype
    # x - max is rounded, to half an eps of at most 2 max|x|; the exponential makes that its relative error.
    tolerance = (abs(x).max(initial=0) + 4) * np.finfo(dtype).eps
    np.testing.assert_allclose(y, softmax(x.astype(np.float64)), rtol=tolerance)
    grad = rng.standard_normal(shape).astype(dtype)
    y64, g64 = y.astype(np.float64), grad.astype(np.float64)
    expected = y64 * (g64 - (g64 * y64).sum(axis=-1, keepdims=True))
    back = ops.softmax_backward(grad, y)
    np.testing.assert_allclose(back, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(ops.softmax_backward(grad, y, out=grad), back)
    np.testing.assert_array_equal(ops.softmax(x, out=x), y)


def test_softmax_is_stable(dtype: np.dtype) -> None:
    y = ops.softmax(np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4], [0, -np.inf, 0]], dtype))
    np.testing.assert_array_equal(y[0], [0.5, 0, 0.5])
    np.testing.assert_allclose(y[1], 1 / 3, rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(y[2], [0.5, 0, 0.5])
    for row in ([-np.inf] * 3, [np.nan, 0, 0], [np.inf, 0, 0]):
        assert np.isnan(ops.softmax(np.array([row], dtype))).all()


def test_gradients_are_derivatives(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 7))
    x[abs(x) < 0.1] = 0.5  # not at the kink
    grad = rng.standard_normal(x.shape)
    gradcheck.assert_gradient(ops.relu, x, grad, ops.relu_backward(grad, ops.relu(x)))
    gradcheck.assert_gradient(ops.softmax, x, grad, ops.softmax_backward(grad, ops.softmax(x)))


def test_bits_do_not_depend_on_threads_or_the_batch(dtype: np.dtype, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 301, 1003)).astype(dtype)

    def results(part: slice) -> list[bytes]:
        y = ops.softmax(a[part])
        arrays = [ops.relu(a[part]), ops.relu_backward(a[part], b[part]), ops.add(a[part], b[part])]
        arrays += [y, ops.softmax_backward(b[part], y)]
        return [array.tobytes() for array in arrays]

    whole = results(slice(None))
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            assert results(slice(None)) == whole
    parts = zip(results(slice(0, 100)), results(slice(100, None)), strict=True)
    assert [first + second for first, second in parts] == whole


def test_any_shape_and_any_strides(rng: np.random.Generator) -> None:
    assert ops.relu(np.array(-1.5)) == 0
    x = rng.standard_normal((6, 5, 4))
    np.testing.assert_array_equal(ops.relu(x[::2, ::-1, 1:]), np.maximum(x[::2, ::-1, 1:], 0))
    np.testing.assert_array_equal(ops.add(x.T, x.T), 2 * x.T)
    np.testing.assert_allclose(ops.softmax(x.T), softmax(x.T), rtol=1e-15)
    view = x[:]
    assert ops.relu(x, out=view) is view  # another object, the same memory


X = np.ones((3, 4), np.float32)
CALLS: dict[str, Callable[..., Any]] = {
    "relu": lambda x, out=None: ops.relu(x, out=out),
    "relu_backward": lambda x, out=None: ops.relu_backward(X, x, out=out),
    "add": lambda x, out=None: ops.add(X, x, out=out),
    "softmax": lambda x, out=None: ops.softmax(x, out=out),
    "softmax_backward": lambda x, out=None: ops.softmax_backward(X, x, out=out),
}


@pytest.mark.parametrize("op", CALLS)
def test_bad_input(op: str) -> None:
    call = CALLS[op]
    for wrong in (X.astype(int), X.astype(np.float16), X.tolist(), None, np.ma.masked_array(X), X > 0):
        with pytest.raises(TypeError, match=f"^{op}: (input|output|other) must be"):
            call(wrong)
    with pytest.raises(ValueError, match=f"^{op}: .* must be in native byte order"):
        call(X.astype(">f4"))
    if op not in ("relu", "softmax"):
        with pytest.raises(TypeError, match=f"^{op}: (output|other) must be float32 like the other arrays"):
            call(X.astype(np.float64))
        with pytest.raises(ValueError, match=rf"^{op}: (output|other) must have shape \(3, 4\), got \(4,\)"):
            call(X[0])


@pytest.mark.parametrize("op", CALLS)
def test_outputs_that_cannot_be_written(op: str) -> None:
    memory = np.ones(20, np.float32)
    x = memory[:12].reshape(3, 4)
    for out, error, text in (
        (memory[4:16].reshape(3, 4), ValueError, "must not overlap"),  # in part
        (x.T.copy(), ValueError, "must have shape"),
        (np.empty((3, 8), np.float32)[:, ::2], ValueError, "must be C-contiguous"),
        (np.broadcast_to(np.float32(0), (3, 4)), ValueError, "must be writeable"),
        (np.empty((3, 4)), TypeError, "must be float32, got float64"),
    ):
        with pytest.raises(error, match=f"^{op}: out {text}"):
            CALLS[op](x, out)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 5, 7, 9), 1), ((3, 4, 33), 1), ((6, 65), 0), ((2, 1, 3), -2), ((0, 3, 2), 1), ((4, 3, 0), 1)],
)
def test_softmax_over_any_axis(
    shape: tuple[int, ...], axis: int, dtype: np.dtype, isa: str, rng: np.random.Generator
) -> None:
    """The bits of the rows that a transposition makes of it, for any number of threads."""
    x, grad = (4 * rng.standard_normal((2, *shape))).astype(dtype)
    rows = [np.moveaxis(array, axis, -1) for array in (x, grad)]
    y = ops.softmax(rows[0])
    back = ops.softmax_backward(rows[1], y)
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            got = ops.softmax(x, axis)
            np.testing.assert_array_equal(np.moveaxis(got, axis, -1), y)
            np.testing.assert_array_equal(np.moveaxis(ops.softmax_backward(grad, got, axis), axis, -1), back)
    np.testing.assert_array_equal(ops.softmax_backward(grad, got, axis, out=grad), np.moveaxis(back, -1, axis))
    np.testing.assert_array_equal(ops.softmax(x, axis, out=x), got)


def test_softmax_needs_a_class() -> None:
    for x in (np.ones((3, 0)), np.array(1.0)):
        with pytest.raises(ValueError, match="softmax: input must have at least one class on axis -1"):
            ops.softmax(x)
    with pytest.raises(ValueError, match=r"softmax: axis must lie in -2..1, got 2 for shape \(3, 4\)"):
        ops.softmax(X, 2)
    with pytest.raises(TypeError, match="softmax_backward: axis must be an integer"):
        ops.softmax_backward(X, X, 1.0)


def test_the_native_module_refuses_partial_overlap() -> None:
    memory = np.ones(20, np.float32)
    a, b = memory[:12], memory[4:16]
    for call in (
        lambda: _core.relu_forward(a, b),
        lambda: _core.relu_backward(a, a, b),
        lambda: _core.add(a, a, b),
        lambda: _core.softmax_forward(a.reshape(3, 4), b.reshape(3, 4)),
        lambda: _core.softmax_backward(a.reshape(3, 4), a.reshape(3, 4), b.reshape(3, 4)),
    ):
        with pytest.raises(ValueError, match="must not share memory"):
            call()
