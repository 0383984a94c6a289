"""One command for a machine with a GPU: build, test, measure ceilings, our kernels against cuDNN, and small networks.

python benchmarks/gpu/run.py

It writes benchmarks/results/<device>-<date>.json with a picture beside it, and prints tables. It needs nvcc, a GPU and
PyTorch with CUDA, and says which of them is missing. Models need CuPy: without it the rest is measured. Ten minutes at
most on an H200; what is measured is kept after each part. Exit code 0: all was measured; 1: a test on the GPU failed,
and what is right was measured; 2: nothing was; 3: something was not, or came out wrong, and is named.

--dry-run needs no GPU: the emulator and PyTorch's CPU compute tiny cases, to see that this script runs to its end.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "python")]

from gpu.layers import Case, cases, tiny  # noqa: E402  # the path comes first
from gpu.place import DryRun, Gpu  # noqa: E402
from gpu.table import report_lines  # noqa: E402

# Against float64 of the numbers as they are stored, in the 2-norm.
ERROR_LIMITS = {"ieee": 2e-6, "tf32": 5e-4, "tf32x3": 4e-6, "float16": 1e-3, "bfloat16": 4e-3}


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, check=False, **options)


def driver() -> dict[str, str]:
    """What nvidia-smi says of the first device; empty where there is none."""
    fields = "name,driver_version,clocks.sm,clocks.mem,power.limit,temperature.gpu"
    try:
        done = run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", "-i", "0"], capture_output=True)
    except OSError:
        return {}
    if done.returncode:
        return {}
    return dict(zip(fields.split(","), (cell.strip() for cell in done.stdout.split(",")), strict=False))


def why_not() -> str | None:
    """What is missing to measure, or None. Asked before anything is built."""
    if not driver():
        return "there is no NVIDIA GPU with a driver here (nvidia-smi finds none)"
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "PyTorch is not installed; cuDNN is measured through it (pip install torch)"
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no GPU: install a build with CUDA"
    return None


def architecture(capability: tuple[int, int]) -> str:
    """For CMAKE_CUDA_ARCHITECTURES: code for this GPU alone."""
    number = f"{capability[0]}{capability[1]}"
    return f"{number}a-real" if number == "90" else f"{number}-real"


def build(capability: tuple[int, int], jobs: int) -> None:
    """Both modules, for this GPU, into the checkout's python folder."""
    import pybind11

    folder = ROOT / "build" / "gpu"
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "FASTCONV_CUDA": "ON",
        "FASTCONV_CUDA_ARCHITECTURES": architecture(capability),
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "Python_EXECUTABLE": sys.executable,
    }
    configure = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(folder),
        "-G",
        "Ninja",
        *(f"-D{k}={v}" for k, v in options.items()),
    ]
    for command in (configure, ["cmake", "--build", str(folder), "-j", str(jobs)]):
        if run(command).returncode:
            raise SystemExit(f"gpu benchmark: stopped, this failed: {' '.join(command)}")
    for module in folder.glob("_c*.so"):
        (ROOT / "python" / "fastconv" / module.name).write_bytes(module.read_bytes())


def run_tests(name: str, files: list[str], limit_s: float) -> tuple[bool, str]:
    """Tests that need a GPU, which may not skip for want of one: whether all passed, and the last line of pytest."""
    environment = {**os.environ, "FASTCONV_REQUIRE_GPU": "1", "PYTHONPATH": str(ROOT / "python")}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *files]
    try:
        done = run(command, cwd=ROOT, env=environment, capture_output=True, timeout=limit_s)
    except subprocess.TimeoutExpired:  # a kernel that waits for ever cannot be stopped from within
        return False, f"{name}: stopped after {limit_s:.0f} s"
    print(done.stdout[-3000:], done.stderr[-2000:])
    lines = done.stdout.strip().splitlines()
    return done.returncode == 0, f"{name}: {lines[-1] if lines else f'exit status {done.returncode}'}"


