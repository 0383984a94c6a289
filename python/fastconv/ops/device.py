"""Where a call runs: arrays on a GPU go to `fastconv.ops.gpu`, the one door to CUDA, everything else stays on the CPU.

Each operation that has GPU kernels asks this after one look at the type of its first array, so that NumPy arrays pay
nothing for it.
"""

from __future__ import annotations

import importlib
from typing import Any

from fastconv._checks.gpu import is_on_gpu

_gpu: Any = None  # the module, once it was wanted


def gpu_ops(value: object) -> Any:
    """The operations on GPU arrays if `value` is one, else None."""
    global _gpu
    if not is_on_gpu(value):
        return None
    if _gpu is None:
        _gpu = importlib.import_module("fastconv.ops.gpu")
    return _gpu
