"""How long OpenMP threads spin at a barrier before they sleep.

GNU's runtime spins for 300,000 rounds by default, about 17 ms where a pause instruction takes 140 cycles. On a busy
machine a spinning thread keeps the processor from the one it waits for: a training step of `keras_mnist` with two
threads took 174 ms so, and 30 to 37 ms with 100 to 10,000 rounds (one run of 60 steps each, beside compilers). A few
thousand rounds should outlast the gap between two operations and end soon where somebody else computes.
The runtime reads its variable once, when it is loaded, which is when the native module is first imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "GOMP_SPINCOUNT"
_ROUNDS = "5000"
_USERS_CHOICE = (_VARIABLE, "OMP_WAIT_POLICY")


@contextmanager
def short_spin() -> Iterator[None]:
    """Set the spin count while the runtime loads, unless the user chose; child processes do not inherit it."""
    if any(name in os.environ for name in _USERS_CHOICE):
        yield
        return
    os.environ[_VARIABLE] = _ROUNDS
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
