"""Pooling on a GPU, right above the kernels: NHWC images, the rules and the arguments of `fastconv.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import IntOrPair, PaddingArgument
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.operation import Operation, Output, Plan


@lru_cache(maxsize=1024)
def _shape(
    module: Any,
    op: str,
    input_shape: tuple[int, ...],
    window: arg.Pair,
    stride: arg.Pair,
    padding: arg.ExplicitPadding,
    dilation: arg.Pair,
    ceil_mode: bool,
) -> Any:
    n, h, w, c = input_shape
    return module.Pool2dShape((n, c, h, w), window, stride, padding, dilation, ceil_mode, op)


def geometry(
    op: str,
    input_shape: tuple[int, ...],
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> Any:
    """Judge the sizes; `input_shape` is (N, H, W, C)."""
    window = arg.pair(op, "kernel_size", kernel_size)
    return _shape(
        native.module(op),
        op,
        input_shape,
        window,
        window if stride is None else arg.pair(op, "stride", stride),
        arg.explicit_padding(op, padding),
        arg.pair(op, "dilation", dilation),
        arg.flag(op, "ceil_mode", ceil_mode),
    )


def output_shape(shape: Any) -> tuple[int, int, int, int]:
    """(N, OH, OW, C) of a geometry."""
    n, c, oh, ow = shape.output_shape
    return n, oh, ow, c


def _image_window(op: str, shape: tuple[int, ...]) -> Any:
    return geometry(op, shape, shape[1:3], None, 0, 1, False)


def _divisor(op: str, divisor_override: object) -> int:
    """0 stands for none in the native module."""
    if divisor_override is None:
        return 0
    divisor = arg.integer(op, "divisor_override", divisor_override)
    if divisor == 0:
        raise ValueError(f"{op}: divisor_override must not be zero, got 0")
    return divisor


def _plan_max(
    op: str,
    x: View,
    shape: Any,
    taps: View | None,
    out: View | None,
    return_indices: object,
    positive_only: object,
) -> Plan:
    expected = output_shape(shape)
    if out is not None:
        arrays.check_result(op, out, expected, x.dtype)
    results = [Output(expected, x.dtype)]
    if arg.flag(op, "return_indices", return_indices):
        if taps is not None:
            raise ValueError(f"{op}: return_indices must be False where taps are given, got True")
        results.append(Output(expected, "int32"))
    elif taps is not None:
        arrays.check_shape(op, "taps", arrays.view(op, "taps", taps, 4, "uint8", write=True), expected)
    positive = arg.flag(op, "positive_only", positive_only)
    run = native.module(op).plan_max_pool2d_forward(shape, positive_only=positive, dtype=x.dtype, op=op)
    return Plan(run, tuple(results))


def judge_max_pool2d(op: str, input: View, taps: View | None, out: View | None, *options: Any) -> Plan:
    """`options`: kernel_size, stride, padding, dilation, ceil_mode, return_indices, positive_only."""
    *window, return_indices, positive_only = options
    x = arrays.view_floats(op, "input", input, 4)
    return _plan_max(op, x, geometry(op, x.shape, *window), taps, out, return_indices, positive_only)


def judge_global_max_pool2d(
    op: str, input: View, taps: View | None, out: View | None, return_indices: object, positive_only: object
) -> Plan:
    x = arrays.view_floats(op, "input", input, 4)
    return _plan_max(op, x, _image_window(op, x.shape), taps, out, return_indices, positive_only)


def _plan_avg(op: str, x: View, shape: Any, out: View | None, include_pad: bool, divisor: int) -> Plan:
    expected = output_shape(shape)
    if out is not None:
        arrays.check_result(op, out, expected, x.dtype)
    options = {"count_include_pad": include_pad, "divisor_override": divisor, "dtype": x.dtype, "op": op}
    return Plan(native.module(op).plan_avg_pool2d_forward(shape, **options), (Output(expected, x.dtype),))


def judge_avg_pool2d(
    op: str,
    input: View,
    out: View | None,
    kernel_size: object,
    stride: object,
    padding: object,
    ceil_mode: object,
    count_include_pad: object,
    divisor_override: object,
) -> Plan:
    x = arrays.view_floats(op, "input", input, 4)
    shape = geometry(op, x.shape, kernel_size, stride, padding, 1, ceil_mode)
    include_pad = arg.flag(op, "count_include_pad", count_include_pad)
    return _plan_avg(op, x, shape, out, include_pad, _divisor(op, divisor_override))


def judge_global_avg_pool2d(op: str, input: View, out: View | None) -> Plan:
    x = arrays.view_floats(op, "input", input, 4)
    return _plan_avg(op, x, _image_window(op, x.shape), out, True, 0)


_max_pool2d = Operation("max_pool2d", ("input", "taps"), judge_max_pool2d)
_avg_pool2d = Operation("avg_pool2d", ("input",), judge_avg_pool2d)
_global_max_pool2d = Operation("global_max_pool2d", ("input", "taps"), judge_global_max_pool2d)
_global_avg_pool2d = Operation("global_avg_pool2d", ("input",), judge_global_avg_pool2d)


def _plan_max_backward(op: str, shape: Any, grad_output: View, indices: View, out: View | None) -> Plan:
    gy = arrays.view_floats(op, "grad_output", grad_output, 4)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    taps = indices.dtype == "uint8"
    arrays.check_shape(op, "indices", arrays.view(op, "indices", indices, 4, "uint8" if taps else "int32"), gy.shape)
    n, c, h, w = shape.input_shape
    if out is not None:
        arrays.check_result(op, out, (n, h, w, c), gy.dtype)
    run = native.module(op).plan_max_pool2d_backward(shape, taps=taps, dtype=gy.dtype, op=op)
    return Plan(run, (Output((n, h, w, c), gy.dtype),))


def _plan_avg_backward(
    op: str, shape: Any, grad_output: View, include_pad: bool, divisor: int, out: View | None
) -> Plan:
    gy = arrays.view_floats(op, "grad_output", grad_output, 4)
    arrays.check_shape(op, "grad_output", gy, output_shape(shape))
    n, c, h, w = shape.input_shape
    if out is not None:
        arrays.check_result(op, out, (n, h, w, c), gy.dtype)
    options = {"count_include_pad": include_pad, "divisor_override": divisor, "dtype": gy.dtype, "op": op}
    return Plan(native.module(op).plan_avg_pool2d_backward(shape, **options), (Output((n, h, w, c), gy.dtype),))


def judge_max_pool2d_backward(
    op: str, grad_output: View, indices: View, out: View | None, input_shape: object, *window: Any
) -> Plan:
    """`window`: kernel_size, stride, padding, dilation, ceil_mode."""
    shape = geometry(op, arg.shape_tuple(op, "input_shape", input_shape, 4), *window)
    return _plan_max_backward(op, shape, grad_output, indices, out)


def judge_global_max_pool2d_backward(
    op: str, grad_output: View, indices: View, out: View | None, input_shape: object
) -> Plan:
    shape = _image_window(op, arg.shape_tuple(op, "input_shape", input_shape, 4))
    return _plan_max_backward(op, shape, grad_output, indices, out)


def judge_avg_pool2d_backward(
    op: str,
    grad_output: View,
    out: View | None,
    input_shape: object,
    kernel_size: object,
    stride: object,
    padding: object,
    ceil_mode: object,
    count_include_pad: object,
    divisor_override: object,
) -> Plan:
    full = arg.shape_tuple(op, "input_shape", input_shape, 4)
    shape = geometry(op, full, kernel_size, stride, padding, 1, ceil_mode)
    include_pad = arg.flag(op, "count_include_pad", count_include_pad)
    return _plan_avg_backward(op, shape, grad_output, include_pad, _divisor(op, divisor_override), out)


def judge_global_avg_pool2d_backward(op: str, grad_output: View, out: View | None, input_shape: object) -> Plan:
    shape = _image_window(op, arg.shape_tuple(op, "input_shape", input_shape, 4))
    return _plan_avg_backward(op, shape, grad_output, True, 0, out)


_max_pool2d_backward = Operation("max_pool2d_backward", ("grad_output", "indices"), judge_max_pool2d_backward)
_avg_pool2d_backward = Operation("avg_pool2d_backward", ("grad_output",), judge_avg_pool2d_backward)
_global_max_pool2d_backward = Operation(
    "global_max_pool2d_backward", ("grad_output", "indices"), judge_global_max_pool2d_backward
)
_global_avg_pool2d_backward = Operation(
    "global_avg_pool2d_backward", ("grad_output",), judge_global_avg_pool2d_backward
)


def max_pool2d(
    input: Any,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    taps: Any = None,
    positive_only: bool = False,
    out: Any = None,
) -> Any:
    """Maximum of each window: the first of equal ones, and NaN where there is one.

    Parameters
    ----------
    input : array on a GPU, shape (N, H, W, C), float32, float16 or bfloat16
        Sums are float32, rounded once at the end.
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As for `fastconv.ops.max_pool2d`; indices are int32, row*W + column.
    taps : array of uint8, shape of the result, optional
        Takes the number kh*KW + kw of each maximum in its window, a quarter of the bytes of indices. Windows have at
        most 254 pixels then.
    positive_only : bool, default False
        With `taps`: 255, no tap, where the maximum is <= 0, which makes the backward pass that of a ReLU before the
        pooling too.
    out : array, shape (N, OH, OW, C), optional

    Returns
    -------
    array of the library of `input`, shape (N, OH, OW, C)
    indices : array of int32, same shape
        With `return_indices`.

    Raises
    ------
    TypeError, ValueError
        For arrays and sizes that do not fit.
    CudaError
        If there are no kernels or the launch fails.
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices, positive_only)
    return _max_pool2d((input, taps), out, options)


