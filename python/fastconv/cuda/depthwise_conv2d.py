"""The gradients of depthwise convolution, right above their kernels; `conv2d` takes the forward one by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv.cuda import arrays, native
from fastconv.cuda.conv2d import geometry, output_shape
from fastconv.cuda.elementwise import mask_shape
from fastconv.cuda.launch import Launch
from fastconv.ops import arguments as arg
from fastconv.ops.arguments import IntOrPair, PaddingArgument


def depthwise_conv2d_backward_input(
    input_shape: Sequence[int],
    weight: Any,
    grad_output: Any,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    *,
    mask: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with groups=C in its input, of shape `input_shape` = (N, H, W, C).

    `mask` is that of a ReLU before the convolution (`fastconv.cuda.relu`): the gradient is 0 where its bit is not set.
    """
    op = "conv2d_backward_input"
    w, gy = arrays.view(op, "weight", weight, 4), arrays.view(op, "grad_output", grad_output, 4)
    full = arg.shape_tuple(op, "input_shape", input_shape, 4)
    shape = geometry(op, full, w.shape, stride, padding, dilation, full[3])
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    bits = None if mask is None else arrays.view(op, "mask", mask, 1, "uint32")
    if bits is not None:
        arrays.check_shape(op, "mask", bits, mask_shape(full))
    result = arrays.output(op, out, grad_output, full)
    gx = arrays.view(op, "out", result, 4, write=True)
    with Launch(op, gy, w, bits, gx) as stream:
        native.module(op).depthwise_conv2d_backward_input(
            shape, w.address, gy.address, bits.address if bits else 0, gx.address, stream=stream
        )
    return result


def depthwise_conv2d_backward_weight(
    input: Any,
    weight_shape: Sequence[int],
    grad_output: Any,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    *,
    workspace: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with groups=C in its weight, of shape `weight_shape` = (O, KH, KW, 1).

    Sums have one order, without atomics. `workspace` may be any float32 array of at least
    `depthwise_conv2d_backward_weight_workspace` bytes, at most 16 MB; without one it is allocated.
    """
    op = "conv2d_backward_weight"
    x, gy = arrays.view(op, "input", input, 4), arrays.view(op, "grad_output", grad_output, 4)
    full = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    shape = geometry(op, x.shape, full, stride, padding, dilation, x.shape[3])
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    result = arrays.output(op, out, input, full)
    gw = arrays.view(op, "out", result, 4, write=True)
    needed = native.module(op).depthwise_conv2d_backward_weight_workspace(shape) // 4
    scratch = None
    if needed:
        workspace = arrays.empty(op, input, (needed,)) if workspace is None else workspace
        scratch = arrays.view(op, "workspace", workspace, write=True)
        if arrays.count(scratch.shape) < needed:
            raise ValueError(f"{op}: workspace must have {needed} elements, got {arrays.count(scratch.shape)}")
    with Launch(op, x, gy, gw, scratch) as stream:
        native.module(op).depthwise_conv2d_backward_weight(
            shape, x.address, gy.address, gw.address, scratch.address if scratch else 0, stream=stream
        )
    return result


def depthwise_conv2d_backward_weight_workspace(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
) -> int:
    """Bytes that `depthwise_conv2d_backward_weight` needs; 0 where it adds up in one pass."""
    op = "conv2d_backward_weight"
    full = arg.shape_tuple(op, "input_shape", input_shape, 4)
    filters = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    shape = geometry(op, full, filters, stride, padding, dilation, full[3])
    return int(native.module(op).depthwise_conv2d_backward_weight_workspace(shape))
