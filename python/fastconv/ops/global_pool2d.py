"""Pooling over the whole image: one window per channel. Results keep their two spatial axes, of size 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d_passes import Indices, avg_backward, avg_forward, flag, max_backward, max_forward


def _image_window(op: str, shape: Sequence[int], layout: arg.Layout) -> _core.Pool2dShape:
    n, c, h, w = arg.logical_shape(shape, layout)
    return _core.Pool2dShape((n, c, h, w), (h, w), (h, w), ((0, 0), (0, 0)), (1, 1), False, op)


def global_avg_pool2d(input: Array, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Mean of each image's channels.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image, and the result has three. N may be 0.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, 1), or (N, 1, 1, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.global_avg_pool2d(input, layout=layout, out=out)
    op = "global_avg_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    return avg_forward(op, _image_window(op, images.shape, order), images, single, order, out)


def global_avg_pool2d_backward(
    grad_output: Array, input_shape: Sequence[int], *, layout: str = "NCHW", out: Array | None = None
) -> Array:
    """Gradient of `global_avg_pool2d`: grad_output / (H*W) at every pixel.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.global_avg_pool2d_backward(grad_output, input_shape, layout=layout, out=out)
    op = "global_avg_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    return avg_backward(op, _image_window(op, full_shape, order), grad, full_shape, single, order, out)


@overload
def global_max_pool2d(
    input: Array, return_indices: Literal[False] = False, *, layout: str = "NCHW", out: Array | None = None
) -> Array: ...
@overload
def global_max_pool2d(
    input: Array, return_indices: Literal[True], *, layout: str = "NCHW", out: Array | None = None
) -> tuple[Array, Indices]: ...
def global_max_pool2d(
    input: Array, return_indices: bool = False, *, layout: str = "NCHW", out: Array | None = None
) -> Array | tuple[Array, Indices]:
    """Maximum of each image's channels.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image, and the result has three. N may be 0.
    return_indices : bool, default False
        Also return where each maximum was, as `max_pool2d` does.
    layout, out
        As for `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, 1), or (N, 1, 1, C) with layout "NHWC"
    indices : ndarray of int32, shape of the result
        With `return_indices`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.global_max_pool2d(input, return_indices, layout=layout, out=out)
    op = "global_max_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    with_indices = flag(op, "return_indices", return_indices)
    shape = _image_window(op, images.shape, order)
    output, indices = max_forward(op, shape, images, single, with_indices, order, out)
    return output if indices is None else (output, indices)


def global_max_pool2d_backward(
    grad_output: Array,
    indices: Indices,
    input_shape: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `global_max_pool2d`: all of it goes to the pixel that won.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    indices : ndarray of int32, shape of `grad_output`
        From `global_max_pool2d` with `return_indices`.
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    layout, out
        As for `max_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d_backward`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.global_max_pool2d_backward(grad_output, indices, input_shape, layout=layout, out=out)
    op = "global_max_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    shape = _image_window(op, full_shape, order)
    return max_backward(op, shape, grad, indices, full_shape, single, order, out)
