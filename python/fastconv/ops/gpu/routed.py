"""`fastconv.ops` on GPU arrays: its arguments and layouts, on kernels that know channels-last alone.

The rule of layouts. An array of layout "NCHW" whose strides are channels-last (PyTorch's `channels_last`, a transposed
NHWC array of CuPy) is taken as it is, and so is every array of one channel or one pixel. One that is C-contiguous in
NCHW is converted by a kernel into new memory; `fastconv.explain` tells so, and `fastconv.config.strict` refuses it.
All other strides are errors. Results of layout "NCHW" are channels-last in memory, so that the next operation converts
nothing. Weights (O, C, KH, KW) and their gradients obey the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import fastconv.cuda as kernels
from fastconv._checks import arguments as arg
from fastconv._config import config
from fastconv.cuda import arrays, elementwise, native
from fastconv.cuda.arrays import View
from fastconv.cuda.conv2d import judge_conv2d
from fastconv.cuda.launch import Launch
from fastconv.cuda.loss import cross_entropy
from fastconv.cuda.operation import Operation, Output, Plan
from fastconv.cuda.pool2d import (
    judge_avg_pool2d,
    judge_global_avg_pool2d,
    judge_global_max_pool2d,
    judge_max_pool2d,
)
from fastconv.ops.slow_path import refuse

ITEM_BYTES = {"float32": 4, "int32": 4, "uint32": 4, "float16": 2, "bfloat16": 2}


# Layouts


def _channels_last(array: View) -> View | None:
    """An (N, C, H, W) array as the (N, H, W, C) memory that it is, or None."""
    turned = array.permuted(0, 2, 3, 1)
    return turned._replace(strides=arrays.c_strides(turned.shape)) if turned.contiguous else None


def conversion(array: View, layout: str) -> str | None:
    """What converting the array to channels-last moves, in words; None if it is so already."""
    if layout == "NHWC" or _channels_last(array) is not None:
        return None
    moved = 2 * arrays.count(array.shape) * ITEM_BYTES.get(array.dtype, 4)
    return f"{array.name} is NCHW in memory: {moved} bytes are moved to make it channels-last"


def _transpose(op: str, source: View, to: View, rows: int, columns: int) -> None:
    with Launch(op, source, to) as stream:
        native.module(op).transpose(
            source.address, to.address, ITEM_BYTES[source.dtype], source.shape[0], rows, columns, stream=stream
        )


def _to_nhwc(op: str, array: View) -> View:
    """A channels-last copy of an array that is C-contiguous in NCHW."""
    n, c, h, w = array.shape
    if array.dtype not in ITEM_BYTES:
        raise TypeError(f"{op}: {array.name} must be float32, got {array.dtype}")
    if config.strict:
        refuse(op, [conversion(array, "NCHW") or ""])
    copy = arrays.look(op, array.name, arrays.empty(op, array, (n, h, w, c), array.dtype))
    _transpose(op, array, copy, c, h * w)
    return copy


def _nhwc(op: str, array: View, layout: str) -> View:
    if layout == "NHWC":
        return array  # the kernels' own check follows
    turned = _channels_last(array)
    if turned is not None:
        return turned
    if array.contiguous:
        return _to_nhwc(op, array)
    raise ValueError(
        f"{op}: {array.name} must be channels-last or C-contiguous in memory, got strides {array.strides} (elements) "
        f"for shape {array.shape}"
    )


def _four(op: str, name: str, value: Any) -> View:
    array = arrays.look(op, name, value)
    if len(array.shape) != 4:
        raise ValueError(f"{op}: {name} must have 4 dimensions, got shape {array.shape}")
    return array


def _batch(op: str, array: View) -> tuple[View, bool]:
    """Four dimensions, and whether it came as one image."""
    single = len(array.shape) == 3
    if single:
        step = max(size * stride for size, stride in zip(array.shape, array.strides, strict=True))
        array = array._replace(shape=(1, *array.shape), strides=(step, *array.strides))
    elif len(array.shape) != 4:
        raise ValueError(f"{op}: {array.name} must have 4 dimensions, or 3 for a batch of one, got shape {array.shape}")
    return array, single


def images(op: str, name: str, value: Any, layout: str) -> tuple[View, bool]:
    """(N, H, W, C) in memory, and whether it came as one image."""
    array, single = _batch(op, arrays.look(op, name, value))
    return _nhwc(op, array, layout), single


def as_nhwc_weight(op: str, value: Any) -> View:
    return _nhwc(op, _four(op, "weight", value), "NCHW")


def _memory_shape(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """(N, H, W, C) of a shape that is written in the order of `layout`."""
    n, a, b, c = shape
    return (n, a, b, c) if layout == "NHWC" else (n, b, c, a)


class Result:
    """Where the kernel writes, in (N, H, W, C), and what the caller gets for it."""

    def __init__(self, op: str, out: Any, layout: str, single: bool = False) -> None:
        self.op, self.out, self.layout, self.single = op, out, layout, single
        self.direct: View | None = None  # `out`, if a kernel can write it
        self.planes: View | None = None  # `out`, if it is NCHW in memory
        if out is None:
            return
        array = arrays.look(op, "out", out)
        if single and len(array.shape) == 3:
            step = max(size * stride for size, stride in zip(array.shape, array.strides, strict=True))
            array = array._replace(shape=(1, *array.shape), strides=(step, *array.strides))
        if len(array.shape) != 4:
            raise ValueError(f"{op}: out must have {3 if single else 4} dimensions, got shape {array.shape}")
        self.direct = array if layout == "NHWC" else _channels_last(array)
        if self.direct is None:
            if not array.contiguous:
                raise ValueError(f"{op}: out must be channels-last or C-contiguous, got strides {array.strides}")
            if config.strict:
                refuse(op, [conversion(array, layout) or ""])
            self.planes = array

    def finish(self, result: Any) -> Any:
        """The result of the kernel in the caller's layout; a View stands for `out`."""
        if self.direct is not None:
            return self.out
        if self.planes is not None:
            source = arrays.look(self.op, "result", result)
            n, h, w, c = source.shape
            arrays.check_shape(self.op, "out", self.planes, (n, c, h, w))
            arrays.check(self.op, self.planes, 4, source.dtype, write=True)
            _transpose(self.op, source, self.planes, h * w, c)
            return self.out
        if self.layout == "NCHW":
            result = arrays.permute(result, (0, 3, 1, 2))
        return result[0] if self.single else result


