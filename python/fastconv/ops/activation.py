"""ReLU and addition, element by element, and softmax over an axis; with their gradients."""

from __future__ import annotations

import math

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import forced_copies, refuse


def _same_memory(a: Array, b: object) -> bool:
    """Whether two arrays are one, element by element."""
    return a is b or (
        arg.is_contiguous(a)
        and type(b) is type(a)
        and arg.is_contiguous(b)
        and a.shape == b.shape
        and a.dtype == b.dtype
        and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    )


def elementwise_output(op: str, out: Array | None, **inputs: Array) -> Array:
    """A result of the inputs' shape; `out` may be an input, but not overlap one in part."""
    if config.strict:
        refuse(op, forced_copies(inputs))
    first = next(iter(inputs.values()))
    others = [array for array in inputs.values() if not _same_memory(array, out)]
    return arg.check_output(op, out, first.shape, first.dtype, others)


def relu(input: Array, *, out: Array | None = None) -> Array:
    """max(input, 0): NaN stays NaN, -0.0 becomes +0.0.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable. It may be `input` itself, which then changes
        in place, but must not overlap it in part.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError
        For anything but a float32 or float64 array.
    ValueError
        For an `out` that cannot be written.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.relu(input, out=out)
    op = "relu"
    array = arg.check_array(op, "input", input, None)
    output = elementwise_output(op, out, input=array)
    _core.relu_forward(arg.contiguous(array), output)
    return output


def relu_backward(grad_output: Array, output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `relu`: grad_output where `output` is positive (or NaN), else 0.

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What `relu` returned; its input does as well.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.relu_backward(grad_output, output, out=out)
    op = "relu_backward"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    value = arg.check_array(op, "output", output, None, grad.dtype)
    arg.check_shape(op, "output", value, grad.shape)
    grad_input = elementwise_output(op, out, grad_output=grad, output=value)
    _core.relu_backward(arg.contiguous(grad), arg.contiguous(value), grad_input)
    return grad_input


def add(input: Array, other: Array, *, out: Array | None = None) -> Array:
    """input + other, as in a residual connection. Shapes are equal: nothing is broadcast. Its gradient passes through.

    Parameters
    ----------
    input, other : ndarray of any shape, float32 or float64
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.add(input, other, out=out)
    op = "add"
    a = arg.check_array(op, "input", input, None)
    b = arg.check_array(op, "other", other, None, a.dtype)
    arg.check_shape(op, "other", b, a.shape)
    output = elementwise_output(op, out, input=a, other=b)
    _core.add(arg.contiguous(a), arg.contiguous(b), output)
    return output


def softmax_axis(op: str, name: str, shape: tuple[int, ...], axis: object) -> int:
    """Return the axis of the classes, counted from 0."""
    number = arg.integer(op, "axis", axis)
    if not -len(shape) <= number < len(shape) and shape:
        raise ValueError(f"{op}: axis must lie in {-len(shape)}..{len(shape) - 1}, got {number} for shape {shape}")
    if not shape or shape[number] == 0:
        raise ValueError(f"{op}: {name} must have at least one class on axis {number}, got shape {shape}")
    return number % len(shape)


def softmax_view(array: Array, axis: int) -> Array:
    """The array as the native module takes it: (outer, classes), or (outer, classes, inner); a view."""
    shape = array.shape
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    return array.reshape((outer, shape[axis]) if inner == 1 else (outer, shape[axis], inner))


def softmax(input: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """exp(input) / sum(exp(input)) over an axis, with the maximum taken off first.

    Parameters
    ----------
    input : ndarray, float32 or float64
    axis : int, default -1
        Where the classes lie: 1 for images (N, C, H, W).
    out : ndarray, optional
        As for `relu`.

    Returns
    -------
    ndarray of the shape of `input`
        Sums to 1 over the axis. Values with a NaN or +Inf among them, or of -Inf alone, give NaN.

    Raises
    ------
    TypeError, ValueError
        As for `relu`; ValueError also for an axis that is not there, or has no class.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.softmax(input, axis, out=out)
    op = "softmax"
    array = arg.check_array(op, "input", input, None)
    place = softmax_axis(op, "input", array.shape, axis)
    output = elementwise_output(op, out, input=array)
    _core.softmax_forward(softmax_view(arg.contiguous(array), place), softmax_view(output, place))
    return output


def softmax_backward(grad_output: Array, output: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Gradient of `softmax`: output * (grad_output - sum(grad_output * output)), the sum over the axis.

    Parameters
    ----------
    grad_output : ndarray, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What `softmax` returned.
    axis
        As for `softmax`.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `softmax`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.softmax_backward(grad_output, output, axis, out=out)
    op = "softmax_backward"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    place = softmax_axis(op, "grad_output", grad.shape, axis)
    value = arg.check_array(op, "output", output, None, grad.dtype)
    arg.check_shape(op, "output", value, grad.shape)
    grad_input = elementwise_output(op, out, grad_output=grad, output=value)
    _core.softmax_backward(
        softmax_view(arg.contiguous(grad), place),
        softmax_view(arg.contiguous(value), place),
        softmax_view(grad_input, place),
    )
    return grad_input
