"""Keras's optimisers: its argument names and defaults, `lr` of the older spelling too."""

from __future__ import annotations

from collections.abc import Callable

from fastconv import optim
from fastconv.optim import Optimizer

__all__ = ["SGD", "Adam", "RMSprop", "get"]


def SGD(
    learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, *, lr: float | None = None
) -> Optimizer:
    """Gradient descent, with momentum if wanted."""
    return optim.SGD(learning_rate if lr is None else lr, momentum, nesterov)


def RMSprop(
    learning_rate: float = 0.001,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    centered: bool = False,
    *,
    lr: float | None = None,
) -> Optimizer:
    """Gradient divided by the root of its running mean square; epsilon stands inside the root."""
    rate = learning_rate if lr is None else lr
    return optim.RMSprop(rate, rho, epsilon, True, momentum, centered)


def Adam(
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    *,
    lr: float | None = None,
) -> Optimizer:
    """Adaptive moments."""
    return optim.Adam(learning_rate if lr is None else lr, beta_1, beta_2, epsilon)


_BY_NAME: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return an optimiser with Keras's defaults by name; an Optimizer passes as it is."""
    if isinstance(optimizer, str) and optimizer.lower() in _BY_NAME:
        return _BY_NAME[optimizer.lower()]()
    return optim.get(optimizer)