def max_pool2d_backward(
    grad_output: Any,
    indices: Any,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `max_pool2d`; `indices` are its indices (int32) or its taps (uint8), `input_shape` is (N, H, W, C).

    Sums have one order, without atomics. What the CPU refuses, an index outside the plane, takes no part here, as any
    place that the window does not have: to look at the values would mean to wait for the GPU.
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool2d_backward((grad_output, indices), out, (input_shape, *window))


def avg_pool2d(
    input: Any,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
) -> Any:
    """Mean of each window; arguments as for `fastconv.ops.avg_pool2d`, arrays as for `max_pool2d` here."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool2d((input,), out, options)


def avg_pool2d_backward(
    grad_output: Any,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: PaddingArgument = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
) -> Any:
    """Gradient of `avg_pool2d`; `input_shape` is (N, H, W, C)."""
    options = (input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool2d_backward((grad_output,), out, options)


def global_avg_pool2d(input: Any, *, out: Any = None) -> Any:
    """Mean of each image's channels, of shape (N, 1, 1, C)."""
    return _global_avg_pool2d((input,), out, ())


def global_avg_pool2d_backward(grad_output: Any, input_shape: Sequence[int], *, out: Any = None) -> Any:
    """Gradient of `global_avg_pool2d`: grad_output / (H*W) at every pixel; `input_shape` is (N, H, W, C)."""
    return _global_avg_pool2d_backward((grad_output,), out, (input_shape,))


def global_max_pool2d(
    input: Any, return_indices: bool = False, *, taps: Any = None, positive_only: bool = False, out: Any = None
) -> Any:
    """Maximum of each image's channels, of shape (N, 1, 1, C); see `max_pool2d`."""
    return _global_max_pool2d((input, taps), out, (return_indices, positive_only))


def global_max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Sequence[int], *, out: Any = None) -> Any:
    """Gradient of `global_max_pool2d`; see `max_pool2d_backward`."""
    return _global_max_pool2d_backward((grad_output, indices), out, (input_shape,))
