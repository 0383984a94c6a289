"""The fully connected layer as a function, and its gradients.

y = x w^T + bias,   grad_input = grad_output w,   grad_weight = grad_output^T x,   grad_bias = sum of grad_output
"""

from __future__ import annotations

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import forced_copies, refuse


def linear(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    activation: str | None = None,
    out: Array | None = None,
) -> Array:
    """Multiply a batch of rows by a weight matrix: y = x w^T + bias.

    Parameters
    ----------
    input : ndarray, shape (N, I), float32 or float64
        Shape (I,) is a batch of one. N may be 0.
    weight : ndarray, shape (O, I), dtype of `input`
    bias : ndarray, shape (O,), optional
    activation : None or "relu", optional
        Applied as the result is stored.
    out : ndarray, optional
        Takes the result: right shape and dtype, C-contiguous, writeable, not overlapping an input.

    Returns
    -------
    ndarray, shape (N, O), or (O,) for a batch of one

    Raises
    ------
    TypeError
        For anything but float32 or float64 arrays of one dtype.
    ValueError
        For shapes that do not fit each other, and an `out` that cannot be written.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.linear(input, weight, bias, activation=activation, out=out)
    op = "linear"
    rows, single = arg.check_batch(op, "input", input, 2)
    weight = arg.check_array(op, "weight", weight, 2, rows.dtype)
    if weight.shape[1] != rows.shape[1]:
        raise ValueError(
            f"{op}: weight must have shape (OUT, IN) with IN={rows.shape[1]}, got {weight.shape}"
            + (f"; weight.T would fit, as {weight.shape[::-1]}" if weight.shape[0] == rows.shape[1] else "")
        )
    if bias is not None:
        bias = arg.check_array(op, "bias", bias, 1, rows.dtype)
        arg.check_shape(op, "bias", bias, weight.shape[:1])
    fused = arg.activation(op, activation)
    if config.strict:
        refuse(op, forced_copies({"input": rows, "weight": weight}))
    output = arg.check_output(op, out, (rows.shape[0], weight.shape[0])[single:], rows.dtype, (rows, weight, bias))
    _core.linear_forward(
        arg.contiguous(rows),
        arg.contiguous(weight),
        None if bias is None else arg.contiguous(bias),
        output[None] if single else output,
        activation=fused,
    )
    return output


def linear_backward_input(weight: Array, grad_output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `linear` with respect to its input: grad_output w.

    Parameters
    ----------
    weight : ndarray, shape (O, I), float32 or float64
    grad_output : ndarray, shape (N, O) or (O,), dtype of `weight`
    out : ndarray, optional
        As for `linear`.

    Returns
    -------
    ndarray, shape (N, I), or (I,) for a batch of one

    Raises
    ------
    TypeError, ValueError
        As for `linear`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.linear_backward_input(weight, grad_output, out=out)
    op = "linear_backward_input"
    weight = arg.check_array(op, "weight", weight, 2)
    grad, single = arg.check_batch(op, "grad_output", grad_output, 2, weight.dtype)
    if grad.shape[1] != weight.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with OUT={weight.shape[0]}, got {grad.shape}")
    if config.strict:
        refuse(op, forced_copies({"weight": weight, "grad_output": grad}))
    grad_input = arg.check_output(op, out, (grad.shape[0], weight.shape[1])[single:], weight.dtype, (weight, grad))
    _core.linear_backward_input(
        arg.contiguous(weight), arg.contiguous(grad), grad_input[None] if single else grad_input
    )
    return grad_input


def linear_backward_weight(input: Array, grad_output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `linear` with respect to its weight, summed over the batch: grad_output^T x.

    Parameters
    ----------
    input : ndarray, shape (N, I) or (I,), float32 or float64
    grad_output : ndarray, shape (N, O) or (O,), dtype of `input`
    out : ndarray, optional
        As for `linear`.

    Returns
    -------
    ndarray, shape (O, I); zeros if N = 0

    Raises
    ------
    TypeError, ValueError
        As for `linear`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.linear_backward_weight(input, grad_output, out=out)
    op = "linear_backward_weight"
    rows, _ = arg.check_batch(op, "input", input, 2)
    grad, _ = arg.check_batch(op, "grad_output", grad_output, 2, rows.dtype)
    if grad.shape[0] != rows.shape[0]:
        raise ValueError(f"{op}: grad_output must have shape (N, OUT) with N={rows.shape[0]}, got {grad.shape}")
    if config.strict:
        refuse(op, forced_copies({"input": rows, "grad_output": grad}))
    grad_weight = arg.check_output(op, out, (grad.shape[1], rows.shape[1]), rows.dtype, (rows, grad))
    _core.linear_backward_weight(arg.contiguous(rows), arg.contiguous(grad), grad_weight)
    return grad_weight


def linear_backward_bias(grad_output: Array, *, out: Array | None = None) -> Array:
    """Gradient of `linear` with respect to its bias: `grad_output` summed over the batch.

    Parameters
    ----------
    grad_output : ndarray, shape (N, O) or (O,), float32 or float64
    out : ndarray, optional
        As for `linear`.

    Returns
    -------
    ndarray, shape (O,); zeros if N = 0

    Raises
    ------
    TypeError, ValueError
        As for `linear`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.linear_backward_bias(grad_output, out=out)
    op = "linear_backward_bias"
    grad, _ = arg.check_batch(op, "grad_output", grad_output, 2)
    grad_bias = arg.check_output(op, out, grad.shape[1:], grad.dtype, (grad,))
    _core.linear_backward_bias(arg.contiguous(grad), grad_bias)
    return grad_bias
