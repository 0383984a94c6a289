"""Maxout: the largest of each group of neighbouring channels, which is a max pooling over the channels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, Layout, Shape4
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import forced_copies, refuse

MOST_PIECES = 254  # what a byte can count


def maxout_pieces(op: str, pieces: object) -> int:
    """Return the checked number of pieces."""
    count = arg.integer(op, "pieces", pieces)
    if not 1 <= count <= MOST_PIECES:
        raise ValueError(f"{op}: pieces must lie in 1..{MOST_PIECES}, got {count}")
    return count


def maxout_geometry(
    op: str, shape: tuple[int, ...], axis: int, pieces: int
) -> tuple[_core.Pool2dShape, Layout, Shape4, Shape4]:
    """The pooling that a maxout over an axis of memory is: its shape, layout, and the views of input and output.

    With channels last it runs along the rows of one large image, else down the columns of as many images.
    """
    outer, channels, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if channels < 1 or channels % pieces:
        raise ValueError(
            f"{op}: input must have a multiple of pieces={pieces} channels on axis {axis}, got shape {shape}"
        )
    left = channels // pieces
    if inner == 1:
        images, window, order = (1, 1, outer, channels), (1, pieces), "NCHW"
        views = images, (1, 1, outer, left)
    else:
        images, window, order = (outer, inner, channels, 1), (pieces, 1), "NHWC"
        views = (outer, channels, 1, inner), (outer, left, 1, inner)
    none = ((0, 0), (0, 0))
    geometry = _core.Pool2dShape(images, window, window, none, (1, 1), False, op)
    return geometry, "NCHW" if order == "NCHW" else "NHWC", *views


def _axis(op: str, shape: tuple[int, ...], axis: object) -> int:
    number = arg.integer(op, "axis", axis)
    if not -len(shape) <= number < len(shape):
        raise ValueError(f"{op}: axis must lie in {-len(shape)}..{len(shape) - 1}, got {number} for shape {shape}")
    return number % len(shape)


def maxout(input: Array, pieces: int, axis: int = 1, *, out: Array | None = None) -> Array:
    """Maximum of each group of `pieces` neighbouring channels (Goodfellow et al. 2013).

    output[n, j] = max of input[n, j*pieces], ..., input[n, j*pieces + pieces - 1].

    Parameters
    ----------
    input : ndarray, shape (N, C, ...), float32 or float64
        C is a multiple of `pieces`.
    pieces : int
        1 to 254.
    axis : int, default 1
        Where the channels lie.
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable, not overlapping `input`.

    Returns
    -------
    ndarray, shape (N, C / pieces, ...)
        Of equal maxima the first counts; a group with a NaN gives NaN.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, and a channel axis that cannot be cut into groups.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.maxout(input, pieces, axis, out=out)
    return _maxout("maxout", input, pieces, axis, out)[0]


def _maxout(
    op: str, input: object, pieces: object, axis: object, out: Array | None, taps: bool = False
) -> tuple[Array, NDArray[np.uint8] | None]:
    array = arg.check_array(op, "input", input, None)
    count, place = maxout_pieces(op, pieces), _axis(op, array.shape, axis)
    if config.strict:
        refuse(op, forced_copies({"input": array}))
    left = (*array.shape[:place], array.shape[place] // count, *array.shape[place + 1 :])
    winners = arg.allocate(op, left, np.dtype(np.uint8)) if taps else None
    if array.shape[place] and array.shape[place] % count == 0 and array.size == 0:
        return arg.check_output(op, out, left, array.dtype, (array,)), winners
    geometry, order, source, target = maxout_geometry(op, array.shape, place, count)
    output = arg.check_output(op, out, left, array.dtype, (array,))
    places = None if winners is None else winners.reshape(target)
    _core.max_pool2d_forward(
        geometry, arg.contiguous(array).reshape(source), output.reshape(target), places, layout=order
    )
    return output, winners


def maxout_backward(grad_output: Array, input: Array, pieces: int, axis: int = 1, *, out: Array | None = None) -> Array:
    """Gradient of `maxout`: each output's gradient goes to the channel that won, the first of equal ones.

    Parameters
    ----------
    grad_output : ndarray, shape (N, C / pieces, ...), float32 or float64
    input : ndarray, shape (N, C, ...), dtype of `grad_output`
        What went into `maxout`.
    pieces, axis
        As for `maxout`.
    out : ndarray, optional
        As for `maxout`; it must overlap neither of the two.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `maxout`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.maxout_backward(grad_output, input, pieces, axis, out=out)
    op = "maxout_backward"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    array = arg.check_array(op, "input", input, None, grad.dtype)
    output, winners = _maxout(op, array, pieces, axis, None, taps=True)
    arg.check_shape(op, "grad_output", grad, output.shape)
    grad_input = arg.check_output(op, out, array.shape, grad.dtype, (grad, array))
    if array.size and winners is not None:
        geometry, order, source, target = maxout_geometry(op, array.shape, _axis(op, array.shape, axis), int(pieces))
        _core.max_pool2d_backward(
            geometry,
            arg.contiguous(grad).reshape(target),
            winners.reshape(target),
            grad_input.reshape(source),
            layout=order,
        )
    return grad_input
