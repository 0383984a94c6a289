"""The listings of the lectures run as they stand: both spellings, on a small slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.data import load_digits
from fastconv.keras import datasets, layers, models

LISTING = Path(__file__).resolve().parents[2] / "examples" / "keras_mnist.py"


def _enlarged(train: int, test: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The digits inside the package as 28 x 28 bytes."""
    parts = []
    for (images, labels), count in zip(load_digits(), (train, test), strict=True):
        large = np.pad(np.kron(images[:count, 0], np.ones((3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2)))
        parts.append(((large * 15.9).astype(np.uint8), labels[:count].astype(np.uint8)))
    return parts[0], parts[1]


def _run(monkeypatch: pytest.MonkeyPatch, data: Any, epochs: int) -> dict[str, Any]:
    (images, _), (others, _) = data
    monkeypatch.setattr(datasets.mnist, "load_data", lambda: data)
    text = LISTING.read_text(encoding="utf-8").replace("60000", str(len(images))).replace("10000", str(len(others)))
    names: dict[str, Any] = {}
    exec(text.replace("epochs=5, batch_size=64", f"epochs={epochs}, batch_size=16"), names)
    return names


def test_the_listing_learns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = _run(monkeypatch, _enlarged(900, 300), epochs=4)
    assert names["test_acc"] > 0.9
    assert names["model"].count_params() == 93_322
    shown = capsys.readouterr().out
    for line in (
        "conv2d (Conv2D) (None, 26, 26, 32) 320",
        "max_pooling2d_1 (MaxPooling2D) (None, 5, 5, 64) 0",
        "conv2d_2 (Conv2D) (None, 3, 3, 64) 36,928",
        "flatten (Flatten) (None, 576) 0",
        "dense_1 (Dense) (None, 10) 650",
        "Total params: 93,322",
    ):
        assert line in " ".join(shown.split())
    history = names["model"].fit(names["train_images"][:90], names["train_labels"][:90], verbose=0)
    assert history.history.keys() == {"loss", "accuracy", "learning_rate"}
    assert len(history.history["loss"]) == 1


def test_the_listing_on_a_slice_of_mnist(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> None:
    (images, labels), (others, targets) = datasets.mnist.load_data(data_dir=data_folder, download=False)
    assert images.shape == (60000, 28, 28)
    assert (images.dtype, labels.dtype, targets.shape) == (np.uint8, np.uint8, (10000,))
    names = _run(monkeypatch, ((images[:2000], labels[:2000]), (others[:1000], targets[:1000])), epochs=3)
    assert names["test_acc"] > 0.85


def test_the_older_listing_learns() -> None:
    """Channels first, window as two ints, output_dim, Activation, nb_epoch."""
    from fastconv.keras.layers import Activation, Convolution2D, Dense, Flatten, MaxPooling2D
    from fastconv.keras.models import Sequential
    from fastconv.keras.optimizers import SGD
    from fastconv.keras.utils import to_categorical

    (x, y), (x_test, y_test) = _enlarged(600, 200)
    x, x_test = (part.reshape(-1, 1, 28, 28).astype("float32") / 255 for part in (x, x_test))
    model2 = Sequential()
    model2.add(Convolution2D(25, 3, 3, input_shape=(1, 28, 28)))
    model2.add(MaxPooling2D((2, 2)))
    model2.add(Convolution2D(50, 3, 3))
    model2.add(MaxPooling2D((2, 2)))
    model2.add(Flatten())
    model2.add(Dense(output_dim=100))
    model2.add(Activation("relu"))
    model2.add(Dense(output_dim=10))
    model2.add(Activation("softmax"))
    shapes = [node.shape for node in model2.network.graph.nodes]
    assert shapes[:5] == [(1, 28, 28), (25, 26, 26), (25, 13, 13), (50, 11, 11), (50, 5, 5)]
    model2.compile(loss="categorical_crossentropy", optimizer=SGD(lr=0.1), metrics=["accuracy"])
    history = model2.fit(x, to_categorical(y), batch_size=20, nb_epoch=6, verbose=0)
    assert len(history.history["accuracy"]) == 6
    assert model2.evaluate(x_test, to_categorical(y_test), verbose=0)[1] > 0.85
    assert (model2.predict_classes(x_test) == y_test).mean() > 0.85


def test_a_dense_network_of_the_older_spelling() -> None:
    model = models.Sequential()
    model.add(layers.Dense(input_dim=28 * 28, units=50))
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(units=10, activation="softmax"))
    model.compile(loss="mse", optimizer="sgd", metrics=["acc"])
    (x, y), _ = _enlarged(100, 1)
    history = model.fit(x.reshape(100, 784) / 255, np.eye(10)[y], epochs=2, batch_size=50, verbose=0)
    assert history.history.keys() == {"loss", "acc", "learning_rate"}