def only_auto(op: str, algo: str) -> None:
    if arg.own_algorithm(op, algo) == "winograd":
        raise ValueError(f"{op}: algo must be 'auto' or 'direct' for arrays on a GPU, got 'winograd'")


def _as_it_lies(
    op: str, judge: Callable[..., Plan], order: str, given: Sequence[View | None], *options: Any
) -> Plan | None:
    """The plan of the kernels' own judge, for the caller's layout; None where something must be converted.

    `given`: the first array, those that are no images, and `out`, as that judge wants them.
    """
    first, *rest, out = given
    assert first is not None
    batch, single = _batch(op, first)
    x = batch if order == "NHWC" else _channels_last(batch)
    into = Result(op, out, order, single)
    if x is None or into.planes is not None:
        return None
    plan = judge(op, x, *rest, into.direct, *options)
    return plan._replace(results=tuple(_shown(result, order, single) for result in plan.results))


def _shown(result: Output, order: str, single: bool) -> Output:
    """An output (N, H, W, C) as the caller sees it."""
    n, h, w, c = result.shape
    shape: tuple[int, ...] = (n, c, h, w) if order == "NCHW" else result.shape
    axes: tuple[int, ...] = (0, 2, 3, 1) if order == "NCHW" else (0, 1, 2, 3)
    if single:
        shape, axes = shape[1:], tuple(axis - 1 for axis in axes[1:])
    return Output(shape, result.dtype, axes)


# Convolution


def _judge_conv2d(
    op: str, x: View, weight: View, bias: View | None, out: View | None, layout: str, algo: str, *options: Any
) -> Plan | None:
    order = arg.layout(op, layout)
    only_auto(op, algo)
    w = _channels_last(_four(op, "weight", weight))
    return None if w is None else _as_it_lies(op, judge_conv2d, order, (x, w, bias, out), *options)


_conv2d = Operation("conv2d", ("input", "weight", "bias"), _judge_conv2d)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    *,
    layout: str,
    activation: str | None,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    geometry = stride, padding, dilation, groups
    done = _conv2d((input, weight, bias), out, (layout, algo, *geometry, activation, precision))
    if done is not None:
        return done
    op = "conv2d"
    order = arg.layout(op, layout)
    only_auto(op, algo)
    x, single = images(op, "input", input, order)
    result = Result(op, out, order, single)
    options: Any = {"activation": activation, "precision": precision, "out": result.direct}
    return result.finish(kernels.conv2d(x, as_nhwc_weight(op, weight), bias, *geometry, **options))


