"""Convolution, linear layers and pooling of `fastconv.ops` on GPU arrays: its arguments, in the layouts of the caller.

Each judge here hands its arguments to the kernels' own in `fastconv.cuda`, through `layouts.judged`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fastconv._checks import arguments as arg
from fastconv._config import config
from fastconv.cuda import arrays, elementwise
from fastconv.cuda.arrays import View
from fastconv.cuda.conv2d import judge_conv2d
from fastconv.cuda.conv2d_backward import (
    judge_conv2d_backward_bias,
    judge_conv2d_backward_input,
    judge_conv2d_backward_weight,
)
from fastconv.cuda.loss import cross_entropy
from fastconv.cuda.operation import Operation, Output, Plan
from fastconv.cuda.pool2d import (
    judge_avg_pool2d,
    judge_avg_pool2d_backward,
    judge_global_avg_pool2d,
    judge_global_avg_pool2d_backward,
    judge_global_max_pool2d,
    judge_global_max_pool2d_backward,
    judge_max_pool2d,
    judge_max_pool2d_backward,
)
from fastconv.ops.gpu.layouts import channels_last, check_four, judged, memory_shape

# Convolution. `config.strict` is one of the options, since it decides whether something may be converted.


def only_auto(op: str, algo: str) -> None:
    if arg.own_algorithm(op, algo) == "winograd":
        raise ValueError(f"{op}: algo must be 'auto' or 'direct' for arrays on a GPU, got 'winograd'")


def _judge_conv2d(
    op: str,
    input: View,
    weight: View,
    bias: View | None,
    out: View | None,
    layout: str,
    algo: str,
    strict: bool,
    *options: Any,
) -> Plan:
    order = arg.layout(op, layout)
    only_auto(op, algo)
    check_four(op, weight)
    return judged(op, judge_conv2d, [(input, order), (weight, "NCHW"), (bias, None)], out, order, options)


def _judge_backward_input(
    op: str,
    grad_output: View,
    weight: View,
    mask: None,
    out: View | None,
    layout: str,
    algo: str,
    strict: bool,
    input_shape: object,
    *options: Any,
) -> Plan:
    order = arg.layout(op, layout)
    only_auto(op, algo)
    check_four(op, weight)
    shape = memory_shape(arg.batch_shape(op, "input_shape", input_shape, 4)[0], order)
    given = [(grad_output, order), (weight, "NCHW"), (mask, None)]
    return judged(op, judge_conv2d_backward_input, given, out, order, (shape, *options))


def _judge_backward_weight(
    op: str,
    input: View,
    grad_output: View,
    workspace: None,
    out: View | None,
    layout: str,
    algo: str,
    strict: bool,
    weight_shape: object,
    *options: Any,
) -> Plan:
    order = arg.layout(op, layout)
    only_auto(op, algo)
    shape = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    if out is not None:
        arrays.check_shape(op, "out", out, shape)
    given = [(input, order), (grad_output, order), (workspace, None)]
    options = memory_shape(shape, "NCHW"), *options
    return judged(op, judge_conv2d_backward_weight, given, out, "NCHW", options, of_weight=True)


def _judge_backward_bias(op: str, grad_output: View, *rest: Any) -> Plan:
    """`rest`: mask, masked and workspace, which are None, `out`, layout, strict."""
    *none, out, layout, _ = rest
    given = [(grad_output, arg.layout(op, layout)), *((array, None) for array in none)]
    return judged(op, judge_conv2d_backward_bias, given, out, None, (False,))


_conv2d = Operation("conv2d", ("input", "weight", "bias"), _judge_conv2d)
_backward_input = Operation("conv2d_backward_input", ("grad_output", "weight", "mask"), _judge_backward_input)
_backward_weight = Operation("conv2d_backward_weight", ("input", "grad_output", "workspace"), _judge_backward_weight)
_backward_bias = Operation("conv2d_backward_bias", ("grad_output", "mask", "masked", "workspace"), _judge_backward_bias)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any,
    *geometry: Any,
    layout: str,
    activation: str | None,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    """`geometry`: stride, padding, dilation, groups."""
    options = layout, algo, config.strict, *geometry, activation, precision
    return _conv2d((input, weight, bias), out, options)


def conv2d_backward_input(
    input_shape: Sequence[int],
    weight: Any,
    grad_output: Any,
    *geometry: Any,
    layout: str,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    options = layout, algo, config.strict, input_shape, *geometry, precision
    return _backward_input((grad_output, weight, None), out, options)


def conv2d_backward_weight(
    input: Any,
    weight_shape: Sequence[int],
    grad_output: Any,
    *geometry: Any,
    layout: str,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    options = layout, algo, config.strict, weight_shape, *geometry, False, precision
    return _backward_weight((input, grad_output, None), out, options)


def conv2d_backward_bias(grad_output: Any, *, layout: str, out: Any) -> Any:
    return _backward_bias((grad_output, None, None, None), out, (layout, config.strict))


# Linear: a convolution of one pixel


def _rows(op: str, name: str, value: View) -> tuple[View, bool]:
    array = arrays.view(op, name, value)
    if len(array.shape) == 1:
        return array.reshaped(1, 1, 1, *array.shape), True
    if len(array.shape) != 2:
        raise ValueError(f"{op}: {name} must have 2 dimensions, or 1 for a batch of one, got shape {array.shape}")
    return array.reshaped(array.shape[0], 1, 1, array.shape[1]), False


def _matrix(op: str, value: View) -> View:
    array = arrays.view(op, "weight", value, 2)
    return array.reshaped(array.shape[0], 1, 1, array.shape[1])


def _of_shape(op: str, plan: Plan, out: View | None, shape: tuple[int, ...]) -> Plan:
    """The plan with its result in another shape of as many elements."""
    if out is not None:
        arrays.check_result(op, out, shape, "float32")
    return plan._replace(results=(Output(shape, "float32"),))


def _judge_linear(op: str, input: View, weight: View, bias: View | None, out: View | None, activation: object) -> Plan:
    (x, single), w = _rows(op, "input", input), _matrix(op, weight)
    if w.shape[3] != x.shape[3]:
        raise ValueError(f"{op}: weight must have shape (OUT, IN) with IN={x.shape[3]}, got {(w.shape[0], w.shape[3])}")
    plan = judge_conv2d(op, x, w, bias, None, 1, 0, 1, 1, activation, None)
    return _of_shape(op, plan, out, (x.shape[0], w.shape[0])[single:])


def _judge_linear_backward_input(op: str, grad_output: View, weight: View, mask: None, out: View | None) -> Plan:
    w, (grad, single) = _matrix(op, weight), _rows(op, "grad_output", grad_output)
    if grad.shape[3] != w.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with OUT={w.shape[0]}, got {grad.shape[::3]}")
    n, inputs = grad.shape[0], w.shape[3]
    plan = judge_conv2d_backward_input(op, grad, w, mask, None, (n, 1, 1, inputs), 1, 0, 1, 1, None)
    return _of_shape(op, plan, out, (n, inputs)[single:])


def _judge_linear_backward_weight(op: str, input: View, grad_output: View, workspace: None, out: View | None) -> Plan:
    (x, _), (grad, _) = _rows(op, "input", input), _rows(op, "grad_output", grad_output)
    if grad.shape[0] != x.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with N={x.shape[0]}, got {grad.shape[::3]}")
    shape = grad.shape[3], x.shape[3]
    w_shape = shape[0], 1, 1, shape[1]
    plan = judge_conv2d_backward_weight(op, x, grad, workspace, None, w_shape, 1, 0, 1, 1, False, None)
    return _of_shape(op, plan, out, shape)


def _judge_linear_backward_bias(op: str, grad_output: View, *rest: Any) -> Plan:
    """`rest`: mask, masked and workspace, which are None, and `out`."""
    mask, masked, workspace, out = rest
    rows, _ = _rows(op, "grad_output", grad_output)
    return judge_conv2d_backward_bias(op, rows, mask, masked, workspace, out, False)


_linear = Operation("linear", ("input", "weight", "bias"), _judge_linear)
_linear_backward_input = Operation(
    "linear_backward_input", ("grad_output", "weight", "mask"), _judge_linear_backward_input
)
_linear_backward_weight = Operation(
    "linear_backward_weight", ("input", "grad_output", "workspace"), _judge_linear_backward_weight
)
_linear_backward_bias = Operation(
    "linear_backward_bias", ("grad_output", "mask", "masked", "workspace"), _judge_linear_backward_bias
)


def linear(input: Any, weight: Any, bias: Any, *, activation: str | None, out: Any) -> Any:
    return _linear((input, weight, bias), out, (activation,))


def linear_backward_input(weight: Any, grad_output: Any, *, out: Any) -> Any:
    return _linear_backward_input((grad_output, weight, None), out, ())


def linear_backward_weight(input: Any, grad_output: Any, *, out: Any) -> Any:
    return _linear_backward_weight((input, grad_output, None), out, ())


def linear_backward_bias(grad_output: Any, *, out: Any) -> Any:
    return _linear_backward_bias((grad_output, None, None, None), out, ())


# Pooling


def _judge_max(
    judge: Callable[..., Plan], op: str, x: View, taps: None, out: View | None, layout: str, strict: bool, *window: Any
) -> Plan:
    order = arg.layout(op, layout)
    return judged(op, judge, [(x, order), (taps, None)], out, order, (*window, False))


def _judge_avg(
    judge: Callable[..., Plan], op: str, x: View, out: View | None, layout: str, strict: bool, *window: Any
) -> Plan:
    order = arg.layout(op, layout)
    return judged(op, judge, [(x, order)], out, order, window)


def _judge_pool_backward(judge: Callable[..., Plan], op: str, *given: Any) -> Plan:
    """`given`: images, `out`, layout, strict, input_shape, and the window's sizes."""
    count = 2 if "max" in op else 1
    images, (out, layout, _, input_shape, *window) = given[:count], given[count:]
    order = arg.layout(op, layout)
    shape = memory_shape(arg.batch_shape(op, "input_shape", input_shape, 4)[0], order)
    return judged(op, judge, [(image, order) for image in images], out, order, (shape, *window))


