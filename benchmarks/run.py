"""Measure convolution layers: `python benchmarks/run.py`, with NumPy alone in under three minutes.

Every result is checked before it is timed. Columns: median time and its spread (median absolute deviation), GFLOP/s
counted as the direct algorithm, the share of the multiply-add rate measured in turns with the call, and how many times
faster than NumPy's im2col (forward) and the rivals.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import contestants
import peak
import shapes
import timing

import fastconv

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", help="parts of layer names, comma-separated (default: a short selection)")
    parser.add_argument("--full", action="store_true", help="all layers, batch 1, 8 and 64 where sensible")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="batch sizes for --layers (default: 1)")
    parser.add_argument("--passes", nargs="+", choices=contestants.PASSES, default=list(contestants.PASSES))
    parser.add_argument("--threads", type=int, nargs="+", default=[fastconv.get_num_threads()])
    parser.add_argument("--isa", nargs="+", default=[fastconv.isa_active()], choices=fastconv.isa_available())
    parser.add_argument("--layout", choices=("NCHW", "NHWC"), default="NHWC", help="of our arrays (default: NHWC)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--packed", action="store_true", help="prepare our weights once, as a model does")
    parser.add_argument("--rivals", nargs="*", choices=("torch",), default=[], help="measure these too")
    parser.add_argument("--no-numpy", action="store_true", help="leave NumPy's im2col out")
    parser.add_argument(
        "--keep-memory", action="store_true", help="tell malloc to keep freed memory (glibc), for everybody"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    return parser.parse_args()


def layers_of(arguments: argparse.Namespace) -> list[shapes.Layer]:
    if arguments.layers:
        return shapes.select(arguments.layers, arguments.batch)
    if arguments.full:
        return [layer for layer in shapes.select() if shapes.is_sensible(layer)]
    return shapes.SHORT


def measure(layer: shapes.Layer, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All passes of one layer, all contestants in turns."""
    arrays = contestants.Arrays(layer, arguments.dtype)
    ours = contestants.ours(layer, arrays, arguments.layout, arguments.packed)
    contestants.check(layer, arrays, ours, arguments.layout)
    rivals = {
        name: make(layer, arrays) for name, make in contestants.RIVALS.items() if name.split()[0] in arguments.rivals
    }
    flops = contestants.geometry(layer).flops
    rows = []
    for name in arguments.passes:
        candidates = {"fastconv": ours[name]} | {rival: calls[name] for rival, calls in rivals.items()}
        if name == "forward" and not arguments.no_numpy:
            candidates["numpy"] = lambda: contestants.numpy_forward(layer, arrays)
        multiply_adds, peak_flops = peak.multiply_adds(arguments.dtype)
        times = timing.interleaved(candidates | {"peak": multiply_adds}, arguments.rounds)
        rate = peak_flops / times.pop("peak").median_s
        rows.append(
            {
                "layer": layer.label,
                "pass": name,
                "threads": fastconv.get_num_threads(),
                "isa": fastconv.isa_active(),
                "flops": flops,
                "peak_flops_per_s": rate,
                "peak_share": flops / times["fastconv"].median_s / rate,
                "times": {who: time.as_dict() for who, time in times.items()},
            }
        )
    return rows


def print_row(row: dict[str, Any]) -> None:
    own = row["times"]["fastconv"]
    ratios = "  ".join(
        f"{who} x{time['median_s'] / own['median_s']:.2f}" for who, time in row["times"].items() if who != "fastconv"
    )
    print(
        f"{row['layer']:<30} {row['pass']:<16} {own['median_s'] * 1e3:>9.3f} ms ±{own['mad_s'] / own['median_s']:>4.0%}"
        f" {row['flops'] / own['median_s'] / 1e9:>8.1f} GFLOP/s {row['peak_share']:>5.0%} of peak   {ratios}",
        flush=True,
    )


def main() -> None:
    arguments = parse_arguments()
    if arguments.keep_memory and any(os.environ.get(name) != value for name, value in KEEP_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ) | KEEP_MEMORY)
    print(fastconv.info())
    report: dict[str, Any] = {"info": fastconv.info().as_dict(), "arguments": vars(arguments), "runs": []}
    for isa in arguments.isa:
        fastconv.set_isa(isa)
        for threads in arguments.threads:
            fastconv.set_num_threads(threads)
            machine = peak.measure(arguments.dtype)
            print(
                f"\n{isa}, {threads} thread{'s' * (threads > 1)}, {arguments.dtype}, {arguments.layout}: "
                f"multiply-add peak {machine.flops_per_s / 1e9:.1f} GFLOP/s, "
                f"copy (1 thread) {machine.copy_bytes_per_s / 1e9:.1f} GB/s"
            )
            rows = []
            for layer in layers_of(arguments):
                for row in measure(layer, arguments):
                    print_row(row)
                    rows.append(row)
            report["runs"].append({"isa": isa, "threads": threads, "peak": machine.as_dict(), "rows": rows})
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