def conv2d_backward_input(
    input_shape: Sequence[int],
    weight: Any,
    grad_output: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    *,
    layout: str,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    op = "conv2d_backward_input"
    order = arg.layout(op, layout)
    only_auto(op, algo)
    given, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    shape = _memory_shape(given, order)
    grad, _ = images(op, "grad_output", grad_output, order)
    result = Result(op, out, order, single)
    w = as_nhwc_weight(op, weight)
    options: Any = {"precision": precision, "out": result.direct}
    return result.finish(kernels.conv2d_backward_input(shape, w, grad, stride, padding, dilation, groups, **options))


def conv2d_backward_weight(
    input: Any,
    weight_shape: Sequence[int],
    grad_output: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    *,
    layout: str,
    algo: str,
    precision: str | None,
    out: Any,
) -> Any:
    op = "conv2d_backward_weight"
    order = arg.layout(op, layout)
    only_auto(op, algo)
    x, _ = images(op, "input", input, order)
    grad, _ = images(op, "grad_output", grad_output, order)
    shape = _memory_shape(arg.shape_tuple(op, "weight_shape", weight_shape, 4), "NCHW")
    result = Result(op, out, "NCHW")
    into: Any = result.direct
    if result.planes is not None:  # which may be float32 where the images are not
        into = arrays.empty(op, x, shape, result.planes.dtype)
    options: Any = {"precision": precision, "out": into}
    return result.finish(kernels.conv2d_backward_weight(x, shape, grad, stride, padding, dilation, groups, **options))


def conv2d_backward_bias(grad_output: Any, *, layout: str, out: Any) -> Any:
    op = "conv2d_backward_bias"
    grad, _ = images(op, "grad_output", grad_output, arg.layout(op, layout))
    return kernels.conv2d_backward_bias(grad, out=out)


# Linear: a convolution of one pixel


def _rows(op: str, name: str, value: Any) -> tuple[View, bool]:
    array = arrays.view(op, name, value)
    if len(array.shape) == 1:
        return array.reshaped(1, 1, 1, *array.shape), True
    if len(array.shape) != 2:
        raise ValueError(f"{op}: {name} must have 2 dimensions, or 1 for a batch of one, got shape {array.shape}")
    return array.reshaped(array.shape[0], 1, 1, array.shape[1]), False


def _matrix(op: str, value: Any) -> View:
    array = arrays.view(op, "weight", value, 2)
    return array.reshaped(array.shape[0], 1, 1, array.shape[1])


def _rows_out(op: str, out: Any, like: View, shape: tuple[int, ...]) -> tuple[Any, View]:
    result = arrays.output(op, out, like, shape)
    rows = (1, *shape) if len(shape) == 1 else shape
    return result, arrays.view(op, "out", result, write=True).reshaped(rows[0], 1, 1, rows[1])


def _judge_linear(op: str, input: View, weight: View, bias: View | None, out: View | None, activation: object) -> Plan:
    (x, single), w = _rows(op, "input", input), _matrix(op, weight)
    if w.shape[3] != x.shape[3]:
        raise ValueError(f"{op}: weight must have shape (OUT, IN) with IN={x.shape[3]}, got {(w.shape[0], w.shape[3])}")
    shape = (x.shape[0], w.shape[0])[single:]
    if out is not None:
        arrays.check_result(op, out, shape, x.dtype)
    plan = judge_conv2d(op, x, w, bias, None, 1, 0, 1, 1, activation, None)
    return plan._replace(results=(Output(shape, x.dtype),))


_linear = Operation("linear", ("input", "weight", "bias"), _judge_linear)


def linear(input: Any, weight: Any, bias: Any, *, activation: str | None, out: Any) -> Any:
    return _linear((input, weight, bias), out, (activation,))


def linear_backward_input(weight: Any, grad_output: Any, *, out: Any) -> Any:
    op = "linear_backward_input"
    w, (grad, single) = _matrix(op, weight), _rows(op, "grad_output", grad_output)
    if grad.shape[3] != w.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with OUT={w.shape[0]}, got {grad.shape[::3]}")
    n, inputs = grad.shape[0], w.shape[3]
    result, y = _rows_out(op, out, grad, (n, inputs)[single:])
    kernels.conv2d_backward_input((n, 1, 1, inputs), w, grad, out=y)
    return result


def linear_backward_weight(input: Any, grad_output: Any, *, out: Any) -> Any:
    op = "linear_backward_weight"
    (x, _), (grad, _) = _rows(op, "input", input), _rows(op, "grad_output", grad_output)
    if grad.shape[0] != x.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with N={x.shape[0]}, got {grad.shape[::3]}")
    shape = grad.shape[3], x.shape[3]
    result, y = _rows_out(op, out, x, shape)
    kernels.conv2d_backward_weight(x, (shape[0], 1, 1, shape[1]), grad, out=y)
    return result


def linear_backward_bias(grad_output: Any, *, out: Any) -> Any:
    grad, _ = _rows("linear_backward_bias", "grad_output", grad_output)
    return kernels.conv2d_backward_bias(grad, out=out)


# Pooling


def _judge_max(
    judge: Callable[..., Plan], op: str, x: View, taps: None, out: View | None, layout: str, *window: Any
) -> Plan | None:
    return _as_it_lies(op, judge, arg.layout(op, layout), (x, taps, out), *window, False)


def _judge_avg(
    judge: Callable[..., Plan], op: str, x: View, out: View | None, layout: str, *window: Any
) -> Plan | None:
    return _as_it_lies(op, judge, arg.layout(op, layout), (x, out), *window)


_max_pool2d = Operation("max_pool2d", ("input", "taps"), partial(_judge_max, judge_max_pool2d))
_avg_pool2d = Operation("avg_pool2d", ("input",), partial(_judge_avg, judge_avg_pool2d))
_global_max_pool2d = Operation("global_max_pool2d", ("input", "taps"), partial(_judge_max, judge_global_max_pool2d))
_global_avg_pool2d = Operation("global_avg_pool2d", ("input",), partial(_judge_avg, judge_global_avg_pool2d))


def _pool(operation: Operation, inputs: tuple[Any, ...], *window: Any, layout: str, out: Any) -> Any:
    done = operation(inputs, out, (layout, *window))
    if done is not None:
        return done
    op, order = operation.op, arg.layout(operation.op, layout)
    x, single = images(op, "input", inputs[0], order)
    result = Result(op, out, order, single)
    found = getattr(kernels, op)(x, *window, out=result.direct)
    if type(found) is not tuple:  # a View is one, too
        return result.finish(found)
    return result.finish(found[0]), Result(op, None, order, single).finish(found[1])


def _pool_backward(
    op: str, grad_output: Any, indices: tuple[Any, ...], input_shape: Any, *window: Any, layout: str, out: Any
) -> Any:
    order = arg.layout(op, layout)
    shape, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad, _ = images(op, "grad_output", grad_output, order)
    places = [images(op, "indices", value, order)[0] for value in indices]
    result = Result(op, out, order, single)
    function = getattr(kernels, op)
    return result.finish(function(grad, *places, _memory_shape(shape, order), *window, out=result.direct))


def max_pool2d(input: Any, *window: Any, layout: str, out: Any) -> Any:
    return _pool(_max_pool2d, (input, None), *window, layout=layout, out=out)


def max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, *window: Any, layout: str, out: Any) -> Any:
    return _pool_backward("max_pool2d_backward", grad_output, (indices,), input_shape, *window, layout=layout, out=out)


