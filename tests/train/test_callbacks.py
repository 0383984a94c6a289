"""Each callback alone, fed with figures by hand, and inside a run."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastconv import schedules
from fastconv.io import load_file
from fastconv.train import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
    TerminateOnNaN,
    fit,
)


class FakeRun:
    """A run whose model is one number, so that its weights show the epoch."""

    def __init__(self, *callbacks: Callback) -> None:
        self.weights = {"w": np.zeros(1)}
        self.model = SimpleNamespace(
            state_dict=lambda: self.weights,
            load_state_dict=self.weights.update,
            save=lambda path: self.saved.append(path),
        )
        self.saved: list[str] = []
        self.stop_reason: str | None = None
        self.interrupted = False
        self.callbacks = callbacks
        for callback in callbacks:
            callback.run = self  # type: ignore[assignment]
            callback.on_train_begin()

    def stop(self, reason: str) -> None:
        self.stop_reason = reason

    def epochs(self, name: str, values: list[float], start: int = 0) -> int:
        """Feed the values; return the number of epochs until the stop."""
        for epoch, value in enumerate(values, start):
            self.weights["w"] = np.full(1, epoch)
            for callback in self.callbacks:
                callback.on_epoch_end(epoch, {name: value})
            if self.stop_reason:
                return epoch + 1
        return start + len(values)


def test_early_stopping_counts_and_gives_the_best_weights_back() -> None:
    stopping = EarlyStopping("val_loss", patience=2)
    run = FakeRun(stopping)
    assert run.epochs("val_loss", [3.0, 1.0, 2.0, 1.0, 0.5]) == 4
    assert run.stop_reason is not None
    assert "val_loss has not improved for 2 epochs (best 1.0 in epoch 2)" in run.stop_reason
    stopping.on_train_end()
    assert run.weights["w"] == 1


@pytest.mark.parametrize(
    ("options", "values", "stop"),
    [
        ({"monitor": "val_accuracy"}, [0.5, 0.6, 0.6, 0.5, 0.4], 5),
        ({"monitor": "iou", "mode": "max"}, [0.5, 0.4, 0.4, 0.4], 4),
        ({"monitor": "val_loss", "min_delta": 0.1}, [1.0, 0.95, 0.92, 0.91], 4),
        ({"monitor": "val_loss"}, [math.nan, 1.0, math.nan, math.nan, math.nan, 0.1], 5),
    ],
)
def test_early_stopping_rules(options: dict[str, Any], values: list[float], stop: int) -> None:
    assert FakeRun(EarlyStopping(patience=3, **options)).epochs(options["monitor"], values) == stop


def test_early_stopping_leaves_an_interrupted_run_alone() -> None:
    stopping = EarlyStopping()
    run = FakeRun(stopping)
    run.epochs("val_loss", [1.0, 2.0])
    run.interrupted = True
    stopping.on_train_end()
    assert run.weights["w"] == 1


def test_early_stopping_goes_on_from_its_state() -> None:
    first, second = EarlyStopping(patience=2), EarlyStopping(patience=2)
    FakeRun(first).epochs("val_loss", [3.0, 1.0, 2.0])
    run = FakeRun(second)
    second.restore(first.state())
    assert run.epochs("val_loss", [2.0], start=3) == 4
    assert run.stop_reason is not None
    second.on_train_end()
    assert run.weights["w"] == 1


def test_a_monitor_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="monitor must be one of loss, got 'val_loss'"):
        FakeRun(EarlyStopping()).epochs("loss", [1.0])


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -1.0}, {"mode": "best"}])
def test_early_stopping_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="EarlyStopping: " + next(iter(options))):
        EarlyStopping(**options)


def test_model_checkpoint_saves_the_best() -> None:
    run = FakeRun(ModelCheckpoint("w-{epoch}-{val_loss:.1f}"))
    run.epochs("val_loss", [3.0, 4.0, 1.0])
    assert run.saved == ["w-1-3.0", "w-3-1.0"]
    run = FakeRun(ModelCheckpoint("w{epoch:02}", save_best_only=False))
    run.epochs("loss", [3.0, 4.0])
    assert run.saved == ["w01", "w02"]


def test_model_checkpoint_refuses_a_name_without_a_figure() -> None:
    with pytest.raises(ValueError, match=r"path may name epoch, loss, got 'w-\{oops\}'"):
        FakeRun(ModelCheckpoint("w-{oops}", monitor="loss")).epochs("loss", [1.0])


def test_model_checkpoint_writes_weights(make_model, problem, tmp_path: Path) -> None:
    model = make_model()
    fit(model, *problem, callbacks=[ModelCheckpoint(tmp_path / "w{epoch}", "loss")], verbose=False)
    tensors, _ = load_file(tmp_path / "w1")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize(("per", "rates"), [("epoch", [0.5, 0.25]), ("batch", [0.5**5, 0.5**10])])
def test_learning_rate_scheduler(make_model, problem, per: Any, rates: list[float]) -> None:
    scheduler = LearningRateScheduler(schedules.Exponential(0.5, 0.5), per)
    history = fit(make_model(), *problem, epochs=2, batch_size=10, callbacks=[scheduler], verbose=False)
    assert history.history["learning_rate"] == rates


def test_learning_rate_scheduler_refuses() -> None:
    with pytest.raises(ValueError, match="per must be epoch or batch, got 'step'"):
        LearningRateScheduler(lambda step: 0.1, "step")  # type: ignore[arg-type]


def test_csv_logger(make_model, problem, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = fit(make_model(), *problem, epochs=3, callbacks=[CSVLogger(path)], verbose=False)
    header, *rows = path.read_text().splitlines()
    assert header == "epoch,loss,accuracy,learning_rate"
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3"]
    assert [float(row.split(",")[1]) for row in rows] == history.history["loss"]


def test_history_fills_gaps_with_nan() -> None:
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    history.on_epoch_end(1, {"loss": 2.0, "val_loss": 3.0})
    history.on_epoch_end(2, {"val_loss": 4.0})
    assert history.history["loss"][:2] == [1.0, 2.0]
    assert math.isnan(history.history["loss"][2])
    assert math.isnan(history.history["val_loss"][0])
    assert history.history["val_loss"][1:] == [3.0, 4.0]


def test_terminate_on_nan(make_model, problem, tmp_path: Path) -> None:
    model = make_model()

    class Spoil(Callback):
        def on_batch_begin(self, step: int) -> None:
            if step == 7:
                state = {name: np.full_like(array, np.nan) for name, array in model.state_dict().items()}
                model.load_state_dict(state)

    history = fit(model, *problem, epochs=3, batch_size=10, callbacks=[Spoil(), TerminateOnNaN()], verbose=False,
                  checkpoint=tmp_path)  # fmt: skip
    assert history.stop_reason == "stopped: the loss was nan in epoch 2, batch 3"
    assert history.epochs == [0]
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["checkpoint-000000005.safetensors"]
