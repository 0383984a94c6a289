"""Convolutions chosen on purpose, as data, and how to run all passes of one.

Every tail, border and stride that a kernel can get wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import reference
from fastconv import ops

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """`channels` and `outputs` are whole numbers of groups; padding is ((top, bottom), (left, right))."""

    channels: int
    outputs: int
    image: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    batch: int = 2

    def __str__(self) -> str:
        (top, bottom), (left, right) = self.padding
        numbers = {
            "n": (self.batch,),
            "c": (self.channels,),
            "o": (self.outputs,),
            "i": self.image,
            "k": self.kernel,
            "s": self.stride,
            "p": (top, bottom, left, right),
            "d": self.dilation,
            "g": (self.groups,),
        }
        return "-".join(name + "x".join(map(str, values)) for name, values in numbers.items())

    @property
    def options(self) -> dict[str, object]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.image)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.outputs, self.channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        sizes = (
            reference.conv_output_size(self.image[a], self.padding[a], self.kernel[a], self.stride[a], self.dilation[a])
            for a in (0, 1)
        )
        return (self.batch, self.outputs, *sizes)

    @cached_property
    def integers(self) -> dict[str, NDArray[np.float64]]:
        """Whole numbers, so small that every sum is exact in float32: all kernels must agree to the last bit."""
        return self._fill(lambda rng, shape: rng.integers(-4, 5, shape).astype(np.float64))

    @cached_property
    def normal(self) -> dict[str, NDArray[np.float64]]:
        """Real numbers for gradients, bits and tolerances."""
        return self._fill(lambda rng, shape: rng.standard_normal(shape))

    def _fill(self, draw: object) -> dict[str, NDArray[np.float64]]:
        rng = np.random.default_rng(1)
        x, w = draw(rng, self.input_shape), draw(rng, self.weight_shape)
        bias, gy = draw(rng, (self.outputs,)), draw(rng, self.output_shape)
        truth = {
            "output": reference.conv2d(x, w, bias, **self.options),
            "grad_input": reference.conv2d_backward_input(x.shape, w, gy, **self.options),
            "grad_weight": reference.conv2d_backward_weight(x, w.shape, gy, **self.options),
            "grad_bias": gy.sum(axis=(0, 2, 3)),
        }
        return {"input": x, "weight": w, "bias": bias, "grad_output": gy, **truth}


def _pad(h: int, w: int | None = None) -> tuple[Pair, Pair]:
    return (h, h), (h if w is None else w, h if w is None else w)


# Widths around every tile of pixels (6 and 14), channels around every vector and block (4, 8, 16, 32).
WIDTHS = [
    Geometry(3, 5, (2, width + 2), (3, 3), padding=((1, 1), (0, 0))) for width in (1, 5, 6, 7, 12, 13, 14, 15, 29)
]
OUTPUTS = [Geometry(3, o, (4, 7), (3, 3), padding=_pad(1)) for o in (1, 2, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 65)]
# Tiles of two blocks of channels (more than 48 floats or 24 doubles), with widths around theirs (6), chunks of the sum,
# and pixels 4 KiB apart.
WIDE = [
    *(Geometry(3, 64, (3, width), (3, 3), padding=_pad(1), batch=1) for width in (1, 5, 6, 7, 12, 13)),
    *(Geometry(9, o, (3, 7), (1, 1)) for o in (24, 25, 49, 64, 65, 96, 97, 127, 129)),
    Geometry(70, 72, (9, 8), (3, 3), (2, 2), _pad(1), batch=1),
    Geometry(1030, 66, (3, 5), (1, 1)),
    Geometry(2048, 130, (2, 3), (1, 1), batch=1),
    Geometry(1024, 20, (2, 9), (1, 1), batch=1),
    Geometry(32, 256, (6, 6), (3, 3), padding=_pad(2), dilation=(2, 2), groups=2),
]
# Gradients of the weight in several slices, shares and groups of pixels, and with input and grad_output exchanged.
GRADIENTS = [
    Geometry(130, 200, (16, 33), (1, 1), batch=1),
    Geometry(40, 70, (16, 33), (1, 1)),
    Geometry(40, 70, (31, 33), (1, 1), (2, 2)),
    Geometry(300, 40, (10, 9), (3, 3), (2, 2), _pad(1), batch=3),
    Geometry(70, 33, (17, 16), (3, 3), padding=_pad(1), batch=5),
    Geometry(5, 12, (40, 41), (3, 3), padding=_pad(1), dilation=(2, 1), batch=3),
]
INPUTS = [Geometry(c, 6, (5, 6), (3, 3), padding=_pad(1)) for c in (1, 2, 4, 7, 8, 9, 15, 16, 17, 31, 33, 67)]
BIG_BLOCKS = [
    Geometry(37, 41, (13, 11), (3, 3), padding=_pad(1)),
    Geometry(130, 70, (9, 9), (3, 3), padding=_pad(1), batch=1),
    Geometry(520, 24, (5, 3), (1, 1)),
    Geometry(9, 100, (6, 31), (5, 5), padding=_pad(2)),
]

SHAPES = [
    Geometry(1, 1, (1, 1), (1, 1)),
    Geometry(1, 1, (1, 1), (3, 3), padding=_pad(1)),
    Geometry(1, 6, (28, 28), (5, 5)),
    Geometry(6, 16, (12, 12), (5, 5)),
    Geometry(3, 8, (23, 11), (2, 7)),
    Geometry(2, 3, (1, 19), (1, 5)),
    Geometry(2, 3, (19, 1), (5, 1)),
    Geometry(4, 4, (7, 7), (7, 7)),
    Geometry(2, 2, (40, 40), (37, 40)),
    Geometry(16, 32, (14, 14), (1, 1)),
    Geometry(5, 7, (8, 9), (4, 2)),
]

STRIDES = [
    Geometry(3, 8, (11, 13), (3, 3), (2, 2), _pad(1)),
    Geometry(4, 9, (11, 13), (3, 2), (2, 3), _pad(1, 0)),
    Geometry(3, 5, (17, 19), (7, 7), (2, 2), _pad(3)),
    Geometry(3, 16, (27, 27), (11, 11), (4, 4), ((2, 1), (2, 1))),
    Geometry(5, 6, (13, 11), (1, 1), (2, 2)),
    Geometry(5, 6, (13, 11), (1, 1), (3, 2), _pad(1)),
    Geometry(4, 4, (17, 18), (2, 3), (5, 4)),
    Geometry(2, 3, (9, 9), (3, 3), (20, 20), _pad(1)),
    Geometry(3, 3, (10, 10), (3, 3), (3, 3), _pad(2)),
]

PADDINGS = [
    Geometry(3, 4, (6, 7), (3, 3), padding=((0, 2), (1, 0))),
    Geometry(3, 4, (6, 7), (3, 3), padding=((2, 0), (0, 3))),
    Geometry(3, 4, (5, 4), (2, 2), padding=_pad(4)),
    Geometry(2, 3, (3, 3), (5, 5), padding=_pad(2)),
    Geometry(2, 5, (2, 2), (3, 3), (2, 2), _pad(7, 6)),
    Geometry(2, 17, (4, 5), (1, 1), padding=_pad(2, 1)),
]

DILATIONS = [
    Geometry(3, 4, (12, 13), (3, 3), padding=_pad(2), dilation=(2, 2)),
    Geometry(3, 4, (12, 13), (3, 2), (2, 2), _pad(3, 2), (3, 4)),
    Geometry(3, 4, (14, 15), (3, 3), (2, 3), _pad(2), (2, 6)),
    Geometry(3, 4, (14, 15), (3, 3), (4, 6), _pad(4), (6, 4)),
    Geometry(2, 18, (9, 9), (2, 2), padding=_pad(3), dilation=(8, 7)),
    Geometry(2, 3, (5, 5), (3, 3), padding=_pad(9), dilation=(9, 9)),
]

GROUPS = [
    Geometry(4, 6, (7, 8), (3, 3), padding=_pad(1), groups=2),
    Geometry(9, 6, (7, 8), (3, 3), (2, 2), _pad(1), groups=3),
    Geometry(34, 66, (5, 6), (3, 3), padding=_pad(1), groups=2),
    Geometry(12, 12, (6, 6), (1, 1), groups=4),
    Geometry(48, 64, (7, 7), (5, 5), padding=_pad(2), groups=2),
    Geometry(6, 4, (9, 8), (3, 3), (2, 1), _pad(2), (2, 1), groups=2),
]

DEPTHWISE = [
    Geometry(1, 3, (6, 6), (3, 3), padding=_pad(1), groups=1),
    Geometry(5, 5, (7, 9), (3, 3), padding=_pad(1), groups=5),
    Geometry(16, 16, (9, 7), (3, 3), padding=_pad(1), groups=16),
    Geometry(17, 17, (9, 7), (3, 3), (2, 2), _pad(1), groups=17),
    Geometry(33, 33, (6, 5), (5, 5), padding=_pad(2), groups=33),
    Geometry(8, 16, (6, 7), (3, 3), padding=_pad(1), groups=8),
    Geometry(7, 21, (6, 7), (3, 2), (1, 2), ((0, 1), (1, 0)), groups=7),
    Geometry(18, 18, (11, 10), (3, 3), padding=_pad(2), dilation=(2, 2), groups=18),
    Geometry(40, 40, (4, 4), (1, 1), groups=40),
]

IMAGE_TILES = [  # small maps in large batches and wide dilations: much padding
    Geometry(7, 20, (3, 3), (3, 3), padding=_pad(2), batch=17),
    Geometry(6, 33, (4, 3), (5, 4), padding=((3, 2), (2, 3)), groups=3, batch=9),
    Geometry(5, 9, (5, 4), (3, 3), (2, 1), ((4, 3), (5, 2)), (2, 3), batch=30),
    Geometry(64, 48, (5, 5), (3, 3), batch=16),
    Geometry(35, 40, (7, 9), (3, 3), padding=((6, 5), (5, 6)), dilation=(5, 5)),
    Geometry(64, 34, (9, 8), (4, 3), (2, 3), ((7, 6), (5, 7)), (3, 2), groups=2),
    Geometry(32, 5, (4, 30), (1, 3), padding=((9, 9), (40, 0))),
]

# Rows around the tiles of 14, 7, 3 and 8, 4, 2 pixels, each kernel that is compiled and some that are not, channels
# around the vectors, several groups in one vector with lanes to spare, channel multipliers.
LANES = [
    *(Geometry(16, 16, (3, w), (3, 3), padding=_pad(1), groups=16, batch=1) for w in (1, 2, 3, 4, 6, 7, 8, 9, 13, 15)),
    *(Geometry(19, 19, (4, w), (5, 5), padding=_pad(2), groups=19, batch=1) for w in (1, 4, 7, 16, 29)),
    *(Geometry(c, c, (6, 17), (3, 3), (2, 2), _pad(1), groups=c) for c in (2, 8, 15, 16, 31, 48)),
    Geometry(16, 16, (15, 30), (5, 5), (2, 2), _pad(2), groups=16),
    Geometry(24, 24, (15, 14), (5, 5), (2, 1), ((2, 1), (0, 3)), groups=24),
    Geometry(16, 16, (16, 31), (7, 7), padding=_pad(3), groups=16),
    Geometry(33, 33, (9, 23), (2, 2), padding=((1, 0), (0, 1)), groups=33),
    Geometry(16, 16, (5, 40), (1, 4), (1, 3), _pad(0, 2), groups=16),
    Geometry(16, 16, (20, 21), (3, 3), (1, 2), _pad(4), (4, 3), groups=16),
    Geometry(17, 17, (12, 9), (3, 3), (4, 5), _pad(2), groups=17),
    Geometry(16, 16, (1, 700), (1, 3), padding=_pad(0, 1), groups=16),
    Geometry(16, 48, (6, 9), (3, 3), padding=_pad(1), groups=16),
    Geometry(48, 16, (6, 9), (3, 3), (2, 2), _pad(1), groups=16),
    Geometry(64, 64, (7, 15), (3, 3), padding=_pad(1), groups=16),
    Geometry(48, 48, (9, 29), (3, 3), (2, 2), _pad(1), groups=12),
    Geometry(32, 32, (6, 14), (3, 3), padding=_pad(1), groups=4),
    Geometry(30, 30, (6, 8), (3, 3), padding=_pad(1), groups=6),
    Geometry(12, 20, (6, 8), (5, 5), padding=_pad(2), groups=4),
    Geometry(35, 21, (8, 15), (3, 3), (2, 2), _pad(1), (2, 1), groups=7),
    Geometry(24, 24, (5, 17), (1, 1), groups=8),
]

EMPTY = [
    Geometry(3, 4, (5, 6), (3, 3), batch=0),
    Geometry(4, 4, (5, 6), (3, 3), padding=_pad(1), groups=4, batch=0),
]

ALL = [
    *(WIDTHS + OUTPUTS + WIDE + GRADIENTS + INPUTS + BIG_BLOCKS + SHAPES + STRIDES + PADDINGS + DILATIONS),
    *(GROUPS + DEPTHWISE + LANES + IMAGE_TILES + EMPTY),
]
SMALL = [SHAPES[4], STRIDES[1], STRIDES[4], PADDINGS[1], DILATIONS[1], GROUPS[1], DEPTHWISE[6]]

LAYOUTS = ["NCHW", "NHWC"]


def to_layout(array: NDArray, layout: str) -> NDArray:
    return np.ascontiguousarray(array if layout == "NCHW" else np.moveaxis(array, 1, 3))


def from_layout(array: NDArray, layout: str) -> NDArray:
    return array if layout == "NCHW" else np.moveaxis(array, 3, 1)


def run_all(
    g: Geometry, arrays: dict[str, NDArray], dtype: np.dtype, layout: str, algo: str = "auto"
) -> dict[str, NDArray]:
    """All four passes; results come back as NCHW. Sums of products as they are written need algo="direct"."""
    x, gy = (to_layout(arrays[name].astype(dtype), layout) for name in ("input", "grad_output"))
    w, bias = arrays["weight"].astype(dtype), arrays["bias"].astype(dtype)
    options = {**g.options, "layout": layout, "algo": algo}
    data = {
        "output": ops.conv2d(x, w, bias, **options),
        "grad_input": ops.conv2d_backward_input(x.shape, w, gy, **options),
    }
    return {name: from_layout(array, layout) for name, array in data.items()} | {
        "grad_weight": ops.conv2d_backward_weight(x, w.shape, gy, **options),
        "grad_bias": ops.conv2d_backward_bias(gy, layout=layout),
    }


def assert_same_bits(got: dict[str, NDArray], expected: dict[str, NDArray]) -> None:
    for name, array in got.items():
        assert array.tobytes() == expected[name].tobytes(), name
