"""Losses over a batch, alone or together with their gradient in one pass.

cross_entropy = -log softmax(input)[label], computed as log(sum(exp(x - max))) - (x[label] - max); its gradient is
softmax(input) - one_hot(label) (Bridle 1990). mse_loss = (input - target)**2; its gradient is 2 * (input - target).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import mean_divisor, number
from fastconv._config import config
from fastconv.ops.device import gpu_ops
from fastconv.ops.slow_path import forced_copies, refuse

Labels = NDArray[np.int64]


def _one_hot_labels(op: str, target: NDArray[Any]) -> Labels:
    wrong = np.flatnonzero((np.count_nonzero(target, axis=1) != 1) | (np.count_nonzero(target == 1, axis=1) != 1))
    if wrong.size:
        raise ValueError(
            f"{op}: one-hot target must hold a single 1 per row and zeros, got {target[wrong[0]].tolist()} at index "
            f"{wrong[0]}"
        )
    labels: Labels = np.argmax(target, axis=1).astype(np.int64, copy=False)
    return labels


def class_labels(op: str, target: object, shape: tuple[int, ...], ignore_index: int | None = None) -> Labels:
    """Labels as the native module takes them, from ids of any integer type or from one-hot rows."""
    n, classes = shape
    if type(target) is not np.ndarray and not isinstance(target, np.memmap):
        raise TypeError(f"{op}: target must be a numpy.ndarray, got {arg.describe(target)}; pass np.asarray(target)")
    assert isinstance(target, np.ndarray)
    if target.dtype.kind not in "biuf":
        raise TypeError(f"{op}: target must hold labels or one-hot rows, got {target.dtype}")
    if target.shape == shape:
        return _one_hot_labels(op, target)
    if target.shape != (n,):
        raise ValueError(f"{op}: target must have shape {(n,)} (labels) or {shape} (one-hot), got {target.shape}")
    if target.dtype.kind not in "iu":
        raise TypeError(f"{op}: labels must be integers, got {target.dtype}; write target.astype(np.int64)")
    outside = (target < 0) | (target >= classes)
    if ignore_index is not None:
        outside &= target != ignore_index
    bad = np.flatnonzero(outside)
    if bad.size:
        beside = "" if ignore_index is None else f" or ignore_index={ignore_index}"
        raise ValueError(f"{op}: labels must be in [0, {classes}){beside}, got {target[bad[0]]} at index {bad[0]}")
    return np.ascontiguousarray(target, dtype=np.int64)


def _cross_entropy(
    op: str,
    input: object,
    target: object,
    weight: object,
    ignore_index: object,
    reduction: object,
    label_smoothing: object,
    with_grad: bool,
) -> tuple[float, Array | None]:
    logits = arg.check_array(op, "input", input, 2)
    if logits.shape[1] < 1:
        raise ValueError(f"{op}: input must have shape (N, C) with C >= 1, got {logits.shape}")
    ignored = None if ignore_index is None else arg.integer(op, "ignore_index", ignore_index)
    smoothing = number(op, "label_smoothing", label_smoothing, 0)
    if smoothing >= 1:
        raise ValueError(f"{op}: label_smoothing must lie in [0, 1), got {label_smoothing}")
    weights = None
    if weight is not None:
        weights = arg.as_array(op, "weight", weight, 1, logits.dtype)
        arg.check_shape(op, "weight", weights, logits.shape[1:])
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(f"{op}: weight must be finite and at least 0, got {weights.tolist()}")
    labels = class_labels(op, target, logits.shape, ignored)
    divisor: float = mean_divisor(op, reduction, logits.shape[0])
    if reduction == "mean" and (ignored is not None or weights is not None):
        divisor = _core.label_weight(labels, logits.shape[1], weights, ignored) or 1.0
    if config.strict:
        refuse(op, forced_copies({"input": logits}))
    losses = arg.allocate(op, logits.shape[:1], logits.dtype)
    grad = arg.allocate(op, logits.shape, logits.dtype) if with_grad else None
    _core.softmax_cross_entropy(
        arg.contiguous(logits),
        labels,
        losses,
        grad,
        1.0 / divisor,
        weight=weights,
        label_smoothing=smoothing,
        ignore_index=ignored,
    )
    return float(np.sum(losses, dtype=np.float64)) / divisor, grad


def cross_entropy(
    input: Array,
    target: NDArray[Any],
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> float:
    """Softmax cross entropy of logits: -log softmax(input)[target], over the batch.

    Parameters
    ----------
    input : ndarray, shape (N, C), float32 or float64
        Logits: what goes into a softmax, not what comes out. Finite logits of any size are fine.
    target : ndarray, shape (N,) of integers in [0, C), or one-hot rows of shape (N, C)
    weight : ndarray, shape (C,), dtype of `input`, optional
        What each class counts, at least 0; the mean divides by the sum of the labels' weights.
    ignore_index : int, optional
        Rows with this label take no part. (PyTorch's default of -100 would hide labels that are wrong.)
    reduction : "mean" or "sum", default "mean"
        Over the N rows; the mean of no rows is 0.
    label_smoothing : float, default 0
        e in [0, 1): the target is (1 - e) * one_hot + e / C (Szegedy et al. 2016).

    Returns
    -------
    float
        NaN if a row holds a NaN or +Inf, or -Inf alone.

    Raises
    ------
    TypeError
        For logits that are not float32 or float64, and labels that are no integers.
    ValueError
        For shapes that do not fit, a label out of range (the first is named), a target row that is not one-hot.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.cross_entropy(
            input,
            target,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    return _cross_entropy("cross_entropy", input, target, weight, ignore_index, reduction, label_smoothing, False)[0]


def cross_entropy_with_grad(
    input: Array,
    target: NDArray[Any],
    *,
    weight: Array | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[float, Array]:
    """`cross_entropy` and its gradient with respect to the logits, in one pass.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction, label_smoothing
        As for `cross_entropy`.

    Returns
    -------
    loss : float
    grad_input : ndarray, shape (N, C)
        softmax(input) - one_hot(target), divided by N for the mean.

    Raises
    ------
    TypeError, ValueError
        As for `cross_entropy`.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.cross_entropy_with_grad(
            input,
            target,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
    loss, grad = _cross_entropy(
        "cross_entropy_with_grad", input, target, weight, ignore_index, reduction, label_smoothing, True
    )
    assert grad is not None
    return loss, grad


def _mse(op: str, input: object, target: object, reduction: object, with_grad: bool) -> tuple[float, Array | None]:
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.pair_loss(op, "squared", input, target, reduction, with_grad, 0.0)
    value = arg.check_array(op, "input", input, None)
    wanted = arg.check_array(op, "target", target, None, value.dtype)
    arg.check_shape(op, "target", wanted, value.shape)
    divisor = mean_divisor(op, reduction, value.size)
    if config.strict:
        refuse(op, forced_copies({"input": value, "target": wanted}))
    grad = arg.allocate(op, value.shape, value.dtype) if with_grad else None
    total = _core.pair_loss("squared", arg.contiguous(value), arg.contiguous(wanted), grad, 1.0 / divisor)
    return total / divisor, grad


def mse_loss(input: Array, target: Array, *, reduction: str = "mean") -> float:
    """Squared difference (input - target)**2, over all elements.

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
        For other dtypes, and shapes that differ (nothing is broadcast).
    """
    return _mse("mse_loss", input, target, reduction, False)[0]


def mse_loss_with_grad(input: Array, target: Array, *, reduction: str = "mean") -> tuple[float, Array]:
    """`mse_loss` and its gradient with respect to `input`, in one pass.

    Parameters
    ----------
    input, target, reduction
        As for `mse_loss`.

    Returns
    -------
    loss : float
    grad_input : ndarray of the shape of `input`
        2 * (input - target), divided by the number of elements for the mean.

    Raises
    ------
    TypeError, ValueError
        As for `mse_loss`.
    """
    loss, grad = _mse("mse_loss_with_grad", input, target, reduction, True)
    assert grad is not None
    return loss, grad
