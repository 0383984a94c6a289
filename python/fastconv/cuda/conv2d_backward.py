"""Gradients of convolution on a GPU, right above the kernels: NHWC images, (O, KH, KW, C/groups) weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.conv2d import first_of, geometry, output_shape, precision_name, scratch_of
from fastconv.cuda.elementwise import mask_shape
from fastconv.cuda.operation import Operation, Output, Plan


def _check_mask(op: str, mask: View | None, shape: tuple[int, ...]) -> None:
    """One bit for each element of an array of this shape, as `relu` writes them."""
    if mask is not None:
        arrays.check_shape(op, "mask", arrays.view(op, "mask", mask, 1, "uint32"), mask_shape(shape))


def workspace_view(op: str, workspace: Any, like: Any, needed: int) -> arrays.View:
    """The caller's, or a new one of the library of `like`."""
    floats = (needed + 3) // 4
    if workspace is None:
        workspace = arrays.empty(op, like, (floats,))
    work = arrays.view(op, "workspace", workspace, 1, write=True)
    if work.shape[0] < floats:
        raise ValueError(f"{op}: workspace must have at least {floats} elements, got {work.shape[0]}")
    return work


def accumulates(op: str, accumulate: bool, out: Any) -> bool:
    if arg.flag(op, "accumulate", accumulate) and out is None:
        raise ValueError(f"{op}: accumulate=True needs out, which it adds to, got None")
    return accumulate


def _scratch(op: str, workspace: View | None, needed: int) -> tuple[Output, ...]:
    """What is needed beside the result and was not given."""
    if workspace is None:
        return scratch_of(needed)
    if needed:
        workspace_view(op, workspace, workspace, needed)
    return ()


def _kind_of_sum(out: View | None, dtype: str) -> str:
    """The dtype of a sum over the batch: that of the arrays, or float32 if `out` is so."""
    return "float32" if out is not None and out.dtype == "float32" else dtype


def judge_conv2d_backward_input(
    op: str,
    grad_output: View,
    weight: View,
    mask: View | None,
    out: View | None,
    input_shape: object,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    precision: object,
) -> Plan:
    x_shape = arg.shape_tuple(op, "input_shape", input_shape, 4)
    gy, dtype = first_of(op, "grad_output", grad_output, 4)
    w = arrays.view(op, "weight", weight, 4, dtype)
    shape = geometry(op, x_shape, w.shape, stride, padding, dilation, groups)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    _check_mask(op, mask, x_shape)
    how = precision_name(op, precision)
    if out is not None:
        arrays.check_result(op, out, x_shape, dtype)
    module = native.module(op)
    nbytes = module.conv2d_backward_input_workspace_bytes(shape, dtype=dtype, precision=how)
    run = module.plan_conv2d_backward_input(shape, dtype=dtype, precision=how, workspace_bytes=nbytes, op=op)
    return Plan(run, (Output(x_shape, dtype),), scratch_of(nbytes))


def judge_conv2d_backward_weight(
    op: str,
    input: View,
    grad_output: View,
    workspace: View | None,
    out: View | None,
    weight_shape: object,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    accumulate: Any,
    precision: object,
) -> Plan:
    module = native.module(op)
    w_shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    x, dtype = first_of(op, "input", input, 4)
    gy = arrays.view(op, "grad_output", grad_output, 4, dtype)
    shape = geometry(op, x.shape, w_shape, stride, padding, dilation, groups)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    adds = accumulates(op, accumulate, out)
    how = precision_name(op, precision)
    kind = _kind_of_sum(out, dtype)
    if out is not None:
        arrays.check_result(op, out, w_shape, kind)
    scratch = _scratch(op, workspace, module.conv2d_backward_weight_workspace_bytes(shape, dtype=dtype, precision=how))
    run = module.plan_conv2d_backward_weight(
        shape, dtype=dtype, precision=how, wide=kind == "float32", accumulate=adds, op=op
    )
    return Plan(run, (Output(w_shape, kind),), scratch)


def judge_conv2d_backward_bias(
    op: str,
    grad_output: View,
    mask: View | None,
    masked: View | None,
    workspace: View | None,
    out: View | None,
    accumulate: Any,
) -> Plan:
    module = native.module(op)
    gy, dtype = first_of(op, "grad_output", grad_output, None)
    if not gy.shape or not gy.shape[-1]:
        raise ValueError(f"{op}: grad_output must have channels in its last dimension, got shape {gy.shape}")
    channels, pixels = gy.shape[-1], arrays.count(gy.shape[:-1])
    _check_mask(op, mask, gy.shape)
    if masked is not None:
        if mask is None:
            raise ValueError(f"{op}: masked needs a mask, got None")
        arrays.check_shape(op, "masked", arrays.view(op, "masked", masked, None, dtype, write=True), gy.shape)
    adds = accumulates(op, accumulate, out)
    kind = _kind_of_sum(out, dtype)
    if out is not None:
        arrays.check_result(op, out, (channels,), kind)
    scratch = _scratch(op, workspace, module.conv2d_backward_bias_workspace_bytes(pixels, channels, dtype=dtype))
    wide = kind == "float32"
    run = module.plan_conv2d_backward_bias(pixels, channels, dtype=dtype, wide=wide, accumulate=adds, op=op)
    return Plan(run, (Output((channels,), kind),), scratch)


