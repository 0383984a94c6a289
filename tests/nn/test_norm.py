"""Normalisation layers: alone, in models, in files; folded into weights for inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastconv import _core, nn, ops
from fastconv.nn.steps import Mode


def bn_net(**options: object) -> nn.Model:
    """Every way in which a batch norm can stand: folded, with ReLU and pool behind it, shared, after a dense layer."""
    x = nn.Input((2, 8, 6))
    shared = nn.BatchNorm2d(3, name="shared")
    a = nn.ReLU()(nn.BatchNorm2d(4)(nn.Conv2d(2, 4, 3, padding=1, bias=False)(x)))
    b = shared(nn.Conv2d(4, 3, 3, padding=1)(nn.MaxPool2d(2)(a)))
    c = shared(nn.ReLU()(b))
    d = nn.Dropout2d(0.2)(nn.GroupNorm(2, None)(nn.Conv2d(None, 4, 1)(nn.Add()(b, c))))
    e = nn.LocalResponseNorm(3)(nn.LayerNorm((4, 4, 3))(d))
    f = nn.ReLU()(nn.BatchNorm1d(None)(nn.Linear(None, 5)(nn.Flatten()(e))))
    return nn.Model(x, nn.Linear(None, 3)(nn.LayerNorm(5)(f)), **options)


def disturb(model: nn.Network, rng: np.random.Generator) -> None:
    for name, parameter in model.named_parameters().items():
        noise = rng.uniform(0.5, 1.5, parameter.shape) if "var" in name else rng.normal(0, 0.3, parameter.shape)
        parameter.data = noise if "var" in name else parameter.data + noise


def unfolded(model: nn.Model, x: np.ndarray) -> np.ndarray:
    program = model._engine.program([x.shape], model.dtype, Mode(keep=model.graph.nodes))
    program.load([x], "NCHW")
    program.forward()
    return program.results("NCHW")[0].copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_folds_batch_norms(dtype: str, rng: np.random.Generator) -> None:
    model = bn_net(dtype=dtype)
    disturb(model, rng)
    x = rng.normal(size=(5, 2, 8, 6)).astype(dtype)
    atol = 1e-5 if dtype == "float32" else 1e-13
    kinds = [step.layer.kind for step in model._engine.plan([x.shape], model.dtype, Mode(), ()).steps]
    assert kinds.count("batch_norm2d") == 1, "only the shared one after a ReLU stays"
    assert "batch_norm1d" not in kinds
    assert "relu" in kinds
    np.testing.assert_allclose(model.predict(x), unfolded(model, x), rtol=0, atol=atol)
    for name, parameter in model.named_parameters().items():  # a change of any parameter is seen
        before = model.predict(x)
        parameter.data = parameter.data * 1.5 + 0.25
        after = model.predict(x)
        if "conv2d_2.bias" not in name:
            assert not np.array_equal(before, after), name
        np.testing.assert_allclose(after, unfolded(model, x), rtol=1e-5 if dtype == "float32" else 1e-12, atol=atol)
    np.testing.assert_array_equal(model.predict(x[:2]), model.predict(x)[:2])
    text = model.summary()
    assert (
        "folded for inference: batch_norm2d_1 into conv2d_1, shared into conv2d_2, batch_norm1d_1 into linear_1" in text
    )
    assert "and 24 running statistics" in text


def test_kept_maps_are_not_folded_away(rng: np.random.Generator) -> None:
    model = bn_net()
    disturb(model, rng)
    x = rng.normal(size=(2, 2, 8, 6)).astype(np.float32)
    conv = nn.Model(model.graph.inputs, [model.node("conv2d_1"), model.node("batch_norm2d_1")]).predict(x)
    layer = model.layers["batch_norm2d_1"]
    np.testing.assert_allclose(conv[1], layer(conv[0]), rtol=0, atol=1e-6)


def test_gradients_in_training(rng: np.random.Generator) -> None:
    """Against central differences of the training loss, whose statistics are the batch's; dropout draws the same."""
    model = bn_net(dtype="float64")
    disturb(model, rng)
    model.compile(nn_sgd(), "cross_entropy")
    x, y = rng.normal(size=(4, 2, 8, 6)), rng.integers(0, 3, 4)

    def loss() -> float:
        model.rng.bit_generator.state = np.random.default_rng(3).bit_generator.state
        return model.train_on_batch(x, y)["loss"]

    loss()
    grads = {name: p.grad.copy() for name, p in model.named_parameters().items() if p.trainable}
    assert not any(p.grad is not None for p in model.parameters() if p.statistic)
    step = 1e-6
    for name, parameter in model.named_parameters().items():
        if parameter.statistic:
            continue
        for index in rng.choice(parameter.size, min(parameter.size, 6), replace=False):
            at = np.unravel_index(index, parameter.shape)
            middle = parameter.data[at]
            found = []
            for moved in (middle + step, middle - step):
                parameter.data[at] = moved
                parameter.touch()
                found.append(loss())
            parameter.data[at] = middle
            parameter.touch()
            expected = (found[0] - found[1]) / (2 * step)
            assert grads[name][at] == pytest.approx(expected, rel=2e-5, abs=2e-8), f"{name}{list(at)}"


