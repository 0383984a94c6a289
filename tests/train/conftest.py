"""A small model and a small problem that it can learn, with everything in it that a checkpoint must keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastconv import nn, optim


@pytest.fixture
def make_model() -> Callable[..., nn.Sequential]:
    """Return a function of a seed that makes a compiled model: convolution, pool, dropout, dense; momentum."""

    def make(seed: int = 0) -> nn.Sequential:
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding="same", activation="relu"),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(16, 3),
            input_shape=(1, 4, 4),
            seed=seed,
        )
        model.compile(optim.SGD(0.05, momentum=0.9), "cross_entropy", ["accuracy"])
        return model

    return make


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    """50 images of three classes; the brightest quarter tells the class."""
    rng = np.random.default_rng(7)
    labels = rng.integers(3, size=50)
    images = rng.integers(0, 3, size=(50, 1, 4, 4), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, label // 2 * 2 : label // 2 * 2 + 2, label % 2 * 2 : label % 2 * 2 + 2] += 2
    return images, labels
