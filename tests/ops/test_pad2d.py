"""Padding, cropping and pixel shuffle: against np.pad, slices and torch."""

from __future__ import annotations

import numpy as np
import pytest

from conv2d_cases import LAYOUTS, from_layout, to_layout
from fastconv import ops
from gradcheck import assert_gradient

NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
PADDINGS = [0, 1, (2, 1), ((3, 0), (0, 2)), ((3, 3), (4, 4))]


def _pairs(padding: object) -> tuple[tuple[int, int], tuple[int, int]]:
    (top, left) = padding if isinstance(padding, tuple) else (padding, padding)
    return tuple(side if isinstance(side, tuple) else (side, side) for side in (top, left))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_pad(padding: object, mode: str, layout: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5)).astype(dtype)
    amounts = ((0, 0), (0, 0), *_pairs(padding))
    options = {"constant_values": 1.5} if mode == "constant" else {}
    value = 1.5 if mode == "constant" else 0
    y = ops.pad2d(to_layout(x, layout), padding, mode, value, layout=layout)
    np.testing.assert_array_equal(from_layout(y, layout), np.pad(x, amounts, NUMPY[mode], **options))
    single = ops.pad2d(to_layout(x, layout)[0], padding, mode, value, layout=layout)
    np.testing.assert_array_equal(single, y[0])
    assert ops.pad2d(to_layout(x[:0], layout), padding, mode, layout=layout).shape == (0, *y.shape[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", NUMPY)
def test_gradient_of_pad(mode: str, layout: str, rng: np.random.Generator) -> None:
    x = to_layout(rng.normal(size=(1, 2, 4, 5)), layout)
    padding = ((3, 1), (2, 4))
    grad = rng.normal(size=ops.pad2d(x, padding, mode, layout=layout).shape)
    found = ops.pad2d_backward(grad, x.shape, padding, mode, layout=layout)
    assert_gradient(lambda v: ops.pad2d(v, padding, mode, layout=layout), x, grad, found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_crop(layout: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 6, 7))
    moved = to_layout(x, layout)
    y = ops.crop2d(moved, ((1, 2), (0, 3)), layout=layout)
    np.testing.assert_array_equal(from_layout(y, layout), x[:, :, 1:4, :4])
    grad = rng.normal(size=y.shape)
    found = ops.crop2d_backward(grad, moved.shape, ((1, 2), (0, 3)), layout=layout)
    assert_gradient(lambda v: ops.crop2d(v, ((1, 2), (0, 3)), layout=layout), moved, grad, found)
    y = ops.center_crop2d(moved, (3, 4), layout=layout)
    np.testing.assert_array_equal(from_layout(y, layout), x[:, :, 1:4, 1:5])
    back = from_layout(ops.crop2d_backward(y, moved.shape, layout=layout), layout)
    np.testing.assert_array_equal(back[:, :, 1:4, 1:5], x[:, :, 1:4, 1:5])
    assert np.count_nonzero(back) == y.size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixel_shuffle(layout: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 18, 2, 5)).astype(dtype)
    moved = to_layout(x, layout)
    y = ops.pixel_shuffle(moved, 3, layout=layout)
    truth = np.empty((2, 2, 6, 15), dtype)
    for c, i, j in np.ndindex(2, 3, 3):
        truth[:, c, i::3, j::3] = x[:, (c * 3 + i) * 3 + j]
    np.testing.assert_array_equal(from_layout(y, layout), truth)
    np.testing.assert_array_equal(ops.pixel_unshuffle(y, 3, layout=layout), moved)
    np.testing.assert_array_equal(ops.pixel_shuffle(moved[0], 3, layout=layout), y[0])


def test_torch_agrees(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 8, 4, 6))
    theirs = torch.tensor(x)
    np.testing.assert_array_equal(ops.pixel_shuffle(x, 2), torch.nn.functional.pixel_shuffle(theirs, 2).numpy())
    np.testing.assert_array_equal(ops.pixel_unshuffle(x, 2), torch.nn.functional.pixel_unshuffle(theirs, 2).numpy())
    for mode in NUMPY:
        padded = torch.nn.functional.pad(theirs, (1, 2, 3, 0), mode=mode)
        np.testing.assert_array_equal(ops.pad2d(x, ((3, 0), (1, 2)), mode), padded.numpy())


def test_errors() -> None:
    x = np.ones((1, 3, 4, 5), np.float32)
    cases = [
        (ValueError, r"pad2d: padding must not be negative \(use crop2d\)", lambda: ops.pad2d(x, -1)),
        (
            ValueError,
            r"padding must be less than the input's height .*got \(4, 4\)",
            lambda: ops.pad2d(x, 4, "reflect"),
        ),
        (ValueError, "mode must be one of", lambda: ops.pad2d(x, 1, "wrap")),
        (ValueError, "value must be 0 for mode 'reflect', got 2", lambda: ops.pad2d(x, 1, "reflect", 2)),
        (TypeError, "value must be a number", lambda: ops.pad2d(x, 1, "constant", "0")),
        (ValueError, "size that can be addressed", lambda: ops.pad2d(x, 2**40)),
        (ValueError, r"crop2d: cropping must leave a pixel of 4 x 5", lambda: ops.crop2d(x, 2)),
        (ValueError, r"cropping must not be negative \(use pad2d\)", lambda: ops.crop2d(x, -1)),
        (ValueError, "at most the input's 4 x 5, got 5 x 5", lambda: ops.center_crop2d(x, 5)),
        (ValueError, r"multiple of upscale_factor\*\*2 = 4, got 3", lambda: ops.pixel_shuffle(x, 2)),
        (ValueError, "multiples of downscale_factor = 2, got 4 x 5", lambda: ops.pixel_unshuffle(x, 2)),
        (ValueError, "upscale_factor must be positive", lambda: ops.pixel_shuffle(x, 0)),
    ]
    for error, text, call in cases:
        with pytest.raises(error, match=text):
            call()
