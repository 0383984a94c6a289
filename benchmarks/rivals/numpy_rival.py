"""NumPy alone: what people write who have nothing else."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from arrays import Array, Arrays
from rivals.rival import NotOfferedError, Rival
from shapes import Layer

MAX_COLUMN_BYTES = 1 << 30
MAX_LOOP_STEPS = 20_000  # some microseconds each


def padded_windows(layer: Layer, source: Array) -> Array:
    """A view (N, C, OH, OW, KH, KW) of the padded input."""
    (p, q), (sh, sw), (dh, dw), (kh, kw) = layer.padding, layer.stride, layer.dilation, layer.kernel
    padded = np.pad(source, ((0, 0), (0, 0), (p, p), (q, q)))
    windows = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    return windows[:, :, ::sh, ::sw, ::dh, ::dw]


def im2col_forward(layer: Layer, source: Array, weight: Array) -> Array:
    """Copy all windows into a matrix and multiply."""
    windows = padded_windows(layer, source)
    n, c, oh, ow, kh, kw = windows.shape
    g = layer.groups
    columns = windows.reshape(n, g, c // g, oh, ow, kh, kw).transpose(1, 0, 3, 4, 2, 5, 6).reshape(g, n * oh * ow, -1)
    weights = weight.reshape(g, layer.outputs // g, -1).transpose(0, 2, 1)
    result: Array = columns @ weights
    return result.reshape(g, n, oh, ow, -1).transpose(1, 0, 4, 2, 3).reshape(n, layer.outputs, oh, ow)


def loop_forward(layer: Layer, source: Array, weight: Array) -> Array:
    """Every output in turn: the sum of a window times a filter."""
    windows = padded_windows(layer, source)
    result = np.empty(layer.output_shape, source.dtype)
    inputs, outputs = layer.channels // layer.groups, layer.outputs // layer.groups
    for n, o, i, j in np.ndindex(result.shape):
        first = o // outputs * inputs
        result[n, o, i, j] = np.sum(windows[n, first : first + inputs, i, j] * weight[o])
    return result


class NumpyIm2col(Rival):
    name = "numpy"
    package = "numpy"

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        _, _, oh, ow = layer.output_shape
        if layer.batch * oh * ow * layer.channels * math.prod(layer.kernel) * arrays.input.itemsize > MAX_COLUMN_BYTES:
            raise NotOfferedError("its matrix of windows is too large")
        self.forward = lambda: im2col_forward(layer, arrays.input, arrays.weight)


class NumpyLoop(Rival):
    name = "numpy loop"
    package = "numpy"

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        if math.prod(layer.output_shape) > MAX_LOOP_STEPS:
            raise NotOfferedError("too slow for a layer of this size")
        self.forward = lambda: loop_forward(layer, arrays.input, arrays.weight)
