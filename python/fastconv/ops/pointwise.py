"""Activations element by element, with their gradients: what networks use beside ReLU.

The gradient of a function is computed from what it returned where that is enough, so that a network needs no copy of
its input, and from the input else: the name of the second argument tells.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.ops.activation import elementwise_output
from fastconv.ops.device import gpu_ops

FUNCTIONS = ("leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "softplus")
READ_INPUT = ("silu", "gelu", "gelu_tanh", "softplus")  # in backward; the others read the output


def gelu_name(op: str, approximate: object) -> str:
    """The native name of a form of GELU."""
    if approximate not in ("none", "tanh"):
        error = ValueError if isinstance(approximate, str) else TypeError
        raise error(f"{op}: approximate must be 'none' or 'tanh', got {approximate!r}")
    return "gelu" if approximate == "none" else "gelu_tanh"


def _forward(op: str, function: str, input: object, out: Array | None, a: float = 0.0, b: float = 0.0) -> Array:
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.activation(op, function, input, out, a, b)
    array = arg.check_array(op, "input", input, None)
    output = elementwise_output(op, out, input=array)
    _core.activation_forward(function, arg.contiguous(array), output, a=a, b=b)
    return output


def _backward(
    op: str, function: str, grad_output: object, saved: object, out: Array | None, a: float = 0.0, b: float = 0.0
) -> Array:
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.activation_backward(op, function, grad_output, saved, out, a, b)
    name = "input" if function in READ_INPUT else "output"
    grad = arg.check_array(op, "grad_output", grad_output, None)
    value = arg.check_array(op, name, saved, None, grad.dtype)
    arg.check_shape(op, name, value, grad.shape)
    grad_input = elementwise_output(op, out, **{"grad_output": grad, name: value})
    _core.activation_backward(function, arg.contiguous(grad), arg.contiguous(value), grad_input, a=a, b=b)
    return grad_input


def leaky_relu(input: Array, negative_slope: float = 0.01, *, out: Array | None = None) -> Array:
    """input where it is positive, else negative_slope * input (Maas et al. 2013).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    negative_slope : float, default 0.01
        At least 0, so that the output's sign tells the input's.
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `relu`; ValueError also for a slope below 0.
    """
    op = "leaky_relu"
    slope = number(op, "negative_slope", negative_slope, 0)
    return _forward(op, "leaky_relu", input, out, slope)


def leaky_relu_backward(
    grad_output: Array, output: Array, negative_slope: float = 0.01, *, out: Array | None = None
) -> Array:
    """Gradient of `leaky_relu`: grad_output where `output` is positive (or NaN), else negative_slope * grad_output.

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What the function returned.
    negative_slope
        As for `leaky_relu`.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `leaky_relu`.
    """
    op = "leaky_relu_backward"
    slope = number(op, "negative_slope", negative_slope, 0)
    return _backward(op, "leaky_relu", grad_output, output, out, slope)


def elu(input: Array, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """input where it is positive, else alpha * (exp(input) - 1) (Clevert et al. 2016).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    alpha : float, default 1
        At least 0.
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `relu`; ValueError also for an alpha below 0.
    """
    op = "elu"
    scale = number(op, "alpha", alpha, 0)
    return _forward(op, "elu", input, out, scale)


def elu_backward(grad_output: Array, output: Array, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """Gradient of `elu`: grad_output where `output` is positive (or NaN), else grad_output * (output + alpha).

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What the function returned.
    alpha
        As for `elu`.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `elu`.
    """
    op = "elu_backward"
    scale = number(op, "alpha", alpha, 0)
    return _backward(op, "elu", grad_output, output, out, scale)


def sigmoid(input: Array, *, out: Array | None = None) -> Array:
    """1 / (1 + exp(-input)).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`
        Exact to a few ulp also where it is small.

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    op = "sigmoid"
    return _forward(op, "sigmoid", input, out)


def sigmoid_backward(grad_output: Array, output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `sigmoid`: grad_output * output * (1 - output).

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What the function returned.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `sigmoid`.
    """
    op = "sigmoid_backward"
    return _backward(op, "sigmoid", grad_output, output, out)


def tanh(input: Array, *, out: Array | None = None) -> Array:
    """Hyperbolic tangent.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    op = "tanh"
    return _forward(op, "tanh", input, out)


def tanh_backward(grad_output: Array, output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `tanh`: grad_output * (1 - output**2).

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    output : ndarray, shape and dtype of `grad_output`
        What the function returned.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `tanh`.
    """
    op = "tanh_backward"
    return _backward(op, "tanh", grad_output, output, out)


def silu(input: Array, *, out: Array | None = None) -> Array:
    """input * sigmoid(input), also called swish (Elfwing et al. 2018).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`
        -Inf gives -0, the limit.

    Raises
    ------
    TypeError, ValueError
        As for `relu`.
    """
    op = "silu"
    return _forward(op, "silu", input, out)


def silu_backward(grad_output: Array, input: Array, *, out: Array | None = None) -> Array:
    """Gradient of `silu`: grad_output * s * (1 + input * (1 - s)) with s = sigmoid(input).

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    input : ndarray, shape and dtype of `grad_output`
        What went into the function.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `silu`.
    """
    op = "silu_backward"
    return _backward(op, "silu", grad_output, input, out)


def gelu(input: Array, approximate: str = "none", *, out: Array | None = None) -> Array:
    """input times the standard normal distribution below it (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    approximate : "none" or "tanh", default "none"
        none: input * (1 + erf(input / sqrt(2))) / 2.
        tanh: input * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input**3))) / 2.
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`
        -Inf gives -0, the limit.

    Raises
    ------
    TypeError, ValueError
        As for `relu`; ValueError also for another name.
    """
    op = "gelu"
    return _forward(op, gelu_name(op, approximate), input, out)


def gelu_backward(grad_output: Array, input: Array, approximate: str = "none", *, out: Array | None = None) -> Array:
    """Gradient of `gelu`: of the exact form grad_output * (P(input) + input * p(input)), P the normal distribution.

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    input : ndarray, shape and dtype of `grad_output`
        What went into the function.
    approximate
        As for `gelu`.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `gelu`.
    """
    op = "gelu_backward"
    return _backward(op, gelu_name(op, approximate), grad_output, input, out)


def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None) -> Array:
    """log(1 + exp(beta * input)) / beta (Dugas et al. 2001).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    beta : float, default 1
        Above 0.
    threshold : float, default 20
        The result is `input` where beta * input exceeds it.
    out : ndarray, optional
        As for `relu`; it may be `input`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `relu`; ValueError also for a beta that is not above 0.
    """
    op = "softplus"
    scale, limit = number(op, "beta", beta, 0, inclusive=False), number(op, "threshold", threshold, -math.inf)
    return _forward(op, "softplus", input, out, scale, limit)


def softplus_backward(
    grad_output: Array, input: Array, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Array:
    """Gradient of `softplus`: grad_output * sigmoid(beta * input), or grad_output above the threshold.

    Parameters
    ----------
    grad_output : ndarray of any shape, float32 or float64
    input : ndarray, shape and dtype of `grad_output`
        What went into the function.
    beta, threshold
        As for `softplus`.
    out : ndarray, optional
        As for `relu`; it may be either of the two.

    Returns
    -------
    ndarray of the shape of `grad_output`

    Raises
    ------
    TypeError, ValueError
        As for `softplus`.
    """
    op = "softplus_backward"
    scale, limit = number(op, "beta", beta, 0, inclusive=False), number(op, "threshold", threshold, -math.inf)
    return _backward(op, "softplus", grad_output, input, out, scale, limit)
