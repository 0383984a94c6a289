"""Activations and addition, element by element, and softmax over rows; with their gradients."""

from __future__ import annotations

from fastconv import _core
from fastconv._config import config
from fastconv.ops import arguments as arg
from fastconv.ops.arguments import Array
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


def _output(op: str, out: Array | None, **inputs: Array) -> Array:
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
    op = "relu"
    array = arg.check_array(op, "input", input, None)
    output = _output(op, out, input=array)
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
    op = "relu_backward"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    value = arg.check_array(op, "output", output, None, grad.dtype)
    arg.check_shape(op, "output", value, grad.shape)
    grad_input = _output(op, out, grad_output=grad, output=value)
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
    op = "add"
    a = arg.check_array(op, "input", input, None)
    b = arg.check_array(op, "other", other, None, a.dtype)
    arg.check_shape(op, "other", b, a.shape)
    output = _output(op, out, input=a, other=b)
    _core.add(arg.contiguous(a), arg.contiguous(b), output)
    return output


def _check_rows(op: str, name: str, array: Array) -> None:
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{op}: {name} must have a last axis of at least one class, got shape {array.shape}")


def softmax(input: Array, *, out: Array | None = None) -> Array:
    """exp(input) / sum(exp(input)) over the last axis, with the maximum taken off first.

    Parameters
    ----------
    input : ndarray, shape (..., C), float32 or float64
    out : ndarray, optional
        As for `relu`.

    Returns
    -------
    ndarray of the shape of `input`
        Each row sums to 1. A row with a NaN or +Inf, or of -Inf alone, is NaN.

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    op = "softmax"
    array = arg.check_array(op, "input", input, None)
    _check_rows(op, "input", array)
    output = _output(op, out, input=array)
    rows = (-1, array.shape[-1]) if array.size else (0, array.shape[-1])
    _core.softmax_forward(arg.contiguous(array).reshape(rows), output.reshape(rows))
    return output


def softmax_backward(grad_output: Array, output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `softmax`: output * (grad_output - sum(grad_output * output)), the sum over the last axis.

    Parameters
    ----------
    grad_output : ndarray, shape (..., C), float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What `softmax` returned.
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
    op = "softmax_backward"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    _check_rows(op, "grad_output", grad)
    value = arg.check_array(op, "output", output, None, grad.dtype)
    arg.check_shape(op, "output", value, grad.shape)
    grad_input = _output(op, out, grad_output=grad, output=value)
    rows = (-1, grad.shape[-1]) if grad.size else (0, grad.shape[-1])
    _core.softmax_backward(
        arg.contiguous(grad).reshape(rows), arg.contiguous(value).reshape(rows), grad_input.reshape(rows)
    )
    return grad_input
