"""Max and average pooling, and their gradients.

Output pixel (oh, ow) sees the window of input pixels

    ih = oh*s_h - p_top + kh*d_h,   iw = ow*s_w - p_left + kw*d_w,   0 <= kh < KH, 0 <= kw < KW

as far as they lie inside the image. The output size is floor((H + top + bottom - d*(KH - 1) - 1) / s) + 1; with
`ceil_mode` it is rounded up, but no window begins in the padding after the image (PyTorch's rule). Padding is at most
half of the kernel. Max pooling sends a gradient to the pixel that won, average pooling spreads it over the window.
Reference: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998 (subsampling).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv.ops.device import gpu_ops
from fastconv.ops.pool2d_passes import Indices, avg_backward, avg_forward, flag, max_backward, max_forward


def pool2d_geometry(
    op: str,
    input_shape: Sequence[int],
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
    layout: arg.Layout,
) -> _core.Pool2dShape:
    """Judge the sizes; everything after this can rely on them."""
    window = arg.pair(op, "kernel_size", kernel_size)
    return _core.Pool2dShape(
        arg.logical_shape(input_shape, layout),
        window,
        window if stride is None else arg.pair(op, "stride", stride),
        arg.explicit_padding(op, padding),
        arg.pair(op, "dilation", dilation),
        flag(op, "ceil_mode", ceil_mode),
        op,
    )


def _divisor(op: str, divisor_override: object) -> int:
    """0 stands for none in the native module."""
    if divisor_override is None:
        return 0
    divisor = arg.integer(op, "divisor_override", divisor_override)
    if divisor == 0:
        raise ValueError(f"{op}: divisor_override must not be zero, got 0")
    return divisor


@overload
def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array: ...
@overload
def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    layout: str = "NCHW",
    out: Array | None = None,
) -> tuple[Array, Indices]: ...
def max_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array | tuple[Array, Indices]:
    """Maximum of each window.

    Letters: N images, C channels, H x W pixels, OH x OW output pixels, KH x KW pixels under a window.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image, and the result has three. N may be 0.
    kernel_size : int or (KH, KW)
    stride : int or (h, w), default `kernel_size`
    padding : int, (h, w) or ((top, bottom), (left, right)), default 0
        At most half of the kernel; a padded place never wins.
    dilation : int or (h, w), default 1
    ceil_mode : bool, default False
        Round the output size up.
    return_indices : bool, default False
        Also return where each maximum was.
    layout : "NCHW" or "NHWC", default "NCHW"
        How `input` and the result lie in memory; neither is converted to the other.
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable, not overlapping `input`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"
        Of equal maxima the first counts; a window with a NaN gives NaN.
    indices : ndarray of int32, shape of the result
        With `return_indices`: row*W + column of the maximum (of the first NaN) in its plane, in either layout.

    Raises
    ------
    TypeError
        For anything but float32 or float64 arrays, and for sizes that are no integers.
    ValueError
        For shapes and sizes that do not fit each other, and an `out` that cannot be written.
    MemoryError
        If the result does not fit.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.max_pool2d(
            input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout=layout, out=out
        )
    op = "max_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    with_indices = flag(op, "return_indices", return_indices)
    shape = pool2d_geometry(op, images.shape, kernel_size, stride, padding, dilation, ceil_mode, order)
    output, indices = max_forward(op, shape, images, single, with_indices, order, out)
    return output if indices is None else (output, indices)


def max_pool2d_backward(
    grad_output: Array,
    indices: Indices,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `max_pool2d`: each output's gradient goes to the pixel that won; where windows overlap they add up.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    indices : ndarray of int32, shape of `grad_output`
        From `max_pool2d` with `return_indices` and the same options.
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    kernel_size, stride, padding, dilation, ceil_mode, layout, out
        As for `max_pool2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`; ValueError also for an index outside the plane.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.max_pool2d_backward(
            grad_output, indices, input_shape, kernel_size, stride, padding, dilation, ceil_mode, layout=layout, out=out
        )
    op = "max_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    shape = pool2d_geometry(op, full_shape, kernel_size, stride, padding, dilation, ceil_mode, order)
    return max_backward(op, shape, grad, indices, full_shape, single, order, out)


def avg_pool2d(
    input: Array,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Mean of each window.

    Parameters
    ----------
    input, kernel_size, stride, padding, ceil_mode, layout, out
        As for `max_pool2d`; padding is zeros.
    count_include_pad : bool, default True
        Divide by the pixels and the padding under the window; False: by the pixels alone. What `ceil_mode` adds
        beyond the padding never counts.
    divisor_override : int, optional
        Divide every sum by this instead; not zero.

    Returns
    -------
    ndarray, shape (N, C, OH, OW), or (N, OH, OW, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `max_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.avg_pool2d(
            input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout=layout, out=out
        )
    op = "avg_pool2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    shape = pool2d_geometry(op, images.shape, kernel_size, stride, padding, 1, ceil_mode, order)
    include_pad = flag(op, "count_include_pad", count_include_pad)
    return avg_forward(op, shape, images, single, order, out, include_pad, _divisor(op, divisor_override))


def avg_pool2d_backward(
    grad_output: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `avg_pool2d`: each output's gradient, divided as the output was, goes to every pixel of its window.

    Parameters
    ----------
    grad_output : ndarray, shape of the forward result, float32 or float64
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out
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
        return gpu.avg_pool2d_backward(
            grad_output,
            input_shape,
            kernel_size,
            stride,
            padding,
            ceil_mode,
            count_include_pad,
            divisor_override,
            layout=layout,
            out=out,
        )
    op = "avg_pool2d_backward"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single)
    shape = pool2d_geometry(op, full_shape, kernel_size, stride, padding, 1, ceil_mode, order)
    include_pad = flag(op, "count_include_pad", count_include_pad)
    return avg_backward(op, shape, grad, full_shape, single, order, out, include_pad, _divisor(op, divisor_override))
