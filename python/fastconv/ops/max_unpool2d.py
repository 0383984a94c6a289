"""Max unpooling: values go back to where a max pool found its maxima (Zeiler and Fergus 2014), all else is zero.

    y[n, c, indices[n, c, i]] = x[n, c, i]

The gradient of x is grad_output read at the indices. Where windows overlap and share a maximum, the last one
written stays, in the order of the indices in memory, and each of them gets the gradient, as in PyTorch: the derivative
only where no index comes twice.
"""

from __future__ import annotations

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument, Pair
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d_passes import Indices, check_indices, refuse_outside


def unpooled_size(
    op: str, size: Pair, kernel_size: object, stride: object, padding: object, output_size: object
) -> Pair:
    """(H, W) of the image that was pooled, as PyTorch has it."""
    window = arg.pair(op, "kernel_size", kernel_size)
    steps = window if stride is None else arg.pair(op, "stride", stride)
    amounts = arg.explicit_padding(op, padding)
    if min(window) < 1 or min(steps) < 1 or min(map(min, amounts)) < 0:
        raise ValueError(
            f"{op}: kernel_size and stride must be positive and padding not negative, got {window}, {steps}, {amounts}"
        )
    usual = [(n - 1) * s - sum(p) + k for n, s, p, k in zip(size, steps, amounts, window, strict=True)]
    wanted = usual if output_size is None else list(arg.pair(op, "output_size", output_size))
    for name, pixels, expected, step in zip(("height", "width"), wanted, usual, steps, strict=True):
        least, most = max(1, expected - step + 1), expected + step - 1
        if not least <= pixels <= most:
            raise ValueError(
                f"{op}: output_size must be from {least} to {most} along {name}, less than a stride from "
                f"(input - 1) * stride - padding + kernel_size = {expected}, got {pixels}"
            )
    return wanted[0], wanted[1]


def max_unpool2d(
    input: Array,
    indices: Indices,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    output_size: IntOrPair | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Put values at the indices of a max pool.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image. N may be 0.
    indices : ndarray of int32, shape of `input`
        From `max_pool2d` with `return_indices`: row*OW + column in the result.
    kernel_size, stride, padding
        Of the max pool.
    output_size : int or (OH, OW), optional
        Size of the image that was pooled. Default: (H - 1)*stride - top - bottom + kernel_size, its smallest without
        `ceil_mode`.
    layout, out
        As for `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`; ValueError also for an index outside the result.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.max_unpool2d(input, indices, kernel_size, stride, padding, output_size, layout=layout, out=out)
    op = "max_unpool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    n, c, h, w = arg.logical_shape(images.shape, order)
    size = unpooled_size(op, (h, w), kernel_size, stride, padding, output_size)
    winners = check_indices(op, indices, images.shape[single:])
    shape = arg.memory_shape((n, c, *size), order)
    output = arg.check_output(op, out, shape[single:], images.dtype, (images, winners))
    inside = _core.scatter_planes(
        arg.contiguous(images), winners.reshape(images.shape), output.reshape(shape), layout=order
    )
    refuse_outside(op, inside, winners, size[0] * size[1])
    return output


def max_unpool2d_backward(
    grad_output: Array, indices: Indices, *, layout: str = "NCHW", out: Array | None = None
) -> Array:
    """Gradient of `max_unpool2d`: grad_output at the indices.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    indices : ndarray of int32, shape of the forward input
    layout, out
        As for `max_unpool2d`.

    Returns
    -------
    ndarray, shape of `indices`
        Where windows shared a maximum, each gets the whole gradient.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_unpool2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.max_unpool2d_backward(grad_output, indices, layout=layout, out=out)
    op = "max_unpool2d_backward"
    order = arg.layout(op, layout)
    grad, single = arg.check_images(op, "grad_output", grad_output)
    winners = check_indices(op, indices, np.shape(indices))
    n, c, h, w = arg.logical_shape(grad.shape, order)
    if winners.ndim != 4 - single:
        raise ValueError(f"{op}: indices must have {4 - single} dimensions, got shape {winners.shape}")
    small = winners[np.newaxis].shape if single else winners.shape
    if arg.logical_shape(small, order)[:2] != (n, c):
        raise ValueError(f"{op}: indices must have the N and C of grad_output, got {winners.shape} for {grad.shape}")
    grad_input = arg.check_output(op, out, winners.shape, grad.dtype, (grad, winners))
    inside = _core.gather_planes(arg.contiguous(grad), winners.reshape(small), grad_input.reshape(small), layout=order)
    refuse_outside(op, inside, winners, h * w)
    return grad_input
