"""The training loop: what it does to a model, in which order, and what it refuses."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fastconv import metrics
from fastconv.train import Callback, evaluate, fit, predict


class Recorder(Callback):
    """Write down every moment."""

    def __init__(self) -> None:
        self.moments: list[Any] = []

    def on_train_begin(self) -> None:
        self.moments.append("begin")

    def on_epoch_begin(self, epoch: int) -> None:
        self.moments.append(("epoch", epoch))

    def on_batch_begin(self, step: int) -> None:
        self.moments.append(step)

    def on_batch_end(self, step: int, logs) -> None:
        assert logs["loss"] > 0
        self.moments.append(-step)

    def on_epoch_end(self, epoch: int, logs) -> None:
        self.moments.append(("end", epoch, sorted(logs)))

    def on_train_end(self) -> None:
        self.moments.append("end")


def test_learns(make_model, problem) -> None:
    model = make_model()
    history = fit(model, *problem, epochs=20, batch_size=8, seed=0, verbose=False)
    assert history.epochs == list(range(20))
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    assert evaluate(model, *problem)["accuracy"] > 0.9


def test_calls_back_in_order(make_model, problem) -> None:
    recorder = Recorder()
    x, y = problem
    fit(
        make_model(), x, y, epochs=2, batch_size=20, validation_data=(x[:7], y[:7]), callbacks=[recorder], verbose=False
    )
    names = ["accuracy", "learning_rate", "loss", "val_accuracy", "val_loss"]
    assert recorder.moments == [
        "begin",
        ("epoch", 0), 0, 0, 1, -1, 2, -2, ("end", 0, names),
        ("epoch", 1), 3, -3, 4, -4, 5, -5, ("end", 1, names),
        "end",
    ]  # fmt: skip
    assert not hasattr(recorder, "run")  # a callback that is kept must not keep the data


def test_the_seed_decides_everything(make_model, problem) -> None:
    weights = []
    for seed in (1, 1, 2):
        model = make_model()
        fit(model, *problem, epochs=2, batch_size=8, seed=seed, verbose=False)
        weights.append(b"".join(array.tobytes() for array in model.state_dict().values()))
    assert weights[0] == weights[1] != weights[2]


def test_figures_of_an_epoch_are_means_over_samples(make_model, problem) -> None:
    x, y = problem
    model = make_model()
    model.optimizer.learning_rate = 0.0
    history = fit(model, x, y, batch_size=32, validation_data=(x, y), verbose=False).history
    assert history["val_loss"][0] == pytest.approx(evaluate(model, x, y, batch_size=50)["loss"], rel=1e-6)
    assert history["val_accuracy"][0] == metrics.accuracy(predict(model, x), y)


def test_validation_split_takes_the_end(make_model, problem) -> None:
    x, y = problem
    y = y.copy()
    y[40:] = 99  # no class: training on them would fail

    class Judge(Callback):
        def on_epoch_end(self, epoch: int, logs) -> None:
            raise AssertionError("judged")

    with pytest.raises((IndexError, ValueError)):
        fit(make_model(), x, y, batch_size=10, validation_split=0.2, callbacks=[Judge()], verbose=False)
    history = fit(make_model(), x[:40], y[:40], batch_size=10, validation_split=0.2, verbose=False)
    assert "val_loss" in history.history


def test_augment_gets_every_batch_and_its_own_generator(make_model, problem) -> None:
    seen = []

    def augment(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append((batch.shape[0], batch.dtype, rng.integers(1 << 30)))
        return batch

    fit(make_model(), *problem, epochs=2, batch_size=32, seed=0, augment=augment, verbose=False)
    assert [count for count, _, _ in seen] == [32, 18, 32, 18]
    assert {dtype for _, dtype, _ in seen} == {np.dtype(np.float32)}
    assert len({number for _, _, number in seen}) == 4


def test_initial_epoch_counts_as_done(make_model, problem) -> None:
    history = fit(make_model(), *problem, epochs=5, initial_epoch=3, verbose=False)
    assert history.epochs == [3, 4]


def test_prints_a_line_per_epoch(make_model, problem, capsys: pytest.CaptureFixture[str]) -> None:
    fit(make_model(), *problem, epochs=10, batch_size=25)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("epoch  1/10  loss ")
    assert captured.err == ""
    fit(make_model(), *problem, verbose=False)
    assert capsys.readouterr().out == ""


def test_shows_a_bar_on_a_terminal(make_model, problem, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fit(make_model(), *problem, epochs=2, batch_size=5)
    captured = capsys.readouterr()
    assert "epoch 1/2" in captured.err
    assert len(captured.out.splitlines()) == 2


def test_goes_without_a_bar_when_tqdm_is_missing(make_model, problem, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(make_model(), *problem)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 2, "initial_epoch": 2}, r"initial_epoch must lie in 0\.\.1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"validation_split": 1.0}, "between 0 and 1, got 1.0"),
        ({"validation_split": 0.001}, "at least one of 50 samples"),
        ({"validation_split": 0.5, "validation_data": (np.zeros(1), np.zeros(1))}, "beside validation_data"),
        ({"resume": True}, "resume needs checkpoint"),
    ],
)
def test_bad_options(make_model, problem, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fit(make_model(), *problem, verbose=False, **options)


def test_bad_data(make_model, problem) -> None:
    x, y = problem
    with pytest.raises(ValueError, match="same number of samples, got 50 and 49"):
        fit(make_model(), x, y[:49])
    with pytest.raises(ValueError, match="at least one sample"):
        fit(make_model(), x[:0], y[:0])
    with pytest.raises(TypeError, match="got list"):
        fit(make_model(), x.tolist(), y)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_predict_and_evaluate_do_not_depend_on_the_batch(make_model, problem, batch_size: int) -> None:
    x, y = problem
    model = make_model()
    output = predict(model, x, batch_size=batch_size)
    assert output.shape == (50, 3)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, predict(model, x.astype(np.float64)), rtol=1e-5, atol=1e-6)
    assert evaluate(model, x, y, batch_size=batch_size)["loss"] == pytest.approx(evaluate(model, x, y)["loss"])


def test_predict_nothing(make_model, problem) -> None:
    assert predict(make_model(), problem[0][:0]).shape == (0, 3)


def test_predict_refuses(make_model, problem) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predict(make_model(), problem[0], batch_size=0)
    with pytest.raises(TypeError, match="predict: x must be a numpy array, got list"):
        predict(make_model(), [1.0])


def test_evaluate_prints_when_asked(make_model, problem, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(make_model(), *problem, verbose=True)
    assert capsys.readouterr().out.startswith("loss ")
