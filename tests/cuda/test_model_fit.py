"""`fit` on a GPU: captured steps whose figures are read late, with the bits of one batch after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_cupy
import networks
from fastconv import nn, optim
from fastconv.data import BatchLoader
from fastconv.metrics import WeightedMean
from fastconv.train import Callback, TerminateOnNaN, TrainingInterrupted, fit


def make(metrics: Any = (), seed: int = 0) -> nn.Model:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", activation="relu"), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(None, 3), input_shape=(1, 4, 4), seed=seed,
    )  # fmt: skip
    model.compile(optim.Adam(0.01), "cross_entropy", metrics)
    return model.to("cuda")


def problem(samples: int = 22) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.random((samples, 1, 4, 4), np.float32), rng.integers(3, size=samples)


def one_after_another(model: nn.Model, x: Any, y: Any, epochs: int, size: int, seed: int) -> list[dict[str, float]]:
    """What `fit` did before: a batch, its figures, the next batch."""
    loader = BatchLoader(x, y, size, shuffle=True, seed=seed, dtype=model.dtype)
    found = []
    for epoch in range(epochs):
        loader.start_epoch(epoch)
        means = WeightedMean()
        for bx, by in loader.rest():
            means.add(model.train_on_batch(bx, by), len(by[0]) if isinstance(by, tuple) else len(by))
        found.append(means.result())
    return found


def same_weights(a: nn.Model, b: nn.Model) -> None:
    for name, value in a.state_dict().items():
        np.testing.assert_array_equal(b.state_dict()[name], value)


@pytest.mark.parametrize("metrics", [[], ["accuracy"]])
def test_the_same_bits(gpu: fake_cupy.Counts, metrics: list[str]) -> None:
    """Batches of 5, the last of 2: weights and history, dropout included."""
    x, y = problem()
    here, there = make(metrics), make(metrics)
    expected = one_after_another(here, x, y, 4, 5, seed=3)
    history = fit(there, x, y, epochs=4, batch_size=5, seed=3, verbose=False).history
    for name in expected[0]:
        assert history[name] == [epoch[name] for epoch in expected]
    same_weights(here, there)


class Counting(Callback):
    """What happened from the end of one batch to the end of the next."""

    def __init__(self, counts: fake_cupy.Counts) -> None:
        self.counts, self.steps = counts, []

    def on_batch_end(self, step: int, logs: Any) -> None:
        counts = self.counts
        self.steps.append((counts.allocations, counts.waits, counts.drains, counts.uploads, counts.downloads))
        counts.reset()


def test_nothing_waits_for_the_gpu(gpu: fake_cupy.Counts) -> None:
    """Per step: no memory, and one wait, for the batch before the last one, while the GPU has a step to do."""
    x, y = problem(40)
    counting = Counting(gpu)
    fit(make(), x, y, epochs=3, batch_size=4, seed=3, verbose=False, callbacks=[counting])
    inside = [step for number, step in enumerate(counting.steps) if number > 10 and number % 10]
    assert set(inside) == {(0, 1, 0, 2, 0)}
    counting = Counting(gpu)
    fit(make(["accuracy"]), x, y, epochs=3, batch_size=4, seed=3, verbose=False, callbacks=[counting])
    inside = [step for number, step in enumerate(counting.steps) if number > 10 and number % 10]
    assert set(inside) == {(0, 2, 0, 2, 1)}  # and for the outputs of the step before, which metrics read


class Watching(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_batch_end(self, step: int, logs: Any) -> None:
        self.seen.append(dict(logs))
        if len(self.seen) == 3:
            assert self.run.running_means()["loss"] == pytest.approx(np.mean([one["loss"] for one in self.seen]))


def test_who_asks_for_a_batch_gets_its_figures(gpu: fake_cupy.Counts) -> None:
    x, y = problem()
    here, there = make(["accuracy"]), make(["accuracy"])
    loader = BatchLoader(x, y, 5, dtype=here.dtype)
    expected = [dict(here.train_on_batch(*batch)) for batch in loader]
    watching = Watching()
    history = fit(there, x, y, batch_size=5, shuffle=False, verbose=False, callbacks=[watching]).history
    assert watching.seen == expected
    assert history["loss"][0] == pytest.approx(np.average([one["loss"] for one in expected], weights=[5, 5, 5, 5, 2]))


def test_many_steps(gpu: fake_cupy.Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the list on the GPU holds."""
    monkeypatch.setattr("fastconv.nn.late._STEPS", 3)
    x, y = problem()
    here, there = make(["accuracy"]), make(["accuracy"])
    expected = one_after_another(here, x, y, 2, 3, seed=1)
    history = fit(there, x, y, epochs=2, batch_size=3, seed=1, verbose=False).history
    assert history["loss"] == [epoch["loss"] for epoch in expected]
    assert history["accuracy"] == [epoch["accuracy"] for epoch in expected]


