"""Softmax cross entropy on a GPU, with its gradient in the same pass."""

from __future__ import annotations

from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.numbers import mean_divisor, number
from fastconv.cuda import arrays, native
from fastconv.cuda.launch import Launch


def workspace_shape(rows: int) -> tuple[int]:
    """Shape of the float32 workspace of `cross_entropy`."""
    return (rows + 1,)


def cross_entropy(
    input: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad: Any = None,
    out: Any = None,
    workspace: Any = None,
) -> Any:
    """Softmax cross entropy of logits, as `fastconv.ops.cross_entropy`; the result stays on the GPU.

    Parameters
    ----------
    input : array on a GPU, shape (N, C), float32
    target : array, shape (N,), int32 or int64
        Labels are not looked at before the kernel runs: one that is no class makes the loss, and its row of the
        gradient, NaN.
    weight : array, shape (C,), float32, optional
    ignore_index, reduction, label_smoothing
        As for `fastconv.ops.cross_entropy`.
    grad : array, shape (N, C), optional
        Takes the gradient with respect to `input`.
    out : array, shape (), optional
        Takes the loss.
    workspace : array, shape (N + 1,), optional
        Takes the loss of each row; given all three, the call allocates nothing and can be captured in a graph.

    Returns
    -------
    array, shape (), float32
    """
    op = "cross_entropy"
    module = native.module(op)
    x = arrays.view(op, "input", input, 2)
    n, classes = x.shape
    labels = arrays.look(op, "target", target)
    if labels.dtype not in ("int32", "int64"):
        raise TypeError(f"{op}: target must be int32 or int64 labels, got {labels.dtype}")
    labels = arrays.view(op, "target", labels, 1, labels.dtype)
    arrays.check_shape(op, "target", labels, (n,))
    w = None if weight is None else arrays.view(op, "weight", weight, 1)
    if w is not None:
        arrays.check_shape(op, "weight", w, (classes,))
    mean_divisor(op, reduction, n)
    smoothing = number(op, "label_smoothing", label_smoothing, 0)
    if smoothing >= 1:
        raise ValueError(f"{op}: label_smoothing must lie in [0, 1), got {label_smoothing}")
    g = None if grad is None else arrays.view(op, "grad", grad, 2, write=True)
    if g is not None:
        arrays.check_shape(op, "grad", g, x.shape)
    result = arrays.output(op, out, input, ())
    loss = arrays.view(op, "out", result, write=True)
    workspace = arrays.output(op, workspace, input, workspace_shape(n), name="workspace")
    work = arrays.view(op, "workspace", workspace, write=True)
    with Launch(op, x, labels, w, g, loss, work) as stream:
        module.softmax_cross_entropy(
            x.address,
            labels.address,
            8 if labels.dtype == "int64" else 4,
            w.address if w else 0,
            n,
            classes,
            work.address,
            loss.address,
            g.address if g else 0,
            mean=reduction == "mean",
            label_smoothing=smoothing,
            ignore_index=None if ignore_index is None else arg.integer(op, "ignore_index", ignore_index),
            stream=stream,
        )
    return result
