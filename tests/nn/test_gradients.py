"""Gradients of whole models, in float64, against central differences; weights, biases and inputs."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.losses import MeanSquaredError, SoftmaxCrossEntropy
from fastconv.nn import Model, Sequential
from fastconv.nn.steps import Mode
from networks import CLASSIFIERS, two_by_two


def _loss(model: Model, x: list[np.ndarray], y: list[np.ndarray]) -> float:
    return model.test_on_batch(x, y if len(y) > 1 else y[0])["loss"]


def _check(model: Model, x: list[np.ndarray], y: list[np.ndarray], rng: np.random.Generator) -> None:
    for parameter in model.parameters():  # zero biases would put ReLUs on their kink
        parameter.data = parameter.data + rng.uniform(-0.1, 0.1, parameter.shape)
    _run_backward(model, x, y)
    step = 1e-6
    for name, parameter in model.named_parameters().items():
        for index in rng.choice(parameter.size, min(parameter.size, 12), replace=False):
            at = np.unravel_index(index, parameter.shape)
            middle = parameter.data[at]
            found = []
            for moved in (middle + step, middle - step):
                parameter.data[at] = moved
                parameter.touch()
                found.append(_loss(model, x, y))
            parameter.data[at] = middle
            parameter.touch()
            expected = (found[0] - found[1]) / (2 * step)
            assert parameter.grad is not None
            assert parameter.grad[at] == pytest.approx(expected, rel=1e-5, abs=1e-8), f"{name}{list(at)}"


def _run_backward(model: Model, x: list[np.ndarray], y: list[np.ndarray]) -> None:
    """One training step whose optimiser doesn't move."""
    assert model.optimizer is not None
    model.optimizer.learning_rate = 0.0
    model.train_on_batch(x, y if len(y) > 1 else y[0])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_gradients_of_parameters(name: str, rng: np.random.Generator) -> None:
    model = CLASSIFIERS[name](dtype="float64")
    model.compile("sgd", "cross_entropy")
    _check(model, [rng.normal(size=(3, 2, 7, 6))], [rng.integers(0, 3, 3)], rng)


def test_gradients_with_two_inputs_and_two_losses(rng: np.random.Generator) -> None:
    model = two_by_two(dtype="float64")
    model.compile("sgd", ["cross_entropy", "mse"])
    x = [rng.normal(size=(3, 2, 7, 6)), rng.normal(size=(3, 5))]
    _check(model, x, [rng.integers(0, 3, 3), rng.normal(size=(3, 2, 4, 3))], rng)


def test_an_output_without_loss_gets_no_gradient(rng: np.random.Generator) -> None:
    model = two_by_two(dtype="float64")
    model.compile("sgd", [None, "mse"])
    x = [rng.normal(size=(3, 2, 7, 6)), rng.normal(size=(3, 5))]
    logs = model.train_on_batch(x, rng.normal(size=(3, 2, 4, 3)))
    assert logs.keys() == {"loss"}
    grads = {name: parameter.grad for name, parameter in model.named_parameters().items()}
    assert not np.any(grads["linear_1.weight"]), "the unreached branch must have zero gradient"
    assert np.any(grads["conv2d_2.weight"])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_gradients_of_inputs(name: str, rng: np.random.Generator) -> None:
    model = CLASSIFIERS[name](dtype="float64")
    model.compile("sgd", "cross_entropy")
    for parameter in model.parameters():
        parameter.data = parameter.data + rng.uniform(-0.1, 0.1, parameter.shape)
    x, y = rng.normal(size=(2, 2, 7, 6)), rng.integers(0, 3, 2)
    loss, (grad,) = model.gradients(x, y, model.graph.inputs)
    assert loss == pytest.approx(model.test_on_batch(x, y)["loss"], rel=1e-12)
    assert not any(parameter.grad is not None for parameter in model.parameters()), "they weren't asked for"
    step = 1e-6
    for index in rng.choice(x.size, 12, replace=False):
        at = np.unravel_index(index, x.shape)
        moved = x.copy()
        moved[at] += step
        above = model.test_on_batch(moved, y)["loss"]
        moved[at] -= 2 * step
        expected = (above - model.test_on_batch(moved, y)["loss"]) / (2 * step)
        assert grad[at] == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_gradients_of_feature_maps(rng: np.random.Generator) -> None:
    """A model cut in two behind the feature map gives the same gradient."""
    model = CLASSIFIERS["chain"](dtype="float64")
    model.compile("sgd", "cross_entropy")
    x, y = rng.normal(size=(2, 2, 7, 6)), rng.integers(0, 3, 2)
    taps = [model.node("relu_1"), model.node("max_pool2d_1"), model.graph.inputs[0]]
    _, grads = model.gradients(x, y, taps)
    features = Model(model.graph.inputs, taps[:2], dtype="float64").predict_on_batch(x)
    layers = list(model.layers.values())
    for grad, values, behind in zip(grads, features, (layers[2:], layers[3:]), strict=False):
        rest = Sequential(behind, input_shape=values.shape[1:], dtype="float64")
        rest.compile("sgd", "cross_entropy")
        _, (expected,) = rest.gradients(values, y, rest.graph.inputs)
        assert grad.flags.c_contiguous
        np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-15)