class Stop(Callback):
    """Interrupts inside an epoch, as Ctrl-C does."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_batch_end(self, step: int, logs: Any) -> None:
        if step == self.at:
            import signal

            signal.raise_signal(signal.SIGINT)


def test_a_resumed_run_has_the_same_bits(gpu: fake_cupy.Counts, tmp_path: Path) -> None:
    """Interrupted inside an epoch, with figures that nobody has read yet."""
    x, y = problem()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 5, "seed": 3, "verbose": False}
    whole, parts = make(["accuracy"]), make(["accuracy"])
    expected = fit(whole, x, y, **options).history
    with pytest.raises(TrainingInterrupted):
        fit(parts, x, y, **options, checkpoint=tmp_path, callbacks=[Stop(7)])
    again = make(["accuracy"], seed=5)
    history = fit(again, x, y, **options, checkpoint=tmp_path, resume=True).history
    assert history == expected
    same_weights(whole, again)


def test_several_outputs(gpu: fake_cupy.Counts, rng: np.random.Generator) -> None:
    models = [networks.two_by_two().to("cuda") for _ in range(2)]
    for model in models:
        model.compile("sgd", ["cross_entropy"] * 2, metrics=["accuracy"], loss_weights=[0.5, 2])
    x = (rng.random((7, 2, 7, 6), dtype=np.float32), rng.random((7, 5), dtype=np.float32))
    y = (rng.integers(0, 3, 7), rng.integers(0, 2, (7, 4, 3)))
    expected = one_after_another(models[0], x, y, 3, 3, seed=1)
    history = models[1].fit(x, y, epochs=3, batch_size=3, seed=1, verbose=False).history
    for name in expected[0]:
        assert history[name] == [epoch[name] for epoch in expected]


class Meddling(Callback):
    """Predicts, judges and moves the model in the middle of an epoch."""

    def on_batch_end(self, step: int, logs: Any) -> None:
        model = self.run.model
        if step == 1:
            model.predict_on_batch(problem(64)[0])  # a larger arena
        if step == 2:
            model.test_on_batch(*problem(9))
        if step == 4:
            model.to("cpu")  # type: ignore[attr-defined]
        if step == 6:
            model.to("cuda")  # type: ignore[attr-defined]


def test_a_callback_may_use_the_model(gpu: fake_cupy.Counts) -> None:
    x, y = problem(40)
    models = []
    for callbacks in ([], [Meddling()]):
        model = nn.Sequential(nn.Flatten(), nn.Linear(None, 3), input_shape=(1, 4, 4)).to("cuda")
        model.compile(optim.SGD(0.1, 0.9), metrics=["accuracy"])
        history = fit(model, x, y, batch_size=4, epochs=2, seed=1, verbose=False, callbacks=callbacks).history
        models.append((model, history))
    assert models[1][1]["loss"] == pytest.approx(models[0][1]["loss"], rel=1e-5)
    assert models[1][1]["accuracy"] == models[0][1]["accuracy"]


def test_a_loss_that_is_not_finite_stops_at_once(gpu: fake_cupy.Counts) -> None:
    x, y = problem()
    x[12] = np.inf
    history = fit(make(), x, y, batch_size=5, shuffle=False, verbose=False, callbacks=[TerminateOnNaN()])
    assert history.stop_reason is not None
    assert "in epoch 1, batch 3" in history.stop_reason


def test_wrong_batches_are_refused_at_once(gpu: fake_cupy.Counts) -> None:
    x, y = problem()
    y[7] = 3
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got 3 at index 2"):
        fit(make(), x, y, batch_size=5, shuffle=False, verbose=False)


class Doubled(nn.Sequential):
    """Somebody's own step."""

    def train_on_batch(self, x: Any, y: Any) -> dict[str, float]:
        super().train_on_batch(x, y)
        return super().train_on_batch(x, y)


def test_an_own_step_is_called(gpu: fake_cupy.Counts) -> None:
    x, y = problem()
    model = Doubled(nn.Flatten(), nn.Linear(None, 3), input_shape=(1, 4, 4))
    model.compile("sgd")
    fit(model.to("cuda"), x, y, batch_size=5, verbose=False)
    assert model.optimizer is not None
    assert model.optimizer.steps == 10
