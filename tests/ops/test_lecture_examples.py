"""Worked examples of the lectures that this library was asked for, to the digit."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import ops


def grid(text: str) -> np.ndarray:
    """Rows separated by slashes, as one image of one channel."""
    rows = [[float(number) for number in row.split()] for row in text.split("/")]
    return np.array(rows, np.float32)[None, None]


FACE = grid(
    "0 0 0 0 0 0 0 / 0 0 1 1 1 0 0 / 0 1 1 1 1 1 0 / 0 1 1 1 0 0 0 / 0 1 1 1 1 1 0 / 0 0 1 1 1 0 0 / 0 0 0 0 0 0 0"
)
IDENTITY = grid("0 0 0 / 0 1 0 / 0 0 0")
ONES = grid("1 1 1 / 1 1 1 / 1 1 1")
EDGES = grid("-1 -1 -1 / 2 2 2 / -1 -1 -1")

CROSSES = grid("1 0 0 0 0 1 / 0 1 0 0 1 0 / 0 0 1 1 0 0 / 1 0 0 0 1 0 / 0 1 0 0 1 0 / 0 0 1 0 1 0")
DIAGONAL = grid("1 -1 -1 / -1 1 -1 / -1 -1 1")
VERTICAL = grid("-1 1 -1 / -1 1 -1 / -1 1 -1")


@pytest.mark.parametrize(
    ("image", "kernel", "options", "expected"),
    [
        (FACE, IDENTITY, {}, "0 1 1 1 0 / 1 1 1 1 1 / 1 1 1 0 0 / 1 1 1 1 1 / 0 1 1 1 0"),
        (FACE, ONES, {}, "3 5 6 5 3 / 5 8 8 6 3 / 6 9 8 7 4 / 5 8 8 6 3 / 3 5 6 5 3"),
        (FACE, EDGES, {}, "0 1 3 1 0 / 1 1 1 3 3 / 0 0 -2 -4 -4 / 1 1 1 3 3 / 0 1 3 1 0"),
        (FACE, EDGES, {"activation": "relu"}, "0 1 3 1 0 / 1 1 1 3 3 / 0 0 0 0 0 / 1 1 1 3 3 / 0 1 3 1 0"),
        (CROSSES, DIAGONAL, {}, "3 -1 -3 -1 / -3 1 0 -3 / -3 -3 0 1 / 3 -2 -2 -1"),
        (CROSSES, DIAGONAL, {"stride": 2}, "3 -3 / -3 0"),
        (CROSSES, VERTICAL, {}, "-1 -1 -1 -1 / -1 -1 -2 1 / -1 -1 -2 1 / -1 0 -4 3"),
    ],
)
def test_filters_by_hand(
    image: np.ndarray, kernel: np.ndarray, options: dict, expected: str, dtype: np.dtype, isa: str
) -> None:
    got = ops.conv2d(image.astype(dtype), kernel.astype(dtype), **options)
    np.testing.assert_array_equal(got, grid(expected))


def test_the_identity_with_padding_is_the_image() -> None:
    for padding in (1, "same", "same_lower"):
        np.testing.assert_array_equal(ops.conv2d(FACE, IDENTITY, padding=padding), FACE)


def test_blur_is_a_ninth() -> None:
    got = ops.conv2d(FACE, (ONES / 9).astype(np.float32))
    np.testing.assert_allclose(got * 9, ops.conv2d(FACE, ONES), rtol=9 * np.finfo(np.float32).eps)


def test_two_filters_are_two_channels() -> None:
    both = ops.conv2d(CROSSES, np.concatenate([DIAGONAL, VERTICAL]))
    np.testing.assert_array_equal(both[:, :1], ops.conv2d(CROSSES, DIAGONAL))
    np.testing.assert_array_equal(both[:, 1:], ops.conv2d(CROSSES, VERTICAL))
    np.testing.assert_array_equal(
        ops.max_pool2d(both, 2), np.concatenate([grid("3 0 / 3 1"), grid("-1 1 / 0 3")], axis=1)
    )


def test_edges_then_relu_then_pooling() -> None:
    edges = ops.conv2d(FACE, EDGES, activation="relu")
    np.testing.assert_array_equal(ops.max_pool2d(edges, 2), grid("1 3 / 1 3"))


@pytest.mark.parametrize(
    ("image", "filters", "options", "shape"),
    [
        ((32, 32, 3), (10, 3, 5, 5), {"padding": 2}, (10, 32, 32)),
        ((32, 32, 3), (6, 3, 5, 5), {}, (6, 28, 28)),
        ((227, 227, 3), (96, 3, 11, 11), {"stride": 4}, (96, 55, 55)),
        ((19, 19, 48), (192, 48, 5, 5), {"padding": 2}, (192, 19, 19)),
        ((28, 28, 1), (25, 1, 3, 3), {}, (25, 26, 26)),
    ],
)
def test_sizes(image: tuple[int, ...], filters: tuple[int, ...], options: dict, shape: tuple[int, ...]) -> None:
    height, width, channels = image
    x, w = np.zeros((channels, height, width), np.float32), np.zeros(filters, np.float32)
    assert ops.conv2d(x, w, **options).shape == shape
