"""Pixel shuffle: channels to pixels (Shi et al. 2016, "sub-pixel convolution", arXiv 1609.05158), and back.

    y[n, c, h*r + i, w*r + j] = x[n, (c*r + i)*r + j, h, w]

Each is the other's inverse and, as a permutation, its gradient: the gradient of `pixel_shuffle` is `pixel_unshuffle` of
grad_output, and the other way round. One strided copy by NumPy on one thread.
"""

from __future__ import annotations

import numpy as np

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv.ops.device import gpu_ops


def shuffled_size(op: str, channels: int, height: int, width: int, factor: int) -> tuple[int, int, int]:
    """(C, H, W) after a shuffle."""
    if channels % factor**2:
        raise ValueError(
            f"{op}: channels must be a multiple of upscale_factor**2 = {factor**2}, got {channels} channels"
        )
    return channels // factor**2, height * factor, width * factor


def unshuffled_size(op: str, channels: int, height: int, width: int, factor: int) -> tuple[int, int, int]:
    """(C, H, W) after an unshuffle."""
    if height % factor or width % factor:
        raise ValueError(
            f"{op}: height and width must be multiples of downscale_factor = {factor}, got {height} x {width}"
        )
    return channels * factor**2, height // factor, width // factor


def factor(op: str, name: str, value: object) -> int:
    number = arg.integer(op, name, value)
    if not 1 <= number < 2**15:
        raise ValueError(f"{op}: {name} must be positive and below 32768, got {number}")
    return number


def copy_shuffled(few: Array, many: Array, factor: int, layout: arg.Layout, back: bool) -> None:
    """Copy `few` pixels of many channels to `many` pixels of few channels, or `back`; both are contiguous 4-D."""
    n, c, h, w = arg.logical_shape(many.shape, layout)
    h, w = h // factor, w // factor
    if layout == "NCHW":
        source = few.reshape(n, c, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
        target = many.reshape(n, c, h, factor, w, factor)
    else:
        source = few.reshape(n, h, w, c, factor, factor).transpose(0, 1, 4, 2, 5, 3)
        target = many.reshape(n, h, factor, w, factor, c)
    if back:
        np.copyto(source, target)
    else:
        np.copyto(target, source)


def pixel_shuffle(input: Array, upscale_factor: int, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Turn groups of r*r channels into squares of r x r pixels.

    Parameters
    ----------
    input : ndarray, shape (N, C*r*r, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C*r*r). Three dimensions are one image. N may be 0.
    upscale_factor : int
        r.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, H*r, W*r), or (N, H*r, W*r, C) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.pixel_shuffle(input, upscale_factor, layout=layout, out=out)
    op = "pixel_shuffle"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    r = factor(op, "upscale_factor", upscale_factor)
    n, c, h, w = arg.logical_shape(images.shape, order)
    shape = arg.memory_shape((n, *shuffled_size(op, c, h, w, r)), order)
    output = arg.check_output(op, out, shape[single:], images.dtype, (images,))
    copy_shuffled(arg.contiguous(images), output.reshape(shape), r, order, False)
    return output


def pixel_unshuffle(input: Array, downscale_factor: int, *, layout: str = "NCHW", out: Array | None = None) -> Array:
    """Turn squares of r x r pixels into groups of r*r channels: the inverse of `pixel_shuffle`.

    Parameters
    ----------
    input : ndarray, shape (N, C, H*r, W*r), float32 or float64
        With layout "NHWC": (N, H*r, W*r, C). Three dimensions are one image. N may be 0.
    downscale_factor : int
        r.
    layout, out
        As for `avg_pool2d`.

    Returns
    -------
    ndarray, shape (N, C*r*r, H, W), or (N, H, W, C*r*r) with layout "NHWC"

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for `avg_pool2d`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.pixel_unshuffle(input, downscale_factor, layout=layout, out=out)
    op = "pixel_unshuffle"
    order = arg.layout(op, layout)
    images, single = arg.check_images(op, "input", input)
    r = factor(op, "downscale_factor", downscale_factor)
    n, c, h, w = arg.logical_shape(images.shape, order)
    shape = arg.memory_shape((n, *unshuffled_size(op, c, h, w, r)), order)
    output = arg.check_output(op, out, shape[single:], images.dtype, (images,))
    copy_shuffled(output.reshape(shape), arg.contiguous(images), r, order, True)
    return output
