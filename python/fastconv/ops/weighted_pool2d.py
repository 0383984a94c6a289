"""Weighted pooling: a mean of each window with fixed weights, such as a Gaussian of the distance from its centre.

    y[n, c, oh, ow] = sum over kh, kw of window[kh, kw] * x[n, c, oh*s_h - p_top + kh, ow*s_w - p_left + kw]

with `window` divided by its sum. It is a depthwise convolution whose filters are all the same, and runs as one; padding
is zeros, and the weights over it are not made up for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv.ops.device import gpu_ops


def gaussian_window(kernel_size: IntOrPair, sigma: float | None = None) -> NDArray[np.float64]:
    """Weights that fall with the distance from the centre: exp(-distance^2 / (2 sigma^2)), with a sum of 1.

    Parameters
    ----------
    kernel_size : int or (KH, KW)
    sigma : float, optional
        In pixels. Default: a quarter of the larger side, so that the middle of a side has e^-2 of the centre's weight.

    Returns
    -------
    ndarray of float64, shape (KH, KW)

    Raises
    ------
    TypeError, ValueError
        For sizes that are no positive integers, and a `sigma` that is not positive and finite.
    """
    op = "gaussian_window"
    height, width = arg.pair(op, "kernel_size", kernel_size)
    if not (1 <= height < 2**15 and 1 <= width < 2**15):
        raise ValueError(f"{op}: kernel_size must be positive and below 32768, got {(height, width)}")
    spread = max(height, width) / 4 if sigma is None else sigma
    if isinstance(spread, bool | np.bool_) or not isinstance(spread, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: sigma must be a number, got {arg.describe(sigma)}")
    if not (math.isfinite(spread) and spread > 0):
        raise ValueError(f"{op}: sigma must be positive and finite, got {sigma}")
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in (height, width))
    window: NDArray[np.float64] = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * float(spread) ** 2))
    window /= window.sum()
    return window


def normalised_window(op: str, window: object) -> NDArray[np.float64]:
    """Check a window given as an array or nested lists of numbers, and divide it by its sum."""
    try:
        weights = np.array(window, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: window must hold numbers, got {arg.describe(window)}") from None
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(f"{op}: window must have shape (KH, KW), got {weights.shape}")
    total = float(weights.sum())
    if not math.isfinite(total) or total == 0:
        raise ValueError(f"{op}: window must have a finite sum other than zero, got {total}")
    return weights / total


def weighted_geometry(
    op: str, shape: Sequence[int], window: NDArray[Any], stride: object, padding: object
) -> _core.Conv2dShape:
    """The depthwise convolution; `shape` is logical."""
    n, c, h, w = shape
    kh, kw = window.shape
    steps = (kh, kw) if stride is None else arg.pair(op, "stride", stride)
    return _core.Conv2dShape((n, c, h, w), (c, 1, kh, kw), steps, arg.padding(op, padding), (1, 1), c, op)


def depthwise_weight(window: NDArray[np.float64], channels: int, dtype: np.dtype[Any]) -> Array:
    """The window as (C, 1, KH, KW), once for each channel."""
    return np.ascontiguousarray(np.broadcast_to(window.astype(dtype), (channels, 1, *window.shape)))


def weighted_pool2d(
    input: Array,
    window: Array | Sequence[Sequence[float]],
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Weighted mean of each window.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image. N may be 0.
    window : array of shape (KH, KW), or nested lists
        Weights, divided here by their sum; see `gaussian_window`.
    stride : int or (h, w), default the window
    padding : default 0
        Zeros, as for `conv2d`.
    layout, out
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.weighted_pool2d(input, window, stride, padding, layout=layout, out=out)
    op = "weighted_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    weights = normalised_window(op, window)
    shape = weighted_geometry(op, arg.logical_shape(images.shape, order), weights, stride, padding)
    result_shape = arg.memory_shape(shape.output_shape, order)
    output = arg.check_output(op, out, result_shape[single:], images.dtype, (images,))
    filters = depthwise_weight(weights, shape.input_shape[1], images.dtype)
    _core.conv2d_forward(shape, arg.contiguous(images), filters, None, output.reshape(result_shape), layout=order)
    return output


def weighted_pool2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    window: Array | Sequence[Sequence[float]],
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `weighted_pool2d` with respect to its input.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    window, stride, padding, layout, out
        As for `weighted_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `weighted_pool2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.weighted_pool2d_backward(grad_output, input_shape, window, stride, padding, layout=layout, out=out)
    op = "weighted_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    weights = normalised_window(op, window)
    shape = weighted_geometry(op, arg.logical_shape(full_shape, order), weights, stride, padding)
    pooled = arg.memory_shape(shape.output_shape, order)
    arg.check_shape(op, "grad_output", grad, pooled[single:])
    grad_input = arg.check_output(op, out, full_shape[single:], grad.dtype, (grad,))
    filters = depthwise_weight(weights, shape.input_shape[1], grad.dtype)
    _core.conv2d_backward_input(
        shape, filters, arg.contiguous(grad).reshape(pooled), grad_input.reshape(full_shape), layout=order
    )
    return grad_input
