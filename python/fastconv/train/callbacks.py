"""Callbacks: what a run does beside training, called by `fit` at fixed moments."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastconv.io import atomic_write

if TYPE_CHECKING:
    from fastconv.train.run import Run

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

Mode = Literal["auto", "min", "max"]
Logs = Mapping[str, float]


class Callback:
    """Base class: override the moments that matter.

    `run` is there while `fit` runs: it gives the model, the history and `run.stop(reason)`. Epochs and steps
    (batches since the first epoch) count from 0. A callback that learns something on the way returns it from
    `state`, so that a resumed run goes on as if it had never stopped; `restore` comes after `on_train_begin`.

    On a GPU the `logs` of a batch are there before its figures: who looks into them waits for the GPU, at every batch.
    """

    run: Run

    def on_train_begin(self) -> None: ...

    def on_epoch_begin(self, epoch: int) -> None: ...

    def on_batch_begin(self, step: int) -> None: ...

    def on_batch_end(self, step: int, logs: Logs) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Logs) -> None: ...

    def on_train_end(self) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


class History(Callback):
    """The figures of every epoch; `fit` returns one.

    Attributes
    ----------
    epochs
        Numbers of the epochs, from 0.
    history
        Figures by name, one for each epoch: "loss", the metrics, the same with "val_" in front, "learning_rate".
    stop_reason
        Why the run ended early, or None.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.stop_reason: str | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name in logs:
            self.history.setdefault(name, [math.nan] * len(self.epochs))
        self.epochs.append(epoch)
        for name, values in self.history.items():
            values.append(float(logs.get(name, math.nan)))

    def on_train_end(self) -> None:
        self.stop_reason = self.run.stop_reason

    def state(self) -> dict[str, Any]:
        return {"epochs": list(self.epochs), "history": {name: list(values) for name, values in self.history.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.epochs = list(state["epochs"])
        self.history = {name: list(values) for name, values in state["history"].items()}


class _Monitor:
    """Decide whether a figure of an epoch is the best so far; NaN never is."""

    def __init__(self, owner: str, name: str, mode: Mode, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{owner}: mode must be auto, min or max, got {mode!r}")
        if min_delta < 0:
            raise ValueError(f"{owner}: min_delta must be at least 0, got {min_delta}")
        self.owner, self.name, self.min_delta = owner, name, min_delta
        self.sign = 1.0 if mode == "max" or (mode == "auto" and "acc" in name) else -1.0
        self.best: float | None = None

    def improved(self, logs: Logs) -> bool:
        if self.name not in logs:
            raise ValueError(f"{self.owner}: monitor must be one of {', '.join(logs)}, got {self.name!r}")
        value = float(logs[self.name])
        if math.isnan(value):
            return False
        if self.best is not None and self.sign * (value - self.best) <= self.min_delta:
            return False
        self.best = value
        return True


class EarlyStopping(Callback):
    """Stop when a figure has not improved for `patience` epochs, and give the weights of the best epoch back.

    Parameters
    ----------
    monitor
        Name of the figure. Default: "val_loss".
    patience
        Epochs without improvement that end the run, at least 1.
    min_delta
        What counts as an improvement. Default: any.
    mode
        "min", "max", or "auto": max for a name with "acc" in it.
    restore_best_weights
        Whether the model ends with the weights of its best epoch, also when the run was not stopped early (but not
        after an interrupt). Default: True.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self._monitor = _Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.on_train_begin()

    def on_train_begin(self) -> None:
        self._monitor.best = None
        self.best_epoch = -1
        self.wait = 0
        self._best_weights: dict[str, NDArray[Any]] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._monitor.improved(logs):
            self.best_epoch, self.wait = epoch, 0
            if self.restore_best_weights:
                self._best_weights = {name: np.copy(array) for name, array in self.run.model.state_dict().items()}
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.run.stop(
                f"stopped early: {self._monitor.name} has not improved for {self.wait} epochs "
                f"(best {self._monitor.best} in epoch {self.best_epoch + 1})"
            )

    def on_train_end(self) -> None:
        if self._best_weights is not None and not self.run.interrupted:
            self.run.model.load_state_dict(self._best_weights)

    def state(self) -> dict[str, Any]:
        return {
            "best": self._monitor.best,
            "best_epoch": self.best_epoch,
            "wait": self.wait,
            "weights": self._best_weights,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._monitor.best = state["best"]
        self.best_epoch, self.wait, self._best_weights = state["best_epoch"], state["wait"], state["weights"]


class ModelCheckpoint(Callback):
    """Save the weights after an epoch (weights only; to resume a run, see `fit(checkpoint=...)`).

    Parameters
    ----------
    path
        File name; ``{epoch}`` (from 1) and the names of figures may stand in it, as in ``{val_accuracy:.4f}``.
    monitor
        Name of the figure that decides. Default: "val_loss".
    save_best_only
        Save only when the figure is the best so far. Default: True.
    mode
        "min", "max", or "auto": max for a name with "acc" in it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = True,
        mode: Mode = "auto",
    ) -> None:
        self.path = os.fspath(path)
        self.save_best_only = save_best_only
        self._monitor = _Monitor("ModelCheckpoint", monitor, mode)

    def on_train_begin(self) -> None:
        self._monitor.best = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self.save_best_only or self._monitor.improved(logs):
            try:
                path = self.path.format(epoch=epoch + 1, **logs)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f"ModelCheckpoint: path may name epoch, {', '.join(logs)}, got {self.path!r} ({error})"
                ) from None
            self.run.model.save(path)

    def state(self) -> dict[str, Any]:
        return {"best": self._monitor.best}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._monitor.best = state["best"]


class LearningRateScheduler(Callback):
    """Set the optimiser's learning rate from a schedule.

    Parameters
    ----------
    schedule
        Function of a step (see `fastconv.schedules`) that returns the rate.
    per
        What a step is: "epoch" (default) or "batch".
    """

    def __init__(self, schedule: Callable[[int], float], per: Literal["epoch", "batch"] = "epoch") -> None:
        if per not in ("epoch", "batch"):
            raise ValueError(f"LearningRateScheduler: per must be epoch or batch, got {per!r}")
        self.schedule = schedule
        self.per = per

    def on_epoch_begin(self, epoch: int) -> None:
        if self.per == "epoch":
            self.run.model.optimizer.learning_rate = float(self.schedule(epoch))

    def on_batch_begin(self, step: int) -> None:
        if self.per == "batch":
            self.run.model.optimizer.learning_rate = float(self.schedule(step))


class ReduceLROnPlateau(Callback):
    """Lower the learning rate when a figure has not improved for `patience` epochs.

    Parameters
    ----------
    monitor
        Name of the figure. Default: "val_loss".
    factor
        What the rate is multiplied by, above 0 and below 1. Default: 0.1.
    patience
        Epochs without improvement that lower the rate, at least 1. Default: 10.
    min_delta
        What counts as an improvement. Default: 1e-4.
    mode
        "min", "max", or "auto": max for a name with "acc" in it.
    cooldown
        Epochs after a change that are not counted. Default: 0.
    min_lr
        The rate never falls below it. Default: 0.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: Mode = "auto",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be above 0 and below 1, got {factor}")
        if patience < 1:
            raise ValueError(f"ReduceLROnPlateau: patience must be at least 1, got {patience}")
        if cooldown < 0 or not min_lr >= 0:
            raise ValueError(
                f"ReduceLROnPlateau: cooldown and min_lr must be at least 0, got cooldown={cooldown}, min_lr={min_lr}"
            )
        self._monitor = _Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.factor, self.patience, self.cooldown, self.min_lr = factor, patience, cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self) -> None:
        self._monitor.best = None
        self.wait = self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        improved = self._monitor.improved(logs)
        if self.cooling:
            self.cooling -= 1
            self.wait = 0
        elif improved:
            self.wait = 0
        else:
            self.wait += 1
        if self.wait >= self.patience:
            optimizer = self.run.model.optimizer
            optimizer.learning_rate = min(
                optimizer.learning_rate, max(optimizer.learning_rate * self.factor, self.min_lr)
            )
            self.wait, self.cooling = 0, self.cooldown

    def state(self) -> dict[str, Any]:
        return {"best": self._monitor.best, "wait": self.wait, "cooling": self.cooling}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._monitor.best, self.wait, self.cooling = state["best"], state["wait"], state["cooling"]


class CSVLogger(Callback):
    """Keep the history in a CSV file, a line per epoch; the file is always a complete one.

    Parameters
    ----------
    path
        File to write after every epoch; one that is there is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        history = self.run.history
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *history.history])
        for row, number in enumerate(history.epochs):
            writer.writerow([number + 1, *(values[row] for values in history.history.values())])
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode())


class TerminateOnNaN(Callback):
    """Stop as soon as the loss is NaN or infinite; the last checkpoint stays as it was before."""

    def on_batch_end(self, step: int, logs: Logs) -> None:
        loss = logs.get("loss", 0.0)
        if not math.isfinite(loss):
            self.run.stop(f"stopped: the loss was {loss} in epoch {self.run.epoch + 1}, batch {self.run.batches_done}")
