"""Losses: what training makes small. Each is computed in one pass together with its gradient; see `Loss`."""

from __future__ import annotations

from fastconv.losses.base import Loss
from fastconv.losses.cross_entropy import SoftmaxCrossEntropy
from fastconv.losses.images import GramLoss, TotalVariation, gram_matrix
from fastconv.losses.pairs import L1, BinaryCrossEntropy, Huber, MeanSquaredError

__all__ = [
    "L1",
    "BinaryCrossEntropy",
    "GramLoss",
    "Huber",
    "Loss",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
    "TotalVariation",
    "get",
    "gram_matrix",
]

_BY_NAME: dict[str, type[Loss]] = {
    "cross_entropy": SoftmaxCrossEntropy,
    "categorical_crossentropy": SoftmaxCrossEntropy,
    "sparse_categorical_crossentropy": SoftmaxCrossEntropy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "binary_cross_entropy": BinaryCrossEntropy,
    "binary_crossentropy": BinaryCrossEntropy,
    "l1": L1,
    "mae": L1,
    "mean_absolute_error": L1,
    "huber": Huber,
    "gram": GramLoss,
    "total_variation": TotalVariation,
}


def get(loss: object) -> Loss:
    """Return a loss by name; a Loss passes as it is.

    Parameters
    ----------
    loss : str or Loss
        "cross_entropy" (also "categorical_crossentropy", "sparse_categorical_crossentropy"), "mse"
        (also "mean_squared_error"), "binary_cross_entropy" (also "binary_crossentropy"; of logits), "l1" (also "mae",
        "mean_absolute_error"), "huber", "gram", "total_variation", or a Loss.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in _BY_NAME:
        return _BY_NAME[loss]()
    error = ValueError if isinstance(loss, str) else TypeError
    raise error(f"losses.get: loss must be a Loss or one of {', '.join(map(repr, _BY_NAME))}, got {loss!r}")
