"""Our end of the rivals' processes: start them, let them prepare a layer, and take samples of their calls."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timing
from rivals import RIVALS
from shapes import Layer

# glibc's malloc gives large blocks back to the system and pays page faults for them at every call, unless told not to.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# Linux likes to wake both threads of a team on one core after a rest, and leaves them there for a while: calls then
# took 3 times as long, 50 times where they spin. Contestants rest while others have their turn, so threads are bound.
BIND_THREADS = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
CPUS = "FASTCONV_BENCH_CPUS"  # what this process could use before its first thread was bound
SETTLED_S, SETTLE_MAX_S = 0.0005, 0.25
KEPT = ", memory kept"  # ends the name of a column that was measured with these settings


def cpu_list() -> str:
    return os.environ.get(CPUS) or ",".join(map(str, sorted(os.sched_getaffinity(0))))


class RivalFailedError(Exception):
    """A rival's process reports an error or has ended."""

    def __init__(self, process: Process, text: str) -> None:
        super().__init__(text)
        self.process = process


class Process:
    """One rival in its own process with a fixed number of threads."""

    def __init__(self, key: str, threads: int, keep_memory: bool) -> None:
        self.key, self.threads, self.suffix = key, threads, KEPT if keep_memory else ""
        environment = dict(os.environ)
        environment.setdefault(CPUS, cpu_list())
        for kind in RIVALS[key]:
            environment |= kind.environment(threads)
        self.environment = environment | (KEEP_MEMORY if keep_memory else {})
        self._start()

    def _start(self) -> None:
        self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), self.key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=self.environment,
            text=True,
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"do": do} | request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines()[-1:] or [""]
            self._release()
            self._start()
            raise RivalFailedError(self, f"its process ended with status {status}: {said[0]}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RivalFailedError(self, answer["failed"])
        return answer

    def prepare(self, layer: Layer, folder: Path, limits: dict[str, float]) -> tuple[list[Remote], dict[str, str]]:
        """The layer's columns that give our results within `limits`, and why others are missing."""
        try:
            answer = self.ask("prepare", layer=dataclasses.asdict(layer), folder=str(folder), threads=self.threads)
            refused = {name + self.suffix: reason for name, reason in answer["refused"].items()}
            remotes = []
            for name, passes in answer["passes"].items():
                for pass_name in passes:
                    if pass_name not in limits:
                        continue
                    error = self.ask("check", folder=str(folder), name=name, pass_name=pass_name)["error"]
                    if error <= limits[pass_name]:
                        remotes.append(Remote(self, name, pass_name))
                    else:
                        refused[name + self.suffix] = f"{pass_name} differs from ours by {error:.1e} of the maximum"
            return remotes, refused
        except RivalFailedError as error:
            return [], {self.key + self.suffix: str(error)}

    def settle(self) -> None:
        """Wait until its threads sleep: after a call they spin, PyTorch's 10 ms, ONNX Runtime's 30 ms, on our cores."""
        clock = (~self.process.pid << 3) | 2  # Linux: the processor time of another process
        start, used = time.monotonic(), time.clock_gettime(clock)
        while time.monotonic() - start < SETTLE_MAX_S:
            time.sleep(timing.PAUSE_S)  # two ticks of that clock
            before, used = used, time.clock_gettime(clock)
            if used - before < SETTLED_S:
                break

    def forget(self) -> None:
        """Let it free the layer's arrays."""
        with contextlib.suppress(RivalFailedError):
            self.ask("drop")

    def close(self) -> None:
        """It ends when nothing more can come."""
        self._release()
        self.process.wait()

    def _release(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@dataclasses.dataclass(frozen=True)
class Remote:
    """One pass of one column: sampled over there, on the rival's own clock."""

    process: Process
    column: str
    pass_name: str

    @property
    def name(self) -> str:
        return self.column + self.process.suffix

    def sample(self, calls: int, warm: int) -> float:
        answer = self.process.ask("sample", name=self.column, pass_name=self.pass_name, calls=calls, warm=warm)
        self.process.settle()
        return float(answer["seconds"])


def available(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of these are installed, and which are not."""
    found = [key for key in keys if any(kind.available() for kind in RIVALS[key])]
    return found, [key for key in keys if key not in found]


def start(keys: Sequence[str], threads: int, keep_memory: bool) -> list[Process]:
    """A process for each; two where results come from malloc, one of them told to keep memory, unless all are."""
    processes = []
    for key in keys:
        if any(kind.uses_malloc for kind in RIVALS[key]) and not keep_memory:
            processes.append(Process(key, threads, keep_memory=False))
            processes.append(Process(key, threads, keep_memory=True))
        else:
            processes.append(Process(key, threads, keep_memory))
    return processes


def versions(keys: Sequence[str]) -> dict[str, str]:
    return {kind.package: kind.version() for key in keys for kind in RIVALS[key]}
