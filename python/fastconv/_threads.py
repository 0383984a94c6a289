"""How many threads to use.

The number: FASTCONV_NUM_THREADS, else OMP_NUM_THREADS, else what the machine gives this process: the smallest of its
CPU affinity, its container's CPU quota (rounded up) and the physical cores. Results have the same bits for any number.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fastconv import _core
from fastconv._affinity import affinity

MAX_THREADS = 1024
_VARIABLES = ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS")

_source = "not configured"


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:  # not pathlib: it would be most of the time of `import fastconv`
            return file.read().strip()
    except (OSError, ValueError):
        return None


def _physical_cores(cpus: set[int]) -> int:
    """Count the cores behind these logical CPUs; two hardware threads of one core share its multipliers."""
    cores = set()
    for cpu in cpus:
        topology = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        package, core = _read(f"{topology}/physical_package_id"), _read(f"{topology}/core_id")
        cores.add((package, core) if core is not None else ("logical", str(cpu)))
    return len(cores)


def _ratio(quota: str, period: str) -> float:
    """CPUs that a quota of microseconds per period stands for; infinite where there is no limit."""
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return cpus if cpus > 0 else math.inf


def cgroup_quota(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> float:
    """CPUs that the container may use, the tightest limit from this process's group up to the root, or infinity."""
    limit = math.inf
    for line in (_read(membership) or "0::/").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root
        if controllers:  # version 1: a folder per controller, some under a short name
            base = next((f"{root}/{name}" for name in (controllers, "cpu") if os.path.isdir(f"{root}/{name}")), root)
        parts = [part for part in group.split("/") if part]
        for depth in range(len(parts), -1, -1):
            folder = "/".join([base, *parts[:depth]])
            if controllers:
                quota, period = _read(f"{folder}/cpu.cfs_quota_us") or "", _read(f"{folder}/cpu.cfs_period_us") or ""
            else:
                quota, _, period = (_read(f"{folder}/cpu.max") or "").partition(" ")
            limit = min(limit, _ratio(quota, period))
    return limit


def machine_count() -> tuple[int, str]:
    """The number of threads for this process on this machine, and what set it."""
    cpus = affinity()
    candidates = [(_physical_cores(cpus), "physical cores"), (len(cpus), "CPU affinity")]
    quota = cgroup_quota()
    if quota < math.inf:
        candidates.append((max(1, math.ceil(quota)), f"container quota of {quota:g} CPUs"))
    return min(candidates, key=lambda candidate: candidate[0])


def _from_environment(name: str) -> int | None:
    """The variable's number, or None where it is unset or nonsense; nonsense is worth a warning."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    first_level = text.split(",")[0].strip()  # OpenMP allows one number for each level of nesting
    if first_level.isascii() and first_level.isdigit() and 1 <= int(first_level[:20]) <= MAX_THREADS:
        return int(first_level)
    warnings.warn(
        f"fastconv: {name} must be a number of threads from 1 to {MAX_THREADS}, got {text[:60]!r}; it is ignored",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def configure() -> None:
    """Set the number of threads from the environment or the machine; called once, at import."""
    global _source
    for name in _VARIABLES:
        count = _from_environment(name)
        if count is not None:
            _source = name
            break
    else:
        count, _source = machine_count()
    _core.set_num_threads(count)


def source() -> str:
    """Where the process-wide number of threads comes from."""
    return _source


def _checked(op: str, n: object) -> int:
    if isinstance(n, bool) or not hasattr(type(n), "__index__"):
        raise TypeError(f"{op}: n must be an integer, got {n!r}")
    count: int = n.__index__()  # type: ignore[attr-defined]  # the line above is the check
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"{op}: n must be from 1 to {MAX_THREADS}, got {count}")
    return count


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, in the whole process.

    Parameters
    ----------
    n : int, 1 to 1024

    Raises
    ------
    TypeError, ValueError
        If `n` is no such number.
    """
    global _source
    _core.set_num_threads(_checked("set_num_threads", n))
    _source = "set_num_threads"


def get_num_threads() -> int:
    """The number of threads that a call from this Python thread may use."""
    return _core.get_num_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a `with` block, for calls from this Python thread only.

    Parameters
    ----------
    n : int, 1 to 1024

    Raises
    ------
    TypeError, ValueError
        If `n` is no such number.
    """
    previous = _core.push_num_threads(_checked("threads", n))
    try:
        yield
    finally:
        _core.pop_num_threads(previous)
