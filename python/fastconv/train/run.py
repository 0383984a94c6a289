"""Run: where a training stands, as its callbacks see it and as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastconv.data import BatchLoader
from fastconv.metrics import WeightedMean
from fastconv.train.trainable import Trainable

if TYPE_CHECKING:
    from fastconv.train.callbacks import Callback, History

__all__ = ["Run"]

_FORMAT = 1


class Run:
    """One call of `fit`.

    Attributes
    ----------
    model, epochs, history
        As in `fit`; `history` holds the epochs that are over.
    epoch, step
        Epochs that are over; batches trained since the first epoch.
    stop_reason
        Text once somebody has called `stop`, else None.
    interrupted
        Whether a signal ended the run.
    """

    def __init__(
        self, model: Trainable, loader: BatchLoader, epochs: int, history: History, callbacks: Sequence[Callback]
    ) -> None:
        self.model = model
        self.loader = loader
        self.epochs = epochs
        self.history = history
        self.callbacks = [history, *callbacks]
        self.epoch = 0
        self.step = 0
        self._means = WeightedMean()
        self._unread: list[tuple[Mapping[str, float], int]] = []  # figures that are on a GPU still, and samples
        trainer = getattr(model, "trainer", None)
        self.train_on_batch: Callable[[Any, Any], Mapping[str, float]] = trainer() if trainer else model.train_on_batch
        self.stop_reason: str | None = None
        self.interrupted = False
        for callback in self.callbacks:
            callback.run = self

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return len(self.loader)

    @property
    def batches_done(self) -> int:
        """Batches of the current epoch that are trained."""
        return -(-self.loader.position // self.loader.batch_size)

    @property
    def means(self) -> WeightedMean:
        """The means over the current epoch so far; waits for what a GPU has not told yet."""
        unread, self._unread = self._unread, []
        for logs, samples in unread:
            self._means.add(logs, samples)
        return self._means

    def add(self, logs: Mapping[str, float], samples: int) -> None:
        """Count the figures of a batch, without looking at them if that would take waiting."""
        self._unread.append((logs, samples))
        if isinstance(logs, dict):
            _ = self.means

    def running_means(self) -> dict[str, float]:
        """Return the means over the current epoch so far."""
        return self.means.result()

    def stop(self, reason: str) -> None:
        """End the run after this batch or epoch; a stop inside an epoch leaves that epoch out of the history."""
        self.stop_reason = reason

    def stopped(self) -> bool:
        return self.stop_reason is not None

    def state(self) -> dict[str, Any]:
        """Return everything that a run depends on, as a tree for `fastconv.io.tree`."""
        return {
            "format": _FORMAT,
            "model": dict(self.model.state_dict()),
            "optimizer": dict(self.model.optimizer.state_dict()),
            "rng": dict(self.model.rng.bit_generator.state),
            "loader": self.loader.state(),
            "epoch": self.epoch,
            "step": self.step,
            "means": self.means.state(),
            "stop_reason": self.stop_reason,
            "callbacks": {name: callback.state() for name, callback in self._named_callbacks()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`; a callback that was not there before starts fresh."""
        try:
            self._restore(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"fit: a checkpoint must be whole, this one is damaged ({error!r})") from None

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state.get("format") != _FORMAT:
            raise ValueError(f"fit: a checkpoint must have format {_FORMAT}, got {state.get('format')!r}")
        self.loader.restore(state["loader"])  # first, since it can refuse: the model is untouched then
        self.model.load_state_dict(state["model"])
        self.model.optimizer.load_state_dict(state["optimizer"])
        self.model.rng.bit_generator.state = state["rng"]
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self.means.restore(state["means"])
        self.stop_reason = state["stop_reason"]
        for name, callback in self._named_callbacks():
            if name in state["callbacks"]:
                callback.restore(state["callbacks"][name])

    def _named_callbacks(self) -> list[tuple[str, Callback]]:
        """Name callbacks by class and number, so that others may come and go between two runs."""
        counts: dict[str, int] = {}
        named = []
        for callback in self.callbacks:
            kind = type(callback).__name__
            counts[kind] = counts.get(kind, 0) + 1
            named.append((f"{kind}.{counts[kind]}", callback))
        return named
