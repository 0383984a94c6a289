"""Lp pooling: the p-norm of each window, and its gradient.

    y = (sum of |x|^p over the window)^(1/p)        grad_x = sign(x) * |x|^(p-1) * sum of grad_y * y^(1-p) over windows

p = 2 is L2 pooling, the root of the sum of squares; the gradient where y is 0 is 0. |x| as in ONNX and in a norm:
PyTorch leaves the bars out, so that odd p give something else where x is negative. Sum pooling is `avg_pool2d` with a
divisor of 1; powers and roots are NumPy's, on one thread: fast for p = 1 and 2, slow for others. Squares overflow as
they do in NumPy: keep |x| below the root of the largest float.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d import pool2d_geometry


def check_norm(op: str, value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: norm_type must be a number, got {arg.describe(value)}")
    if not (math.isfinite(value) and value >= 1):
        raise ValueError(f"{op}: norm_type must be finite and at least 1, got {value} (for the maximum use max_pool2d)")
    return float(value)


def write_powers(input: Array, p: float, powers: Array) -> None:
    """powers = |input|^p"""
    with np.errstate(all="ignore"):
        if p == 2:
            np.square(input, out=powers)
            return
        np.abs(input, out=powers)
        if p != 1:
            np.power(powers, p, out=powers)


def take_roots(output: Array, p: float) -> None:
    """output = output^(1/p)"""
    with np.errstate(all="ignore"):
        if p == 2:
            np.sqrt(output, out=output)
        elif p != 1:
            np.power(output, 1 / p, out=output)


def scale_gradient(grad: Array, output: Array, p: float, zero: NDArray[np.bool_], work: Array | None) -> None:
    """grad *= output^(1-p), and 0 where the output is 0; `work` for p other than 1 and 2."""
    if p == 1:
        return
    with np.errstate(all="ignore"):
        np.equal(output, 0, out=zero)
        np.copyto(grad, 0, where=zero)
        np.logical_not(zero, out=zero)
        if work is None:
            np.divide(grad, output, out=grad, where=zero)
        else:
            np.power(output, 1 - p, out=work)
            np.multiply(grad, work, out=grad, where=zero)


def finish_gradient(grad_input: Array, input: Array, p: float, work: Array | None) -> None:
    """grad_input *= sign(input) * |input|^(p-1); `work` for p other than 2."""
    with np.errstate(all="ignore"):
        if work is None:
            np.multiply(grad_input, input, out=grad_input)
            return
        if p != 1:
            np.abs(input, out=work)
            np.power(work, p - 1, out=work)
            np.multiply(grad_input, work, out=grad_input)
        np.sign(input, out=work)
        np.multiply(grad_input, work, out=grad_input)


def lp_pool2d(
    input: Array,
    norm_type: float,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    ceil_mode: bool = False,
    padding: PaddingArgument = 0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """p-norm of each window.

    Parameters
    ----------
    input, kernel_size, stride, ceil_mode, padding, layout, out
        As for `max_pool2d`; padding is zeros.
    norm_type : float
        p, at least 1. 2: the root of the sum of squares.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.lp_pool2d(input, norm_type, kernel_size, stride, ceil_mode, padding, layout=layout, out=out)
    op = "lp_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    p = check_norm(op, norm_type)
    shape = pool2d_geometry(op, images.shape, kernel_size, stride, padding, 1, ceil_mode, order)
    result_shape = arg.memory_shape(shape.output_shape, order)
    output = arg.check_output(op, out, result_shape[single:], images.dtype, (images,))
    powers = arg.allocate(op, images.shape, images.dtype)
    write_powers(images, p, powers)
    _core.avg_pool2d_forward(shape, powers, output.reshape(result_shape), layout=order, divisor_override=1)
    take_roots(output, p)
    return output


def lp_pool2d_backward(
    grad_output: Array,
    input: Array,
    output: Array,
    norm_type: float,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    ceil_mode: bool = False,
    padding: PaddingArgument = 0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `lp_pool2d`, see the top of this module.

    Parameters
    ----------
    grad_output, output : ndarray, shape of the forward result, float32 or float64
    input : ndarray
        Of forward.
    norm_type, kernel_size, stride, ceil_mode, padding, layout, out
        As for `lp_pool2d`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `lp_pool2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.lp_pool2d_backward(
            grad_output, input, output, norm_type, kernel_size, stride, ceil_mode, padding, layout=layout, out=out
        )
    op = "lp_pool2d_backward"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    p = check_norm(op, norm_type)
    shape = pool2d_geometry(op, images.shape, kernel_size, stride, padding, 1, ceil_mode, order)
    pooled: Sequence[int] = arg.memory_shape(shape.output_shape, order)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single, images.dtype)
    result = arg.check_array(op, "output", output, 4 - single, images.dtype)
    arg.check_shape(op, "grad_output", grad, pooled[single:])
    arg.check_shape(op, "output", result, pooled[single:])
    grad_input = arg.check_output(op, out, images.shape[single:], images.dtype, (images, grad, result))
    scaled = grad.reshape(pooled).copy(order="C")
    plain = p in (1, 2)
    zero = np.empty(pooled, np.bool_)
    scale_gradient(scaled, result.reshape(pooled), p, zero, None if plain else np.empty_like(scaled))
    full = grad_input.reshape(images.shape)
    _core.avg_pool2d_backward(shape, scaled, full, layout=order, divisor_override=1)
    finish_gradient(full, images, p, None if p == 2 else arg.allocate(op, images.shape, images.dtype))
    return grad_input
