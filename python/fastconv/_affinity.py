"""The CPUs that this process may use, asked before the OpenMP runtime loads.

Where the user binds threads, the runtime binds the main one as it loads, and from then on the main thread's affinity
is one CPU, not the process's.
"""

from __future__ import annotations

import os

_BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


def _now() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


_AT_START = _now()


def affinity() -> set[int]:
    """Return the process's CPUs: as they are now, or as they were before the runtime bound its threads."""
    return _AT_START if any(name in os.environ for name in _BINDING) else _now()