def test_gradients_of_other_models_nodes_are_refused(rng: np.random.Generator) -> None:
    model, other = CLASSIFIERS["shared"](), CLASSIFIERS["chain"]()
    model.compile("sgd", "cross_entropy")
    x, y = rng.normal(size=(2, 2, 7, 6)), rng.integers(0, 3, 2)
    with pytest.raises(ValueError, match="Model.gradients: wrt must be names or nodes of this model, got <Node input"):
        model.gradients(x, y, other.graph.inputs)
    with pytest.raises(ValueError, match="Model.node: 'again' is used 3 times"):
        model.node("again")
    with pytest.raises(ValueError, match="Model.node: name must be one of again, relu_1, .* got 'conv'"):
        model.node("conv")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_keeping_everything_changes_no_gradient(name: str, rng: np.random.Generator) -> None:
    """Without fusion, sharing of memory or in-place work the same numbers come out: bit for bit."""
    model = CLASSIFIERS[name]()
    x, y = rng.normal(size=(4, 2, 7, 6)).astype(np.float32), rng.integers(0, 3, 4)
    gradients = []
    for keep in ((), model.graph.nodes):
        mode = Mode(training=True, with_backward=True, keep=keep, keep_grad=keep)
        program = model._engine.program([x.shape], model.dtype, mode, (SoftmaxCrossEntropy(),))
        program.load([x], "NCHW")
        program.load_targets([y], "NCHW")
        program.forward()
        losses = program.losses()
        program.backward()
        gradients.append([losses, *(parameter.gradient().copy() for parameter in model.parameters())])
    for fused, plain in zip(*gradients, strict=True):
        np.testing.assert_array_equal(fused, plain)


def test_a_frozen_layer_gets_no_gradient_but_passes_it_on(rng: np.random.Generator) -> None:
    model = CLASSIFIERS["chain"](dtype="float64")
    model.compile("sgd", "cross_entropy")
    model.layers["conv2d_2"].trainable = False
    before = model.state_dict()
    x, y = rng.normal(size=(3, 2, 7, 6)), rng.integers(0, 3, 3)
    model.optimizer.learning_rate = 0.1
    model.train_on_batch(x, y)
    changed = {name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])}
    assert changed == {
        f"{layer}.{role}" for layer in ("conv2d_1", "linear_1", "linear_2") for role in ("weight", "bias")
    }


def test_mean_squared_error_of_an_image_model(rng: np.random.Generator) -> None:
    model = two_by_two(dtype="float64")
    model.compile("sgd", ["mse", MeanSquaredError()])
    x = [rng.normal(size=(3, 2, 7, 6)), rng.normal(size=(3, 5))]
    _check(model, x, [rng.normal(size=(3, 3)), rng.normal(size=(3, 2, 4, 3))], rng)
