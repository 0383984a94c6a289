"""Ctrl-C asks a run to end after the batch at hand; a second one ends it at once.

The first signal only sets a flag that the training loop looks at between batches, so that weights, optimiser and
counters always belong to the same batch.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """A run was ended between two batches by a signal.

    Attributes
    ----------
    signal_number
        SIGINT or SIGTERM.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Interruption:
    """Watch for SIGINT (and SIGTERM, if asked) while the block runs.

    Outside the main thread, where Python delivers no signals, and for a signal that is ignored (as under nohup),
    nothing is changed.

    Attributes
    ----------
    signal_number
        The signal that came, or None.
    """

    def __init__(self, handle_sigterm: bool = False) -> None:
        self.signal_number: int | None = None
        self._watched = (signal.SIGINT, signal.SIGTERM) if handle_sigterm else (signal.SIGINT,)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in self._watched:
                # None: somebody's C code handles it, and Python could not put that back
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise TrainingInterrupted("training was interrupted twice and ended at once", number)
        self.signal_number = number
