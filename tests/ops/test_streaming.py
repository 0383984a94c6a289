"""Results too large for the caches are stored past them: same bits, at any alignment and with any tail."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
from conv2d_cases import LAYOUTS, to_layout
from fastconv import _core, ops

STREAMED = 32 << 20  # bytes of a call's arrays together


@pytest.mark.parametrize("offset", [0, 1, 3, 15, 17])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 33, 100, 8192, 65536 + 37])
def test_streamed_copy(count: int, offset: int, dtype: np.dtype, isa: str) -> None:
    source = np.arange(count + 1, dtype=dtype)[1:]
    whole = np.full(count + 64, -1, dtype)
    _core.copy(source, whole[offset : offset + count], stream=True)
    np.testing.assert_array_equal(whole[offset : offset + count], source)
    assert (whole[:offset] == -1).all()
    assert (whole[offset + count :] == -1).all()


def test_large_elementwise(isa: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal(STREAMED // 8 + 1001).astype(np.float32)
    y, z = np.empty_like(x), np.empty_like(x)
    for count in (1, 2):
        with fastconv.threads(count):
            _core.relu_forward(x[1:], y[1:])
            np.testing.assert_array_equal(y[1:], np.maximum(x[1:], 0))
            _core.add(x[1:], y[1:], z[1:])
            np.testing.assert_array_equal(z[1:], x[1:] + y[1:])
            _core.relu_backward(x[1:], y[1:], z[1:])
            np.testing.assert_array_equal(z[1:], np.where(x[1:] > 0, x[1:], 0))


def results(x: NDArray, grad: NDArray, layout: str, window: tuple[int, int, int]) -> list[NDArray]:
    output, indices = ops.max_pool2d(x, *window, return_indices=True, layout=layout)
    return [
        output,
        indices,
        ops.max_pool2d(x, *window, layout=layout),
        ops.max_pool2d_backward(grad, indices, x.shape, *window, layout=layout),
        ops.avg_pool2d(x, *window, layout=layout),
        ops.avg_pool2d_backward(grad, x.shape, *window, layout=layout),
    ]


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_pooling_has_the_bits_of_its_halves(
    layout: str, window: tuple[int, int, int], isa: str, rng: np.random.Generator
) -> None:
    """The halves are not streamed. Odd sizes: rows begin and end anywhere in a cache line."""
    x = np.ascontiguousarray(to_layout(rng.standard_normal((2, 19, 471, 473), dtype=np.float32), layout))
    assert x.nbytes > STREAMED
    shape = ops.max_pool2d(x, *window, layout=layout).shape
    grad = rng.standard_normal(shape, dtype=np.float32)
    halves = [results(x[i : i + 1], grad[i : i + 1], layout, window) for i in range(2)]
    for count in (1, 2):
        with fastconv.threads(count):
            for whole, first, second in zip(results(x, grad, layout, window), *halves, strict=True):
                np.testing.assert_array_equal(whole[:1], first)
                np.testing.assert_array_equal(whole[1:], second)
                assert whole.tobytes() == first.tobytes() + second.tobytes()
