"""ReduceLROnPlateau: when it lowers the rate, its limits, and what a resumed run needs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fastconv.nn import Linear, Sequential
from fastconv.train import ReduceLROnPlateau


def _rates(callback: ReduceLROnPlateau, losses: list[float], rate: float = 1.0) -> list[float]:
    optimizer = SimpleNamespace(learning_rate=rate)
    callback.run = SimpleNamespace(model=SimpleNamespace(optimizer=optimizer))  # type: ignore[assignment]
    found = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        found.append(optimizer.learning_rate)
    return found


def test_rates() -> None:
    assert _rates(ReduceLROnPlateau(factor=0.5, patience=2), [3, 2, 2, 2, 1, 1, 1]) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert _rates(ReduceLROnPlateau(factor=0.5, patience=1, cooldown=2), [1] * 6) == [1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert _rates(ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.3), [1] * 5) == [1, 0.5, 0.3, 0.3, 0.3]
    assert _rates(ReduceLROnPlateau(patience=1, min_lr=2.0), [1, 1]) == [1, 1]  # never up
    assert _rates(ReduceLROnPlateau(factor=0.5, patience=1), [1, float("nan"), 0.5]) == [1, 0.5, 0.5]


def test_state_goes_on() -> None:
    one = ReduceLROnPlateau(factor=0.5, patience=3, cooldown=1)
    _rates(one, [1, 1, 1])
    other = ReduceLROnPlateau(factor=0.5, patience=3, cooldown=1)
    other.restore(one.state())
    assert _rates(other, [1, 1, 1, 1]) == [0.5, 0.5, 0.5, 0.5]


def test_in_a_run(rng: np.random.Generator) -> None:
    model = Sequential(Linear(3, 2), input_shape=(3,))
    model.compile("sgd", "cross_entropy")
    x, y = rng.normal(size=(8, 3)), rng.integers(0, 2, 8)
    history = model.fit(x, y, epochs=4, callbacks=[ReduceLROnPlateau("loss", 0.5, 1, min_delta=10)], verbose=False)
    assert len(history.epochs) == 4
    assert model.optimizer.learning_rate == 0.01 / 8


@pytest.mark.parametrize("options", [{"factor": 1}, {"patience": 0}, {"cooldown": -1}, {"min_lr": -1}, {"mode": "x"}])
def test_bad_options(options: dict) -> None:
    with pytest.raises(ValueError, match="ReduceLROnPlateau: "):
        ReduceLROnPlateau(**options)
