"""The Keras spelling means what Keras means: layout, padding, start values, optimisers, losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from fastconv import optim
from fastconv.keras import Input, datasets, layers, models, optimizers, utils


def _images(shape: tuple[int, ...] = (3, 9, 8, 2)) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("kind", "size", "strides"), [("MaxPooling2D", 2, None), ("MaxPooling2D", (3, 2), 2), ("AveragePooling2D", 3, 3)]
)
def test_pooling_is_that_of_plain_loops(kind: str, size: Any, strides: Any, padding: str) -> None:
    x = _images()
    found = models.Sequential([Input((9, 8, 2)), getattr(layers, kind)(size, strides, padding)]).predict(x)
    window = (size, size) if isinstance(size, int) else size
    steps = window if strides is None else (strides, strides)
    sizes, starts = [], []
    for length, k, s in zip(x.shape[1:3], window, steps, strict=True):
        out = -(-length // s) if padding == "same" else (length - k) // s + 1
        sizes.append(out)
        starts.append(max(0, (out - 1) * s + k - length) // 2 if padding == "same" else 0)
    assert found.shape == (3, *sizes, 2)
    for i, j in np.ndindex(*sizes):
        top, left = i * steps[0] - starts[0], j * steps[1] - starts[1]
        part = x[:, max(top, 0) : top + window[0], max(left, 0) : left + window[1]]
        expected = part.max(axis=(1, 2)) if kind == "MaxPooling2D" else part.mean(axis=(1, 2))
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolution_takes_channels_last(padding: str) -> None:
    x = _images()
    model = models.Sequential([layers.Conv2D(4, (3, 2), 2, padding, activation="relu", input_shape=(9, 8, 2))])
    weight = next(iter(model.network.parameters())).data
    out = [-(-n // 2) if padding == "same" else (n - k) // 2 + 1 for n, k in zip((9, 8), (3, 2), strict=True)]
    totals = [max(0, (o - 1) * 2 + k - n) for o, k, n in zip(out, (3, 2), (9, 8), strict=True)]
    pads = [(t // 2, t - t // 2) if padding == "same" else (0, 0) for t in totals]
    expected = reference.conv2d(
        x.transpose(0, 3, 1, 2).astype(np.float64), weight.astype(np.float64), None, (2, 2), tuple(pads), (1, 1), 1
    )
    np.testing.assert_allclose(model.predict(x), np.maximum(expected, 0).transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_weights_start_glorot_uniform_with_zero_bias_also_before_relu() -> None:
    model = models.Sequential([
        layers.Conv2D(64, 3, activation="relu", input_shape=(8, 8, 32)), layers.Flatten(), layers.Dense(200, "relu"),
    ])  # fmt: skip
    named = model.network.named_parameters()
    for name, fans in (("conv2d_1.weight", 9 * (32 + 64)), ("linear_1.weight", 36 * 64 + 200)):
        limit = np.sqrt(6 / fans)
        values = named[name].data
        assert 0.99 * limit < np.abs(values).max() <= limit
        assert abs(values.std() - limit / np.sqrt(3)) < 0.02 * limit
    assert not named["conv2d_1.bias"].data.any()
    assert not named["linear_1.bias"].data.any()


def test_optimisers_have_the_defaults_of_keras() -> None:
    rmsprop, adam, sgd = (optimizers.get(name) for name in ("rmsprop", "adam", "sgd"))
    assert isinstance(rmsprop, optim.RMSprop)
    assert (rmsprop.learning_rate, rmsprop.rho, rmsprop.eps, rmsprop.eps_inside_root) == (0.001, 0.9, 1e-7, True)
    assert isinstance(adam, optim.Adam)
    assert (adam.learning_rate, adam.eps) == (0.001, 1e-7)
    assert sgd.learning_rate == 0.01
    assert optimizers.SGD(lr=0.1).learning_rate == optimizers.RMSprop(lr=0.1).learning_rate == 0.1
    with pytest.raises(ValueError, match="must be an Optimizer or one of"):
        optimizers.get("adadelta")


@pytest.mark.parametrize(
    ("shape", "axis", "first"), [((8, 5, 4, 3), -1, False), ((8, 3, 5, 4), 1, True), ((8, 3), -1, False)]
)
def test_batch_normalization_is_the_formula_of_keras(shape: tuple[int, ...], axis: int, first: bool) -> None:
    """One step that leaves the weights alone (learning rate 0): the loss is that of the batch's statistics, and the
    running ones keep 0.99 of what they were."""
    x = 3 + 2 * _images(shape).astype(np.float64)
    same = [layers.MaxPooling2D(1, data_format="channels_first", input_shape=shape[1:])] if first else []
    model = models.Sequential([*same, layers.BatchNormalization(axis, input_shape=shape[1:])])
    named = {name.rpartition(".")[2]: p for name, p in model.network.named_parameters().items()}
    gamma, beta = np.array([1.5, -1, 0.5]), np.array([0.1, 0.2, 0.3])
    named["weight"].data, named["bias"].data = gamma.astype(np.float32), beta.astype(np.float32)
    rows = np.moveaxis(x, axis, -1)
    mean, var = (getattr(rows, what)(axis=tuple(range(rows.ndim - 1))) for what in ("mean", "var"))

    model.compile(optimizers.SGD(1e-30), "mse")
    loss = model.fit(x, np.zeros_like(x), batch_size=8, verbose=0).history["loss"][0]
    expected = gamma * (rows - mean) / np.sqrt(var + 1e-3) + beta
    np.testing.assert_allclose(loss, np.mean(expected**2), rtol=1e-5)
    count = rows.size // 3
    running_mean, running_var = 0.01 * mean, 0.99 + 0.01 * var * count / (count - 1)
    np.testing.assert_allclose(named["running_mean"].data, running_mean, rtol=1e-5)
    np.testing.assert_allclose(named["running_var"].data, running_var, rtol=1e-5)
    expected = gamma * (rows - running_mean) / np.sqrt(running_var + 1e-3) + beta
    np.testing.assert_allclose(np.moveaxis(model.predict(x), axis, -1), expected, rtol=1e-4, atol=1e-5)


def test_batch_normalization_counts_four_numbers_a_channel(capsys: pytest.CaptureFixture[str]) -> None:
    model = models.Sequential([
        layers.Conv2D(8, 3, use_bias=False, input_shape=(6, 6, 1)), layers.BatchNormalization(),
        layers.Activation("relu"), layers.Flatten(), layers.Dense(4),
        layers.BatchNormalization(center=False, scale=False),
    ])  # fmt: skip
    model.summary()
    shown = " ".join(capsys.readouterr().out.split())
    assert "batch_normalization (BatchNormalization) (None, 4, 4, 8) 32" in shown
    assert "batch_normalization_1 (BatchNormalization) (None, 4) 8" in shown
    assert "Non-trainable params: 24" in shown


def test_a_final_softmax_trains_on_its_logits() -> None:
    """The loss stays finite and the gradient alive where a softmaxed softmax, or a log of 0, would not."""
    model = models.Sequential([layers.Dense(3, "softmax", input_shape=(2,))])
    model.compile("sgd", "categorical_crossentropy")
    weight, bias = model.network.parameters()
    weight.data = np.array([[1e4, 0], [0, 0], [0, 0]], np.float32)
    loss = model.evaluate(np.ones((1, 2), np.float32), np.array([[0.0, 1, 0]]), verbose=0)
    assert loss == pytest.approx(1e4)
    model.fit(np.ones((1, 2), np.float32), np.array([[0.0, 1, 0]]), verbose=0)
    np.testing.assert_allclose(bias.data, [-0.01, 0.01, 0], atol=1e-7)


def test_layers_can_be_added_after_a_look_and_after_training(capsys: pytest.CaptureFixture[str]) -> None:
    model = models.Sequential([layers.Conv2D(2, 3, input_shape=(6, 6, 1), name="eyes")])
    model.summary()
    before = model.network.state_dict()["eyes.weight"]
    model.add(layers.Flatten())
    model.add(layers.Dense(2))
    np.testing.assert_array_equal(model.network.state_dict()["eyes.weight"], before)
    shown = capsys.readouterr().out
    assert "eyes (Conv2D)" in shown
    assert "(None, 4, 4, 2)" in shown


def test_the_seed_decides_and_without_one_runs_differ() -> None:
    def figures() -> Any:
        model = models.Sequential([layers.Dense(4, "relu"), layers.Dropout(0.3), layers.Dense(2)])
        model.compile("sgd", "mse")
        return model.fit(np.ones((8, 3), np.float32), np.zeros((8, 2)), epochs=2, verbose=0).history

    utils.set_random_seed(5)
    first, second = figures(), figures()
    utils.set_random_seed(5)
    assert figures() == first
    assert first != second


def test_weights_go_to_a_file_and_back(tmp_path: Path) -> None:
    def make() -> models.Sequential:
        return models.Sequential([Input((5,)), layers.Dense(3)])

    one, two = make(), make()
    one.save_weights(tmp_path / "w.safetensors")
    two.load_weights(tmp_path / "w.safetensors")
    x = np.ones((2, 5), np.float32)
    np.testing.assert_array_equal(one.predict(x), two.predict(x))


def test_integer_labels_in_a_column() -> None:
    model = models.Sequential([layers.Dense(3, activation="softmax", input_shape=(4,))])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    x, y = np.ones((6, 4), np.float32), np.array([[0], [1], [2], [0], [1], [2]], np.uint8)
    model.fit(x, y, validation_data=(x, y), verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(1 / 3)


def test_to_categorical() -> None:
    assert utils.to_categorical([2, 0]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert utils.to_categorical(np.array([[1], [0]]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert utils.to_categorical([1.0]).dtype == np.float32
    assert utils.to_categorical([], 4).shape == (0, 4)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.2, got 3"):
        utils.to_categorical([3], 3)
    with pytest.raises(ValueError, match=r"y must lie in 0\.\.1, got -1"):
        utils.to_categorical([-1, 1])
    with pytest.raises(TypeError, match="y must hold whole numbers, got float64"):
        utils.to_categorical([0.5])


def test_data_that_is_not_there_is_not_fetched_against_ones_will(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set FASTCONV_DATA"):
        datasets.fashion_mnist.load_data(download=False)


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda: layers.Conv2D(4, 3, padding="full"),
            ValueError,
            "padding must be one of 'valid', 'same', got",
        ),
        (
            lambda: layers.Conv2D(4, 3, activation="step"),
            ValueError,
            "activation must be one of .*'relu'",
        ),
        (lambda: layers.Conv2D(0, 3), ValueError, "out_channels must be"),
        (lambda: layers.Conv2D(4, 3, data_format="NHWC"), ValueError, "data_format must be one of"),
        (lambda: layers.Convolution2D(4, (3, 3), 3), ValueError, "nb_row must be an int beside nb_col=3"),
        (lambda: layers.Dense(kernel_initializer="ones", units=3), ValueError, "kernel_initializer must be one of"),
        (lambda: layers.Dense(), TypeError, "units .* must be given, once"),
        (lambda: layers.Dense(3, output_dim=3), TypeError, "units .* must be given, once"),
        (lambda: layers.Conv2D(4, 3, kernel_regularizer="l2"), TypeError, "kernel_regularizer"),
        (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "momentum must be at most 1, got 1.5"),
        (
            lambda: layers.BatchNormalization(scale=False),
            ValueError,
            "must both be True or both False, got True, False",
        ),
        (
            lambda: models.Sequential([layers.BatchNormalization(1, input_shape=(8, 8, 3))]).summary(),
            ValueError,
            "axis must be -1 or 3 for channels-last images, got 1",
        ),
        (
            lambda: models.Sequential(
                [layers.MaxPool2D(data_format="channels_first", input_shape=(1, 8, 8)), layers.BatchNormalization()]
            ).summary(),
            ValueError,
            "axis must be 1 or -3 for channels-first images, got -1",
        ),
        (lambda: models.Sequential([3]), TypeError, "layer must be one of fastconv.keras.layers, got int"),
        (
            lambda: models.Sequential([layers.Convolution2D(4, 3, 3), layers.MaxPool2D(data_format="channels_last")]),
            ValueError,
            "all layers must have one data_format",
        ),
        (lambda: models.Sequential([layers.Dense(3)]).summary(), ValueError, "first layer must have an input_shape"),
        (lambda: models.Sequential().summary(), ValueError, "first layer must have an input_shape"),
        (
            lambda: models.Sequential([layers.Dense(3, input_shape=(4,))]).fit(np.ones((2, 4)), np.ones((2, 3))),
            RuntimeError,
            r"call model.compile\(optimizer, loss\) first",
        ),
        (
            lambda: models.Sequential([layers.Conv2D(4, 3, input_shape=(8, 8, 1))]).predict(np.ones((1, 1, 8, 8))),
            ValueError,
            r"input 0 must have shape \(N, 8, 8, 1\), got \(1, 1, 8, 8\)",
        ),
    ],
)
def test_what_is_not_there_is_refused(build: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("linear", lambda z: z),
        ("relu", lambda z: np.maximum(z, 0)),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("tanh", np.tanh),
        ("elu", lambda z: np.where(z > 0, z, np.expm1(z))),
        ("swish", lambda z: z / (1 + np.exp(-z))),
        ("softplus", lambda z: np.log1p(np.exp(z))),
        ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
    ],
)
def test_activations_by_name_in_a_layer_and_by_themselves(name: str, function: Any) -> None:
    x = _images((4, 5))
    inside = models.Sequential([layers.Dense(3, name, input_shape=(5,))])
    behind = models.Sequential([layers.Dense(3, input_shape=(5,)), layers.Activation(name)])
    weight, _ = inside.network.parameters()
    behind.network.load_state_dict(inside.network.state_dict())
    np.testing.assert_allclose(inside.predict(x), function(x @ weight.data.T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(behind.predict(x), inside.predict(x), rtol=1e-6, atol=1e-7)