def avg_pool2d(input: Any, *window: Any, layout: str, out: Any) -> Any:
    return _pool(_avg_pool2d, (input,), *window, layout=layout, out=out)


def avg_pool2d_backward(grad_output: Any, input_shape: Any, *window: Any, layout: str, out: Any) -> Any:
    return _pool_backward("avg_pool2d_backward", grad_output, (), input_shape, *window, layout=layout, out=out)


def global_avg_pool2d(input: Any, *, layout: str, out: Any) -> Any:
    return _pool(_global_avg_pool2d, (input,), layout=layout, out=out)


def global_avg_pool2d_backward(grad_output: Any, input_shape: Any, *, layout: str, out: Any) -> Any:
    return _pool_backward("global_avg_pool2d_backward", grad_output, (), input_shape, layout=layout, out=out)


def global_max_pool2d(input: Any, return_indices: bool, *, layout: str, out: Any) -> Any:
    return _pool(_global_max_pool2d, (input, None), return_indices, layout=layout, out=out)


def global_max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, *, layout: str, out: Any) -> Any:
    return _pool_backward("global_max_pool2d_backward", grad_output, (indices,), input_shape, layout=layout, out=out)


# The rest


def cross_entropy_with_grad(input: Any, target: Any, **options: Any) -> tuple[Any, Any]:
    x = arrays.view("cross_entropy_with_grad", "input", input, 2)
    grad = arrays.empty("cross_entropy_with_grad", x, x.shape)
    return cross_entropy(x, target, grad=grad, **options), grad


def nchw_to_nhwc(input: Any, *, out: Any) -> Any:
    array = _four("nchw_to_nhwc", "input", input)
    turned = _channels_last(array)
    return elementwise.nchw_to_nhwc(array, out=out) if turned is None else elementwise.copy(turned, out=out)


def nhwc_to_nchw(input: Any, *, out: Any) -> Any:
    return elementwise.nhwc_to_nchw(input, out=out)
