"""fastconv: fast convolutions for people who have NumPy and nothing else.

`fastconv.ops` holds functions on arrays with explicit backward, `fastconv.nn` layers and models, `fastconv.train`,
`fastconv.data`, `fastconv.zoo`, `fastconv.io` and `fastconv.viz` what is needed around them. They load at first use:
importing this package loads NumPy and one compiled module.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from fastconv import _affinity as _affinity  # before the native module, which loads the OpenMP runtime
from fastconv._spin import short_spin

with short_spin():
    from fastconv import _core

from fastconv import _threads
from fastconv._config import config
from fastconv._core import isa_active, isa_available, set_isa
from fastconv._threads import get_num_threads, set_num_threads, threads

if TYPE_CHECKING:
    from fastconv._explain import explain
    from fastconv._info import info

__version__: str = _core.version

if os.environ.get("FASTCONV_ISA"):
    set_isa(os.environ["FASTCONV_ISA"], source="FASTCONV_ISA")
_threads.configure()

_SUBMODULES = frozenset(
    [
        "cli",
        "cuda",
        "data",
        "io",
        "keras",
        "losses",
        "metrics",
        "nn",
        "ops",
        "optim",
        "schedules",
        "torch",
        "train",
        "viz",
        "zoo",
    ],
)
_FUNCTIONS = {"explain": "fastconv._explain", "info": "fastconv._info"}

__all__ = [
    "__version__",
    "config",
    "explain",
    "get_num_threads",
    "info",
    "isa_active",
    "isa_available",
    "set_isa",
    "set_num_threads",
    "threads",
]


def __getattr__(name: str) -> Any:
    """Load submodules and the two reports when they are first asked for (PEP 562)."""
    if name in _SUBMODULES:
        return importlib.import_module(f"fastconv.{name}")
    if name in _FUNCTIONS:
        value = getattr(importlib.import_module(_FUNCTIONS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_FUNCTIONS})
