"""Gradient clipping, and weight decay of single layers and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.nn import Conv2d, Flatten, Linear, Parameter, ReLU, Sequential
from fastconv.optim import SGD, Adam, AdamW, Optimizer, RMSprop


def _parameters(dtype: np.dtype, rng: np.random.Generator) -> list[Parameter]:
    found = [Parameter(rng.normal(size=shape).astype(dtype)) for shape in ((3, 4), (7,), (2, 2))]
    for parameter in found:
        parameter.gradient()[...] = rng.normal(size=parameter.shape)
    return found


def _grads(parameters: list[Parameter]) -> list[np.ndarray]:
    return [parameter.gradient().copy() for parameter in parameters]


def test_clip_norm(dtype: np.dtype, rng: np.random.Generator) -> None:
    """All gradients together; frozen ones neither count nor change."""
    parameters = _parameters(dtype, rng)
    parameters[2].trainable = False
    before = _grads(parameters)
    norm = np.sqrt(sum((grad.astype(np.float64) ** 2).sum() for grad in before[:2]))
    SGD(0.0, clip_norm=0.5).step(parameters)
    after = _grads(parameters)
    for got, old in zip(after[:2], before[:2], strict=True):
        np.testing.assert_allclose(got, old * (0.5 / norm), rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(after[2], before[2])
    SGD(0.0, clip_norm=norm + 1).step(parameters)
    for got, old in zip(_grads(parameters), after, strict=True):
        np.testing.assert_array_equal(got, old)


def test_clip_value(dtype: np.dtype, rng: np.random.Generator) -> None:
    parameters = _parameters(dtype, rng)
    parameters[0].gradient()[0, 0] = np.nan
    before = _grads(parameters)
    SGD(0.0, clip_value=0.25).step(parameters)
    for got, old in zip(_grads(parameters), before, strict=True):
        np.testing.assert_array_equal(got, np.clip(old, -0.25, 0.25))


def test_nan_is_not_hidden(dtype: np.dtype, rng: np.random.Generator) -> None:
    parameters = _parameters(dtype, rng)
    parameters[1].gradient()[0] = np.nan
    SGD(0.0, clip_norm=1.0).step(parameters)
    assert all(np.isnan(grad).all() for grad in _grads(parameters))


def test_torch_clips_alike(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    parameters = _parameters(np.dtype(np.float64), rng)
    theirs = [torch.nn.Parameter(torch.tensor(parameter.data)) for parameter in parameters]
    for one, parameter in zip(theirs, parameters, strict=True):
        one.grad = torch.tensor(parameter.gradient().copy())
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    SGD(0.0, clip_norm=0.5).step(parameters)
    for one, parameter in zip(theirs, parameters, strict=True):
        np.testing.assert_allclose(parameter.gradient(), one.grad.numpy(), rtol=1e-5)  # theirs adds 1e-6 to the norm


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW])
def test_own_weight_decay(kind: type[Optimizer], rng: np.random.Generator) -> None:
    """A parameter's own decay is what an optimiser with that decay does to it."""
    pair = [Parameter(np.ones(5)), Parameter(np.ones(5))]
    lone = [Parameter(np.ones(5)), Parameter(np.ones(5))]
    pair[0].weight_decay, pair[1].weight_decay = 0.5, 0.0
    optimizers = [kind(weight_decay=0.1), kind(weight_decay=0.5), kind(weight_decay=0.0)]
    for _ in range(3):
        grad = rng.normal(size=5)
        for parameter in (*pair, *lone):
            parameter.gradient()[...] = grad
        optimizers[0].step(pair)
        optimizers[1].step(lone[:1])
        optimizers[2].step(lone[1:])
    for one, other in zip(pair, lone, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert not np.array_equal(pair[0].data, pair[1].data)


def test_weight_decay_of_a_layer(rng: np.random.Generator) -> None:
    model = Sequential(Conv2d(1, 2, 3), ReLU(), Flatten(), Linear(None, 2), input_shape=(1, 5, 5))
    conv = model.layers["conv2d_1"]
    assert conv.weight_decay is None
    conv.weight_decay = 0.5
    assert (conv.weight_decay, conv.weight.weight_decay, conv.bias.weight_decay) == (0.5, 0.5, None)
    model.compile(SGD(0.1), "cross_entropy")
    x, y = np.zeros((2, 1, 5, 5)), np.array([0, 1])  # the filters get no gradient but their decay
    before = conv.weight.data.copy()
    model.train_on_batch(x, y)
    np.testing.assert_allclose(conv.weight.data, before * (1 - 0.1 * 0.5), rtol=1e-6)
    conv.weight_decay = None
    assert conv.weight_decay is None
    with pytest.raises(AttributeError, match="weight_decay needs parameters"):
        model.layers["relu_1"].weight_decay = 0.1
    with pytest.raises(ValueError, match="weight_decay must be finite and at least 0, got -1"):
        conv.weight_decay = -1


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_bad_limits(name: str) -> None:
    for value, error in (
        (0, ValueError),
        (-1.0, ValueError),
        (np.inf, ValueError),
        ("1", TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match=f"SGD: {name} must be"):
            SGD(**{name: value})
    optimizer = SGD()
    assert getattr(optimizer, name) is None
    setattr(optimizer, name, 2)
    assert getattr(optimizer, name) == 2.0
