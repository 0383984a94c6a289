"""A small model and a small problem that it can learn, with everything in it that a checkpoint must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def make_model() -> Callable[..., Any]:
    from standin import M

    return M


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    """50 images of three classes; the brightest quarter tells the class."""
    rng = np.random.default_rng(7)
    labels = rng.integers(3, size=50)
    images = rng.integers(0, 3, size=(50, 1, 4, 4), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, label // 2 * 2 : label // 2 * 2 + 2, label % 2 * 2 : label % 2 * 2 + 2] += 2
    return images, labels
