"""What the training loop asks of a model; `fastconv.nn.Model` has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trainable"]


class Trainable(Protocol):
    """A compiled model."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def optimizer(self) -> Any: ...

    @property
    def rng(self) -> np.random.Generator: ...

    def train_on_batch(self, x: Any, y: Any) -> Mapping[str, float]: ...

    def test_on_batch(self, x: Any, y: Any) -> Mapping[str, float]: ...

    def predict_on_batch(self, x: Any) -> Any: ...

    def state_dict(self) -> dict[str, NDArray[Any]]: ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> Any: ...

    def save(self, path: str | os.PathLike[str]) -> Any: ...
