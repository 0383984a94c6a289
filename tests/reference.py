"""The naive truth: convolution and pooling from their definitions, in float64, in plain NumPy.

Nothing here is taken from the library. Arrays are NCHW and OIHW, sizes are pairs, padding is
((top, bottom), (left, right)). A tap that lies outside the image does not take part: 0 times Inf is never formed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def conv_output_size(size: int, pad: Pair, kernel: int, stride: int, dilation: int) -> int:
    return (size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int, lower: bool = False) -> Pair:
    """Zeros so that out = ceil(size / stride); an odd one goes to the end, or to the start if `lower`."""
    total = max(0, (math.ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def _inside(size: int, out: int, stride: int, offset: int) -> tuple[slice, slice]:
    """The outputs o with 0 <= o*stride + offset < size, and the inputs that they read."""
    first = max(0, math.ceil(-offset / stride))
    count = max(0, min(out - 1, (size - 1 - offset) // stride) - first + 1)
    start = first * stride + offset
    return slice(first, first + count), slice(start, start + (count - 1) * stride + 1 if count else start, stride)


def _taps(
    image: Pair, out: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int, o: int, c: int
) -> Iterator[tuple[slice, slice, int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """For every group and tap: output channels, input channels, kh, kw, outputs and the inputs that they meet."""
    for g in range(groups):
        oc, ic = slice(g * o // groups, (g + 1) * o // groups), slice(g * c // groups, (g + 1) * c // groups)
        for kh in range(kernel[0]):
            oh, ih = _inside(image[0], out[0], stride[0], kh * dilation[0] - padding[0][0])
            for kw in range(kernel[1]):
                ow, iw = _inside(image[1], out[1], stride[1], kw * dilation[1] - padding[1][0])
                yield oc, ic, kh, kw, (oh, ow), (ih, iw)


def conv2d(x: F64, w: F64, bias: F64 | None, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> F64:
    (n, c, *image), (o, _, *kernel) = x.shape, w.shape
    out = tuple(conv_output_size(image[a], padding[a], kernel[a], stride[a], dilation[a]) for a in (0, 1))
    y = np.zeros((n, o, *out))
    x, w = x.astype(np.float64), w.astype(np.float64)
    for oc, ic, kh, kw, o_at, i_at in _taps(tuple(image), out, tuple(kernel), stride, padding, dilation, groups, o, c):
        y[:, oc, *o_at] += np.einsum("nchw,oc->nohw", x[:, ic, *i_at], w[oc, :, kh, kw])
    return y if bias is None else y + bias.astype(np.float64)[:, None, None]


def conv2d_backward_input(
    shape: tuple[int, ...], w: F64, gy: F64, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> F64:
    (_, c, *image), (o, _, *kernel), out = shape, w.shape, gy.shape[2:]
    gx = np.zeros(shape)
    w, gy = w.astype(np.float64), gy.astype(np.float64)
    for oc, ic, kh, kw, o_at, i_at in _taps(tuple(image), out, tuple(kernel), stride, padding, dilation, groups, o, c):
        gx[:, ic, *i_at] += np.einsum("nohw,oc->nchw", gy[:, oc, *o_at], w[oc, :, kh, kw])
    return gx


def conv2d_backward_weight(
    x: F64, shape: tuple[int, ...], gy: F64, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> F64:
    (_, c, *image), (o, _, *kernel), out = x.shape, shape, gy.shape[2:]
    gw = np.zeros(shape)
    x, gy = x.astype(np.float64), gy.astype(np.float64)
    for oc, ic, kh, kw, o_at, i_at in _taps(tuple(image), out, tuple(kernel), stride, padding, dilation, groups, o, c):
        gw[oc, :, kh, kw] = np.einsum("nohw,nchw->oc", gy[:, oc, *o_at], x[:, ic, *i_at])
    return gw


def pool_output_size(size: int, pad: Pair, kernel: int, stride: int, dilation: int, ceil_mode: bool) -> int:
    """As PyTorch: the last window must start inside the image or the padding before it."""
    span = size + sum(pad) - dilation * (kernel - 1) - 1
    out = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + pad[0] else out


def _windows(
    image: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Pair, Iterator[tuple[int, int, list[int], list[int]]]]:
    """The output size, and for every output pixel the image rows and columns under its window."""
    out = tuple(pool_output_size(image[a], padding[a], kernel[a], stride[a], dilation[a], ceil_mode) for a in (0, 1))

    def under(axis: int, o: int) -> list[int]:
        at = (o * stride[axis] - padding[axis][0] + k * dilation[axis] for k in range(kernel[axis]))
        return [i for i in at if 0 <= i < image[axis]]

    return out, ((oh, ow, under(0, oh), under(1, ow)) for oh in range(out[0]) for ow in range(out[1]))


def max_pool2d(
    x: F64, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[F64, NDArray[np.int64]]:
    """Maxima and their indices in H*W; the first maximum wins, and the first NaN over every number."""
    out, windows = _windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *out), -np.inf, x.dtype)  # what a window without a pixel gives, with index -1
    indices = np.full(y.shape, -1, np.int64)
    for oh, ow, rows, columns in windows:
        if not (rows and columns):
            continue
        window = x[:, :, rows][:, :, :, columns].reshape(*x.shape[:2], -1)
        best = np.argmax(window, axis=2)  # of NumPy: the first NaN, else the first maximum
        y[:, :, oh, ow] = np.take_along_axis(window, best[..., None], 2)[..., 0]
        indices[:, :, oh, ow] = (np.array(rows)[:, None] * x.shape[3] + np.array(columns)).ravel()[best]
    return y, indices


def max_pool2d_backward(gy: F64, indices: NDArray[np.int64], shape: tuple[int, ...]) -> F64:
    gx = np.zeros((*shape[:2], shape[2] * shape[3]))
    n, c = np.indices(gy.shape[:2])
    for oh, ow in np.ndindex(*gy.shape[2:]):
        at, grad = indices[:, :, oh, ow], gy[:, :, oh, ow]
        np.add.at(gx, (n, c, at), np.where(at < 0, 0, grad))
    return gx.reshape(shape)


def _divisor(o: int, axis: int, image: Pair, kernel: Pair, stride: Pair, padding: Padding, include_pad: bool) -> int:
    start = o * stride[axis] - padding[axis][0]
    end = min(start + kernel[axis], image[axis] + padding[axis][1])
    return end - start if include_pad else min(end, image[axis]) - max(start, 0)


def avg_pool2d(
    x: F64, kernel: Pair, stride: Pair, padding: Padding, ceil_mode: bool, include_pad: bool, divisor: int | None
) -> F64:
    """Averages as PyTorch: padding counts as zeros if `include_pad`, what ceil_mode adds beyond it never does."""
    return _avg_pool2d(x, None, x.shape, kernel, stride, padding, ceil_mode, include_pad, divisor)


def avg_pool2d_backward(
    gy: F64,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    ceil_mode: bool,
    include_pad: bool,
    divisor: int | None,
) -> F64:
    return _avg_pool2d(None, gy, shape, kernel, stride, padding, ceil_mode, include_pad, divisor)


def _avg_pool2d(
    x: F64 | None,
    gy: F64 | None,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    ceil_mode: bool,
    include_pad: bool,
    divisor: int | None,
) -> F64:
    image = shape[2:]
    out, windows = _windows(image, kernel, stride, padding, (1, 1), ceil_mode)
    result = np.zeros(shape) if x is None else np.zeros((*shape[:2], *out))
    for oh, ow, rows, columns in windows:
        area = divisor
        if area is None:
            sides = (_divisor(o, a, image, kernel, stride, padding, include_pad) for a, o in enumerate((oh, ow)))
            area = math.prod(sides)
        if x is not None:
            result[:, :, oh, ow] = x[:, :, rows][:, :, :, columns].sum(axis=(2, 3), dtype=np.float64) / area
        elif rows and columns:
            at = (slice(None), slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            result[at] += gy[:, :, oh, ow, None, None] / area
    return result
