"""Numbers that are options of an operation: a rate, an epsilon, what a sum is divided by."""

from __future__ import annotations

import math

import numpy as np

from fastconv._checks.arguments import describe


def number(op: str, name: str, value: object, low: float, inclusive: bool = True) -> float:
    """Return a finite float of at least (or above) `low`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {name} must be a number, got {describe(value)}")
    if not math.isfinite(value) or value < low or (value == low and not inclusive):
        raise ValueError(f"{op}: {name} must be finite and {'at least' if inclusive else 'above'} {low:g}, got {value}")
    return float(value)


def as_number(op: str, name: str, value: object, below: float = math.inf) -> float:
    """A finite number in [0, below)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {name} must be a number, got {describe(value)}")
    if not 0 <= value < below:
        rule = "finite and not negative" if below == math.inf else f"in [0, {below:g})"
        raise ValueError(f"{op}: {name} must be {rule}, got {value}")
    return float(value)


def mean_divisor(op: str, reduction: object, count: int) -> int:
    """What the sum over the batch is divided by; an empty batch has the loss 0."""
    if reduction not in ("mean", "sum"):
        error = ValueError if isinstance(reduction, str) else TypeError
        raise error(f"{op}: reduction must be 'mean' or 'sum', got {reduction!r}")
    return max(count, 1) if reduction == "mean" else 1
