"""Rescaling and standardising are explicit, leave the input alone and take their figures from one place."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.data import Rescale, Standardize


def test_rescale() -> None:
    x = np.array([[0, 51, 255]], np.uint8)
    result = Rescale(255.0)(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0, 0.2, 1]], rtol=1e-7)
    assert x.tolist() == [[0, 51, 255]]
    assert Rescale(2.0, offset=1.0)(x, np.float64).tolist() == [[-0.5, 25.0, 127.0]]


def test_standardize() -> None:
    x = np.random.default_rng(0).integers(256, size=(50, 3), dtype=np.uint8)
    result = Standardize.fit(x)(x, np.float64)
    assert result.mean() == pytest.approx(0, abs=1e-12)
    assert result.std() == pytest.approx(1)
    assert Standardize.fit(np.full(3, 7.0))(np.full(3, 7.0)).tolist() == [0, 0, 0]


def test_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="not 0"):
        Rescale(0.0)
    with pytest.raises(ValueError, match="finite"):
        Rescale(1.0, float("nan"))
    with pytest.raises(ValueError, match="at least one value"):
        Standardize.fit(np.zeros((0, 3)))
