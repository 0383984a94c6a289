"""Losses of pairs: each element of the output against that of a target of its shape, averaged over all elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import number
from fastconv.losses.base import Loss, Shape, Spec, check_target, memory_order

Kind = Literal["squared", "absolute", "huber", "binary_logits", "binary"]


class PairLoss(Loss):
    """What they share; the target has the output's shape."""

    kind: Kind = "squared"
    runs_on_gpu: ClassVar[bool] = True
    parameter: float = 0.0

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        return memory_order(output_shape), dtype

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        check_target(self.name, target)
        view = np.moveaxis(into, -1, 1) if into.ndim == 4 and layout == "NCHW" else into
        if target.shape != view.shape:
            raise ValueError(f"{self.name}: target must have the output's shape {view.shape}, got {target.shape}")
        np.copyto(view, target, casting="unsafe")

    def kernel_bytes(self, output_shape: Shape) -> int:
        return -(-math.prod(output_shape) // 4096) * 8  # a partial sum for each block of elements

    def kernel_bytes_on(self, device: Any, output_shape: Shape) -> int:
        if not device.on_gpu:
            return self.kernel_bytes(output_shape)
        return int(device.bind.pair_loss_scratch(math.prod(output_shape)))

    def bind_on(
        self, device: Any, output: Any, target: Any, buffers: dict[str, Any], grad: Any, weight: float
    ) -> Callable[[], Any]:
        value = device.zeros((1,), np.dtype(np.float32))
        share = 1 / max(output.size, 1)
        run = device.bind.pair_loss(
            self.kind, output, target, grad, value, delta=self.parameter, grad_scale=weight * share, loss_scale=share
        )

        def loss() -> Any:
            run()
            return value

        return loss

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        count = max(output.size, 1)
        run = partial(_core.pair_loss, self.kind, output, target, grad, 1.0 / count, self.parameter)
        return lambda: run() / count


class MeanSquaredError(PairLoss):
    """(output - target)**2, averaged over every element; the target has the output's shape.

    Notes
    -----
    The gradient is 2 * (output - target) / number of elements.
    """

    name: ClassVar[str] = "mse"


class L1(PairLoss):
    """|output - target|, averaged over every element; the target has the output's shape.

    Notes
    -----
    The gradient is sign(output - target) / number of elements, 0 where they are equal.
    """

    name: ClassVar[str] = "l1"
    kind = "absolute"


class Huber(PairLoss):
    """d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2), d = output - target, averaged (Huber 1964).

    Parameters
    ----------
    delta : float, default 1
        Above 0.

    Notes
    -----
    The gradient is d, clipped to -delta and delta, over the number of elements.
    """

    name: ClassVar[str] = "huber"
    kind = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        self.parameter = number(self.name, "delta", delta, 0, inclusive=False)

    def __repr__(self) -> str:
        return f"Huber({self.parameter})"


class BinaryCrossEntropy(PairLoss):
    """-t log(p) - (1 - t) log(1 - p), averaged over every element.

    The target t has the output's shape and lies in [0, 1].

    Parameters
    ----------
    from_logits : bool, default True
        The output is the logits, p = sigmoid(output), and a model that ends in Sigmoid is trained on what goes into
        it. False: the output is p itself; logarithms are taken as at least -100, as PyTorch.

    Notes
    -----
    The gradient is (sigmoid(output) - t), or (p - t) / (p (1 - p)), over the number of elements. A target of shape (N,)
    goes with an output (N, 1).
    """

    name: ClassVar[str] = "binary_cross_entropy"
    logits_of: ClassVar[str] = "sigmoid"

    def __init__(self, from_logits: bool = True) -> None:
        if not isinstance(from_logits, bool | np.bool_):
            raise TypeError(f"{self.name}: from_logits must be True or False, got {arguments.describe(from_logits)}")
        self.from_logits = bool(from_logits)
        self.kind = "binary_logits" if from_logits else "binary"

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        check_target(self.name, target)
        if len(output_shape) == 2 and output_shape[1] == 1 and target.shape == output_shape[:1]:
            target = target[:, np.newaxis]
        super().load_target(target, output_shape, into, layout)
        if target.size and not (np.min(target) >= 0 and np.max(target) <= 1):
            bad = np.argwhere(~((target >= 0) & (target <= 1)))[0]
            where = tuple(int(index) for index in bad)
            raise ValueError(f"{self.name}: target must lie in [0, 1], got {target[where]} at index {where}")

    def __repr__(self) -> str:
        return f"BinaryCrossEntropy(from_logits={self.from_logits})"
