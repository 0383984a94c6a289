"""Two-dimensional convolution (cross-correlation) and its three gradients.

With input x, weight w, stride s, dilation d and padding p, for every image n and output channel o of a group:

    y[n, o, oh, ow] = bias[o] + sum over c, kh, kw of  w[o, c, kh, kw] * x[n, c, ih, iw]
    ih = oh*s_h - p_top + kh*d_h,   iw = ow*s_w - p_left + kw*d_w,   x is 0 outside the image

The gradients are this sum read the other way round: grad_input collects w * grad_output over all (o, kh, kw) that
reach a pixel, grad_weight collects x * grad_output over all (n, oh, ow), grad_bias sums grad_output.
Reference: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285.
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


def conv2d_geometry(
    op: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    layout: arg.Layout,
) -> _core.Conv2dShape:
    """Judge the sizes; everything after this can rely on them."""
    oc, ic, kh, kw = weight_shape
    return _core.Conv2dShape(
        arg.logical_shape(input_shape, layout),
        (oc, ic, kh, kw),
        arg.pair(op, "stride", stride),
        arg.padding(op, padding),
        arg.pair(op, "dilation", dilation),
        arg.integer(op, "groups", groups),
        op,
    )


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    algo: str = "auto",
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve a batch of images with a set of filters.

    Letters: N images, C input channels, O output channels, H x W pixels, OH x OW output pixels, KH x KW taps,
    OH = floor((H + top + bottom - dilation*(KH - 1) - 1) / stride) + 1, OW alike.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image, and the result has three. N may be 0.
    weight : ndarray, shape (O, C/groups, KH, KW), dtype of `input`
        In this order for both layouts.
    bias : ndarray, shape (O,), optional
    stride, dilation : int or (h, w), default 1
    padding : default 0
        Rows and columns of zeros around the image: int, (h, w), ((top, bottom), (left, right)), or "valid" (none),
        "same" (out = ceil(in / stride), an odd zero at the end), "same_lower" (an odd zero at the start).
    groups : int, default 1
        Split channels into groups that do not see each other; groups = C is a depthwise convolution.
    layout : "NCHW" or "NHWC", default "NCHW"
        How `input` and the result lie in memory. It is never guessed from strides.
    activation : None or "relu", optional
        Applied as the result is stored, at no cost.
    algo : "auto", "direct" or "winograd", default "auto"
        "direct": the sum above as it stands. "winograd": minimal filtering wherever it can compute the pass (float32,
        stride 1, 3x3 or 5x5, 16 channels a group or more), direct elsewhere. "auto" is `fastconv.config.algo`, which is
        the library's choice unless set. `fastconv.explain` tells what is chosen, docs/numerics.md what error it has.
    precision : {None, "ieee", "tf32", "tf32x3"}, optional
        How tensor cores multiply float32 arrays on a GPU: see `fastconv.cuda.conv2d`. NumPy arrays are multiplied
        exactly, and take None or "ieee" alone.
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable, not overlapping an input.

    Returns
    -------
    ndarray, shape (N, O, OH, OW), or (N, OH, OW, O) with layout "NHWC"

    Raises
    ------
    TypeError
        For anything but float32 or float64 arrays of one dtype, and for sizes that are no integers.
    ValueError
        For shapes and sizes that do not fit each other, and an `out` that cannot be written.
    MemoryError
        If the result, or the scratch memory of the kernel, does not fit.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.conv2d(
            input,
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
            layout=layout,
            activation=activation,
            algo=algo,
            precision=precision,
            out=out,
        )
    op = "conv2d"
    arg.exact(op, precision)
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    weight = arg.check_array(op, "weight", weight, 4, images.dtype)
    shape = conv2d_geometry(op, images.shape, weight.shape, stride, padding, dilation, groups, order)
    if bias is not None:
        bias = arg.check_array(op, "bias", bias, 1, images.dtype)
        arg.check_shape(op, "bias", bias, weight.shape[:1])
    fused = arg.activation(op, activation)
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "forward", {"input": images, "weight": weight}, order, chosen)
    result_shape = arg.memory_shape(shape.output_shape, order)[single:]
    output = arg.check_output(op, out, result_shape, images.dtype, (images, weight, bias))
    _core.conv2d_forward(
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


def conv2d_backward_input(
    input_shape: Sequence[int],
    weight: Array,
    grad_output: Array,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    layout: str = "NCHW",
    algo: str = "auto",
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `conv2d` with respect to its input; also known as dgrad or transposed convolution.

    Parameters
    ----------
    input_shape : tuple of ints
        Shape of the forward input, in the order of `layout`; three entries for one image.
    weight : ndarray, shape (O, C/groups, KH, KW), float32 or float64
    grad_output : ndarray, shape of the forward result, dtype of `weight`
    stride, padding, dilation, groups, layout, algo, precision, out
        As for `conv2d`.

    Returns
    -------
    ndarray of shape `input_shape`

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        options = {"layout": layout, "algo": algo, "precision": precision, "out": out}
        return gpu.conv2d_backward_input(input_shape, weight, grad_output, stride, padding, dilation, groups, **options)
    op = "conv2d_backward_input"
    arg.exact(op, precision)
    order = arg.layout(op, layout)
    full_shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    weight = arg.check_array(op, "weight", weight, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single, weight.dtype)
    shape = conv2d_geometry(op, full_shape, weight.shape, stride, padding, dilation, groups, order)
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.output_shape, order)[single:])
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "backward_input", {"weight": weight, "grad_output": grad}, order, chosen)
    grad_input = arg.check_output(op, out, full_shape[single:], weight.dtype, (weight, grad))
    grad = arg.contiguous(grad)
    _core.conv2d_backward_input(
        shape,
        arg.contiguous(weight),
        grad[None] if single else grad,
        grad_input[None] if single else grad_input,
        layout=order,
        algo=chosen,
    )
    return grad_input


def conv2d_backward_weight(
    input: Array,
    weight_shape: Sequence[int],
    grad_output: Array,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    layout: str = "NCHW",
    algo: str = "auto",
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of `conv2d` with respect to its weight, summed over the batch; also known as wgrad.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). Three dimensions are one image.
    weight_shape : tuple (O, C/groups, KH, KW)
    grad_output : ndarray, shape of the forward result, dtype of `input`
    stride, padding, dilation, groups, layout, algo, precision, out
        As for `conv2d`.

    Returns
    -------
    ndarray of shape `weight_shape`; zeros if N = 0

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `conv2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        options = {"layout": layout, "algo": algo, "precision": precision, "out": out}
        return gpu.conv2d_backward_weight(
            input, weight_shape, grad_output, stride, padding, dilation, groups, **options
        )
    op = "conv2d_backward_weight"
    arg.exact(op, precision)
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    full_shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    grad = arg.check_array(op, "grad_output", grad_output, 4 - single, images.dtype)
    shape = conv2d_geometry(op, images.shape, full_shape, stride, padding, dilation, groups, order)
    arg.check_shape(op, "grad_output", grad, arg.memory_shape(shape.output_shape, order)[single:])
    chosen = arg.algorithm(op, algo)
    if config.strict:
        refuse_slow_conv2d(op, shape, "backward_weight", {"input": images, "grad_output": grad}, order, chosen)
    grad_weight = arg.check_output(op, out, full_shape, images.dtype, (images, grad))
    grad = arg.contiguous(grad)
    _core.conv2d_backward_weight(
        shape,
        arg.contiguous(images),
        grad[None] if single else grad,
        grad_weight,
        layout=order,
        algo=chosen,
    )
    return grad_weight


def conv2d_backward_bias(grad_output: Array, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Gradient of `conv2d` with respect to its bias: `grad_output` summed over images and pixels.

    Parameters
    ----------
    grad_output : ndarray, shape (N, O, OH, OW), float32 or float64
        With layout "NHWC": (N, OH, OW, O). Three dimensions are one image.
    layout, out
        As for `conv2d`.

    Returns
    -------
    ndarray, shape (O,); zeros if N = 0

    Raises
    ------
    TypeError, ValueError
        As for `conv2d`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.conv2d_backward_bias(grad_output, layout=layout, out=out)
    op = "conv2d_backward_bias"
    order = arg.layout(op, layout)
    grad, _ = arg.check_images(op, "grad_output", grad_output)
    channels = arg.logical_shape(grad.shape, order)[1]
    grad_bias = arg.check_output(op, out, (channels,), grad.dtype, (grad,))
    _core.conv2d_backward_bias(arg.contiguous(grad), grad_bias, layout=order)
    return grad_bias