_backward_input = Operation("conv2d_backward_input", ("grad_output", "weight", "mask"), judge_conv2d_backward_input)
_backward_weight = Operation(
    "conv2d_backward_weight", ("input", "grad_output", "workspace"), judge_conv2d_backward_weight
)
_backward_bias = Operation(
    "conv2d_backward_bias", ("grad_output", "mask", "masked", "workspace"), judge_conv2d_backward_bias
)


def conv2d_backward_input(
    input_shape: Sequence[int],
    weight: Any,
    grad_output: Any,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    mask: Any = None,
    precision: str | None = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its input, and of a ReLU before it.

    Parameters
    ----------
    input_shape : (N, H, W, C)
    weight : array on a GPU, shape (O, KH, KW, C/groups), of the dtype of `grad_output`
    grad_output : array, shape (N, OH, OW, O), float32, float16 or bfloat16
    stride, padding, dilation, groups
        As for `fastconv.ops.conv2d`.
    mask : array of uint32, optional
        The mask that `relu` wrote when it made the input: the gradient is 0 where a bit is not set.
    precision : {None, "ieee", "tf32", "tf32x3"}, optional
        As for `conv2d`.
    out : array of the same dtype, shape `input_shape`, optional

    Returns
    -------
    array of the library of `grad_output`, shape `input_shape`

    Raises
    ------
    TypeError, ValueError, CudaError
        As for `conv2d`.
    """
    options = (input_shape, stride, padding, dilation, groups, precision)
    return _backward_input((grad_output, weight, mask), out, options)


def conv2d_backward_weight_workspace_bytes(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    dtype: str = "float32",
    precision: str | None = None,
) -> int:
    """Bytes that `conv2d_backward_weight` needs beside its result: 17.3 MB at most, often 0."""
    op = "conv2d_backward_weight"
    x_shape, w_shape = (
        arg.shape_tuple(op, "input_shape", input_shape, 4),
        arg.shape_tuple(op, "weight_shape", weight_shape, 4),
    )
    shape = geometry(op, x_shape, w_shape, stride, padding, dilation, groups)
    how = {"dtype": dtype, "precision": precision_name(op, precision)}
    return int(native.module(op).conv2d_backward_weight_workspace_bytes(shape, **how))


def conv2d_backward_weight(
    input: Any,
    weight_shape: Sequence[int],
    grad_output: Any,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    accumulate: bool = False,
    precision: str | None = None,
    workspace: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its weight, summed over the batch; the same bits in every run.

    Parameters
    ----------
    input : array on a GPU, shape (N, H, W, C), float32, float16 or bfloat16
    weight_shape : (O, KH, KW, C/groups)
    grad_output : array of the same dtype, shape (N, OH, OW, O)
    stride, padding, dilation, groups
        As for `fastconv.ops.conv2d`.
    accumulate : bool
        Add to what `out` holds.
    precision : {None, "ieee", "tf32", "tf32x3"}, optional
        As for `conv2d`.
    workspace : array, float32, one dimension, optional
        Of `conv2d_backward_weight_workspace_bytes` or more; allocated by the library of `input` otherwise.
    out : array of the same dtype or float32, shape `weight_shape`, optional
        float32 takes the sums of float16 and bfloat16 without rounding them.

    Returns
    -------
    array of the library of `input`, shape `weight_shape`; zeros if N = 0

    Raises
    ------
    TypeError, ValueError, CudaError
        As for `conv2d`.
    """
    options = (weight_shape, stride, padding, dilation, groups, accumulate, precision)
    return _backward_weight((input, grad_output, workspace), out, options)


def conv2d_backward_bias(
    grad_output: Any,
    *,
    mask: Any = None,
    masked: Any = None,
    accumulate: bool = False,
    workspace: Any = None,
    out: Any = None,
) -> Any:
    """Gradient of `conv2d` with respect to its bias, and of a ReLU behind it.

    Parameters
    ----------
    grad_output : array on a GPU, shape (..., O), float32, float16 or bfloat16
    mask : array of uint32, optional
        The mask that `relu` wrote behind the convolution: grad_output counts where its bit is set.
    masked : array of the shape and dtype of `grad_output`, optional
        Takes grad_output times the mask, which the gradients of input and weight need; may be `grad_output`.
    accumulate : bool
        Add to what `out` holds.
    workspace : array, float32, one dimension, optional
        Of `conv2d_backward_bias_workspace_bytes` or more; allocated by the library of `grad_output` otherwise.
    out : array of the same dtype or float32, shape (O,), optional
        float32 takes the sums of float16 and bfloat16 without rounding them.

    Returns
    -------
    array of the library of `grad_output`, shape (O,); zeros if N = 0

    Raises
    ------
    TypeError, ValueError, CudaError
        As for `conv2d`.
    """
    return _backward_bias((grad_output, mask, masked, workspace), out, (accumulate,))


def conv2d_backward_bias_workspace_bytes(grad_output_shape: Sequence[int], dtype: str = "float32") -> int:
    """Bytes that `conv2d_backward_bias` needs beside its result: about half a MB at most."""
    op = "conv2d_backward_bias"
    if not isinstance(grad_output_shape, tuple | list) or not grad_output_shape:
        given = arg.describe(grad_output_shape)
        raise TypeError(f"{op}: grad_output_shape must be a tuple that ends with the channels, got {given}")
    *pixels, channels = (arg.integer(op, "grad_output_shape", size) for size in grad_output_shape)
    return int(native.module(op).conv2d_backward_bias_workspace_bytes(arrays.count(pixels), channels, dtype=dtype))
