"""What a run shows: a line per epoch, and a bar of its batches where tqdm is installed and a person is watching."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from fastconv.train.callbacks import Callback

__all__ = ["Progress", "describe"]

_SECONDS = 0.5  # between two looks at the figures of a bar


def describe(logs: Mapping[str, float]) -> str:
    """Write figures as ``loss 0.1234  accuracy 0.9876``."""
    return "  ".join(f"{name} {value:.4g}" if name == "learning_rate" else f"{name} {value:.4f}"
                     for name, value in logs.items())  # fmt: skip


class Progress(Callback):
    """Print a line per epoch to the standard output; show a bar on the standard error stream if that is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._start = self._next = 0.0

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = self._next = time.perf_counter()
        self._bar = _open_bar(self._title(epoch), self.run.batches, self.run.batches_done)

    def on_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        if self._bar is None:
            return
        now = time.perf_counter()
        if now >= self._next:  # to look at figures may take waiting for a GPU
            self._bar.set_postfix(self.run.running_means(), refresh=False)
            self._next = now + _SECONDS
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self._close_bar()
        print(f"{self._title(epoch)}  {describe(logs)}  {time.perf_counter() - self._start:.1f} s", flush=True)

    def on_train_end(self) -> None:
        self._close_bar()
        if self.run.stop_reason:
            print(self.run.stop_reason, flush=True)

    def _title(self, epoch: int) -> str:
        width = len(str(self.run.epochs))
        return f"epoch {epoch + 1:{width}}/{self.run.epochs}"

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _open_bar(title: str, total: int, done: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=done, desc=title, unit="batch", leave=False, dynamic_ncols=True)
