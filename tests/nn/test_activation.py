"""Activations inside models: as layers and as arguments, fused or not, in place, told honestly."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import ops
from fastconv.nn import (
    ELU,
    GELU,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    Maxout,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)

LAYERS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "silu": SiLU,
    "gelu": GELU,
    "softplus": Softplus,
}


def _model(name: str, as_argument: bool, dtype: str = "float32") -> Sequential:
    own, between = (name, []) if as_argument else (None, [LAYERS[name]()])
    again = [] if as_argument else [LAYERS[name]()]
    return Sequential(
        Conv2d(2, 4, 3, activation=own, seed=1), *between, MaxPool2d(2), Flatten(),
        Linear(None, 5, activation=own, seed=2), *again, Linear(5, 3, seed=3),
        input_shape=(2, 8, 6), dtype=dtype,
    )  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_an_argument_is_the_layer_behind(name: str, dtype: np.dtype, rng: np.random.Generator) -> None:
    """The same bits, forward, in inference with its fused max pool, and backward."""
    x, y = rng.normal(size=(5, 2, 8, 6)).astype(dtype), rng.integers(0, 3, 5)
    results = []
    start = _model(name, True, dtype.name).state_dict()
    for as_argument in (True, False):
        model = _model(name, as_argument, dtype.name)
        model.load_state_dict(start)
        model.compile("sgd", "cross_entropy")
        arrays = [model.predict_on_batch(x)]
        model.train_on_batch(x, y)
        results.append(arrays + [parameter.gradient().copy() for parameter in model.parameters()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", LAYERS)
def test_a_model_is_its_operations(name: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 2, 8, 6))
    model = _model(name, True, "float64")
    conv, dense, last = (model.layers[layer] for layer in ("conv2d_1", "linear_1", "linear_2"))
    function = getattr(ops, name)
    h = ops.max_pool2d(function(ops.conv2d(x, conv.weight.data, conv.bias.data)), 2)
    h = function(ops.linear(h.reshape(3, -1), dense.weight.data, dense.bias.data))
    expected = ops.linear(h, last.weight.data, last.bias.data)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "relu"])
def test_memory_of_training(name: str) -> None:
    """What reads its output in backward takes no more than a fused ReLU; SiLU, GELU and Softplus one map more."""

    def arena(*behind: Layer, activation: str | None = None) -> int:
        model = Sequential(Conv2d(2, 8, 3, activation=activation), *behind, Flatten(), Linear(None, 3),
                           input_shape=(2, 34, 34))  # fmt: skip
        model.compile("sgd", "cross_entropy")
        return model.plan(16).arena

    fused, maps = arena(activation="relu"), 16 * 8 * 32 * 32 * 4
    extra = maps if name in ("silu", "gelu", "softplus") else 0
    assert arena(LAYERS[name]()) <= fused + extra
    assert arena(activation=name) <= fused + extra


def test_summary_tells_what_is_not_fused() -> None:
    model = Sequential(Conv2d(2, 4, 3, activation="tanh"), Conv2d(4, 4, 3, activation="relu"), input_shape=(2, 8, 6))
    lines = model.summary().splitlines()
    assert any(line.startswith("conv2d_1, then tanh ") for line in lines)
    assert any(line.startswith("conv2d_2 ") for line in lines)


def test_a_segmentation_net_trains_on_the_logits_before_its_softmax(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 3, 5, 4)), rng.integers(0, 4, (2, 5, 4))
    model = Sequential(Conv2d(3, 4, 3, padding=1), Softmax(), input_shape=(3, 5, 4), dtype="float64")
    logits = Sequential(model.layers["conv2d_1"], input_shape=(3, 5, 4), dtype="float64")
    for each in (model, logits):
        each.compile("sgd", "cross_entropy")
    p = model.predict_on_batch(x)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert model.test_on_batch(x, y)["loss"] == logits.test_on_batch(x, y)["loss"]
    expected = -np.log(np.take_along_axis(p, y[:, None], 1)).mean()
    assert model.test_on_batch(x, y)["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_maxout_of_a_convolution(layout: str, rng: np.random.Generator) -> None:
    """max(w1 x + b1, w2 x + b2): two filters for each map."""
    x = rng.normal(size=(2, 3, 6, 6))
    conv = Conv2d(3, 8, 3)
    model = Sequential(conv, Maxout(2), input_shape=(3, 6, 6), dtype="float64", layout=layout)
    given = x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    got = model.predict_on_batch(given)
    expected = ops.maxout(ops.conv2d(x, conv.weight.data, conv.bias.data), 2)
    np.testing.assert_allclose(got if layout == "NCHW" else np.moveaxis(got, -1, 1), expected, rtol=1e-12, atol=1e-14)
    assert model.predict_on_batch(given[:0]).shape == (0, *got.shape[1:])


def test_the_plan_counts_the_stage_of_large_maps() -> None:
    small, large = (
        Sequential(SiLU(), input_shape=(8, size, size)).plan(8, training=False).scratch for size in (8, 512)
    )
    assert small == 0
    assert large >= 16 << 10
