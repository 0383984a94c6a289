"""Measure convolution layers: `python benchmarks/run.py`, with NumPy alone in under three minutes.

Every result is checked before it is timed. Columns: median time and its spread (median absolute deviation), GFLOP/s
counted as the direct algorithm, the share of the multiply-add rate measured in turns with the call, the smallest
possible memory traffic and its share of the copy bandwidth, then how many times longer than ours each rival takes.
benchmarks/README.md tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import compare
import contestants
import fastconv
import machine
import measure
import peak
import shapes
import summary
from arrays import PASSES
from contestants import BIND_THREADS, CPUS, KEEP_MEMORY
from rivals import RIVALS
from table import NOISY, Table


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--layers", default="", help="names or parts of names, comma-separated (default: a short list)")
    what.add_argument("--families", nargs="+", choices=shapes.FAMILIES, default=[], metavar="FAMILY")
    what.add_argument("--full", action="store_true", help="all layers, batch 1, 8 and 64 where sensible")
    what.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: 1, or 1 8 64 with --full)")
    what.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
    how = parser.add_argument_group("how")
    how.add_argument("--threads", type=int, nargs="+", default=[fastconv.get_num_threads()])
    how.add_argument("--isa", nargs="+", default=[fastconv.isa_active()], choices=fastconv.isa_available())
    how.add_argument("--algo", nargs="+", default=["auto"], help="of ours; a second one becomes a column")
    how.add_argument("--layout", choices=("NCHW", "NHWC"), default="NHWC", help="of our arrays (default: NHWC)")
    how.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    how.add_argument("--packed", action="store_true", help="prepare our weights once, as a model does")
    how.add_argument("--rounds", type=int, default=9, help="samples of each contestant (default: 9)")
    whom = parser.add_argument_group("against whom")
    whom.add_argument("--rivals", nargs="*", choices=[key for key in RIVALS if key != "numpy"], default=[])
    whom.add_argument("--no-numpy", action="store_true", help="leave NumPy out")
    whom.add_argument("--keep-memory", action="store_true", help="glibc's malloc keeps freed memory, for everybody")
    whom.add_argument("--twice", action="store_true", help="each contestant twice: both figures must agree")
    files = parser.add_argument_group("files")
    files.add_argument("--json", type=Path, help="write everything measured to this file, layer by layer")
    files.add_argument("--resume", action="store_true", help="leave out what the --json file holds already")
    files.add_argument("--redo-noisy", action="store_true", help="--resume, and measure again where others disturbed")
    files.add_argument("--stop-after", type=float, metavar="SECONDS", help="begin no layer after this time")
    files.add_argument("--pictures", type=Path, metavar="DIR", help="draw a roofline and bars (needs matplotlib)")
    files.add_argument("--summary", type=Path, nargs="+", metavar="JSON", help="measure nothing, sum up these files")
    files.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="exit 1 if AFTER is slower")
    files.add_argument("--threshold", type=float, default=0.1, help="of --compare (default: 0.1)")
    arguments = parser.parse_args(words)
    arguments.resume |= arguments.redo_noisy
    if arguments.resume and not arguments.json:
        parser.error("--resume and --redo-noisy need --json")
    return arguments


def layers_of(arguments: argparse.Namespace) -> list[shapes.Layer]:
    if arguments.full:
        chosen = shapes.select(arguments.layers, arguments.batch or shapes.BATCHES, arguments.families)
        return [layer for layer in chosen if shapes.is_sensible(layer)]
    if arguments.layers or arguments.families:
        return shapes.select(arguments.layers, arguments.batch or [1], arguments.families)
    if arguments.batch:
        return [
            layer.of_batch(batch)
            for layer in dict.fromkeys(x.of_batch(1) for x in shapes.SHORT)
            for batch in arguments.batch
        ]
    return shapes.SHORT


@contextmanager
def settings_of(arguments: argparse.Namespace, rivals: list[str]) -> Iterator[list[measure.Setting]]:
    """Every instruction set on every number of threads; rivals' processes live as long."""
    settings = []
    processes = {n: contestants.start(rivals, n, arguments.keep_memory) for n in arguments.threads}
    try:
        for isa in arguments.isa:
            for threads in arguments.threads:
                fastconv.set_isa(isa)
                fastconv.set_num_threads(threads)
                limits = peak.measure(arguments.dtype)
                settings.append(measure.Setting(isa, threads, limits, processes[threads]))
                print(
                    f"{isa}, {threads} thread{'s' * (threads > 1)}, {arguments.dtype}, {arguments.layout}: "
                    f"multiply-add peak {limits.flops_per_s / 1e9:.1f} GFLOP/s, "
                    f"copy {limits.copy_bytes_per_s / 1e9:.1f} GB/s"
                )
        yield settings
    finally:
        for process in (one for group in processes.values() for one in group):
            process.close()


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, print and store; the reports that the summary is made of."""
    rivals, missing = contestants.available([*([] if arguments.no_numpy else ["numpy"]), *arguments.rivals])
    for key in missing:
        print(f"{key}: not installed, left out")
    report: dict[str, Any] = {"machine": machine.facts(), "arguments": vars(arguments), "limits": [], "rows": []}
    if arguments.resume and arguments.json.exists():
        report["rows"] = rows_to_keep(load([arguments.json])[0]["rows"], arguments.redo_noisy)
    done = {measure.key_of(row) for row in report["rows"]}
    start = time.monotonic()
    table = Table()
    with settings_of(arguments, rivals) as settings:
        report["limits"] = [
            {"isa": setting.isa, "threads": setting.threads} | setting.peak.as_dict() for setting in settings
        ]
        report["versions"] = contestants.versions(rivals)
        options = measure.Options(
            arguments.passes,
            arguments.algo,
            arguments.layout,
            arguments.dtype,
            arguments.packed,
            arguments.rounds,
            arguments.twice,
        )
        layers = layers_of(arguments)
        for index, layer in enumerate(layers):
            if arguments.stop_after and time.monotonic() - start > arguments.stop_after:
                print(f"stopped after {index} of {len(layers)} layers; go on with --resume")
                break
            todo = [setting for setting in settings if measure.key(layer, setting, options) not in done]
            for row in measure.measure(layer, todo, options) if todo else ():
                table.add(row)
                report["rows"].append(row)
            if arguments.json and todo:
                store(report, arguments.json)
    return [report]


def rows_to_keep(rows: list[measure.Row], redo_noisy: bool) -> list[measure.Row]:
    """All passes of a measurement, or none of them."""
    noisy = {measure.key_of(row) for row in rows if redo_noisy and row["others_busy"] > NOISY}
    return [row for row in rows if measure.key_of(row) not in noisy]


def store(report: dict[str, Any], file: Path) -> None:
    """Whole or not at all: a run may be cut off."""
    draft = file.with_name(file.name + ".part")
    draft.write_text(json.dumps(report, indent=1, default=str), encoding="utf-8")
    draft.replace(file)


def settle_environment(keep_memory: bool) -> None:
    """Start again with the variables that must stand before libraries are loaded."""
    wanted = dict(KEEP_MEMORY) if keep_memory else {}
    if "OMP_PROC_BIND" not in os.environ:
        wanted |= BIND_THREADS | {CPUS: contestants.cpu_list(), "OPENBLAS_NUM_THREADS": "1"}
        wanted["FASTCONV_NUM_THREADS"] = str(fastconv.get_num_threads())  # as it is before threads are bound
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ) | wanted)


def load(files: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def main() -> int:
    arguments = parse_arguments()
    if arguments.compare:
        before, after = load(arguments.compare)
        return compare.compare(before, after, arguments.threshold)
    if arguments.summary:
        reports = load(arguments.summary)
    else:
        settle_environment(arguments.keep_memory)
        print(fastconv.info())
        reports = run(arguments)
    results = summary.collect(reports)
    print(summary.text(results))
    if arguments.pictures:
        import pictures

        for file in pictures.draw(results, arguments.pictures):
            print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