def _forward(op: str, judge: Callable[..., Plan]) -> Operation:
    if "max" in op:
        return Operation(op, ("input", "taps"), partial(_judge_max, judge))
    return Operation(op, ("input",), partial(_judge_avg, judge))


def _backward(op: str, judge: Callable[..., Plan]) -> Operation:
    names = ("grad_output", "indices") if "max" in op else ("grad_output",)
    return Operation(op, names, partial(_judge_pool_backward, judge))


_max_pool2d = _forward("max_pool2d", judge_max_pool2d)
_max_pool2d_backward = _backward("max_pool2d_backward", judge_max_pool2d_backward)
_avg_pool2d = _forward("avg_pool2d", judge_avg_pool2d)
_avg_pool2d_backward = _backward("avg_pool2d_backward", judge_avg_pool2d_backward)
_global_max_pool2d = _forward("global_max_pool2d", judge_global_max_pool2d)
_global_max_pool2d_backward = _backward("global_max_pool2d_backward", judge_global_max_pool2d_backward)
_global_avg_pool2d = _forward("global_avg_pool2d", judge_global_avg_pool2d)
_global_avg_pool2d_backward = _backward("global_avg_pool2d_backward", judge_global_avg_pool2d_backward)


def max_pool2d(input: Any, *window: Any, layout: str, out: Any) -> Any:
    return _max_pool2d((input, None), out, (layout, config.strict, *window))


