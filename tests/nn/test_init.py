"""Start values: their distribution, and where the random numbers come from."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, init


def test_he_normal_has_variance_two_over_fan_in(rng: np.random.Generator) -> None:
    weight = init.he_normal((64, 32, 3, 5), rng)
    assert weight.std() == pytest.approx((2 / (32 * 15)) ** 0.5, rel=0.02)
    assert abs(weight.mean()) < 1e-3


def test_glorot_uniform_has_its_limit(rng: np.random.Generator) -> None:
    weight = init.glorot_uniform((50, 70), rng)
    limit = (6 / 120) ** 0.5
    assert np.abs(weight).max() <= limit
    assert np.abs(weight).max() > 0.99 * limit


def _model(seed: int, dtype: str = "float32") -> Sequential:
    return Sequential(
        Conv2d(None, 8, 3), ReLU(), Conv2d(8, 8, 3, activation="relu"), MaxPool2d(2), Flatten(), Linear(None, 400),
        input_shape=(3, 16, 16), seed=seed, dtype=dtype,
    )  # fmt: skip


def test_he_before_relu_glorot_otherwise_zero_bias() -> None:
    state = _model(0).state_dict()
    for name in ("conv2d_1", "conv2d_2"):
        fan_in = state[f"{name}.weight"][0].size
        assert state[f"{name}.weight"].std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15)
    linear = state["linear_1.weight"]
    assert np.abs(linear).max() <= (6 / sum(linear.shape)) ** 0.5 * (1 + 1e-6)
    assert not any(state[name].any() for name in state if name.endswith("bias"))


def test_the_seed_of_the_model_decides_all() -> None:
    first, again, other = (_model(seed).state_dict() for seed in (1, 1, 2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        if name.endswith("weight"):
            assert not np.array_equal(value, other[name])


def test_float64_starts_from_the_same_numbers() -> None:
    single, double = _model(1).state_dict(), _model(1, "float64").state_dict()
    for name, value in single.items():
        np.testing.assert_allclose(value, double[name], rtol=1e-6)


def test_own_seeds_and_loaded_weights_stay() -> None:
    seeded = Linear(4, 3, seed=7)
    before = seeded.weight.data.copy()
    assigned, written = Linear(3, 3), Linear(3, 3)
    assigned.weight.data = np.eye(3)
    written.weight.data[...] = np.eye(3)
    state = Sequential(seeded, assigned, written, input_shape=(4,), seed=5).state_dict()
    np.testing.assert_array_equal(state["linear_1.weight"], before)
    np.testing.assert_array_equal(state["linear_2.weight"], np.eye(3))
    np.testing.assert_array_equal(state["linear_3.weight"], np.eye(3))
    assert not any(state[f"linear_{number}.bias"].any() for number in (1, 2, 3))


def test_a_layer_alone_draws_from_its_seed_when_first_looked_at(rng: np.random.Generator) -> None:
    one, same, other = Linear(4, 3), Linear(4, 3, seed=0), Linear(4, 3, seed=1)
    x = rng.normal(size=(2, 4)).astype(np.float32)
    np.testing.assert_array_equal(one(x), same(x))
    assert not np.array_equal(one(x), other(x))
    assert not one.bias.data.any()
    np.testing.assert_array_equal(one(x), same(x))


def test_a_second_model_does_not_draw_again() -> None:
    layer = Linear(4, 3)
    first = Sequential(layer, input_shape=(4,), seed=1)
    before = first.state_dict()["linear_1.weight"]
    Sequential(layer, Linear(3, 2), input_shape=(4,), seed=2)
    np.testing.assert_array_equal(layer.weight.data, before)
