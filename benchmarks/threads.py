"""Give every working thread of this process a core of its own.

OpenMP does that by itself when it is told to; other thread pools are left to Linux, which likes to wake two of them on
one core: ONNX Runtime's 0.5 ms became 1.9 ms so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

WATCH_S = 0.15


def _used() -> dict[int, int]:
    """Clock ticks that each thread of this process has computed."""
    ticks = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks[int(task.name)] = int(fields[11]) + int(fields[12])
    return ticks


def release(cpus: list[int]) -> None:
    """Let all threads run anywhere: new ones are born with the affinity of the one that makes them."""
    for thread in _used():
        os.sched_setaffinity(thread, cpus)


def spread(call: Callable[[], object], cpus: list[int]) -> None:
    """See who works in this call, and bind as many of the busiest as there are cores."""
    before = _used()
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        call()
    worked = {thread: ticks - before.get(thread, 0) for thread, ticks in _used().items()}
    most = max(worked.values())
    busiest = sorted(worked, key=lambda thread: -worked[thread])[: len(cpus)]
    for cpu, thread in zip(cpus, sorted(busiest), strict=False):
        if worked[thread] * 4 > most:
            os.sched_setaffinity(thread, {cpu})
