"""What only the engine asks of max pooling: the places of maxima as bytes, with the mask of a ReLU in them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import _core
from pool2d_cases import ALL, Pooling

NO_TAP = 255


def shape_of(case: Pooling) -> _core.Pool2dShape:
    return _core.Pool2dShape(case.shape, case.kernel, case.steps, case.padding, case.dilation, case.ceil_mode)


def in_layout(array: NDArray, layout: str) -> NDArray:
    return np.ascontiguousarray(to_layout(array, layout))


def expected_taps(case: Pooling, places: NDArray) -> NDArray:
    """The number kh * KW + kw of the tap that a flat index stands for."""
    (top, _), (left, _) = case.padding
    rows, columns = np.divmod(places, case.image[1])
    oh, ow = np.indices(places.shape)[2:]
    kh = (rows - oh * case.steps[0] + top) // case.dilation[0]
    kw = (columns - ow * case.steps[1] + left) // case.dilation[1]
    return kh * case.kernel[1] + kw


CASES = [case for case in ALL if np.prod(case.kernel) < NO_TAP]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_taps_and_their_gradient(case: Pooling, layout: str, dtype: np.dtype, isa: str) -> None:
    x = np.where(np.isneginf(case.special), 1.0, case.special)
    best, places = case.maximum(x)
    shape, taps = shape_of(case), in_layout(np.zeros(places.shape, np.uint8), layout)
    output = in_layout(np.zeros(places.shape, dtype), layout)
    grad_input = in_layout(np.full(case.shape, 99, dtype), layout)
    by_index = grad_input.copy()
    given, grad = in_layout(x.astype(dtype), layout), in_layout(case.grad_output.astype(dtype), layout)
    indices = in_layout(places.astype(np.int32), layout)
    for positive_only in (False, True):
        _core.max_pool2d_forward(shape, given, output, taps, layout=layout, positive_only=positive_only)
        np.testing.assert_array_equal(from_layout(output, layout), best)
        expected = expected_taps(case, places)
        if positive_only:
            expected = np.where(best <= 0, NO_TAP, expected)
        np.testing.assert_array_equal(from_layout(taps, layout), expected)
        assert _core.max_pool2d_backward(shape, grad, taps, grad_input, layout=layout)
        mask = output if positive_only else None
        assert _core.max_pool2d_backward(shape, grad, indices, by_index, layout=layout, output=mask)
        assert grad_input.tobytes() == by_index.tobytes()


def test_refusals() -> None:
    x, y = np.zeros((1, 1, 16, 16), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    large = _core.Pool2dShape(x.shape, (16, 16), (16, 16), ((0, 0), (0, 0)), (1, 1), False)
    taps = np.zeros(y.shape, np.uint8)
    with pytest.raises(ValueError, match="window of at most 254 pixels, got 16 x 16"):
        _core.max_pool2d_forward(large, x, y, taps, layout="NCHW")
    with pytest.raises(ValueError, match="window of at most 254 pixels"):
        _core.max_pool2d_backward(large, y, taps, x, layout="NCHW")
    with pytest.raises(ValueError, match="positive_only needs indices of uint8"):
        _core.max_pool2d_forward(large, x, y, None, layout="NCHW", positive_only=True)
