"""What a figure depends on: processor, memory, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import contestants
import fastconv

_VARIABLES = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MALLOC_", "FASTCONV_")


def _first_match(file: str, key: str) -> str:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def commit() -> str:
    """Of this checkout, with "+" where files differ from it; empty outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _busy_s() -> float:
    """Seconds that all processors have worked since the start, the hypervisor's theft included."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _process_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class OthersLoad:
    """The part of all processors' time that went to strangers since this was made: some percent are a warning."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = [os.getpid(), *pids]
        self.start = self._now()

    def _now(self) -> tuple[float, float]:
        return time.monotonic(), _busy_s() - sum(map(_process_s, self.pids))

    def share(self) -> float:
        elapsed, others = (now - then for now, then in zip(self._now(), self.start, strict=True))
        return max(0.0, others) / max(elapsed, 1e-9) / (os.cpu_count() or 1)


def facts() -> dict[str, Any]:
    return {
        "cpu": _first_match("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(contestants.cpu_list().split(",")),
        "memory": _first_match("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "fastconv": fastconv.info().as_dict(),
        "commit": commit(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_VARIABLES)},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
