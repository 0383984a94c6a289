"""Cross entropy of classes, from logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.losses.base import Loss, Shape, Spec, check_target


def checked_weight(op: str, weight: object) -> Array:
    """Weights of classes: finite, at least 0, not all 0."""
    array = arguments.check_array(op, "weight", weight, 1)
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise ValueError(f"{op}: weight must be finite, at least 0 and not all 0, got {array.tolist()}")
    return array.copy()


class SoftmaxCrossEntropy(Loss):
    """-log softmax(logits)[label], averaged.

    Takes logits (N, C), or (N, C, H, W) for a label per pixel, and labels: integers (N,) or (N, H, W), or one-hot
    arrays of the logits' shape, any dtype.

    Parameters
    ----------
    weight : numpy.ndarray, optional
        (C,), at least 0: what each class counts; the mean divides by the sum of the labels' weights.
    ignore_index : int, optional
        Labels equal to it take no part, neither in the mean nor in the gradient.
    label_smoothing : float, default 0
        e in [0, 1): the target is (1 - e) * one_hot + e / C (Szegedy et al. 2016).

    Notes
    -----
    The gradient is (softmax(logits) - one_hot) / number of labels (Bridle 1990); with weights and smoothing that of
    -(1 - e) w[y] l[y] - e / C * sum(w l), l = log softmax(logits), as PyTorch. If every label is ignored the loss is 0.
    """

    name: ClassVar[str] = "cross_entropy"
    from_logits: bool = True
    logits_of: ClassVar[str] = "softmax"
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self, weight: Array | None = None, ignore_index: int | None = None, label_smoothing: float = 0.0
    ) -> None:
        self.weight = None if weight is None else checked_weight(self.name, weight)
        self.ignore_index = None if ignore_index is None else arguments.integer(self.name, "ignore_index", ignore_index)
        self.label_smoothing = number(self.name, "label_smoothing", label_smoothing, 0)
        if self.label_smoothing >= 1:
            raise ValueError(f"{self.name}: label_smoothing must lie in [0, 1), got {label_smoothing}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight}, {self.ignore_index}, {self.label_smoothing})"

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        if len(output_shape) not in (2, 4):
            raise ValueError(f"{self.name}: output must be (N, C) or (N, C, H, W), got shape {output_shape}")
        return (output_shape[0], *output_shape[2:]), np.dtype(np.int64)

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        return {"losses": ((math.prod(self.target_buffer(output_shape, dtype)[0]),), dtype)}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        check_target(self.name, target)
        one_hot = output_shape if layout == "NCHW" else (output_shape[0], *output_shape[2:], output_shape[1])
        if target.shape == one_hot and one_hot != into.shape:
            self._load_one_hot(target, into, 1 if layout == "NCHW" else target.ndim - 1)
        elif target.dtype.kind not in "iu":
            raise TypeError(
                f"{self.name}: labels must be integers, got {target.dtype}; write target.astype(np.int64), or pass "
                f"one-hot rows of shape {one_hot}"
            )
        elif target.shape in (into.shape, (*into.shape, 1)):
            np.copyto(into, target.reshape(into.shape), casting="same_kind")
        else:
            raise ValueError(
                f"{self.name}: target must have shape {into.shape} (labels) or {one_hot} (one-hot), got {target.shape}"
            )

    def _load_one_hot(self, target: NDArray[Any], into: NDArray[Any], axis: int) -> None:
        np.argmax(target, axis, out=into)
        ones, rest = np.count_nonzero(target == 1, axis), np.count_nonzero(target, axis)
        bad = np.argwhere((ones != 1) | (rest != 1))
        if len(bad):
            where = tuple(int(i) for i in bad[0])
            row = np.moveaxis(target, axis, -1)[where]
            raise ValueError(
                f"{self.name}: a one-hot target must hold one 1 and otherwise 0, got {row.tolist()} at index "
                f"{where[0] if len(where) == 1 else where}"
            )

    def gpu_buffers(self, output_shape: Shape) -> dict[str, Spec]:
        rows = math.prod(self.target_buffer(output_shape, np.dtype(np.float32))[0])
        return {"losses": ((rows + 1,), np.dtype(np.float32))}

    def check_target(self, loaded: NDArray[Any], output_shape: Shape) -> None:
        outside = (loaded < 0) | (loaded >= output_shape[1])
        if self.ignore_index is not None:
            outside &= loaded != self.ignore_index
        if outside.any():
            where = tuple(int(index) for index in np.argwhere(outside)[0])
            raise ValueError(
                f"{self.name}: labels must be in [0, {output_shape[1]}), got {loaded[where]} at index "
                f"{where[0] if len(where) == 1 else where}"
            )

    def bind_on(
        self, device: Any, output: Any, target: Any, buffers: dict[str, Any], grad: Any, weight: float
    ) -> Callable[[], Any]:
        value = device.zeros((1,), np.dtype(np.float32))
        classes = None
        if self.weight is not None:
            if self.weight.shape != output.shape[-1:]:
                raise ValueError(f"{self.name}: weight must have shape {output.shape[-1:]}, got {self.weight.shape}")
            classes = device.zeros(self.weight.shape, np.dtype(np.float32))
            device.put(classes, self.weight)
        arrays = output, target, classes, buffers["losses"], value, grad
        run = device.bind.softmax_cross_entropy(
            *arrays, mean=True, label_smoothing=self.label_smoothing, ignore_index=self.ignore_index
        )
        scale = device.bind.scale(grad, weight) if grad is not None and weight != 1 else None

        def loss() -> Any:
            run()
            if scale is not None:
                scale()
            return value

        loss.held = classes  # type: ignore[attr-defined]  # the kernel has its address only
        return loss

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        losses = buffers["losses"]
        rows, classes = losses.size, output.shape[-1]
        labels = target.reshape(-1)
        weight = None if self.weight is None else self.weight.astype(output.dtype)
        if weight is not None and weight.shape != (classes,):
            raise ValueError(f"{self.name}: weight must have shape {(classes,)}, got {weight.shape}")
        run = partial(
            _core.softmax_cross_entropy,
            output.reshape(rows, classes),
            labels,
            losses,
            None if grad is None else grad.reshape(rows, classes),
            weight=weight,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
        )
        counted = weight is not None or self.ignore_index is not None

        def loss() -> float:
            total = float(rows)
            if counted:
                total = _core.label_weight(labels, classes, weight, self.ignore_index)
            share = 1.0 / total if total > 0 else 0.0
            run(share)
            return float(np.add.reduce(losses, dtype=np.float64)) / (total if total > 0 else 1.0)

        return loss
