"""The one timing loop: candidates take turns, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

SAMPLE_S = 0.02  # one sample lasts at least this long, or one call
PAUSE_S = 0.008  # longer than an idle OpenMP thread spins: another library's threads do not sit on our cores
WARM_PART = 8  # this part of a sample's calls goes before it: wakes the threads, fills the caches


class Sampler(Protocol):
    """A candidate that takes its own time, in another process for instance."""

    def sample(self, calls: int, warm: int) -> float:
        """Seconds per call, after some that do not count."""


Candidate = Callable[[], object] | Sampler


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all samples: the median, and the median absolute deviation from it."""

    median_s: float
    mad_s: float
    samples: int
    calls: int

    def as_dict(self) -> dict[str, float]:
        return {"median_s": self.median_s, "mad_s": self.mad_s, "samples": self.samples, "calls": self.calls}


def sample(function: Callable[[], object], calls: int, warm: int = 0) -> float:
    """Seconds per call, after some that do not count, without the garbage collector."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(warm):
            function()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - start) / calls
    finally:
        if collecting:
            gc.enable()


def _sample(candidate: Candidate, calls: int, warm: int) -> float:
    return sample(candidate, calls, warm) if callable(candidate) else candidate.sample(calls, warm)


def interleaved(candidates: Mapping[str, Candidate], rounds: int = 9, limit_s: float = 5.0) -> dict[str, Timing]:
    """Time the candidates in turns, in a new order every round, so that none always follows the same neighbour.

    Each is called twice to warm up. `limit_s` ends a very slow set early, after three rounds at least.
    """
    calls = {}
    for name, candidate in candidates.items():
        calls[name] = max(1, round(SAMPLE_S / max(_sample(candidate, 1, warm=1), 1e-9)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    shuffle = random.Random(0).shuffle
    start = time.perf_counter()
    for index in range(rounds):
        shuffle(order)
        for name in order:
            if len(order) > 1:
                time.sleep(PAUSE_S)
            # A slow call warms itself.
            warm = math.ceil(calls[name] / WARM_PART) if calls[name] > 1 and len(order) > 1 else 0
            samples[name].append(_sample(candidates[name], calls[name], warm))
        if index >= 2 and time.perf_counter() - start > limit_s:
            break
    return {name: summary(values, calls[name]) for name, values in samples.items()}


def summary(values: list[float], calls: int) -> Timing:
    median = statistics.median(values)
    return Timing(median, statistics.median(abs(value - median) for value in values), len(values), calls)
