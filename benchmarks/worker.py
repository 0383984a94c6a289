"""A rival's process: reads requests as lines of JSON, answers with lines of JSON. Started by contestants.py.

A process of its own gives each rival its own thread pool, its own environment and its own malloc. It computes only
while it is asked to, so contestants take turns.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import timing
import truth
from arrays import PASSES, Arrays
from contestants import CPUS
from rivals import RIVALS, NotOfferedError, Rival
from shapes import Layer
from threads import release, spread


def layer_from(fields: dict[str, Any]) -> Layer:
    """Back from JSON, which has lists for tuples."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Layer(**values)


class Worker:
    def __init__(self, key: str) -> None:
        self.classes = RIVALS[key]
        self.rivals: dict[str, Rival] = {}

    def prepare(self, layer: dict[str, Any], folder: str, threads: int) -> dict[str, Any]:
        """Build every column of this rival; says which passes each offers, and why a column is missing."""
        self.drop()
        cpus = [int(cpu) for cpu in os.environ[CPUS].split(",")]
        if not all(kind.uses_openmp for kind in self.classes):
            release(cpus)
        arrays = Arrays.load(Path(folder))
        refused = {}
        for kind in self.classes:
            try:
                rival = kind(layer_from(layer), arrays, threads)
            except NotOfferedError as error:
                refused[kind.name] = str(error)
                continue
            self.rivals[kind.name] = rival
            if threads > 1 and not kind.uses_openmp and rival.forward:
                spread(rival.forward, cpus[:threads])
        passes = {name: [p for p in PASSES if rival.call(p)] for name, rival in self.rivals.items()}
        return {"passes": passes, "refused": refused}

    def check(self, folder: str, name: str, pass_name: str) -> dict[str, Any]:
        """The largest difference to the stored result, as a part of its largest value."""
        expected = np.load(Path(folder) / f"{pass_name}.npy", mmap_mode="r")
        result = self.rivals[name].as_array(self._call(name, pass_name)())
        return {"error": truth.relative_error(result, expected)}

    def sample(self, name: str, pass_name: str, calls: int, warm: int) -> dict[str, Any]:
        return {"seconds": timing.sample(self._call(name, pass_name), calls, warm)}

    def drop(self) -> dict[str, Any]:
        self.rivals.clear()
        return {}

    def _call(self, name: str, pass_name: str) -> Callable[[], Any]:
        call = self.rivals[name].call(pass_name)
        assert call is not None
        return call


def main() -> None:
    os.sched_setaffinity(0, map(int, os.environ[CPUS].split(",")))  # not the parent's one core
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints does not mix with our answers
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
