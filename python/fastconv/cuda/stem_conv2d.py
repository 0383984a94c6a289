"""A network's first convolution, straight from images as most libraries have them: (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.cuda import arrays, native
from fastconv.cuda.conv2d import geometry, output_shape
from fastconv.cuda.conv2d_backward import accumulates, workspace_view
from fastconv.cuda.launch import Launch


def stem_conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """Convolve images of 1 to 4 channels, in either layout; the result is channels last in both cases.

    For float32 images that are channels last already, `conv2d` takes the same kernel by itself; those of 16 bits go to
    tensor cores there.

    Parameters
    ----------
    input : array on a GPU, shape (N, C, H, W), or (N, H, W, C) with layout "NHWC"; float32, float16 or bfloat16
    weight : array of the same dtype, shape (O, KH, KW, C)
    bias : array of the same dtype, shape (O,), optional
    stride, padding, dilation
        As for `fastconv.ops.conv2d`.
    layout : "NCHW" or "NHWC", default "NCHW"
        How `input` lies in memory.
    activation : None or "relu", optional
    out : array, shape (N, OH, OW, O), optional

    Returns
    -------
    array of the library of `input`, shape (N, OH, OW, O)

    Raises
    ------
    TypeError, ValueError
        For arrays and sizes that do not fit, more channels, and filters too large for shared memory.
    CudaError
        If there are no kernels or the launch fails.
    """
    op = "stem_conv2d"
    planar = arg.layout(op, layout) == "NCHW"
    x = arrays.view_floats(op, "input", input, 4)
    w = arrays.view(op, "weight", weight, 4, x.dtype)
    channels_last = (x.shape[0], x.shape[2], x.shape[3], x.shape[1]) if planar else x.shape
    shape = geometry(op, channels_last, w.shape, stride, padding, dilation, 1)
    b = None if bias is None else arrays.view(op, "bias", bias, 1, x.dtype)
    if b is not None:
        arrays.check_shape(op, "bias", b, w.shape[:1])
    relu = arg.activation(op, activation) == "relu"
    result = arrays.output(op, out, input, output_shape(shape), x.dtype)
    y = arrays.view(op, "out", result, 4, x.dtype, write=True)
    with Launch(op, x, w, b, y) as stream:
        native.module(op).stem_conv2d_forward(
            shape,
            x.address,
            w.address,
            b.address if b else 0,
            y.address,
            planar=planar,
            relu=relu,
            dtype=x.dtype,
            stream=stream,
        )
    return result


def stem_conv2d_backward_weight(
    input: Any,
    weight_shape: Sequence[int],
    grad_output: Any,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    *,
    layout: str = "NCHW",
    accumulate: bool = False,
    workspace: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of `stem_conv2d` with respect to its weight, summed over the batch; the same bits in every run.

    For images that are channels last, `conv2d_backward_weight` takes the same kernel by itself.

    Parameters
    ----------
    input : array on a GPU, shape (N, C, H, W), or (N, H, W, C) with layout "NHWC"; float32
    weight_shape : (O, KH, KW, C)
    grad_output : array of float32, shape (N, OH, OW, O)
    stride, padding, dilation
        As for `fastconv.ops.conv2d`.
    layout : "NCHW" or "NHWC", default "NCHW"
        How `input` lies in memory.
    accumulate : bool
        Add to what `out` holds.
    workspace : array, float32, one dimension, optional
        Of the size that an error names, 17.3 MB at most; allocated by the library of `input` otherwise.
    out : array of float32, shape `weight_shape`, optional

    Returns
    -------
    array of the library of `input`, shape `weight_shape`; zeros if N = 0

    Raises
    ------
    TypeError, ValueError
        For arrays and sizes that do not fit, more channels, and filters too large for shared memory.
    CudaError
        If there are no kernels or the launch fails.
    """
    op = "stem_conv2d_backward_weight"
    planar = arg.layout(op, layout) == "NCHW"
    w_shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    x = arrays.view(op, "input", input, 4)
    gy = arrays.view(op, "grad_output", grad_output, 4)
    channels_last = (x.shape[0], x.shape[2], x.shape[3], x.shape[1]) if planar else x.shape
    shape = geometry(op, channels_last, w_shape, stride, padding, dilation, 1)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    adds = accumulates(op, accumulate, out)
    module = native.module(op)
    needed = module.stem_conv2d_backward_weight_workspace_bytes(shape)
    result = arrays.output(op, out, input, w_shape)
    gw = arrays.view(op, "out", result, 4, write=True)
    work = workspace_view(op, workspace, input, needed)
    with Launch(op, x, gy, gw, work) as stream:
        module.stem_conv2d_backward_weight(
            shape,
            x.address,
            gy.address,
            gw.address,
            work.address,
            needed,
            planar=planar,
            accumulate=adds,
            stream=stream,
        )
    return result
