"""More of `fastconv.ops` on GPU arrays: activations, softmax, batch norm, transposed convolution, losses, upsampling.

The rules are those of `layouts`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np

import fastconv.cuda as kernels
from fastconv._checks import arguments as arg
from fastconv._checks.numbers import mean_divisor, number
from fastconv.cuda import arrays, elementwise, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.cuda.operation import Operation, Plan
from fastconv.ops.activation import softmax_axis
from fastconv.ops.conv_transpose2d import conv_transpose2d_geometry
from fastconv.ops.gpu import layouts, routed
from fastconv.ops.norm import check_count
from fastconv.ops.pointwise import READ_INPUT
from fastconv.ops.upsample import Resize

# Element by element: any order in memory without gaps


def _judge_activation(op: str, input: View, out: View | None, function: str, a: float, b: float) -> Plan:
    x = elementwise.dense(op, "input", input)
    results = elementwise.result_like(op, x, out)
    return Plan(native.module(op).plan_activation(function, arrays.count(x.shape), a=a, b=b, op=op), results)


def _judge_activation_backward(
    op: str, grad_output: View, saved: View, out: View | None, function: str, a: float, b: float
) -> Plan:
    gy = elementwise.dense(op, "grad_output", grad_output)
    elementwise.same_order(op, gy, saved.name, saved)
    results = elementwise.result_like(op, gy, out)
    return Plan(native.module(op).plan_activation_backward(function, arrays.count(gy.shape), a=a, b=b, op=op), results)


@cache
def _activation(op: str) -> Operation:
    return Operation(op, ("input",), _judge_activation)


@cache
def _activation_backward(op: str, saved: str) -> Operation:
    return Operation(op, ("grad_output", saved), _judge_activation_backward)


def activation(op: str, function: str, input: Any, out: Any, a: float, b: float) -> Any:
    """A function by its native name."""
    return _activation(op)((input,), out, (function, a, b))


def activation_backward(op: str, function: str, grad_output: Any, saved: Any, out: Any, a: float, b: float) -> Any:
    """`saved`: the input of some functions, the output of others."""
    operation = _activation_backward(op, "input" if function in READ_INPUT else "output")
    return operation((grad_output, saved), out, (function, a, b))


def _classes(op: str, array: View, axis: object) -> tuple[int, int, int]:
    """What lies before the classes in memory, the classes, and what lies behind them."""
    place = softmax_axis(op, array.name, array.shape, axis)
    order = arrays.memory_order(array)
    assert order is not None
    at = order.index(place)
    before, behind = (math.prod(array.shape[k] for k in part) for part in (order[:at], order[at + 1 :]))
    return before, array.shape[place], behind


def softmax(input: Any, axis: int, *, out: Any) -> Any:
    op = "softmax"
    x = elementwise.dense(op, "input", input)
    sizes = _classes(op, x, axis)
    result, y = elementwise.output_like(op, out, x)
    with Launch(op, x, y) as stream:
        if sizes[2] == 1:
            native.module(op).softmax_forward(x.address, y.address, *sizes[:2], stream=stream)
        elif arrays.count(x.shape):
            native.module(op).softmax_columns(x.address, 0, y.address, *sizes, stream=stream)
    return result


def softmax_backward(grad_output: Any, output: Any, axis: int, *, out: Any) -> Any:
    op = "softmax_backward"
    gy = elementwise.dense(op, "grad_output", grad_output)
    sizes = _classes(op, gy, axis)
    value = elementwise.same_order(op, gy, "output", output)
    result, gx = elementwise.output_like(op, out, gy)
    with Launch(op, gy, value, gx) as stream:
        if sizes[2] == 1:
            native.module(op).softmax_backward(gy.address, value.address, gx.address, *sizes[:2], stream=stream)
        elif arrays.count(gy.shape):
            native.module(op).softmax_columns(gy.address, value.address, gx.address, *sizes, stream=stream)
    return result


# Batch norm


def in_channels_last(op: str, name: str, value: Any, layout: arg.Layout) -> tuple[View, int]:
    """(N, H, W, C) or (N, C) in memory, and how many dimensions it came with."""
    array = arrays.look(op, name, value)
    if len(array.shape) == 2:
        return arrays.view(op, name, array, 2), 2
    if len(array.shape) != 4:
        raise ValueError(f"{op}: {name} must be (N, F) or 4-D ({layout}), got shape {array.shape}")
    return arrays.view(op, name, layouts.images(op, name, array, layout)[0], 4), 4


def vector(op: str, name: str, value: Any, size: int, write: bool = False) -> View | None:
    if value is None:
        return None
    array = arrays.view(op, name, value, 1, write=write)
    arrays.check_shape(op, name, array, (size,))
    return array


def address(array: View | None) -> int:
    return 0 if array is None else array.address


def workspace(op: str, like: Any, rows: int, columns: int) -> tuple[View, int]:
    nbytes = int(native.module(op).batch_norm_workspace_bytes(rows, columns))
    return arrays.view(op, "workspace", arrays.empty(op, like, (nbytes // 8,), "float64"), 1, "float64"), nbytes


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    *,
    activation: str | None,
    layout: str,
    return_stats: bool,
    out: Any,
) -> Any:
    op = "batch_norm"
    order, relu = arg.layout(op, layout), arg.activation(op, activation) == "relu"
    x, ndim = in_channels_last(op, "input", input, order)
    channels, rows = x.shape[-1], math.prod(x.shape[:-1])
    if training:
        check_count(op, rows, x.shape)
    if running_mean is None or running_var is None:
        raise ValueError(f"{op}: running_mean and running_var must be given on a GPU, got None")
    mean = vector(op, "running_mean", running_mean, channels, write=training)
    var = vector(op, "running_var", running_var, channels, write=training)
    w, b = vector(op, "weight", weight, channels), vector(op, "bias", bias, channels)
    result = layouts.Result(op, out, order) if ndim == 4 else None
    place = result.direct if result is not None else out
    y = arrays.output(op, place, x, x.shape)
    stats = arrays.empty(op, x, (channels, 2), "float64")
    into, saved = arrays.view(op, "out", y, write=True), arrays.view(op, "stats", stats, 2, "float64")
    work, nbytes = workspace(op, x, rows, channels)
    addresses = [address(array) for array in (x, w, b, into, saved, mean, var)]
    options = {"momentum": number(op, "momentum", momentum, 0.0), "eps": number(op, "eps", eps, 0.0), "relu": relu}
    with Launch(op, x, w, b, into, saved, mean, var, work) as stream:
        native.module(op).batch_norm_forward(
            *addresses, rows, channels, work.address, nbytes, training=bool(training), **options, stream=stream
        )
    finished = y if result is None else result.finish(y)
    return (finished, stats) if return_stats else finished


def batch_norm_backward(
    grad_output: Any,
    input: Any,
    stats: Any,
    weight: Any,
    bias: Any,
    training: bool,
    *,
    activation: str | None,
    layout: str,
    out: Any,
) -> tuple[Any, Any, Any]:
    op = "batch_norm_backward"
    order, relu = arg.layout(op, layout), arg.activation(op, activation) == "relu"
    x, ndim = in_channels_last(op, "input", input, order)
    gy, _ = in_channels_last(op, "grad_output", grad_output, order)
    arrays.check_shape(op, "grad_output", gy, x.shape)
    channels, rows = x.shape[-1], math.prod(x.shape[:-1])
    saved = arrays.view(op, "stats", stats, 2, "float64")
    arrays.check_shape(op, "stats", saved, (channels, 2))
    w, b = vector(op, "weight", weight, channels), vector(op, "bias", bias, channels)
    result = layouts.Result(op, out, order) if ndim == 4 else None
    place = result.direct if result is not None else out
    gx = arrays.output(op, place, x, x.shape)
    grads = [arrays.empty(op, x, (channels,)) for _ in range(2)]
    written = [arrays.view(op, "out", array, write=True) for array in (gx, *grads)]
    work, nbytes = workspace(op, x, rows, channels)
    addresses = [address(array) for array in (gy, x, saved, w, b, *written)]
    options = {"training": bool(training), "relu": relu, "accumulate": False}
    with Launch(op, gy, x, saved, w, b, *written, work) as stream:
        native.module(op).batch_norm_backward(
            *addresses, rows, channels, work.address, nbytes, **options, stream=stream
        )
    return (gx if result is None else result.finish(gx)), grads[0], grads[1]


# Transposed convolution: the passes of `conv2d` in other roles


def conv_transpose2d(
    input: Any, weight: Any, bias: Any, *geometry: Any, layout: str, activation: str | None, algo: str, out: Any
) -> Any:
    """`geometry`: stride, padding, output_padding, groups, dilation, output_size."""
    op = "conv_transpose2d"
    order = arg.layout(op, layout)
    routed.only_auto(op, algo)
    relu = arg.activation(op, activation) == "relu"
    x, single = layouts.images(op, "input", input, order)
    w = layouts.as_nhwc_weight(op, weight)
    c, kh, kw, o = w.shape
    judged: tuple[Any, Any, Any, Any, Any, Any] = geometry
    shape = conv_transpose2d_geometry(op, x.shape, (c, o, kh, kw), *judged, "NHWC")
    n, channels, height, width = shape.input_shape
    b = vector(op, "bias", bias, channels)
    result = layouts.Result(op, out, order, single)
    options: Any = {"stride": shape.stride, "padding": shape.padding, "dilation": shape.dilation}
    y = kernels.conv2d_backward_input(
        (n, height, width, channels), w, x, **options, groups=shape.groups, out=result.direct
    )
    if b is not None:
        into = arrays.view(op, "out", y, 4, write=True)
        with Launch(op, into, b) as stream:
            native.module(op).add_bias(
                into.address, b.address, into.address, n * height * width, channels, relu=relu, stream=stream
            )
    elif relu:
        kernels.relu(y, out=y)
    return result.finish(y)


# Losses of pairs


def pair_loss(
    op: str, kind: str, input: Any, target: Any, reduction: object, with_grad: bool, delta: float
) -> tuple[Any, Any]:
    """The loss, which stays on the GPU, and its gradient or None. Values outside [0, 1] are not looked for."""
    module = native.module(op)
    x = elementwise.dense(op, "input", input)
    t = elementwise.same_order(op, x, "target", target)
    count = arrays.count(x.shape)
    share = 1 / mean_divisor(op, reduction, count)
    loss = arrays.empty(op, x, ())
    grad, g = elementwise.output_like(op, None, x) if with_grad else (None, None)
    nbytes = int(module.pair_loss_workspace_bytes(count))
    work = arrays.view(op, "workspace", arrays.empty(op, x, (nbytes // 8,), "float64"), 1, "float64")
    into = arrays.view(op, "loss", loss, write=True)
    addresses = x.address, t.address, address(g), count, work.address, nbytes, into.address
    with Launch(op, x, t, g, work, into) as stream:
        module.pair_loss(kind, *addresses, delta=delta, grad_scale=share, loss_scale=share, stream=stream)
    return loss, grad


# Resampling


class _Tables:
    """The maps of rows and columns on the devices where they were wanted; small, and the same for every call."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: OrderedDict[Any, list[list[Any]]] = OrderedDict()

    def get(self, op: str, like: View, description: tuple[Any, ...], backward: bool) -> list[list[Any]]:
        (*_, h, w), *rest = description
        key = (
            native.module(op),
            like.library or type(like.owner),
            like.device,
            arrays.stream(like),
            h,
            w,
            *rest,
            backward,
        )
        if key not in self._found:
            axes = native.module(op).resample2d_tables((1, 1, h, w), *rest, backward)
            kinds = (np.int32, np.int32, np.float32)
            self._found[key] = [
                [
                    arrays.from_host(op, like, np.frombuffer(values, kind))
                    for values, kind in zip(axis, kinds, strict=True)
                ]
                for axis in axes
            ]
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]


