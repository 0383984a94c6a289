"""How many sets of arrays a lane needs so that no call finds its input in the L2 cache, and how samples are taken."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CACHES = 3  # times the L2 that all sets fill together
LEAST_CALLS, MOST_CALLS = 20, 200
SHARE = 16  # of the memory, for one lane's sets: there are three lanes, and results beside


@dataclass(frozen=True)
class Rotation:
    """`sets` of arrays, used in turn by `calls` calls that one graph holds."""

    sets: int
    calls: int
    cold: bool  # whether the sets fill the caches as often as they should


def rotation(bytes_per_set: int, l2_bytes: int, memory_bytes: int) -> Rotation:
    """The sets needed, as far as a part of the memory holds them; the calls are a multiple of the sets."""
    if bytes_per_set < 1:
        raise ValueError(f"rotation: bytes_per_set must be >= 1, got {bytes_per_set}")
    wanted = max(2, math.ceil(CACHES * l2_bytes / bytes_per_set))
    sets = max(1, min(wanted, MOST_CALLS, memory_bytes // SHARE // bytes_per_set))
    calls = sets * math.ceil(LEAST_CALLS / sets)
    return Rotation(sets, calls, sets * bytes_per_set >= CACHES * l2_bytes)


@dataclass(frozen=True)
class Summary:
    """Seconds of a call over all samples: median, median absolute deviation, and the medians of two halves."""

    median_s: float
    mad_s: float
    first_s: float
    second_s: float
    samples: int

    @property
    def steady(self) -> bool:
        """Whether the two halves agree within 5 %."""
        return abs(self.first_s - self.second_s) <= 0.05 * self.median_s


def summary(samples: Sequence[float]) -> Summary:
    """Of samples in the order in which they were taken."""
    if len(samples) < 2:
        raise ValueError(f"summary: needs two samples or more, got {len(samples)}")
    median = statistics.median(samples)
    half = len(samples) // 2
    return Summary(
        median,
        statistics.median(abs(s - median) for s in samples),
        statistics.median(samples[:half]),
        statistics.median(samples[half:]),
        len(samples),
    )


def orders(lanes: Sequence[str], rounds: int, seed: int = 0) -> list[list[str]]:
    """The lanes of each round, in an order that changes so that none always follows the same neighbour."""
    shuffle = random.Random(seed).shuffle
    found = []
    for _ in range(rounds):
        order = list(lanes)
        shuffle(order)
        found.append(order)
    return found
