"""Bias: a number for each feature; its gradient against the sum over the batch, alone and in a model."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn


def test_adds_and_sums(rng: np.random.Generator, dtype: np.dtype) -> None:
    layer = nn.Bias()
    x, grad = (rng.integers(-9, 9, (5, 7)).astype(dtype) for _ in range(2))
    assert np.array_equal(layer(x), x)
    layer.bias.data = np.arange(7).astype(dtype)
    assert np.array_equal(layer(x), x + np.arange(7))
    assert np.array_equal(layer.backward(grad), grad)
    assert np.array_equal(layer.bias.grad, grad.sum(axis=0))
    layer.backward(grad)
    assert np.array_equal(layer.bias.grad, 2 * grad.sum(axis=0))


def test_in_a_model_it_learns_the_mean(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Bias(name="b"), input_shape=(2, 3, 1), dtype="float64")
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((8, 2, 3, 1)), rng.standard_normal((8, 6))
    model.train_on_batch(x, y)
    expected = -0.01 * (2 / 48) * (x.reshape(8, 6) - y).sum(axis=0)
    np.testing.assert_allclose(model.state_dict()["b.bias"], expected, rtol=1e-12)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"bias: input must be \(N, F\).*put Flatten\(\) before it"):
        nn.Bias()(np.zeros((1, 2, 3, 3), np.float32))
    layer = nn.Bias()
    layer(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="F=4 features, got 5"):
        layer(np.zeros((1, 5), np.float32))