_tables = _Tables()


def resample(op: str, x: View, description: tuple[Any, ...], backward: bool, out: View | None) -> Any:
    """Resampling of (N, H, W, C); `description`: the arguments of `resample2d_tables` but the last."""
    n, height, width, channels = x.shape
    _, _, ih, iw = description[0]
    size = (ih, iw) if backward else description[1]
    y = arrays.output(op, out, x, (n, *size, channels))
    into = arrays.view(op, "out", y, 4, write=True)
    maps = _tables.get(op, x, description, backward)
    looked = [
        [
            arrays.view(op, "map", values, 1, kind)
            for values, kind in zip(axis, ("int32", "int32", "float32"), strict=True)
        ]
        for axis in maps
    ]
    rows, columns = ([view.address for view in axis] for axis in looked)
    with Launch(op, x, into) as stream:
        native.module(op).resample2d(
            x.address, into.address, (n, height, width, channels), size, rows, columns, stream=stream
        )
    return y


def upsample(input: Any, size: Any, scale_factor: Any, mode: str, align_corners: bool, *, layout: str, out: Any) -> Any:
    op = "upsample"
    order = arg.layout(op, layout)
    x, single = layouts.images(op, "input", input, order)
    x = arrays.view(op, "input", x, 4)
    resize = Resize(op, size, scale_factor, mode, align_corners)
    n, height, width, channels = x.shape
    description = resize.arguments(resize.geometry((n, channels, height, width)))
    result = layouts.Result(op, out, order, single)
    return result.finish(resample(op, x, description, False, result.direct))


def upsample_backward(
    grad_output: Any,
    input_shape: Any,
    size: Any,
    scale_factor: Any,
    mode: str,
    align_corners: bool,
    *,
    layout: str,
    out: Any,
) -> Any:
    op = "upsample_backward"
    order = arg.layout(op, layout)
    full, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    grad, _ = layouts.images(op, "grad_output", grad_output, order)
    grad = arrays.view(op, "grad_output", grad, 4)
    resize = Resize(op, size, scale_factor, mode, align_corners)
    shape = resize.geometry(arg.logical_shape(full, order))
    n, c, oh, ow = shape.output_shape
    arrays.check_shape(op, "grad_output", grad, (n, oh, ow, c))
    result = layouts.Result(op, out, order, single)
    return result.finish(resample(op, grad, resize.arguments(shape), True, result.direct))
