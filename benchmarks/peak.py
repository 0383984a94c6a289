"""What this machine can do, measured now: multiply-adds per second, and bytes copied per second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fastconv import _core

COPY_BYTES = 256 << 20  # far beyond every cache


@dataclass(frozen=True)
class Peak:
    """FLOP per second on the active instruction set and thread count; bytes read plus written per second."""

    flops_per_s: float
    copy_bytes_per_s: float

    def as_dict(self) -> dict[str, float]:
        return {"flops_per_s": self.flops_per_s, "copy_bytes_per_s": self.copy_bytes_per_s}


def fma_flops_per_s(dtype: str = "float32", seconds: float = 0.05, rounds: int = 7) -> float:
    """The best of several rounds: a peak is what the machine can do when nothing disturbs it."""
    name: Literal["float32", "float64"] = "float64" if dtype == "float64" else "float32"
    iterations = 1000
    while True:
        start = time.perf_counter()
        _core.fma_peak(name, iterations)
        if time.perf_counter() - start > seconds / 4:
            break
        iterations *= 2
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        flops = _core.fma_peak(name, 4 * iterations)
        best = max(best, flops / (time.perf_counter() - start))
    return best


def copy_bytes_per_s(rounds: int = 7) -> float:
    """One thread's copy of a large array: the bytes read plus those written."""
    source = np.ones(COPY_BYTES // 8)
    target = np.zeros_like(source)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        np.copyto(target, source)
        best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best


def measure(dtype: str = "float32") -> Peak:
    return Peak(fma_flops_per_s(dtype), copy_bytes_per_s())
