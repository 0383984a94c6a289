"""One layer, all contestants in turns: results checked first, then times, as rows of plain data."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import fastconv
import machine
import ours
import peak
import timing
import truth
from arrays import PASSES, Array, Arrays
from contestants import Process, Remote, RivalFailedError
from shapes import Layer

Row: TypeAlias = dict[str, Any]
Candidates: TypeAlias = dict[str, timing.Candidate]
LIMIT_S = 6.0  # of one pass of one layer, after three rounds


@dataclass(frozen=True)
class Setting:
    """On what our code runs, what the machine can do with it, and the rivals of that thread count."""

    isa: str
    threads: int
    peak: peak.Peak
    processes: Sequence[Process] = field(default=())


@dataclass(frozen=True)
class Options:
    passes: Sequence[str] = PASSES
    algos: Sequence[str] = ("auto",)
    layout: str = "NHWC"
    dtype: str = "float32"
    packed: bool = False
    rounds: int = 9
    twice: bool = False  # measure every contestant a second time: both must agree


@contextmanager
def shared_folder() -> Iterator[Path]:
    """In memory where the system has such a place."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="fastconv-bench-", dir=memory if memory.is_dir() else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


class LayerRun:
    """One layer through all settings: arrays and reference are made once."""

    def __init__(self, layer: Layer, options: Options, folder: Path) -> None:
        self.layer, self.options, self.folder = layer, options, folder
        self.arrays = Arrays.random(layer, options.dtype)
        self.reference = truth.Reference(layer, self.arrays)
        self.stored = False

    def measure(self, setting: Setting) -> Iterator[Row]:
        fastconv.set_isa(setting.isa)
        fastconv.set_num_threads(setting.threads)
        candidates, refused = self._ours()
        for process in setting.processes:
            remotes, missing = process.prepare(self.layer, self.folder, self._limits())
            refused |= missing
            for remote in remotes:
                candidates[remote.pass_name][remote.name] = remote
        for pass_name in self.options.passes:
            if "fastconv" in candidates[pass_name]:
                yield self._row(setting, pass_name, candidates[pass_name], refused)
        for process in setting.processes:
            process.forget()

    def _limits(self) -> dict[str, float]:
        """Both we and the rival may be off by the bound."""
        return {name: 2 * truth.bound(self.layer, name, self.options.dtype) for name in self.options.passes}

    def _ours(self) -> tuple[dict[str, Candidates], dict[str, str]]:
        """Our contestants by pass, checked: the first algorithm is `fastconv`, further ones carry their names."""
        candidates: dict[str, Candidates] = {pass_name: {} for pass_name in PASSES}
        refused: dict[str, str] = {}
        for algo in self.options.algos:
            name = "fastconv" if algo == self.options.algos[0] else f"fastconv {algo}"
            calls = ours.calls(self.layer, self.arrays, self.options.layout, self.options.packed, algo)
            results = {}
            for pass_name in PASSES:
                try:
                    result = calls[pass_name]()
                except (ValueError, NotImplementedError) as error:
                    refused[f"fastconv {algo}, {pass_name}"] = str(error)
                    continue
                results[pass_name] = ours.as_oracle_layout(pass_name, result, self.options.layout)
                candidates[pass_name][name] = calls[pass_name]
            truth.check(self.reference, results, self.options.dtype)
            self._store(results)
        return candidates, refused

    def _store(self, results: dict[str, Array]) -> None:
        """The first results, for the rivals to compare with."""
        if not self.stored:
            self.arrays.save(self.folder)
            self.stored = True
        for pass_name, result in results.items():
            file = self.folder / f"{pass_name}.npy"
            if not file.exists():
                np.save(file, result)

    def _row(self, setting: Setting, pass_name: str, contestants: Candidates, refused: dict[str, str]) -> Row:
        options = self.options
        candidates = dict(contestants)
        if options.twice:
            candidates |= {f"{who} again": candidate for who, candidate in contestants.items()}
        multiply_adds, peak_flops = peak.multiply_adds(options.dtype)
        load = machine.OthersLoad([process.process.pid for process in setting.processes])
        try:
            times = timing.interleaved(candidates | {"peak": multiply_adds}, options.rounds, LIMIT_S)
        except RivalFailedError as error:
            failed = {who: x for who, x in contestants.items() if isinstance(x, Remote) and x.process is error.process}
            others = {who: candidate for who, candidate in contestants.items() if who not in failed}
            return self._row(setting, pass_name, others, refused | dict.fromkeys(failed, str(error)))
        own = times["fastconv"].median_s
        rate = peak_flops / times.pop("peak").median_s
        traffic = self.layer.elements * self.arrays.input.itemsize
        algo = options.algos[0]
        return {
            "layer": self.layer.name,
            "batch": self.layer.batch,
            "family": self.layer.family,
            "pass": pass_name,
            "isa": setting.isa,
            "threads": setting.threads,
            "dtype": options.dtype,
            "layout": options.layout,
            "packed": options.packed,
            "algo": algo,
            "algorithm": ours.algorithm(self.layer, pass_name, options.dtype, options.layout, algo),
            "flops": self.layer.flops,
            "bytes": traffic,
            "peak_flops_per_s": rate,
            "peak_share": self.layer.flops / own / rate,
            "copy_bytes_per_s": setting.peak.copy_bytes_per_s,
            "copy_share": traffic / own / setting.peak.copy_bytes_per_s,
            "others_busy": load.share(),
            "times": {who: time.as_dict() for who, time in times.items()},
            "refused": refused,
        }


def key(layer: Layer, setting: Setting, options: Options) -> tuple[Any, ...]:
    """What names a measurement: these fields of its row."""
    return (
        layer.name,
        layer.batch,
        setting.isa,
        setting.threads,
        options.dtype,
        options.layout,
        options.packed,
        options.algos[0],
    )


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("layer", "batch", "isa", "threads", "dtype", "layout", "packed", "algo"))


def measure(layer: Layer, settings: Sequence[Setting], options: Options) -> Iterator[Row]:
    with shared_folder() as folder:
        run = LayerRun(layer, options, folder)
        for setting in settings:
            try:
                yield from run.measure(setting)
            except MemoryError:
                print(f"{layer.label}: not enough memory, left out", file=sys.stderr)
