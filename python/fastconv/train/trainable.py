"""What the training loop asks of a model; `fastconv.nn.Model` has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trainable", "parameter_dtype"]


class Trainable(Protocol):
    """A compiled model."""

    @property
    def optimizer(self) -> Any: ...

    @property
    def rng(self) -> np.random.Generator: ...

    def train_on_batch(self, x: NDArray[Any], y: NDArray[Any]) -> Mapping[str, float]: ...

    def test_on_batch(self, x: NDArray[Any], y: NDArray[Any]) -> Mapping[str, float]: ...

    def predict_on_batch(self, x: NDArray[Any]) -> Any: ...

    def state_dict(self) -> dict[str, NDArray[Any]]: ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> Any: ...

    def save(self, path: str | os.PathLike[str]) -> Any: ...


def parameter_dtype(model: Trainable) -> np.dtype[Any]:
    """Return the type that batches are cast to: that of the parameters, float32 for a model that has none (yet)."""
    floats = (array.dtype for array in model.state_dict().values() if array.dtype.kind == "f")
    return next(floats, np.dtype(np.float32))