def max_pool2d_backward(grad_output: Any, indices: Any, *sizes: Any, layout: str, out: Any) -> Any:
    """`sizes`: input_shape and those of the window."""
    return _max_pool2d_backward((grad_output, indices), out, (layout, config.strict, *sizes))


def avg_pool2d(input: Any, *window: Any, layout: str, out: Any) -> Any:
    return _avg_pool2d((input,), out, (layout, config.strict, *window))


def avg_pool2d_backward(grad_output: Any, *sizes: Any, layout: str, out: Any) -> Any:
    return _avg_pool2d_backward((grad_output,), out, (layout, config.strict, *sizes))


def global_avg_pool2d(input: Any, *, layout: str, out: Any) -> Any:
    return _global_avg_pool2d((input,), out, (layout, config.strict))


def global_avg_pool2d_backward(grad_output: Any, input_shape: Any, *, layout: str, out: Any) -> Any:
    return _global_avg_pool2d_backward((grad_output,), out, (layout, config.strict, input_shape))


def global_max_pool2d(input: Any, return_indices: bool, *, layout: str, out: Any) -> Any:
    return _global_max_pool2d((input, None), out, (layout, config.strict, return_indices))


def global_max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, *, layout: str, out: Any) -> Any:
    return _global_max_pool2d_backward((grad_output, indices), out, (layout, config.strict, input_shape))


# The rest


def cross_entropy_with_grad(input: Any, target: Any, **options: Any) -> tuple[Any, Any]:
    x = arrays.view("cross_entropy_with_grad", "input", input, 2)
    grad = arrays.empty("cross_entropy_with_grad", x, x.shape)
    return cross_entropy(x, target, grad=grad, **options), grad


def nchw_to_nhwc(input: Any, *, out: Any) -> Any:
    array = check_four("nchw_to_nhwc", arrays.look("nchw_to_nhwc", "input", input))
    turned = channels_last(array)
    return elementwise.nchw_to_nhwc(array, out=out) if turned is None else elementwise.copy(turned, out=out)


def nhwc_to_nchw(input: Any, *, out: Any) -> Any:
    return elementwise.nhwc_to_nchw(input, out=out)
