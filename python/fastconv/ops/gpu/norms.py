"""Group and local response norm, sinusoidal embedding, and gradients of transposed convolution, on GPU arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastconv.cuda as kernels
from fastconv._checks import arguments as arg
from fastconv._checks.numbers import number
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.ops.conv_transpose2d import conv_transpose2d_geometry
from fastconv.ops.gpu.layers import address, in_channels_last, vector, workspace
from fastconv.ops.gpu.layouts import Result, as_nhwc_weight, images
from fastconv.ops.gpu.routed import only_auto
from fastconv.ops.norm import check_groups, lrn_options
from fastconv.ops.sinusoidal_embedding import check_embedding, frequencies


def _sizes(x: View, num_groups: int) -> tuple[int, int, int, int]:
    """N, pixels, channels and groups."""
    return x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1], num_groups


def group_norm(
    input: Any, num_groups: Any, weight: Any, bias: Any, eps: Any, *, layout: str, return_stats: Any, out: Any
) -> Any:
    op = "group_norm"
    order = arg.layout(op, layout)
    x, ndim = in_channels_last(op, "input", input, order)
    channels = x.shape[-1]
    groups, small = check_groups(op, num_groups, channels), number(op, "eps", eps, 0.0)
    w, b = vector(op, "weight", weight, channels), vector(op, "bias", bias, channels)
    result = Result(op, out, order) if ndim == 4 else None
    y = arrays.output(op, out if result is None else result.direct, x, x.shape)
    stats = arrays.empty(op, x, (x.shape[0] * groups, 2), "float64")
    into, saved = arrays.view(op, "out", y, write=True), arrays.view(op, "stats", stats, 2, "float64", write=True)
    addresses = [address(array) for array in (x, w, b, into, saved)]
    with Launch(op, x, w, b, into, saved) as stream:
        native.module(op).group_norm_forward(*addresses, *_sizes(x, groups), eps=small, relu=False, stream=stream)
    finished = y if result is None else result.finish(y)
    return (finished, stats) if arg.flag(op, "return_stats", return_stats) else finished


def group_norm_backward(
    grad_output: Any, input: Any, num_groups: Any, stats: Any, weight: Any, *, layout: str, out: Any
) -> Any:
    op = "group_norm_backward"
    order = arg.layout(op, layout)
    x, ndim = in_channels_last(op, "input", input, order)
    gy, _ = in_channels_last(op, "grad_output", grad_output, order)
    arrays.check_shape(op, "grad_output", gy, x.shape)
    channels = x.shape[-1]
    groups = check_groups(op, num_groups, channels)
    saved = arrays.view(op, "stats", stats, 2, "float64")
    arrays.check_shape(op, "stats", saved, (x.shape[0] * groups, 2))
    w = vector(op, "weight", weight, channels)
    result = Result(op, out, order) if ndim == 4 else None
    gx = arrays.output(op, out if result is None else result.direct, x, x.shape)
    grads = [arrays.empty(op, x, (channels,)) for _ in range(2)]
    written = [arrays.view(op, "out", array, write=True) for array in (gx, *grads)]
    work, nbytes = workspace(op, x, math.prod(x.shape[:-1]), channels)
    addresses = [address(array) for array in (gy, x, saved, w, None, *written)]
    with Launch(op, gy, x, saved, w, *written, work) as stream:
        native.module(op).group_norm_backward(
            *addresses, *_sizes(x, groups), work.address, nbytes, relu=False, accumulate=False, stream=stream
        )
    return (gx if result is None else result.finish(gx)), grads[0], grads[1]


def _responses(op: str, input: Any, grad_output: Any, options: dict[str, Any], layout: str, out: Any) -> Any:
    order = arg.layout(op, layout)
    x, single = images(op, "input", input, order)
    if single:
        raise ValueError(f"{op}: input must have 4 dimensions, got 3")
    x = arrays.view(op, "input", x, 4)
    grad = None
    if grad_output is not None:
        grad = arrays.view(op, "grad_output", images(op, "grad_output", grad_output, order)[0], 4)
        arrays.check_shape(op, "grad_output", grad, x.shape)
    result = Result(op, out, order)
    y = arrays.output(op, result.direct, x, x.shape)
    into = arrays.view(op, "out", y, 4, write=True)
    sizes = math.prod(x.shape[:3]), x.shape[3]
    with Launch(op, x, grad, into) as stream:
        native.module(op).local_response_norm(x.address, address(grad), into.address, *sizes, **options, stream=stream)
    return result.finish(y)


def local_response_norm(input: Any, size: Any, alpha: Any, beta: Any, k: Any, *, layout: str, out: Any) -> Any:
    op = "local_response_norm"
    return _responses(op, input, None, lrn_options(op, size, alpha, beta, k), layout, out)


def local_response_norm_backward(
    grad_output: Any, input: Any, size: Any, alpha: Any, beta: Any, k: Any, *, layout: str, out: Any
) -> Any:
    op = "local_response_norm_backward"
    return _responses(op, input, grad_output, lrn_options(op, size, alpha, beta, k), layout, out)


# Embedding


def _positions(op: str, positions: Any) -> View:
    at = arrays.view(op, "positions", positions)
    if len(at.shape) not in (1, 2) or at.shape[1:] not in ((), (1,)):
        raise ValueError(f"{op}: positions must have shape (N,) or (N, 1), got {at.shape}")
    return at


def _frequency(op: str, like: View, size: int, period: float) -> View:
    values = frequencies(size, period, np.dtype(np.float32))
    return arrays.view(op, "frequency", arrays.from_host(op, like, values), 1)


def sinusoidal_embedding(positions: Any, dim: Any, max_period: Any, *, out: Any) -> Any:
    op = "sinusoidal_embedding"
    size, period = check_embedding(op, dim, max_period)
    at = _positions(op, positions)
    result = arrays.output(op, out, at, (at.shape[0], size))
    y, frequency = arrays.view(op, "out", result, 2, write=True), _frequency(op, at, size, period)
    with Launch(op, at, frequency, y) as stream:
        native.module(op).sinusoidal_embedding(
            at.address, frequency.address, y.address, at.shape[0], size // 2, stream=stream
        )
    return result


def sinusoidal_embedding_backward(grad_output: Any, positions: Any, max_period: Any, *, out: Any) -> Any:
    op = "sinusoidal_embedding_backward"
    grad = arrays.view(op, "grad_output", grad_output, 2)
    size, period = check_embedding(op, grad.shape[1], max_period)
    at = _positions(op, positions)
    arrays.check_shape(op, "grad_output", grad, (at.shape[0], size))
    result = arrays.output(op, out, at, at.shape)
    into, frequency = arrays.view(op, "out", result, write=True), _frequency(op, at, size, period)
    y = arrays.view(op, "work", arrays.empty(op, at, grad.shape), 2, write=True)
    module, rows = native.module(op), at.shape[0]
    with Launch(op, at, grad, frequency, y, into) as stream:
        module.sinusoidal_embedding(at.address, frequency.address, y.address, rows, size // 2, stream=stream)
        module.sinusoidal_embedding_backward(
            grad.address, y.address, frequency.address, into.address, rows, size // 2, stream=stream
        )
    return result


# Gradients of transposed convolution: the other passes of `conv2d`


def conv_transpose2d_backward_input(
    input_shape: Any, weight: Any, grad_output: Any, *geometry: Any, layout: str, algo: str, out: Any
) -> Any:
    """`geometry`: stride, padding, output_padding, groups, dilation, output_size."""
    op = "conv_transpose2d_backward_input"
    order = arg.layout(op, layout)
    only_auto(op, algo)
    full, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    w = as_nhwc_weight(op, weight)
    c, kh, kw, o = w.shape
    judged: tuple[Any, Any, Any, Any, Any, Any] = geometry
    shape = conv_transpose2d_geometry(op, full, (c, o, kh, kw), *judged, order)
    grad, _ = images(op, "grad_output", grad_output, order)
    n, channels, height, width = shape.input_shape
    arrays.check_shape(op, "grad_output", grad, (n, height, width, channels))
    result = Result(op, out, order, single)
    options: Any = {"stride": shape.stride, "padding": shape.padding, "dilation": shape.dilation}
    return result.finish(kernels.conv2d(grad, w, None, **options, groups=shape.groups, out=result.direct))


def conv_transpose2d_backward_weight(
    input: Any, weight_shape: Any, grad_output: Any, *geometry: Any, layout: str, algo: str, out: Any
) -> Any:
    op = "conv_transpose2d_backward_weight"
    order = arg.layout(op, layout)
    only_auto(op, algo)
    x, _ = images(op, "input", input, order)
    c, o, kh, kw = full = arg.shape_tuple(op, "weight_shape", weight_shape, 4)
    judged: tuple[Any, Any, Any, Any, Any, Any] = geometry
    n, height, width, channels = x.shape
    shape = conv_transpose2d_geometry(op, (n, channels, height, width), full, *judged, "NCHW")
    grad, _ = images(op, "grad_output", grad_output, order)
    gn, gc, gh, gw = shape.input_shape
    arrays.check_shape(op, "grad_output", grad, (gn, gh, gw, gc))
    result = Result(op, out, "NCHW")
    options: Any = {"stride": shape.stride, "padding": shape.padding, "dilation": shape.dilation}
    found = kernels.conv2d_backward_weight(grad, (c, kh, kw, o), x, **options, groups=shape.groups, out=result.direct)
    return result.finish(found)
