"""Adaptive pooling: an output of a given size from an image of any size (PyTorch's bins), and gradients.

Output row o sees the rows from floor(o*H/OH) up to ceil((o + 1)*H/OH), columns alike; bins of neighbours overlap by a
row where OH does not divide H. Where both sizes divide, these are the windows of `avg_pool2d` and `max_pool2d`, and
their kernels run. Otherwise: the mean adds rows, then columns; the maximum looks at every pixel of every bin (slower).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, overload

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d_passes import (
    Indices,
    avg_backward,
    avg_forward,
    check_indices,
    flag,
    max_backward,
    max_forward,
    refuse_outside,
)
from fastconv.ops.upsample import resample, resample_backward

AdaptiveSize: TypeAlias = int | Sequence[int | None] | None


def adaptive_size(op: str, value: object) -> tuple[int | None, int | None]:
    """(OH, OW) of an int, a pair, or None, which keeps the input's."""
    sizes = value if isinstance(value, tuple | list) else (value, value)
    if len(sizes) != 2:
        raise ValueError(f"{op}: output_size must be an int or a pair (height, width), got {arg.describe(value)}")
    height, width = (None if size is None else arg.integer(op, "output_size", size) for size in sizes)
    if any(size is not None and size < 1 for size in (height, width)):
        raise ValueError(f"{op}: output_size must be positive, got {arg.describe(value)}")
    return height, width


def adaptive_geometry(
    op: str, shape: Sequence[int], size: tuple[int | None, int | None]
) -> _core.Pool2dShape | _core.Resample2dShape:
    """Plain windows where the sizes divide, bins otherwise; `shape` is logical."""
    n, c, h, w = shape
    oh, ow = (h if size[0] is None else size[0]), (w if size[1] is None else size[1])
    if h % oh == 0 and w % ow == 0 and h > 0 and w > 0:
        window = (h // oh, w // ow)
        return _core.Pool2dShape((n, c, h, w), window, window, ((0, 0), (0, 0)), (1, 1), False, op)
    return _core.Resample2dShape((n, c, h, w), (oh, ow), "bins", op=op)


def adaptive_avg_pool2d(
    input: Array, output_size: AdaptiveSize, *, layout: str = "NCHW", out: Array | None = None
) -> Array:
    """Mean of each bin.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image. N may be 0.
    output_size : int or (OH, OW)
        None in the place of a size keeps the input's.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.adaptive_avg_pool2d(input, output_size, layout=layout, out=out)
    op = "adaptive_avg_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    shape = adaptive_geometry(op, arg.logical_shape(images.shape, order), adaptive_size(op, output_size))
    if isinstance(shape, _core.Pool2dShape):
        return avg_forward(op, shape, images, single, order, out)
    return resample(op, shape, images, single, order, out)


def adaptive_avg_pool2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    output_size: AdaptiveSize,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_avg_pool2d`: grad_output / (pixels of its bin), added up over the bins of a pixel.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    output_size, layout, out
        As for `adaptive_avg_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.adaptive_avg_pool2d_backward(grad_output, input_shape, output_size, layout=layout, out=out)
    op = "adaptive_avg_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    shape = adaptive_geometry(op, arg.logical_shape(full_shape, order), adaptive_size(op, output_size))
    if isinstance(shape, _core.Pool2dShape):
        return avg_backward(op, shape, grad, full_shape, single, order, out)
    return resample_backward(op, shape, grad, single, order, out)


@overload
def adaptive_max_pool2d(
    input: Array,
    output_size: AdaptiveSize,
    return_indices: Literal[False] = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array: ...
@overload
def adaptive_max_pool2d(
    input: Array,
    output_size: AdaptiveSize,
    return_indices: Literal[True],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> tuple[Array, Indices]: ...
def adaptive_max_pool2d(
    input: Array,
    output_size: AdaptiveSize,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array | tuple[Array, Indices]:
    """Maximum of each bin.

    Parameters
    ----------
    input, output_size, layout, out
        As for `adaptive_avg_pool2d`.
    return_indices : bool, default False
        Also return where each maximum was, as `max_pool2d` does.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"
        Of equal maxima the first counts; a bin with a NaN gives NaN.
    indices : ndarray of int32, shape of the result
        With `return_indices`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.adaptive_max_pool2d(input, output_size, return_indices, layout=layout, out=out)
    op = "adaptive_max_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    with_indices = flag(op, "return_indices", return_indices)
    shape = adaptive_geometry(op, arg.logical_shape(images.shape, order), adaptive_size(op, output_size))
    if isinstance(shape, _core.Pool2dShape):
        output, indices = max_forward(op, shape, images, single, with_indices, order, out)
        return output if indices is None else (output, indices)
    result_shape = arg.memory_shape(shape.output_shape, order)
    output = arg.check_output(op, out, result_shape[single:], images.dtype, (images,))
    places: Indices = arg.allocate(op, result_shape, np.dtype(np.int32))
    _core.resample2d_max(shape, arg.contiguous(images), output.reshape(result_shape), places, layout=order)
    return (output, places.reshape(output.shape)) if with_indices else output


def adaptive_max_pool2d_backward(
    grad_output: Array,
    indices: Indices,
    input_shape: Sequence[int],
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `adaptive_max_pool2d`: each output's gradient is added to the pixel that won.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    indices : ndarray of int32, shape of `grad_output`
        From `adaptive_max_pool2d` with `return_indices`.
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
        return gpu.adaptive_max_pool2d_backward(grad_output, indices, input_shape, layout=layout, out=out)
    op = "adaptive_max_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    n, c, h, w = arg.logical_shape(full_shape, order)
    batch = grad[np.newaxis] if single else grad
    gn, gc, oh, ow = arg.logical_shape(batch.shape, order)
    if (gn, gc) != (n, c):
        raise ValueError(f"{op}: grad_output must have the N and C of input_shape, got {grad.shape} for {input_shape}")
    shape = adaptive_geometry(op, (n, c, h, w), (oh, ow))
    if isinstance(shape, _core.Pool2dShape):
        return max_backward(op, shape, grad, indices, full_shape, single, order, out)
    winners = check_indices(op, indices, grad.shape)
    grad_input = arg.check_output(op, out, full_shape[single:], grad.dtype, (grad, winners))
    inside = _core.scatter_planes(
        arg.contiguous(batch), winners.reshape(batch.shape), grad_input.reshape(full_shape), layout=order, add=True
    )
    refuse_outside(op, inside, winners, h * w)
    return grad_input
