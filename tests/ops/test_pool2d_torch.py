"""Pooling against PyTorch, where it is installed: a second witness, above all for ceil_mode and count_include_pad."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import ops

torch = pytest.importorskip("torch")

GRID = [
    (image, kernel, stride, padding)
    for image in ((5, 6), (7, 4), (9, 10))
    for kernel in (1, 2, 3, 4)
    for stride in (1, 2, 3, 5)
    for padding in range(kernel // 2 + 1)
    if min(image) + 2 * padding >= kernel
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("ceil_mode", "include_pad"), list(itertools.product([False, True], repeat=2)))
def test_average(ceil_mode: bool, include_pad: bool, layout: str, rng: np.random.Generator) -> None:
    for image, kernel, stride, padding in GRID:
        x = rng.standard_normal((2, 3, *image))
        given = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.avg_pool2d(given, kernel, stride, padding, ceil_mode, include_pad)
        grad = rng.standard_normal(expected.shape)
        expected.backward(torch.tensor(grad))
        options = (kernel, stride, padding, ceil_mode, include_pad)
        output = ops.avg_pool2d(to_layout(x, layout), *options, layout=layout)
        np.testing.assert_allclose(from_layout(output, layout), expected.detach().numpy(), rtol=1e-13, atol=1e-14)
        shape = to_layout(x, layout).shape
        back = ops.avg_pool2d_backward(to_layout(grad, layout), shape, *options, layout=layout)
        np.testing.assert_allclose(from_layout(back, layout), given.grad.numpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
def test_maximum(dilation: int, ceil_mode: bool, layout: str, rng: np.random.Generator) -> None:
    for image, kernel, stride, padding in GRID:
        if any(size + 2 * padding < dilation * (kernel - 1) + 1 for size in image):
            continue
        x = rng.standard_normal((2, 3, *image))
        given = torch.tensor(x, requires_grad=True)
        expected, places = torch.nn.functional.max_pool2d(
            given, kernel, stride, padding, dilation, ceil_mode, return_indices=True
        )
        grad = rng.standard_normal(expected.shape)
        expected.backward(torch.tensor(grad))
        options = (kernel, stride, padding, dilation, ceil_mode)
        output, indices = ops.max_pool2d(to_layout(x, layout), *options, return_indices=True, layout=layout)
        np.testing.assert_array_equal(from_layout(output, layout), expected.detach().numpy())
        np.testing.assert_array_equal(from_layout(indices, layout), places.numpy())
        shape = to_layout(x, layout).shape
        back = ops.max_pool2d_backward(to_layout(grad, layout), indices, shape, *options, layout=layout)
        np.testing.assert_allclose(from_layout(back, layout), given.grad.numpy(), rtol=1e-13, atol=1e-14)
