"""Convolution on a GPU, right above the kernels: NHWC images, (O, KH, KW, C/groups) weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.cuda import arrays, native
from fastconv.cuda.elementwise import mask_shape
from fastconv.cuda.launch import Launch
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


def _first(op: str, name: str, value: Any, ndim: int | None) -> tuple[arrays.View, str]:
    """The array whose dtype all others must have, and that dtype."""
    found = arrays.look(op, name, value)
    dtype = found.dtype if found.dtype in ("float16", "bfloat16") else "float32"
    return arrays.view(op, name, found, ndim, dtype), dtype


def _precision(op: str, precision: object) -> str:
    if precision is not None and not isinstance(precision, str):
        raise TypeError(f"{op}: precision must be a str or None, got {arg.describe(precision)}")
    return precision or ""


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
    x, dtype = _first(op, "input", input, 4)
    w = arrays.view(op, "weight", weight, 4, dtype)
    shape = geometry(op, x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None:
        arrays.check_shape(op, "bias", arrays.view(op, "bias", bias, 1, dtype), w.shape[:1])
    relu = arg.activation(op, activation) == "relu"
    how = _precision(op, precision)
    result = output_shape(shape)
    if out is not None:
        arrays.check_result(op, out, result, dtype)
    run = native.module(op).plan_conv2d_forward(shape, dtype=dtype, precision=how, relu=relu, op=op)
    return Plan(run, (Output(result, dtype),))


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


def _mask(op: str, mask: Any, shape: tuple[int, ...]) -> arrays.View | None:
    """One bit for each element of an array of this shape, as `relu` writes them."""
    if mask is None:
        return None
    bits = arrays.view(op, "mask", mask, 1, "uint32")
    arrays.check_shape(op, "mask", bits, mask_shape(shape))
    return bits


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


def _sum_of(
    op: str, out: Any, like: Any, shape: tuple[int, ...], dtype: str
) -> tuple[Any, arrays.View, dict[str, Any]]:
    """Where a sum over the batch goes: in `dtype`, or in float32 if `out` is so; and how to call for it."""
    wide = out is not None and arrays.look(op, "out", out).dtype == "float32"
    kind = "float32" if wide else dtype
    result = arrays.output(op, out, like, shape, kind)
    return result, arrays.view(op, "out", result, len(shape), kind, write=True), {"dtype": dtype, "wide": wide}


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
    op = "conv2d_backward_input"
    module = native.module(op)
    x_shape = arg.shape_tuple(op, "input_shape", input_shape, 4)
    gy, dtype = _first(op, "grad_output", grad_output, 4)
    w = arrays.view(op, "weight", weight, 4, dtype)
    shape = geometry(op, x_shape, w.shape, stride, padding, dilation, groups)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    bits = _mask(op, mask, x_shape)
    how = _precision(op, precision)
    result = arrays.output(op, out, grad_output, x_shape, dtype)
    gx = arrays.view(op, "out", result, 4, dtype, write=True)
    addresses = w.address, gy.address, bits.address if bits else 0, gx.address
    with Launch(op, gy, w, bits, gx) as stream:
        module.conv2d_backward_input(shape, *addresses, dtype=dtype, precision=how, stream=stream)
    return result


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
    how = {"dtype": dtype, "precision": _precision(op, precision)}
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
    op = "conv2d_backward_weight"
    module = native.module(op)
    w_shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    x, dtype = _first(op, "input", input, 4)
    gy = arrays.view(op, "grad_output", grad_output, 4, dtype)
    shape = geometry(op, x.shape, w_shape, stride, padding, dilation, groups)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    adds = accumulates(op, accumulate, out)
    how = _precision(op, precision)
    result, gw, kind = _sum_of(op, out, input, w_shape, dtype)
    needed = module.conv2d_backward_weight_workspace_bytes(shape, dtype=dtype, precision=how)
    work = workspace_view(op, workspace, input, needed) if needed else None
    with Launch(op, x, gy, gw, work) as stream:
        module.conv2d_backward_weight(
            shape,
            x.address,
            gy.address,
            gw.address,
            work.address if work else 0,
            needed,
            **kind,
            precision=how,
            accumulate=adds,
            stream=stream,
        )
    return result


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
    op = "conv2d_backward_bias"
    module = native.module(op)
    gy, dtype = _first(op, "grad_output", grad_output, None)
    if not gy.shape or not gy.shape[-1]:
        raise ValueError(f"{op}: grad_output must have channels in its last dimension, got shape {gy.shape}")
    channels = gy.shape[-1]
    pixels = arrays.count(gy.shape[:-1])
    bits = _mask(op, mask, gy.shape)
    gz = None
    if masked is not None:
        if bits is None:
            raise ValueError(f"{op}: masked needs a mask, got None")
        gz = arrays.view(op, "masked", masked, None, dtype, write=True)
        arrays.check_shape(op, "masked", gz, gy.shape)
    adds = accumulates(op, accumulate, out)
    result, gb, kind = _sum_of(op, out, grad_output, (channels,), dtype)
    needed = module.conv2d_backward_bias_workspace_bytes(pixels, channels, dtype=dtype)
    work = workspace_view(op, workspace, grad_output, needed) if needed else None
    with Launch(op, gy, bits, gz, gb, work) as stream:
        module.conv2d_backward_bias(
            pixels,
            channels,
            gy.address,
            bits.address if bits else 0,
            gz.address if gz else 0,
            gb.address,
            work.address if work else 0,
            needed,
            **kind,
            accumulate=adds,
            stream=stream,
        )
    return result


def conv2d_backward_bias_workspace_bytes(grad_output_shape: Sequence[int], dtype: str = "float32") -> int:
    """Bytes that `conv2d_backward_bias` needs beside its result: about half a MB at most."""
    op = "conv2d_backward_bias"
    if not isinstance(grad_output_shape, tuple | list) or not grad_output_shape:
        given = arg.describe(grad_output_shape)
        raise TypeError(f"{op}: grad_output_shape must be a tuple that ends with the channels, got {given}")
    *pixels, channels = (arg.integer(op, "grad_output_shape", size) for size in grad_output_shape)
    return int(native.module(op).conv2d_backward_bias_workspace_bytes(arrays.count(pixels), channels, dtype=dtype))
