"""Transposed convolution and its gradients: the three passes of `conv2d` in other roles.

With input x of H x W pixels, weight w, stride s, dilation d, padding p, every pixel adds a window of filters to y,
which starts as bias[o]:

    y[n, o, ih*s_h - p_top + kh*d_h, iw*s_w - p_left + kw*d_w] += w[c, o, kh, kw] * x[n, c, ih, iw]

That is the gradient of the input of a convolution from y's size to x's. So forward is conv2d_backward_input, the
gradient of x is conv2d, the gradient of w is conv2d_backward_weight with x and grad_output exchanged; that of the bias
is `conv2d_backward_bias`. Reference: Dumoulin and Visin, arXiv 1603.07285, chapter 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, IntOrPair, PaddingArgument
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import refuse_slow_conv2d


def conv_transpose2d_geometry(
    op: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: object,
    padding: object,
    output_padding: object,
    groups: object,
    dilation: object,
    output_size: object,
    layout: arg.Layout,
) -> _core.Conv2dShape:
    """Judge the sizes; the result is the convolution in the other direction: its input is this one's output."""
    ic, oc, kh, kw = weight_shape
    return _core.conv_transpose2d_shape(
        arg.logical_shape(input_shape, layout),
        (ic, oc, kh, kw),
        arg.pair(op, "stride", stride),
        arg.padding(op, padding),
        arg.pair(op, "dilation", dilation),
        arg.integer(op, "groups", groups),
        arg.pair(op, "output_padding", output_padding),
        None if output_size is None else arg.pair(op, "output_size", output_size),
        op,
    )


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
    output_size: IntOrPair | None = None,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    algo: str = "auto",
    out: Array | None = None,
) -> Array:
    """Transposed convolution of a batch of images, which makes images larger by the stride.

    Letters: N images, C input channels, O output channels, H x W pixels, OH x OW output pixels, KH x KW taps,
    OH = (H - 1)*stride - top - bottom + dilation*(KH - 1) + 1 + output_padding, OW alike.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image, and the result has three. N may be 0.
    weight : ndarray, shape (C, O/groups, KH, KW), dtype of `input`
        In this order for both layouts.
    bias : ndarray, shape (O,), optional
    stride, dilation : int or (h, w), default 1
    padding : default 0
        Rows and columns that are left out around the result: as for `conv2d`. "same" and "same_lower" give
        OH = H*stride.
    output_padding : int or (h, w), default 0
        Rows at the bottom and columns at the right that are kept in addition; less than the stride. (PyTorch also takes
        more where the dilation is larger.)
    groups : int, default 1
    output_size : int or (OH, OW), optional
        Instead of `output_padding`: one of the `stride` sizes that are possible; an error lists them.
    layout, activation, algo, out
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (N, O, OH, OW), or (N, OH, OW, O) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        geometry = stride, padding, output_padding, groups, dilation, output_size
        options = {"layout": layout, "activation": activation, "algo": algo, "out": out}
        return gpu.conv_transpose2d(input, weight, bias, *geometry, **options)
    op = "conv_transpose2d"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    weight = arg.check_array(op, "weight", weight, 4, images.dtype)
    shape = conv_transpose2d_geometry(
        op, images.shape, weight.shape, stride, padding, output_padding, groups, dilation, output_size, order
    )
    if bias is not None:
        bias = arg.check_array(op, "bias", bias, 1, images.dtype)
        arg.check_shape(op, "bias", bias, shape.input_shape[1:2])
    fused = arg.activation(op, activation)
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "backward_input", {"input": images, "weight": weight}, order, chosen)
    result_shape = arg.memory_shape(shape.input_shape, order)[single:]
    output = arg.check_output(op, out, result_shape, images.dtype, (images, weight, bias))
    _core.conv_transpose2d_forward(
        shape,
        arg.contiguous(images),
        arg.contiguous(weight),
        None if bias is None else arg.contiguous(bias),
        output[None] if single else output,
        layout=order,
        activation=fused,
        algo=chosen,
    )
    return output


def conv_transpose2d_backward_input(
    input_shape: Sequence[int],
    weight: Array,
    grad_output: Array,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
    output_size: IntOrPair | None = None,
    *,
    layout: str = "NCHW",
    algo: str = "auto",
    out: Array | None = None,
) -> Array:
    """Gradient of `conv_transpose2d` with respect to its input: `conv2d` of `grad_output` with the same weight.

    Parameters
    ----------
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    weight : ndarray, shape (C, O/groups, KH, KW), float32 or float64
    grad_output : ndarray, shape of the forward result, dtype of `weight`
    stride, padding, output_padding, groups, dilation, output_size, layout, algo, out
        As for `conv_transpose2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(weight) is not np.ndarray and (gpu := gpu_ops(weight)):
        return gpu.conv_transpose2d_backward_input(
            input_shape,
            weight,
            grad_output,
            stride,
            padding,
            output_padding,
            groups,
            dilation,
            output_size,
            layout=layout,
            algo=algo,
            out=out,
        )
    op = "conv_transpose2d_backward_input"
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    weight = arg.check_array(op, "weight", weight, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single, weight.dtype)
    shape = conv_transpose2d_geometry(
        op, full_shape, weight.shape, stride, padding, output_padding, groups, dilation, output_size, order
    )
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.input_shape, order)[single:])
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "forward", {"weight": weight, "grad_output": grad}, order, chosen)
    grad_input = arg.check_output(op, out, full_shape[single:], weight.dtype, (weight, grad))
    grad = arg.contiguous(grad)
    _core.conv2d_forward(
        shape,
        grad[None] if single else grad,
        arg.contiguous(weight),
        None,
        grad_input[None] if single else grad_input,
        layout=order,
        algo=chosen,
    )
    return grad_input


def conv_transpose2d_backward_weight(
    input: Array,
    weight_shape: Sequence[int],
    grad_output: Array,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
    output_size: IntOrPair | None = None,
    *,
    layout: str = "NCHW",
    algo: str = "auto",
    out: Array | None = None,
) -> Array:
    """Gradient of `conv_transpose2d` with respect to its weight: that of `conv2d`, input and gradient exchanged.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image.
    weight_shape : tuple (C, O/groups, KH, KW)
    grad_output : ndarray, shape of the forward result, dtype of `input`
    stride, padding, output_padding, groups, dilation, output_size, layout, algo, out
        As for `conv_transpose2d`.

    Returns
    -------
    ndarray of shape `weight_shape`; zeros if N = 0

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.conv_transpose2d_backward_weight(
            input,
            weight_shape,
            grad_output,
            stride,
            padding,
            output_padding,
            groups,
            dilation,
            output_size,
            layout=layout,
            algo=algo,
            out=out,
        )
    op = "conv_transpose2d_backward_weight"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    full_shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single, images.dtype)
    shape = conv_transpose2d_geometry(
        op, images.shape, full_shape, stride, padding, output_padding, groups, dilation, output_size, order
    )
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.input_shape, order)[single:])
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "backward_weight", {"input": images, "grad_output": grad}, order, chosen)
    grad_weight = arg.check_output(op, out, full_shape, images.dtype, (images, grad))
    grad = arg.contiguous(grad)
    _core.conv2d_backward_weight(
        shape,
        grad[None] if single else grad,
        arg.contiguous(images),
        grad_weight,
        layout=order,
        algo=chosen,
    )
    return grad_weight
