"""What this machine can do, measured now: multiply-adds per second, and bytes copied per second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

import contestants
import fastconv
from fastconv import _core

COPY_BYTES = 256 << 20  # far beyond every cache


@dataclass(frozen=True)
class Peak:
    """FLOP per second on the active instruction set and thread count; bytes read plus written per second."""

    flops_per_s: float
    copy_bytes_per_s: float

    def as_dict(self) -> dict[str, float]:
        return {"flops_per_s": self.flops_per_s, "copy_bytes_per_s": self.copy_bytes_per_s}


def multiply_adds(dtype: str) -> tuple[Callable[[], float], float]:
    """A call that keeps every multiply-add unit busy for some tenths of a millisecond, and the FLOPs that it does."""
    name: Literal["float32", "float64"] = "float64" if dtype == "float64" else "float32"
    iterations = 4000
    flops = _core.fma_peak(name, iterations)
    return lambda: _core.fma_peak(name, iterations), flops


def fma_flops_per_s(dtype: str = "float32", rounds: int = 200) -> float:
    """The best of many short rounds: a peak is what the machine can do when nothing disturbs it."""
    call, flops = multiply_adds(dtype)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = max(best, flops / (time.perf_counter() - start))
    return best


def copy_bytes_per_s(rounds: int = 7) -> float:
    """All threads copy a part each of a large array: the bytes read plus those written."""
    count = fastconv.get_num_threads()
    source = np.ones(COPY_BYTES // 8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, count), np.array_split(source, count), strict=True))
    cpus = sorted(int(cpu) for cpu in contestants.cpu_list().split(","))
    best = 0.0
    # Threads would be born on the one core that OpenMP has bound this one to.
    with ThreadPoolExecutor(count, initializer=os.sched_setaffinity, initargs=(0, cpus)) as pool:
        for _ in range(rounds):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            best = max(best, 2 * source.nbytes / (time.perf_counter() - start))
    return best


def measure(dtype: str = "float32") -> Peak:
    return Peak(fma_flops_per_s(dtype), copy_bytes_per_s())
