"""The one timing loop: candidates take turns, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SAMPLE_S = 0.02  # one sample lasts at least this long, or one call
PAUSE_S = 0.004  # longer than an idle OpenMP thread spins: another library's threads do not sit on our cores


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all samples: the median, and the median absolute deviation from it."""

    median_s: float
    mad_s: float
    samples: int
    calls: int

    def as_dict(self) -> dict[str, float]:
        return {"median_s": self.median_s, "mad_s": self.mad_s, "samples": self.samples, "calls": self.calls}


def _sample(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 9, limit_s: float = 5.0
) -> dict[str, Timing]:
    """Time the candidates in turns.

    Each is called twice to warm up. `limit_s` ends a very slow set early, after three rounds at least.
    """
    calls = {}
    for name, function in candidates.items():
        function()
        calls[name] = max(1, round(SAMPLE_S / max(_sample(function, 1), 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for index in range(rounds):
            for name in order:
                if len(order) > 1:
                    time.sleep(PAUSE_S)
                    candidates[name]()  # wakes our threads, fills our caches
                samples[name].append(_sample(candidates[name], calls[name]))
            order.append(order.pop(0))
            if index >= 2 and time.perf_counter() - start > limit_s:
                break
    finally:
        if collecting:
            gc.enable()
    return {name: summary(values, calls[name]) for name, values in samples.items()}


def summary(values: list[float], calls: int) -> Timing:
    median = statistics.median(values)
    return Timing(median, statistics.median(abs(value - median) for value in values), len(values), calls)