def nn_sgd() -> object:
    from fastconv import optim

    return optim.SGD(learning_rate=0.0)


def test_gradients_of_inputs_use_running_statistics(rng: np.random.Generator) -> None:
    model = bn_net(dtype="float64")
    disturb(model, rng)
    model.compile("sgd", "cross_entropy")
    x, y = rng.normal(size=(2, 2, 8, 6)), rng.integers(0, 3, 2)
    state = model.state_dict()
    _, (grad,) = model.gradients(x, y, model.graph.inputs)
    for index in rng.choice(x.size, 10, replace=False):
        at, step = np.unravel_index(index, x.shape), 1e-6
        moved = x.copy()
        moved[at] += step
        above = model.test_on_batch(moved, y)["loss"]
        moved[at] -= 2 * step
        expected = (above - model.test_on_batch(moved, y)["loss"]) / (2 * step)
        assert grad[at] == pytest.approx(expected, rel=1e-5, abs=1e-8)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.parametrize("training", [True, False])
def test_plan_is_what_is_allocated(training: bool, rng: np.random.Generator) -> None:
    model = bn_net()
    model.compile("adam", "cross_entropy")
    plan = model.plan(8, training=training)
    _core.release_scratch()
    before = _core.scratch_stats()["bytes_reserved"]
    x, y = rng.normal(size=(8, 2, 8, 6)).astype(np.float32), rng.integers(0, 3, 8)
    run = (lambda: model.train_on_batch(x, y)) if training else (lambda: model.predict_on_batch(x))
    run()
    assert plan.arena == model._engine.arena_bytes
    assert plan.scratch == _core.scratch_stats()["bytes_reserved"] - before
    assert plan.parameters == sum(p.data.nbytes for p in model.parameters())
    assert plan.parameter_gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert plan.packed_weights == sum(layer.packed_bytes for layer in model.layers.values())
    taken = _core.scratch_stats()["allocations"]
    run()
    assert _core.scratch_stats()["allocations"] == taken


def test_running_statistics_are_state_but_not_trained(tmp_path: Path, rng: np.random.Generator) -> None:
    model = bn_net()
    layer = model.layers["shared"]
    assert set(layer.parameters()) == {"weight", "bias", "running_mean", "running_var"}
    layer.trainable = True
    assert not layer.running_mean.trainable
    with pytest.raises(ValueError, match="trainable must be False for a running statistic"):
        layer.running_var.trainable = True
    assert "statistic=True" in repr(layer.running_mean)
    model.compile("adam", "cross_entropy")
    x, y = rng.normal(size=(8, 2, 8, 6)).astype(np.float32), rng.integers(0, 3, 8)
    for _ in range(3):
        model.train_on_batch(x, y)
    model.save(tmp_path / "net.safetensors")
    other = bn_net(seed=5)
    other.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    state = model.state_dict()
    other.load_state_dict(state | {"shared.num_batches_tracked": np.array(3)})
    with pytest.raises(ValueError, match="missing: shared.running_var"):
        other.load_state_dict({name: value for name, value in state.items() if name != "shared.running_var"})
    model.astype("float64")
    assert layer.running_mean.dtype == np.float64
    np.testing.assert_allclose(model.predict(x.astype(np.float64)), other.predict(x), rtol=0, atol=1e-4)


