"""Learning rates as pure functions of a step: nothing to save, nothing to get out of step after a resume.

A step is whatever the caller counts (batches or epochs), from 0. `total` is the number of steps of the whole
run; behind it a schedule stays at its last value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Constant", "Cosine", "Exponential", "OneCycle", "Schedule", "Step", "get"]

Schedule = Callable[[int], float]


def _require(schedule: object, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{type(schedule).__name__}: {rule}, got {schedule!r}")


def _half_cosine(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` along half a cosine wave; share = 0..1."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


@dataclass(frozen=True)
class Constant:
    """The same rate for ever."""

    learning_rate: float

    def __post_init__(self) -> None:
        _require(self, "learning_rate must be positive", self.learning_rate > 0)

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class Step:
    """Multiply by `factor` every `every` steps."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _require(self, "learning_rate, every and factor must be positive",
                 self.learning_rate > 0 and self.every > 0 and self.factor > 0)  # fmt: skip

    def __call__(self, step: int) -> float:
        return float(self.learning_rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Exponential:
    """Multiply by `factor` each step."""

    learning_rate: float
    factor: float

    def __post_init__(self) -> None:
        _require(self, "learning_rate and factor must be positive", self.learning_rate > 0 and self.factor > 0)

    def __call__(self, step: int) -> float:
        return float(self.learning_rate * self.factor**step)


@dataclass(frozen=True)
class Cosine:
    """Rise in a straight line for `warmup` steps, then fall to `final` along half a cosine wave.

    Reference: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017),
    equation 5, one period.
    """

    learning_rate: float
    total: int
    warmup: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        _require(self, "learning_rate must be positive and final not negative",
                 self.learning_rate > 0 and self.final >= 0)  # fmt: skip
        _require(self, "warmup must lie in 0..total-1", 0 <= self.warmup < self.total)

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        return _half_cosine(self.learning_rate, self.final, (step - self.warmup) / (self.total - self.warmup))


@dataclass(frozen=True)
class OneCycle:
    """Rise from `learning_rate / start_divisor` to `learning_rate`, then fall to almost nothing; half cosines.

    Reference: L. N. Smith, N. Topin, "Super-convergence" (2018).
    """

    learning_rate: float
    total: int
    rise: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        _require(self, "learning_rate and total must be positive", self.learning_rate > 0 and self.total > 0)
        _require(self, "rise must lie between 0 and 1", 0 < self.rise < 1)
        _require(self, "the divisors must be at least 1", min(self.start_divisor, self.final_divisor) >= 1)

    def __call__(self, step: int) -> float:
        start = self.learning_rate / self.start_divisor
        top = self.rise * self.total
        if step < top:
            return _half_cosine(start, self.learning_rate, step / top)
        return _half_cosine(self.learning_rate, start / self.final_divisor, (step - top) / (self.total - top))


_NAMES = ("constant", "step", "exponential", "cosine", "one_cycle")


def get(name: str, learning_rate: float, total: int) -> Schedule:
    """Return the schedule of this name with parameters that suit a run of `total` steps.

    Parameters
    ----------
    name
        "constant", "step" (a tenth after each third of the run), "exponential" (down to a hundredth), "cosine"
        (after a warm-up of a twentieth) or "one_cycle".
    learning_rate
        The largest rate of the run.
    total
        Steps of the whole run, at least 1.
    """
    if total < 1:
        raise ValueError(f"schedules.get: total must be at least 1, got {total}")
    if name == "constant":
        return Constant(learning_rate)
    if name == "step":
        return Step(learning_rate, every=max(1, math.ceil(total / 3)))
    if name == "exponential":
        return Exponential(learning_rate, factor=0.01 ** (1.0 / total))
    if name == "cosine":
        return Cosine(learning_rate, total, warmup=total // 20)
    if name == "one_cycle":
        return OneCycle(learning_rate, total)
    raise ValueError(f"schedules.get: name must be one of {', '.join(_NAMES)}, got {name!r}")