def test() -> tuple[bool, str]:
    """All tests on the GPU. Where those of wgmma fail, its kernels are switched off for what follows."""
    hopper, others = (
        run_tests("wgmma", ["tests/gpu/test_hopper.py"], 90),
        run_tests("others", ["tests/gpu", "--ignore=tests/gpu/test_hopper.py"], 120),
    )
    text = f"{hopper[1]}; {others[1]}"
    if not hopper[0]:
        os.environ["FASTCONV_CUDA_WGMMA"] = "0"
        text += "; kernels with wgmma are switched off here"
    return hopper[0] and others[0], text


def _first_line(command: list[str], pattern: str) -> str:
    try:
        done = run(command, capture_output=True)
    except OSError:
        return ""
    found = re.search(pattern, done.stdout)
    return found[1] if found else ""


def machine(gpu: Gpu, tests: str) -> dict[str, Any]:
    """What the figures depend on."""
    import numpy as np

    import fastconv

    torch = gpu.torch
    return {
        **gpu.facts(),
        "driver": driver().get("driver_version", ""),
        "nvcc": _first_line(["nvcc", "--version"], r"release [\d.]+, V([\d.]+)"),
        "cuda of PyTorch": torch.version.cuda,
        "PyTorch": torch.__version__,
        "cuDNN": torch.backends.cudnn.version(),
        "CuPy": getattr(gpu.cupy, "__version__", "") if gpu.cupy else f"missing: {gpu.no_cupy}",
        "fastconv": fastconv.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "host": platform.platform(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "tests": tests,
        "commit": _first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"], r"(\S+)"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def rows(gpu: Gpu, chosen: list[Case], rounds: int, limit_s: float) -> list[dict[str, Any]]:
    """Every case that there is time for; each is checked first."""
    lanes = importlib.import_module("gpu.lanes")
    found: list[dict[str, Any]] = []
    start = time.monotonic()
    for case in chosen:
        row: dict[str, Any] = {"case": case.as_dict(), "bytes": case.bytes, "flops": case.flops, "lanes": {}}
        found.append(row)
        if time.monotonic() - start > limit_s:
            row["refused"] = "not run: out of time"
            continue
        try:
            row["error"] = lanes.check(gpu, case)
        except RuntimeError as reason:  # a launch that failed, or no memory: the others are measured all the same
            row["refused"] = f"not run: {reason}"
            continue
        if not row["error"] < ERROR_LIMITS[case.precision]:
            row["refused"] = f"WRONG: error {row['error']:.1e}, not timed"
            continue
        turn = gpu.rotation(case)
        times, row["missing"] = lanes.measure(gpu, case, turn, rounds)
        row["lanes"] = {name: {**vars(s), "steady": s.steady} for name, s in times.items()}
        row["rotation"] = vars(turn)
        gpu.tidy()
    return found


def host_rows(
    part: str, gpu: Gpu, only: str, rounds: int, calls: int, limit_s: float, dry: bool
) -> list[dict[str, Any]]:
    """Every case of `gpu.calls` or `gpu.training` that there is time for."""
    module = importlib.import_module(f"gpu.{part}")
    found: list[dict[str, Any]] = []
    start = time.monotonic()
    for case in dict.fromkeys(module.tiny(case) if dry else case for case in module.cases()):
        if only not in case.name and only not in part:
            continue
        if time.monotonic() - start > limit_s:
            found.append({"case": {"name": case.name}, "lanes": {}, "refused": "not run: out of time"})
            continue
        found.append(module.row(gpu, case, rounds, calls))
        gpu.tidy()
    return found


def missing(report: dict[str, Any], gpu: Gpu) -> list[str]:
    """What a complete run would have, in words."""
    found = []
    for part in ("rows", "calls", "training"):
        for row in report[part]:
            name = f"{row['case']['name']} {row['case'].get('op', '')}".strip()
            reasons = {name: row["refused"]} if "refused" in row else {}
            reasons |= {f"{name}, {lane}": why for lane, why in row.get("missing", {}).items()}
            found += [f"{what}: {why.removeprefix('not run: ')}" for what, why in reasons.items()]
    if gpu.cupy is None:  # once, not for every row
        found = [gpu.no_cupy, *(line for line in found if gpu.no_cupy not in line)]
    return found


def result_path(machine: dict[str, Any]) -> Path:
    """Where a run is kept: device and day, with the time where there is one of that day already."""
    device = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-")
    day, _, time_of_day = machine["date"].partition("T")
    path = HERE.parent / "results" / f"{device}-{day}.json"
    return path.with_stem(f"{path.stem}-{time_of_day[:8].replace(':', '')}") if path.exists() else path


def write(report: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1), encoding="utf-8")


def picture(report: dict[str, Any], path: Path) -> None:
    try:
        importlib.import_module("gpu.picture").draw(report, path)
    except ImportError as error:
        print(f"no picture, matplotlib is not installed ({error}); pip install '.[bench]'")
    else:
        print(f"written: {path}")


def measure(
    gpu: Gpu, options: argparse.Namespace, tests: str, left: Callable[[], float], keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """The whole report, kept after each part; `left` tells the seconds that there are."""
    lanes = importlib.import_module("gpu.lanes")
    dry = options.dry_run
    layers = [tiny(case) for case in cases() if case.precision != "bfloat16"] if dry else cases()  # NumPy has none
    chosen = [case for case in layers if options.only in case.name or options.only in case.op]
    sizes = {"rounds": 2, "elements": 1 << 10, "size": 16} if dry else {}
    host: dict[str, Any] = {"gpu": gpu, "only": options.only, "rounds": options.rounds, "dry": dry}
    report: dict[str, Any] = {
        "dry_run": dry,
        "machine": machine(gpu, tests),
        "clocks": {"before": driver()},
        "ceilings": lanes.ceilings(gpu, **sizes),
        "calls": [],
        "training": [],
        "rows": [],
    }
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "calls": lambda: host_rows("calls", calls=2 if dry else 100, limit_s=min(40, left()), **host),
        "training": lambda: host_rows("training", calls=2 if dry else 20, limit_s=min(120, left()), **host),
        "rows": lambda: rows(gpu, chosen, options.rounds, min(options.limit_s, left())),
    }
    for name, part in parts.items():
        keep(report)
        report[name] = part()
    report["clocks"]["after"] = driver()
    report["missing"] = missing(report, gpu)
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures here, and the picture beside it")
    parser.add_argument("--only", default="", help="cases whose name or operation holds this text")
    parser.add_argument("--rounds", type=int, default=24, help="samples of every lane")
    parser.add_argument("--limit-s", type=float, default=240, help="seconds for the layer table")
    parser.add_argument("--total-s", type=float, default=570, help="seconds for everything, building included")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once")
    parser.add_argument("--no-build", action="store_true", help="the modules are built already")
    parser.add_argument("--dry-run", action="store_true", help="no GPU, tiny cases, times that mean nothing")
    parser.add_argument("--table", type=Path, metavar="JSON", help="measure nothing, print what a file holds")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="with --table: draw it, too")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    if options.table:
        report = json.loads(options.table.read_text(encoding="utf-8"))
        print("\n".join(report_lines(report)))
        if options.picture:
            picture(report, options.picture)
        return 0
    reason = None if options.dry_run else why_not()
    if reason:
        print(f"gpu benchmark: not run, {reason}", file=sys.stderr)
        return 2
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 against float32
    passed, tests = True, "none: a dry run"
    if not options.dry_run:
        if not options.no_build:
            build(torch.cuda.get_device_capability(0), options.jobs)
        passed, tests = test()
    path: Path | None = options.json

    def left() -> float:
        return float(options.total_s - (time.monotonic() - start))

    def keep(report: dict[str, Any]) -> None:
        nonlocal path
        path = path or (None if options.dry_run else result_path(report["machine"]))
        if path is not None:
            write(report, path)

    gpu = DryRun(torch, ROOT / "tests") if options.dry_run else Gpu(torch)
    try:
        report = measure(gpu, options, tests, left, keep)
    finally:
        if isinstance(gpu, DryRun):
            gpu.close()
    keep(report)
    if path is not None:
        print(f"written: {path}")
        picture(report, path.with_suffix(".png"))
    print("\n".join(report_lines(report)))
    if report["missing"]:
        print(f"gpu benchmark: {len(report['missing'])} not measured, see the end of the table", file=sys.stderr)
    if not passed:
        print(f"gpu benchmark: tests on the GPU failed ({tests}); a case is timed if it is right", file=sys.stderr)
        return 1
    return 3 if report["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
