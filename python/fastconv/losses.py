"""Losses: what training makes small. Each is computed in one pass together with its gradient.

A loss declares what it reads (`target_buffer`, `buffers`), checks a target and copies it into place (`load_target`),
and binds itself to arrays as one call; the engine runs that call in every step, `loss(output, target)` runs it once.
4-D arrays lie channels-last inside, so that the classes of a pixel are neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv.ops import arguments
from fastconv.ops.arguments import Array

Shape: TypeAlias = tuple[int, ...]
Spec: TypeAlias = tuple[Shape, np.dtype[Any]]


class Loss:
    """Base of all losses; the mean over samples (and pixels).

    Attributes
    ----------
    name : str
    from_logits : bool
        Whether it takes the values before a softmax: a model that ends in Softmax is trained on what goes into it.
    """

    name: ClassVar[str] = "loss"
    from_logits: ClassVar[bool] = False

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        """Return shape and dtype of the array that `load_target` fills; `output_shape` is logical, with the batch."""
        raise NotImplementedError

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        """Return the arrays wanted beside output, target and gradient."""
        return {}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        """Check `target`, as the caller gave it, and copy it."""
        raise NotImplementedError

    def kernel_bytes(self, output_shape: Shape) -> int:
        """Return the bytes that the kernel borrows while it runs."""
        return 0

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        """Return a call that computes the loss and, where `grad` is an array, the gradient with respect to `output`."""
        raise NotImplementedError

    def __call__(self, output: Array, target: NDArray[Any]) -> float:
        """Return the loss of one batch: `output` (N, F) or (N, C, H, W), `target` as the loss takes it."""
        return self._run(output, target, False)[0]

    def with_grad(self, output: Array, target: NDArray[Any]) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to `output`."""
        loss, grad = self._run(output, target, True)
        assert grad is not None
        return loss, grad

    def _run(self, output: Array, target: NDArray[Any], with_grad: bool) -> tuple[float, Array | None]:
        arguments.check_array(self.name, "output", output, None)
        shape = output.shape
        inside = arguments.contiguous(np.moveaxis(output, 1, -1) if output.ndim == 4 else output)
        place = np.empty(*self.target_buffer(shape, output.dtype))
        self.load_target(target, shape, place)
        buffers = {name: np.empty(*spec) for name, spec in self.buffers(shape, output.dtype).items()}
        grad = np.empty_like(inside) if with_grad else None
        loss = self.bind(inside, place, buffers, grad)()
        if grad is not None and output.ndim == 4:
            grad = np.ascontiguousarray(np.moveaxis(grad, -1, 1))
        return loss, grad

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """-log softmax(logits)[label], averaged.

    Takes logits (N, C), or (N, C, H, W) for a label per pixel, and labels: integers (N,) or (N, H, W), or one-hot
    arrays of the logits' shape, any dtype.

    Notes
    -----
    The gradient is (softmax(logits) - one_hot) / number of labels (Bridle 1990).
    """

    name: ClassVar[str] = "cross_entropy"
    from_logits: ClassVar[bool] = True

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        if len(output_shape) not in (2, 4):
            raise ValueError(f"{self.name}: output must be (N, C) or (N, C, H, W), got shape {output_shape}")
        return (output_shape[0], *output_shape[2:]), np.dtype(np.int64)

    def buffers(self, output_shape: Shape, dtype: np.dtype[Any]) -> dict[str, Spec]:
        return {"losses": ((math.prod(self.target_buffer(output_shape, dtype)[0]),), dtype)}

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        _check_target(self.name, target)
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

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        losses = buffers["losses"]
        rows = (losses.size, output.shape[-1])
        count = max(losses.size, 1)
        run = partial(
            _core.softmax_cross_entropy,
            output.reshape(rows),
            target.reshape(-1),
            losses,
            None if grad is None else grad.reshape(rows),
            1.0 / count,
        )

        def loss() -> float:
            run()
            return float(np.add.reduce(losses, dtype=np.float64)) / count

        return loss


class MeanSquaredError(Loss):
    """(output - target)**2, averaged over every element; the target has the output's shape.

    Notes
    -----
    The gradient is 2 * (output - target) / number of elements.
    """

    name: ClassVar[str] = "mse"

    def target_buffer(self, output_shape: Shape, dtype: np.dtype[Any]) -> Spec:
        if len(output_shape) == 4:
            n, c, h, w = output_shape
            return (n, h, w, c), dtype
        return output_shape, dtype

    def load_target(self, target: NDArray[Any], output_shape: Shape, into: NDArray[Any], layout: str = "NCHW") -> None:
        _check_target(self.name, target)
        view = np.moveaxis(into, -1, 1) if into.ndim == 4 and layout == "NCHW" else into
        if target.shape != view.shape:
            raise ValueError(f"{self.name}: target must have the output's shape {view.shape}, got {target.shape}")
        np.copyto(view, target, casting="unsafe")

    def kernel_bytes(self, output_shape: Shape) -> int:
        return -(-math.prod(output_shape) // 4096) * 8  # a partial sum for each block of elements

    def bind(
        self, output: Array, target: NDArray[Any], buffers: dict[str, NDArray[Any]], grad: Array | None
    ) -> Callable[[], float]:
        count = max(output.size, 1)
        run = partial(_core.mean_squared_error, output, target, grad, 1.0 / count)
        return lambda: run() / count


def _check_target(op: str, target: object) -> None:
    if type(target) not in (np.ndarray, np.memmap):
        raise TypeError(f"{op}: target must be a numpy.ndarray, got {arguments.describe(target)}; pass np.asarray(...)")
    assert isinstance(target, np.ndarray)
    if target.dtype.kind not in "biuf":
        raise TypeError(f"{op}: target must hold numbers, got {target.dtype}")


_BY_NAME: dict[str, type[Loss]] = {
    "cross_entropy": SoftmaxCrossEntropy,
    "categorical_crossentropy": SoftmaxCrossEntropy,
    "sparse_categorical_crossentropy": SoftmaxCrossEntropy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
}


def get(loss: object) -> Loss:
    """Return a loss by name; a Loss passes as it is.

    Parameters
    ----------
    loss : str or Loss
        "cross_entropy" (also "categorical_crossentropy", "sparse_categorical_crossentropy"), "mse"
        (also "mean_squared_error"), or a Loss.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in _BY_NAME:
        return _BY_NAME[loss]()
    error = ValueError if isinstance(loss, str) else TypeError
    raise error(f"losses.get: loss must be a Loss or one of {', '.join(map(repr, _BY_NAME))}, got {loss!r}")
