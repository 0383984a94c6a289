"""Upsampling, adaptive pooling, unpooling: against plain loops, differences and torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastconv
from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import ops
from gradcheck import assert_gradient

SIZES = [
    ((5, 7), (10, 14)),
    ((5, 7), (13, 9)),
    ((6, 4), (3, 11)),
    ((1, 1), (4, 3)),
    ((9, 8), (1, 1)),
    ((11, 13), (4, 5)),
]


def _rows(size: int, out: int, mode: str, align: bool, scale: float | None) -> np.ndarray:
    """The map of one axis as a matrix, from the definitions."""
    matrix = np.zeros((out, size))
    step = size / out if scale is None else 1 / scale
    for o in range(out):
        if mode == "nearest":
            matrix[o, min(math.floor(o * step), size - 1)] = 1
        elif mode == "bins":
            bin_ = range(o * size // out, -(-(o + 1) * size // out))
            matrix[o, list(bin_)] = 1 / len(bin_)
        else:
            place = max(0.0, (o + 0.5) * step - 0.5)
            if align:
                place = o * (size - 1) / (out - 1) if out > 1 else 0.0
            low = min(math.floor(place), size - 1)
            matrix[o, low] += 1 - (place - low)
            matrix[o, min(low + 1, size - 1)] += place - low
    return matrix


def _resampled(x: np.ndarray, out: tuple[int, int], mode: str, align: bool = False) -> np.ndarray:
    rows, columns = (_rows(n, o, mode, align, None) for n, o in zip(x.shape[2:], out, strict=True))
    return np.einsum("oh,nchw,pw->ncop", rows, x, columns)


@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "align"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
@pytest.mark.parametrize(("image", "out"), SIZES)
def test_upsample(
    image: tuple[int, int], out: tuple[int, int], mode: str, align: bool, layout: str, channels: int, dtype: np.dtype
) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, channels, *image)).astype(dtype)
    y = ops.upsample(to_layout(x, layout), out, None, mode, align, layout=layout)
    assert y.dtype == dtype
    truth = _resampled(x.astype(np.float64), out, mode, align)
    # A place is rounded to eps of itself, at most the image's size; both axes move the result by that.
    bound = 2 * max(image) * np.finfo(np.float64).eps + 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(from_layout(y, layout), truth, rtol=0, atol=bound * abs(x).max())
    grad = rng.normal(size=truth.shape).astype(dtype)
    grad_input = ops.upsample_backward(
        to_layout(grad, layout), to_layout(x, layout).shape, out, None, mode, align, layout=layout
    )
    left = float(np.vdot(grad.astype(np.float64), truth))
    right = float(np.vdot(from_layout(grad_input, layout).astype(np.float64), x.astype(np.float64)))
    assert left == pytest.approx(right, rel=1e-4 if dtype == np.float32 else 1e-11, abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "align"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_gradient_of_upsample(mode: str, align: bool, layout: str, rng: np.random.Generator) -> None:
    x = to_layout(rng.normal(size=(2, 2, 4, 5)), layout)
    grad = rng.normal(size=ops.upsample(x, (7, 3), None, mode, align, layout=layout).shape)
    found = ops.upsample_backward(grad, x.shape, (7, 3), None, mode, align, layout=layout)
    assert_gradient(lambda v: ops.upsample(v, (7, 3), None, mode, align, layout=layout), x, grad, found)


@pytest.mark.parametrize("scale", [2, 3, 1.5, (2, 0.5), (1.3, 2.7)], ids=str)
@pytest.mark.parametrize(("mode", "align"), [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_upsample_is_that_of_torch(scale: object, mode: str, align: bool, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 3, 6, 7))
    options = {"align_corners": align} if mode == "bilinear" else {}
    theirs = torch.tensor(x, requires_grad=True)
    output = torch.nn.functional.interpolate(theirs, scale_factor=scale, mode=mode, **options)
    grad = rng.normal(size=output.shape)
    output.backward(torch.tensor(grad))
    np.testing.assert_allclose(ops.upsample(x, None, scale, mode, align), output.detach().numpy(), atol=1e-12)
    grad_input = ops.upsample_backward(grad, x.shape, None, scale, mode, align)
    np.testing.assert_allclose(grad_input, theirs.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("image", "out"), SIZES)
def test_adaptive_pools(
    image: tuple[int, int], out: tuple[int, int], layout: str, dtype: np.dtype, isa: str, rng: np.random.Generator
) -> None:
    x = rng.integers(-9, 9, size=(2, 5, *image)).astype(dtype)
    moved = to_layout(x, layout)
    y = ops.adaptive_avg_pool2d(moved, out, layout=layout)
    truth = _resampled(x.astype(np.float64), out, "bins")
    np.testing.assert_allclose(from_layout(y, layout), truth, rtol=0, atol=60 * np.finfo(dtype).eps)
    maxima, indices = ops.adaptive_max_pool2d(moved, out, True, layout=layout)
    maxima, places = from_layout(maxima, layout), from_layout(indices, layout)
    for o in np.ndindex(*out):
        rows, columns = (slice(at * n // m, -(-(at + 1) * n // m)) for at, n, m in zip(o, image, out, strict=True))
        bins = x[:, :, rows, columns].reshape(2, 5, -1)
        np.testing.assert_array_equal(maxima[:, :, o[0], o[1]], bins.max(-1))
        first, width = bins.argmax(-1), columns.stop - columns.start
        expected = (rows.start + first // width) * image[1] + columns.start + first % width
        np.testing.assert_array_equal(places[:, :, o[0], o[1]], expected)
    with fastconv.threads(3):
        np.testing.assert_array_equal(ops.adaptive_avg_pool2d(moved, out, layout=layout), y)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(3, 2), (2, 5), (None, 1), (4, 4)], ids=str)
def test_gradients_of_adaptive_pools(size: tuple[int | None, int], layout: str, rng: np.random.Generator) -> None:
    x = to_layout(rng.permutation(2 * 2 * 4 * 5).reshape(2, 2, 4, 5).astype(np.float64), layout)
    y, indices = ops.adaptive_max_pool2d(x, size, True, layout=layout)
    grad = rng.normal(size=y.shape)
    found = ops.adaptive_avg_pool2d_backward(grad, x.shape, size, layout=layout)
    assert_gradient(lambda v: ops.adaptive_avg_pool2d(v, size, layout=layout), x, grad, found)
    found = ops.adaptive_max_pool2d_backward(grad, indices, x.shape, layout=layout)
    assert_gradient(lambda v: ops.adaptive_max_pool2d(v, size, layout=layout), x, grad, found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_that_are_not_finite_stay_where_they_are_read(layout: str) -> None:
    x = np.zeros((1, 3, 5, 5))
    x[0, 1, 2, 2] = np.inf
    x[0, 2, 0, 0] = np.nan
    moved = to_layout(x, layout)
    for mode, align in (("nearest", False), ("bilinear", False), ("bilinear", True)):
        for out in ((10, 10), (9, 9), (7, 3)):
            y = from_layout(ops.upsample(moved, out, None, mode, align, layout=layout), layout)
            rows, columns = (_rows(5, n, mode, align, None) for n in out)
            for channel, (at, test) in {1: (2, np.isinf), 2: (0, np.isnan)}.items():
                reads = np.outer(rows[:, at] != 0, columns[:, at] != 0)
                np.testing.assert_array_equal(test(y[0, channel]), reads)
            assert not np.isnan(y[0, :2]).any()
    y, indices = ops.adaptive_max_pool2d(moved, 3, True, layout=layout)
    assert np.isnan(from_layout(y, layout)[0, 2, 0, 0])
    assert from_layout(indices, layout)[0, 2, 0, 0] == 0
    assert np.isnan(y).sum() == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 5, 33])
def test_unpooling_puts_maxima_back(layout: str, channels: int, dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.permutation(2 * channels * 6 * 8).reshape(2, channels, 6, 8).astype(dtype) + 1
    y, indices = ops.max_pool2d(to_layout(x, layout), 2, return_indices=True, layout=layout)
    back = from_layout(ops.max_unpool2d(y, indices, 2, layout=layout), layout)
    kept = back != 0
    np.testing.assert_array_equal(back[kept], x[kept])
    np.testing.assert_array_equal(kept.reshape(2, channels, 3, 2, 4, 2).sum((3, 5)), 1)
    assert ops.max_unpool2d(y[:0], indices[:0], 2, layout=layout).shape[0] == 0
    values = rng.normal(size=y.shape)
    grad = to_layout(rng.normal(size=x.shape), layout)
    found = ops.max_unpool2d_backward(grad, indices, layout=layout)
    unpooled = ops.max_unpool2d(values, indices, 2, layout=layout)
    assert np.vdot(unpooled, grad) == pytest.approx(np.vdot(values, found))


def test_unpooling_is_that_of_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(rng.normal(size=(2, 3, 7, 8)))
    y, indices = torch.nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True)
    theirs = torch.nn.functional.max_unpool2d(y, indices, 3, 2, 1, output_size=(7, 8))
    ours, places = ops.max_pool2d(x.numpy(), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(ops.max_unpool2d(ours, places, 3, 2, 1, output_size=(7, 8)), theirs.numpy())


def test_errors() -> None:
    x = np.ones((1, 2, 4, 5), np.float32)
    indices = np.full((1, 2, 4, 5), 80, np.int32)
    cases = [
        (ValueError, "give either size or scale_factor, got size=None", lambda: ops.upsample(x)),
        (ValueError, "give either size or scale_factor", lambda: ops.upsample(x, 3, 2)),
        (ValueError, "output size must be at least 1 along height, got 0", lambda: ops.upsample(x, 0)),
        (ValueError, "output size must be at least 1 along height, got 0", lambda: ops.upsample(x, None, 0.1)),
        (ValueError, "scale_factor must be positive and finite, got -2", lambda: ops.upsample(x, None, -2)),
        (ValueError, "scale_factor must be positive and finite", lambda: ops.upsample(x, None, float("nan"))),
        (ValueError, "must give sizes below 2147483648", lambda: ops.upsample(x, None, 1e30)),
        (ValueError, "below 2147483648 along height", lambda: ops.upsample(x, 2**40)),
        (TypeError, "scale_factor must be a number", lambda: ops.upsample(x, None, True)),
        (TypeError, "size must be an integer, got 2.0", lambda: ops.upsample(x, 2.0)),
        (ValueError, "mode must be one of 'nearest', 'bilinear', got", lambda: ops.upsample(x, 2, None, "cubic")),
        (ValueError, "align_corners must be False for mode", lambda: ops.upsample(x, 2, None, "nearest", True)),
        (ValueError, "grad_output must have shape", lambda: ops.upsample_backward(x, x.shape, 9)),
        (ValueError, "output_size must be positive, got 0", lambda: ops.adaptive_avg_pool2d(x, 0)),
        (ValueError, r"indices must be in \[0, 80\), got 80 at index \(0, 0, 0, 0\)",
         lambda: ops.max_unpool2d(x, indices, 2)),
        (ValueError, "output_size must be from 7 to 9 along height.*got 12",
         lambda: ops.max_unpool2d(x, indices, 2, output_size=12)),
        (TypeError, "indices must be int32, got int64", lambda: ops.max_unpool2d(x, indices.astype(np.int64), 2)),
        (ValueError, "indices must have the N and C of grad_output",
         lambda: ops.max_unpool2d_backward(x, indices[:, :1])),
    ]  # fmt: skip
    for error, text, call in cases:
        with pytest.raises(error, match=text):
            call()
