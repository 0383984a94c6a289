"""Calls from the host, timed with all that it does for them: lanes take turns, and the GPU is waited for at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gpu.rotation import Summary, orders, summary

Call = Callable[[], object]


def interleaved(
    lanes: Mapping[str, Call],
    synchronize: Call,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Summary]:
    """Seconds of one call in each lane: a sample is `calls` of them in a row and the wait for the last."""
    for call in lanes.values():
        for _ in range(calls):
            call()
    samples: dict[str, list[float]] = {name: [] for name in lanes}
    for order in orders(list(lanes), rounds):
        for name in order:
            call = lanes[name]
            synchronize()
            start = clock()
            for _ in range(calls):
                call()
            synchronize()
            samples[name].append((clock() - start) / calls)
    return {name: summary(values) for name, values in samples.items()}
