"""Convolution on a GPU, right above the kernels: NHWC images, (O, KH, KW, C/groups) weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.cuda import arrays, native
from fastconv.cuda.operation import Operation, Output, Plan


@lru_cache(maxsize=1024)
def _shape(
    module: Any,
    op: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: arg.Pair,
    padding: arg.ExplicitPadding | str,
    dilation: arg.Pair,
    groups: int,
) -> Any:
    n, h, w, c = input_shape
    o, kh, kw, icg = weight_shape
    return module.Conv2dShape((n, c, h, w), (o, icg, kh, kw), stride, padding, dilation, groups, op)


def geometry(
    op: str,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
) -> Any:
    """Judge the sizes, given in the order in which the kernels have them in memory."""
    parts = arg.integer(op, "groups", groups)
    c, icg = input_shape[3], weight_shape[3]
    if parts >= 1 and c % parts == 0 and icg != c // parts:  # here, since the native module has another order
        raise ValueError(
            f"{op}: weight must have shape (O, KH, KW, C/groups) with C={c}, groups={parts}, got {weight_shape}"
        )
    return _shape(
        native.module(op),
        op,
        input_shape,
        weight_shape,
        arg.pair(op, "stride", stride),
        arg.padding(op, padding),
        arg.pair(op, "dilation", dilation),
        parts,
    )


def output_shape(shape: Any) -> tuple[int, int, int, int]:
    """(N, OH, OW, O) of a geometry."""
    n, o, oh, ow = shape.output_shape
    return n, oh, ow, o


def first_of(op: str, name: str, value: Any, ndim: int | None) -> tuple[arrays.View, str]:
    """The array whose dtype all others must have, and that dtype."""
    found = arrays.look(op, name, value)
    dtype = found.dtype if found.dtype in ("float16", "bfloat16") else "float32"
    return arrays.view(op, name, found, ndim, dtype), dtype


def precision_name(op: str, precision: object) -> str:
    if precision is not None and not isinstance(precision, str):
        raise TypeError(f"{op}: precision must be a str or None, got {arg.describe(precision)}")
    return precision or ""


def scratch_of(nbytes: int) -> tuple[Output, ...]:
    """Memory for the time of a call, where it needs some."""
    return (Output(((nbytes + 3) // 4,), "float32"),) if nbytes else ()


def judge_conv2d(
    op: str,
    input: arrays.View,
    weight: arrays.View,
    bias: arrays.View | None,
    out: arrays.View | None,
    stride: object,
    padding: object,
    dilation: object,
    groups: object,
    activation: object,
    precision: object,
) -> Plan:
    x, dtype = first_of(op, "input", input, 4)
    w = arrays.view(op, "weight", weight, 4, dtype)
    shape = geometry(op, x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None:
        arrays.check_shape(op, "bias", arrays.view(op, "bias", bias, 1, dtype), w.shape[:1])
    relu = arg.activation(op, activation) == "relu"
    how = precision_name(op, precision)
    result = output_shape(shape)
    if out is not None:
        arrays.check_result(op, out, result, dtype)
    module = native.module(op)
    nbytes = module.conv2d_forward_workspace_bytes(shape, dtype=dtype, precision=how)
    run = module.plan_conv2d_forward(shape, dtype=dtype, precision=how, relu=relu, workspace_bytes=nbytes, op=op)
    return Plan(run, (Output(result, dtype),), scratch_of(nbytes))


_conv2d = Operation("conv2d", ("input", "weight", "bias"), judge_conv2d)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: IntOrPair = 1,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    precision: str | None = None,
    out: Any = None,
) -> Any:
    """Convolve a batch of images; bias and ReLU are part of the same kernel.

    Parameters
    ----------
    input : array on a GPU, shape (N, H, W, C), float32, float16 or bfloat16
    weight : array of the same dtype, shape (O, KH, KW, C/groups)
    bias : array of the same dtype, shape (O,), optional
    stride, padding, dilation, groups
        As for `fastconv.ops.conv2d`.
    activation : None or "relu", optional
    precision : {None, "ieee", "tf32", "tf32x3"}, optional
        How float32 is multiplied: exactly (None, "ieee"), with 10 bits of mantissa on tensor cores ("tf32"), or as
        three such products, nearly as exact as float32 ("tf32x3"). A GPU before sm_80 multiplies exactly in any case.
        float16 and bfloat16 take None only: tensor cores multiply them exactly. Sums are always float32.
    out : array of the same dtype, shape (N, OH, OW, O), optional

    Returns
    -------
    array of the library of `input`, shape (N, OH, OW, O)

    Raises
    ------
    TypeError, ValueError
        For arrays and sizes that do not fit.
    CudaError
        If there are no kernels or the launch fails.
    """
    return _conv2d((input, weight, bias), out, (stride, padding, dilation, groups, activation, precision))
