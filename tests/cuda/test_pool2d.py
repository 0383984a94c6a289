"""Pooling of the CUDA half, in the emulator: bit by bit against the CPU's kernels where both are exact."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

import pool2d_cases
import reference
from cuda_cases import relative_error, to_nchw, to_nhwc
from fastconv import cuda, ops
from pool2d_cases import Pooling

# Channels in fours and not, windows of 2, 3 and other sides, that overlap or leave gaps, wide ones, every border.
CHOSEN = [
    Pooling(4, (5, 7), (2, 2)),
    Pooling(5, (11, 13), (3, 3), (2, 2)),
    Pooling(8, (7, 11), (3, 3), (2, 2), ((1, 1), (1, 1))),
    Pooling(1, (5, 33), (2, 2), (3, 3), ((1, 1), (1, 1)), ceil_mode=True),
    Pooling(12, (7, 7), (3, 3), (1, 1), ((1, 0), (0, 1))),
    Pooling(16, (11, 12), (3, 3), (2, 2), ((1, 1), (1, 0)), (2, 2)),
    Pooling(2, (12, 31), (3, 2), (3, 2), ((1, 1), (1, 1)), (1, 4), ceil_mode=True),
    Pooling(3, (9, 9), (1, 1), (4, 5), ceil_mode=True),
    Pooling(4, (9, 7), (2, 1), (40, 3), dilation=(5, 50)),
    Pooling(2, (3, 4), (7, 9), (2, 1), ((3, 3), (4, 4))),
    Pooling(8, (6, 10), (5, 8), (1, 2), ((2, 2), (4, 3)), ceil_mode=True),
    Pooling(136, (7, 5), (7, 5), batch=3),
]
CASES = pool2d_cases.ALL + CHOSEN if os.environ.get("FASTCONV_TEST_CUDA") == "all" else CHOSEN
UNDILATED = [case for case in CASES if case.dilation == (1, 1)]
NO_TAP = 255
DIVISIONS = [(True, None), (False, None), (True, -3)]


def single(array: np.ndarray) -> np.ndarray:
    return to_nhwc(array.astype(np.float32))


def poison(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def expected_taps(case: Pooling, places: np.ndarray) -> np.ndarray:
    """The number kh * KW + kw of the tap that a flat index stands for."""
    (top, _), (left, _) = case.padding
    rows, columns = np.divmod(places, case.image[1])
    _, oh, ow, _ = np.indices(places.shape)
    kh = (rows - oh * case.steps[0] + top) // case.dilation[0]
    return kh * case.kernel[1] + (columns - ow * case.steps[1] + left) // case.dilation[1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_max_pooling(any_mode: ModuleType, case: Pooling) -> None:
    x, gy = single(case.special), single(case.grad_output)
    truth, places = ops.max_pool2d(x, **case.options, return_indices=True, layout="NHWC")
    y, indices = cuda.max_pool2d(x, **case.options, return_indices=True, out=poison(truth.shape))
    assert_same_bits(y, truth)
    np.testing.assert_array_equal(indices, places)
    assert_same_bits(cuda.max_pool2d(x, **case.options), truth)

    gradient = ops.max_pool2d_backward(gy, places, x.shape, **case.options, layout="NHWC")
    by_index = cuda.max_pool2d_backward(gy, indices, x.shape, **case.options, out=poison(x.shape))
    assert_same_bits(by_index, gradient)
    if np.prod(case.kernel) >= NO_TAP:
        return
    taps = np.full(truth.shape, 99, np.uint8)
    assert_same_bits(cuda.max_pool2d(x, **case.options, taps=taps, out=poison(truth.shape)), truth)
    np.testing.assert_array_equal(taps, expected_taps(case, places))
    assert_same_bits(cuda.max_pool2d_backward(gy, taps, x.shape, **case.options, out=poison(x.shape)), gradient)

    cuda.max_pool2d(x, **case.options, taps=taps, positive_only=True)
    np.testing.assert_array_equal(taps, np.where(truth <= 0, NO_TAP, expected_taps(case, places)))
    masked = ops.max_pool2d_backward(np.where(truth <= 0, 0, gy), places, x.shape, **case.options, layout="NHWC")
    assert_same_bits(cuda.max_pool2d_backward(gy, taps, x.shape, **case.options, out=poison(x.shape)), masked)


@pytest.mark.parametrize("case", UNDILATED, ids=str)
def test_average_pooling(any_mode: ModuleType, case: Pooling) -> None:
    x, gy = case.rng.standard_normal(case.shape), case.rng.standard_normal(case.grad_output.shape)
    window = case.kernel, case.steps, case.padding, case.ceil_mode
    for include_pad, divisor in DIVISIONS:
        options = {**case.average, "count_include_pad": include_pad, "divisor_override": divisor}
        truth = reference.avg_pool2d(x, *window, include_pad, divisor)
        y = cuda.avg_pool2d(single(x), **options, out=poison(to_nhwc(truth).shape))
        assert relative_error(to_nchw(y), truth) < 3e-7
        assert_same_bits(y, cuda.avg_pool2d(single(x), **options))
        if np.prod(case.kernel) < 32:
            assert_same_bits(y, ops.avg_pool2d(single(x), **options, layout="NHWC"))

        gradient = reference.avg_pool2d_backward(gy, x.shape, *window, include_pad, divisor)
        shape = to_nhwc(x).shape
        gx = cuda.avg_pool2d_backward(single(gy), shape, **options, out=poison(shape))
        assert relative_error(to_nchw(gx), gradient) < 3e-7
        assert_same_bits(gx, cuda.avg_pool2d_backward(single(gy), shape, **options))


@pytest.mark.parametrize("shape", [(2, 7, 7, 20), (3, 1, 1, 1), (1, 23, 17, 1), (2, 9, 8, 140)], ids=str)
def test_global_pooling(any_mode: ModuleType, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.integers(-9, 10, shape).astype(np.float32)
    y = cuda.global_avg_pool2d(x, out=poison((shape[0], 1, 1, shape[3])))
    assert_same_bits(y, ops.global_avg_pool2d(x, layout="NHWC"))  # the sums are exact
    gx = cuda.global_avg_pool2d_backward(y, x.shape, out=poison(x.shape))
    assert relative_error(gx, ops.global_avg_pool2d_backward(y.astype(np.float64), x.shape, layout="NHWC")) < 2e-7
    best, indices = cuda.global_max_pool2d(x, return_indices=True)
    truth, places = ops.global_max_pool2d(x, return_indices=True, layout="NHWC")
    assert_same_bits(best, truth)
    np.testing.assert_array_equal(indices, places)
    assert_same_bits(
        cuda.global_max_pool2d_backward(y, indices, x.shape, out=poison(x.shape)),
        ops.global_max_pool2d_backward(y, places, x.shape, layout="NHWC"),
    )


def test_no_images(emulated: ModuleType) -> None:
    x = np.zeros((0, 5, 6, 4), np.float32)
    y, indices = cuda.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (0, 2, 3, 4)
    assert cuda.max_pool2d_backward(y, indices, x.shape, 2).shape == x.shape
    assert cuda.avg_pool2d(x, 2).shape == y.shape
    assert cuda.avg_pool2d_backward(y, x.shape, 2).shape == x.shape
    assert cuda.global_avg_pool2d(x).shape == (0, 1, 1, 4)


def test_nan_and_infinity_stay_in_their_windows(emulated: ModuleType) -> None:
    for value in (np.nan, np.inf, -np.inf):
        x = np.ones((1, 9, 9, 4), np.float32)
        x[0, 4, 4, 1] = value
        for kernel, padding in ((3, 1), (7, 3)):
            y = cuda.avg_pool2d(x, kernel, 1, padding)
            assert_same_bits(y[..., [0, 2, 3]], cuda.avg_pool2d(np.ones_like(x), kernel, 1, padding)[..., [0, 2, 3]])
            reached = np.zeros((9, 9), bool)
            reached[4 - padding : 5 + padding, 4 - padding : 5 + padding] = True
            np.testing.assert_array_equal(~np.isfinite(y[0, :, :, 1]), reached)


def test_addresses_that_are_not_aligned_to_16_bytes(emulated: ModuleType, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 5, 6, 8)).astype(np.float32)
    shifted = np.empty(x.size + 1, np.float32)[1:].reshape(x.shape)
    shifted[...] = x
    taps = np.empty(2 * 2 * 3 * 8 + 1, np.uint8)[1:].reshape(2, 2, 3, 8)
    assert_same_bits(cuda.max_pool2d(shifted, 2), cuda.max_pool2d(x, 2, taps=taps))
    assert_same_bits(cuda.avg_pool2d(shifted, 2), cuda.avg_pool2d(x, 2))


def test_errors_and_reasons(emulated: ModuleType) -> None:
    x, taps = np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="max_pool2d: taps need a window of at most 254 pixels, got 16 x 16"):
        cuda.max_pool2d(x, 16, taps=taps)
    with pytest.raises(ValueError, match="max_pool2d: positive_only needs taps, got none"):
        cuda.max_pool2d(x, 16, positive_only=True)
    with pytest.raises(ValueError, match=r"max_pool2d: taps must have shape \(1, 16, 16, 3\)"):
        cuda.max_pool2d(x, 2, taps=taps)
    with pytest.raises(ValueError, match="max_pool2d: return_indices must be False where taps are given"):
        cuda.max_pool2d(x, 2, return_indices=True, taps=taps)
    with pytest.raises(ValueError, match="avg_pool2d: padding must be at most half of the kernel size"):
        cuda.avg_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match="avg_pool2d: divisor_override must not be zero"):
        cuda.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(TypeError, match="max_pool2d_backward: indices must be int32, got float32"):
        cuda.max_pool2d_backward(x, x, (1, 64, 64, 3), 2)
    with pytest.raises(ValueError, match="max_pool2d: out must not overlap input"):
        cuda.max_pool2d(x, 2, out=x.reshape(-1)[: 16 * 16 * 3].reshape(1, 16, 16, 3))
    with pytest.raises(ValueError, match="too large for a GPU kernel"):
        cuda.avg_pool2d_backward(np.zeros((1, 1, 1, 1), np.float32), (1, 1, 2**30, 1), (1, 2**30))
    shape = emulated.Pool2dShape((1, 4, 8, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False)
    assert "windows do not overlap" in emulated.explain_pool2d(shape, "max_pool2d_backward")
    assert "unrolled; 4 channels in an access" in emulated.explain_pool2d(shape, "avg_pool2d")
