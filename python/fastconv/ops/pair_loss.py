"""Losses of pairs of elements: absolute, Huber's, and binary cross entropy; mse_loss is in `loss`."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import mean_divisor, number
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import forced_copies, refuse


def _pairs(
    op: str,
    kind: Literal["absolute", "huber", "binary_logits", "binary"],
    input: object,
    target: object,
    reduction: object,
    with_grad: bool,
    delta: object = 1.0,
) -> tuple[float, Array | None]:
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.pair_loss(
            op, kind, input, target, reduction, with_grad, number(op, "delta", delta, 0, inclusive=False)
        )
    value = arg.check_array(op, "input", input, None)
    wanted = arg.check_array(op, "target", target, None, value.dtype)
    arg.check_shape(op, "target", wanted, value.shape)
    parameter = number(op, "delta", delta, 0, inclusive=False)
    divisor = mean_divisor(op, reduction, value.size)
    if config.strict:
        refuse(op, forced_copies({"input": value, "target": wanted}))
    for name, array in (("target", wanted), ("input", value)):
        if kind == "binary" or (kind == "binary_logits" and name == "target"):
            outside = np.argwhere((array < 0) | (array > 1))
            if outside.size:
                where = tuple(int(index) for index in outside[0])
                raise ValueError(f"{op}: {name} must lie in [0, 1], got {array[where]} at index {where}")
    grad = arg.allocate(op, value.shape, value.dtype) if with_grad else None
    total = _core.pair_loss(kind, arg.contiguous(value), arg.contiguous(wanted), grad, 1.0 / divisor, parameter)
    return total / divisor, grad


def l1_loss(input: Array, target: Array, *, reduction: str = "mean") -> float:
    """Absolute difference |input - target|, over all elements.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    target : ndarray, shape and dtype of `input`
    reduction : "mean" or "sum", default "mean"
        Over all elements, summed in float64; the mean of none is 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    return _pairs("l1_loss", "absolute", input, target, reduction, False)[0]


def l1_loss_with_grad(input: Array, target: Array, *, reduction: str = "mean") -> tuple[float, Array]:
    """`l1_loss` and its gradient, in one pass.

    The gradient is sign(input - target), divided by the number of elements for the mean.

    Parameters
    ----------
    input, target, reduction
        As for `l1_loss`, and its options.

    Returns
    -------
    loss : float
    grad_input : ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    loss, grad = _pairs("l1_loss_with_grad", "absolute", input, target, reduction, True)
    assert grad is not None
    return loss, grad


def huber_loss(input: Array, target: Array, *, delta: float = 1.0, reduction: str = "mean") -> float:
    """d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2), d = input - target (Huber 1964).

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    target : ndarray, shape and dtype of `input`
    delta : float, default 1
        Above 0.
    reduction : "mean" or "sum", default "mean"
        Over all elements, summed in float64; the mean of none is 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    return _pairs("huber_loss", "huber", input, target, reduction, False, delta)[0]


def huber_loss_with_grad(
    input: Array, target: Array, *, delta: float = 1.0, reduction: str = "mean"
) -> tuple[float, Array]:
    """`huber_loss` and its gradient, in one pass.

    The gradient is d, clipped to -delta and delta, divided by the number of elements for the mean.

    Parameters
    ----------
    input, target, reduction
        As for `huber_loss`, and its options.

    Returns
    -------
    loss : float
    grad_input : ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    loss, grad = _pairs("huber_loss_with_grad", "huber", input, target, reduction, True, delta)
    assert grad is not None
    return loss, grad


def binary_cross_entropy(input: Array, target: Array, *, reduction: str = "mean") -> float:
    """-target log(input) - (1 - target) log(1 - input): both lie in [0, 1], logarithms are at least -100.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    target : ndarray, shape and dtype of `input`
    reduction : "mean" or "sum", default "mean"
        Over all elements, summed in float64; the mean of none is 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    return _pairs("binary_cross_entropy", "binary", input, target, reduction, False)[0]


def binary_cross_entropy_with_grad(input: Array, target: Array, *, reduction: str = "mean") -> tuple[float, Array]:
    """`binary_cross_entropy` and its gradient, in one pass.

    The gradient is (input - target) / (input * (1 - input)), divided by the number of elements for the mean.

    Parameters
    ----------
    input, target, reduction
        As for `binary_cross_entropy`, and its options.

    Returns
    -------
    loss : float
    grad_input : ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    loss, grad = _pairs("binary_cross_entropy_with_grad", "binary", input, target, reduction, True)
    assert grad is not None
    return loss, grad


def binary_cross_entropy_with_logits(input: Array, target: Array, *, reduction: str = "mean") -> float:
    """`binary_cross_entropy` of sigmoid(input), from the logits: any size of them is fine.

    Parameters
    ----------
    input : ndarray of any shape, float32 or float64
    target : ndarray, shape and dtype of `input`
    reduction : "mean" or "sum", default "mean"
        Over all elements, summed in float64; the mean of none is 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    return _pairs("binary_cross_entropy_with_logits", "binary_logits", input, target, reduction, False)[0]


def binary_cross_entropy_with_logits_with_grad(
    input: Array, target: Array, *, reduction: str = "mean"
) -> tuple[float, Array]:
    """`binary_cross_entropy_with_logits` and its gradient, in one pass.

    The gradient is sigmoid(input) - target, divided by the number of elements for the mean.

    Parameters
    ----------
    input, target, reduction
        As for `binary_cross_entropy_with_logits`, and its options.

    Returns
    -------
    loss : float
    grad_input : ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    loss, grad = _pairs("binary_cross_entropy_with_logits_with_grad", "binary_logits", input, target, reduction, True)
    assert grad is not None
    return loss, grad