def test_training_resumes_with_the_same_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(24, 2, 8, 6)).astype(np.float32), rng.integers(0, 3, 24)
    states = []
    for epochs in ((4,), (2, 4)):
        for stop in epochs:
            model = bn_net()
            model.compile("adam", "cross_entropy")
            model.fit(
                x,
                y,
                epochs=stop,
                batch_size=8,
                seed=0,
                checkpoint=tmp_path / str(len(epochs)),
                verbose=False,
                resume=stop != epochs[0],
            )
        states.append(model.state_dict())
    for name, value in states[0].items():
        np.testing.assert_array_equal(states[1][name], value, err_msg=name)


def test_frozen_layers(rng: np.random.Generator) -> None:
    """trainable = False keeps weight and bias; freeze_statistics keeps the statistics, and inference's arithmetic."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, name="bn"), nn.Flatten(), nn.Linear(None, 2),
                          input_shape=(2, 4, 4))  # fmt: skip
    model.compile("sgd", "cross_entropy")
    layer = model.layers["bn"]
    x, y = rng.normal(size=(6, 2, 4, 4)).astype(np.float32), rng.integers(0, 2, 6)

    def changed() -> set[str]:
        before = model.state_dict()
        model.train_on_batch(x, y)
        return {
            name for name, value in model.state_dict().items() if name[:2] == "bn" and (value != before[name]).any()
        }

    assert changed() == {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}
    layer.trainable = False
    assert changed() == {"bn.running_mean", "bn.running_var"}
    layer.freeze_statistics = True
    assert changed() == set()
    trained, tested = model.train_on_batch(x, y)["loss"], None
    model.optimizer.learning_rate = 0.0
    trained, tested = model.train_on_batch(x, y)["loss"], model.test_on_batch(x, y)["loss"]
    assert trained == pytest.approx(tested, rel=1e-5)
    layer.trainable = True
    assert changed() == set(), "a learning rate of 0"
    model.optimizer.learning_rate = 0.1
    assert changed() == {"bn.weight", "bn.bias"}


def test_layers_alone_agree_with_the_functions(dtype: np.dtype, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4, 5, 2)).astype(dtype)
    g = rng.normal(size=x.shape).astype(dtype)
    mean, var = np.zeros(4, dtype), np.ones(4, dtype)
    layer = nn.BatchNorm2d(None)
    np.testing.assert_array_equal(layer(x, training=True), ops.batch_norm(x, mean, var, training=True))
    np.testing.assert_array_equal(layer.running_var.data, var)
    _, stats = ops.batch_norm(x, None, None, training=True, return_stats=True)
    grad, grad_weight, _ = ops.batch_norm_backward(g, x, stats)
    np.testing.assert_array_equal(layer.backward(g), grad)
    np.testing.assert_array_equal(layer.weight.grad, grad_weight)
    for _ in range(2):
        layer.backward(g)  # gradients add up
    np.testing.assert_allclose(layer.weight.grad, 3 * grad_weight, rtol=1e-5)
    np.testing.assert_array_equal(nn.GroupNorm(2, None)(x), ops.group_norm(x, 2))
    norm = nn.LayerNorm((4, 5, 2))
    norm.astype(dtype)
    norm.weight.data = rng.normal(size=(4, 5, 2))
    turned = np.moveaxis(x, 1, -1).copy()
    y = norm(x)
    np.testing.assert_allclose(norm(turned, layout="NHWC"), np.moveaxis(y, 1, -1), rtol=0, atol=1e-5)
    norm(x)
    plain = norm.backward(g)
    kept = norm.weight.grad.copy()
    norm.zero_grad()
    norm(turned, layout="NHWC")
    for _ in range(2):
        other = norm.backward(np.moveaxis(g, 1, -1).copy())
    np.testing.assert_allclose(other, np.moveaxis(plain, 1, -1), rtol=0, atol=1e-4)
    np.testing.assert_allclose(norm.weight.grad, 2 * kept, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(nn.LocalResponseNorm(3)(x), ops.local_response_norm(x, 3))
    dropped = nn.Dropout2d(0.5, seed=1)(np.ones((4, 8, 3, 3), dtype), training=True)
    assert set(np.unique(dropped.max((2, 3)))) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :, :1, :1], dropped.shape))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.BatchNorm2d(3)(np.zeros((1, 3, 1, 1), np.float32), training=True), ValueError,
         r"batch_norm2d: input must have more than one value per channel in training, got shape \(1, 3, 1, 1\)"),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 4, 2, 2), np.float32)), ValueError, "batch_norm2d: input must be"),
        (lambda: nn.BatchNorm1d(3)(np.zeros((2, 3, 2, 2), np.float32)), ValueError, r"batch_norm1d: input must be \(N"),
        (lambda: nn.BatchNorm2d(0), ValueError, "num_features must be positive, got 0"),
        (lambda: nn.BatchNorm2d(3, affine=1), TypeError, "affine must be True or False"),
        (lambda: nn.BatchNorm2d(None).running_mean, AttributeError, "running_mean exists once num_features is known"),
        (lambda: nn.GroupNorm(3, 4), ValueError, "num_channels must be a positive multiple of num_groups=3, got 4"),
        (lambda: nn.LayerNorm((2, 2)), ValueError, "normalized_shape must be a sample's"),
        (lambda: nn.LayerNorm(4)(np.zeros((2, 3), np.float32)), ValueError, r"samples must have shape \(4,\)"),
        (lambda: nn.LocalResponseNorm(0), ValueError, "size must be positive"),
        (lambda: nn.Dropout2d()(np.zeros((2, 3), np.float32)), ValueError, r"dropout2d: input must be \(N, C, H, W\)"),
    ],
)  # fmt: skip
def test_refusals(make: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_a_single_value_per_channel_in_a_model(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2), input_shape=(2,))
    model.compile("sgd", "cross_entropy")
    x = rng.normal(size=(1, 2)).astype(np.float32)
    with pytest.raises(ValueError, match="batch_norm1d: input must have more than one value per channel in training"):
        model.train_on_batch(x, np.zeros(1, np.int64))
    assert model.predict(x).shape == (1, 2)


def test_torch_trains_alike(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6),
        nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3), input_shape=(2, 4, 4), dtype="float64",
    )  # fmt: skip
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(), torch.nn.Linear(6, 3),
    ).double()  # fmt: skip
    names = {"0": "conv2d_1", "1": "batch_norm2d_1", "4": "linear_1", "5": "batch_norm1d_1", "7": "linear_2"}

    def theirs() -> dict[str, np.ndarray]:
        state = {key: value.detach().numpy() for key, value in twin.state_dict().items()}
        return {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in state.items()}

    model.load_state_dict(theirs())
    from fastconv import optim

    model.compile(optim.SGD(learning_rate=0.1), "cross_entropy")
    step = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(5):
        x, y = rng.normal(size=(6, 2, 4, 4)), rng.integers(0, 3, 6)
        model.train_on_batch(x, y)
        step.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(y)).backward()
        step.step()
    expected = theirs()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-11, err_msg=name)
    twin.eval()
    np.testing.assert_allclose(model.predict(x), twin(torch.tensor(x)).detach().numpy(), rtol=1e-9, atol=1e-11)
