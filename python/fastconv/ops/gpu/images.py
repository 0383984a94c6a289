"""Borders, pixel shuffle, and the rarer ways to pool and to norm of `fastconv.ops` on GPU arrays, by their layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv.cuda as kernels
from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv.cuda import arrays, elementwise, images, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch
from fastconv.ops import adaptive_pool2d as adaptive
from fastconv.ops.gpu.layers import resample
from fastconv.ops.gpu.layouts import Result
from fastconv.ops.gpu.layouts import images as as_images
from fastconv.ops.max_unpool2d import unpooled_size
from fastconv.ops.maxout import maxout_geometry, maxout_pieces
from fastconv.ops.pad2d import center_cropping, check_amounts, check_pad_options, cropped_size, padded_size
from fastconv.ops.pixel_shuffle import factor
from fastconv.ops.weighted_pool2d import depthwise_weight, normalised_window


def _forward(op: str, input: Any, layout: str, out: Any, run: Callable[[View, View | None], Any]) -> Any:
    """Call run(images, out) on (N, H, W, C); a tuple it returns is a result and its indices."""
    order = arg.layout(op, layout)
    x, single = as_images(op, "input", input, order)
    result = Result(op, out, order, single)
    found = run(x, result.direct)
    if type(found) is not tuple:  # a View is one, too
        return result.finish(found)
    return result.finish(found[0]), Result(op, None, order, single).finish(found[1])


def _backward(
    op: str, grad_output: Any, input_shape: Any, layout: str, out: Any, run: Callable[[View, Any, View | None], Any]
) -> Any:
    """Call run(gradient, shape of the input, out) on (N, H, W, C)."""
    order = arg.layout(op, layout)
    full, single = arg.batch_shape(op, "input_shape", input_shape, 4)
    n, c, h, w = arg.logical_shape(full, order)
    grad, _ = as_images(op, "grad_output", grad_output, order)
    result = Result(op, out, order, single)
    return result.finish(run(grad, (n, h, w, c), result.direct))


# Borders


def pad2d(input: Any, padding: Any, mode: Any, value: Any, *, layout: str, out: Any) -> Any:
    op = "pad2d"
    amounts = check_amounts(op, "padding", arg.explicit_padding(op, padding))
    kind, filling = check_pad_options(op, mode, value)

    def run(x: View, into: View | None) -> Any:
        padded_size(op, (x.shape[1], x.shape[2]), amounts, kind)
        return images.pad2d(x, amounts, kind, filling, out=into)

    return _forward(op, input, layout, out, run)


def pad2d_backward(grad_output: Any, input_shape: Any, padding: Any, mode: Any, *, layout: str, out: Any) -> Any:
    op = "pad2d_backward"
    amounts = check_amounts(op, "padding", arg.explicit_padding(op, padding))
    kind, _ = check_pad_options(op, mode, 0)

    def run(grad: View, shape: Any, into: View | None) -> Any:
        padded_size(op, (shape[1], shape[2]), amounts, kind)
        return images.pad2d_backward(grad, shape, amounts, kind, out=into)

    return _backward(op, grad_output, input_shape, layout, out, run)


def _cropped(op: str, x: View, amounts: arg.ExplicitPadding, into: View | None) -> Any:
    n, h, w, c = x.shape
    height, width = cropped_size(op, (h, w), amounts)
    return images.pad2d_backward(x, (n, height, width, c), amounts, out=into)  # of a border of zeros it is the middle


def crop2d(input: Any, cropping: Any, *, layout: str, out: Any) -> Any:
    op = "crop2d"
    amounts = check_amounts(op, "cropping", arg.explicit_padding(op, cropping))
    return _forward(op, input, layout, out, lambda x, into: _cropped(op, x, amounts, into))


def center_crop2d(input: Any, size: Any, *, layout: str, out: Any) -> Any:
    op = "center_crop2d"
    wanted = arg.pair(op, "size", size)

    def run(x: View, into: View | None) -> Any:
        return _cropped(op, x, center_cropping(op, (x.shape[1], x.shape[2]), wanted), into)

    return _forward(op, input, layout, out, run)


def crop2d_backward(grad_output: Any, input_shape: Any, cropping: Any, *, layout: str, out: Any) -> Any:
    op = "crop2d_backward"

    def run(grad: View, shape: Any, into: View | None) -> Any:
        size = shape[1], shape[2]
        if cropping is None:
            amounts = center_cropping(op, size, (grad.shape[1], grad.shape[2]))
        else:
            amounts = check_amounts(op, "cropping", arg.explicit_padding(op, cropping))
        arrays.check_shape(op, "grad_output", grad, (shape[0], *cropped_size(op, size, amounts), shape[3]))
        return images.pad2d(grad, amounts, out=into)

    return _backward(op, grad_output, input_shape, layout, out, run)


# Pixels of channels


def pixel_shuffle(input: Any, upscale_factor: Any, *, layout: str, out: Any) -> Any:
    r = factor("pixel_shuffle", "upscale_factor", upscale_factor)
    return _forward("pixel_shuffle", input, layout, out, lambda x, into: images.pixel_shuffle(x, r, out=into))


def pixel_unshuffle(input: Any, downscale_factor: Any, *, layout: str, out: Any) -> Any:
    r = factor("pixel_unshuffle", "downscale_factor", downscale_factor)
    return _forward("pixel_unshuffle", input, layout, out, lambda x, into: images.pixel_unshuffle(x, r, out=into))


# Pooling


def _bins(op: str, shape: Sequence[int], output_size: Any) -> Any:
    """Windows, or bins, of (N, H, W, C)."""
    n, h, w, c = shape
    return adaptive.adaptive_geometry(op, (n, c, h, w), adaptive.adaptive_size(op, output_size))


def _description(shape: Any) -> tuple[Any, ...]:
    return shape.input_shape, shape.output_shape[2:], "bins", False, (0.0, 0.0)


def adaptive_avg_pool2d(input: Any, output_size: Any, *, layout: str, out: Any) -> Any:
    op = "adaptive_avg_pool2d"

    def run(x: View, into: View | None) -> Any:
        shape = _bins(op, x.shape, output_size)
        if isinstance(shape, _core.Pool2dShape):
            return kernels.avg_pool2d(x, shape.kernel_size, out=into)
        return resample(op, x, _description(shape), False, into)

    return _forward(op, input, layout, out, run)


def adaptive_avg_pool2d_backward(grad_output: Any, input_shape: Any, output_size: Any, *, layout: str, out: Any) -> Any:
    op = "adaptive_avg_pool2d_backward"

    def run(grad: View, full: Any, into: View | None) -> Any:
        shape = _bins(op, full, output_size)
        n, c, oh, ow = shape.output_shape
        arrays.check_shape(op, "grad_output", grad, (n, oh, ow, c))
        if isinstance(shape, _core.Pool2dShape):
            return kernels.avg_pool2d_backward(grad, full, shape.kernel_size, out=into)
        return resample(op, grad, _description(shape), True, into)

    return _backward(op, grad_output, input_shape, layout, out, run)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: Any, *, layout: str, out: Any) -> Any:
    op = "adaptive_max_pool2d"
    wanted = arg.flag(op, "return_indices", return_indices)

    def run(x: View, into: View | None) -> Any:
        shape = _bins(op, x.shape, output_size)
        if isinstance(shape, _core.Pool2dShape):
            return kernels.max_pool2d(x, shape.kernel_size, return_indices=wanted, out=into)
        found = images.adaptive_max_pool2d(x, shape.output_shape[2:], out=into)
        return found if wanted else found[0]

    return _forward(op, input, layout, out, run)


def adaptive_max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, *, layout: str, out: Any) -> Any:
    op = "adaptive_max_pool2d_backward"
    places, _ = as_images(op, "indices", indices, arg.layout(op, layout))

    def run(grad: View, full: Any, into: View | None) -> Any:
        _, oh, ow, _ = grad.shape
        shape = _bins(op, full, (oh, ow))
        if isinstance(shape, _core.Pool2dShape):
            return kernels.max_pool2d_backward(grad, places, full, shape.kernel_size, out=into)
        return images.adaptive_max_pool2d_backward(grad, places, full, out=into)

    return _backward(op, grad_output, input_shape, layout, out, run)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any, *, layout: str, out: Any
) -> Any:
    op = "max_unpool2d"
    places, _ = as_images(op, "indices", indices, arg.layout(op, layout))

    def run(x: View, into: View | None) -> Any:
        size = unpooled_size(op, (x.shape[1], x.shape[2]), kernel_size, stride, padding, output_size)
        return images.max_unpool2d(x, places, size, out=into)

    return _forward(op, input, layout, out, run)


def max_unpool2d_backward(grad_output: Any, indices: Any, *, layout: str, out: Any) -> Any:
    op = "max_unpool2d_backward"
    order = arg.layout(op, layout)
    places, single = as_images(op, "indices", indices, order)
    grad, _ = as_images(op, "grad_output", grad_output, order)
    result = Result(op, out, order, single)
    return result.finish(images.max_unpool2d_backward(grad, places, out=result.direct))


def lp_pool2d(input: Any, *options: Any, layout: str, out: Any) -> Any:
    """`options`: norm_type, kernel_size, stride, ceil_mode, padding."""
    return _forward("lp_pool2d", input, layout, out, lambda x, into: images.lp_pool2d(x, *options, out=into))


def lp_pool2d_backward(grad_output: Any, input: Any, output: Any, *options: Any, layout: str, out: Any) -> Any:
    op = "lp_pool2d_backward"
    order = arg.layout(op, layout)
    x, single = as_images(op, "input", input, order)
    grad, value = (as_images(op, n, a, order)[0] for n, a in (("grad_output", grad_output), ("output", output)))
    result = Result(op, out, order, single)
    return result.finish(images.lp_pool2d_backward(grad, x, value, *options, out=result.direct))


_filters: OrderedDict[Any, Any] = OrderedDict()  # the windows of weighted pooling, on the devices that used them


def _filter(op: str, like: View, window: np.ndarray[Any, Any]) -> Any:
    """(C, KH, KW, 1)"""
    channels = like.shape[3]
    library = like.library or type(like.owner)
    key = native.module(op), library, like.device, arrays.stream(like), channels, window.shape, window.tobytes()
    if key not in _filters:
        weight = depthwise_weight(window, channels, np.dtype(np.float32))
        _filters[key] = arrays.from_host(op, like, weight.transpose(0, 2, 3, 1))
        if len(_filters) > 64:
            _filters.popitem(last=False)
    _filters.move_to_end(key)
    return _filters[key]


def weighted_pool2d(input: Any, window: Any, stride: Any, padding: Any, *, layout: str, out: Any) -> Any:
    op = "weighted_pool2d"
    weights = normalised_window(op, window)
    steps = weights.shape if stride is None else arg.pair(op, "stride", stride)

    def run(x: View, into: View | None) -> Any:
        channels = x.shape[3]
        return kernels.conv2d(x, _filter(op, x, weights), stride=steps, padding=padding, groups=channels, out=into)

    return _forward(op, input, layout, out, run)


def weighted_pool2d_backward(
    grad_output: Any, input_shape: Any, window: Any, stride: Any, padding: Any, *, layout: str, out: Any
) -> Any:
    op = "weighted_pool2d_backward"
    weights = normalised_window(op, window)
    steps = weights.shape if stride is None else arg.pair(op, "stride", stride)

    def run(grad: View, shape: Any, into: View | None) -> Any:
        options: Any = {"stride": steps, "padding": padding, "groups": shape[3]}
        return kernels.conv2d_backward_input(shape, _filter(op, grad, weights), grad, **options, out=into)

    return _backward(op, grad_output, input_shape, layout, out, run)


# Maxout: a max pooling along an axis of memory


class _Maxout:
    """The pooling, and new arrays that lie in memory as the input does."""

    def __init__(self, op: str, input: Any, pieces: object, axis: object) -> None:
        self.op, self.x = op, elementwise.dense(op, "input", input)
        count, rank = maxout_pieces(op, pieces), len(self.x.shape)
        number = arg.integer(op, "axis", axis)
        if not -rank <= number < rank:
            raise ValueError(f"{op}: axis must lie in {-rank}..{rank - 1}, got {number} for shape {self.x.shape}")
        order = arrays.memory_order(self.x)
        assert order is not None
        self.order, self.axis = order, number % rank
        memory = tuple(self.x.shape[axis] for axis in order)
        judged, *_ = maxout_geometry(op, memory, order.index(self.axis), count)
        self.shape = native.module(op).Pool2dShape(
            judged.input_shape, judged.kernel_size, judged.stride, judged.padding, judged.dilation, False, op
        )
        self.left = tuple(size // (count if k == self.axis else 1) for k, size in enumerate(self.x.shape))

    def new(self, dtype: str = "float32") -> Any:
        found = arrays.empty(self.op, self.x, [self.left[axis] for axis in self.order], dtype)
        return arrays.permute(found, [self.order.index(axis) for axis in range(len(self.order))])

    def of_result(self, name: str, value: Any, write: bool = False) -> View:
        """An array of the result's shape, in its order."""
        array = arrays.check(self.op, arrays.look(self.op, name, value), None, "float32", write)
        arrays.check_shape(self.op, name, array, self.left)
        if not array.permuted(*self.order).contiguous:
            raise ValueError(f"{self.op}: {name} must lie in memory as input does, got strides {array.strides}")
        return array

    def forward(self, y: View, taps: View | None) -> None:
        options = {"indices": 0, "taps": 0 if taps is None else taps.address, "positive_only": False}
        with Launch(self.op, self.x, y, taps) as stream:
            native.module(self.op).max_pool2d_forward(
                self.shape, self.x.address, y.address, **options, dtype="float32", stream=stream
            )


def maxout(input: Any, pieces: Any, axis: Any, *, out: Any) -> Any:
    job = _Maxout("maxout", input, pieces, axis)
    result = job.new() if out is None else out
    job.forward(job.of_result("out", result, write=True), None)
    return result


def maxout_backward(grad_output: Any, input: Any, pieces: Any, axis: Any, *, out: Any) -> Any:
    op = "maxout_backward"
    job = _Maxout(op, input, pieces, axis)
    grad = job.of_result("grad_output", grad_output)
    taps = arrays.look(op, "winners", job.new("uint8"))
    job.forward(job.of_result("work", job.new(), write=True), taps)
    result, gx = elementwise.output_like(op, out, job.x)
    with Launch(op, grad, taps, gx) as stream:
        native.module(op).max_pool2d_backward(
            job.shape, grad.address, indices=0, taps=taps.address, grad_input=gx.address, dtype="float32", stream=stream
        )
    return result


# Layer norm


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any, *, return_stats: Any, out: Any
) -> Any:
    found = images.layer_norm(input, normalized_shape, weight, bias, eps, out=out)
    return found if arg.flag("layer_norm", "return_stats", return_stats) else found[0]


layer_norm_backward = images.layer_norm_backward
