"""One command for a machine with a GPU: build, test, ceilings, our kernels against cuDNN, table and JSON.

python benchmarks/gpu/run.py --json results.json

It needs nvcc, a GPU and PyTorch with CUDA, and says which of them is missing. Ten minutes at most on an H200.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "python")]

from gpu.layers import Case, cases  # noqa: E402  # the path comes first
from gpu.rotation import rotation  # noqa: E402
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


def test() -> str:
    """The tests that need a GPU, which may not skip for want of one; the last line of pytest."""
    environment = {**os.environ, "FASTCONV_REQUIRE_GPU": "1", "PYTHONPATH": str(ROOT / "python")}
    done = run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"], cwd=ROOT, env=environment,
               capture_output=True)  # fmt: skip
    print(done.stdout[-3000:], done.stderr[-2000:])
    if done.returncode:
        raise SystemExit("gpu benchmark: stopped, the tests on the GPU failed; a wrong kernel is not timed")
    return done.stdout.strip().splitlines()[-1]


def machine(torch: Any, tests: str) -> dict[str, Any]:
    commit = run(["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"], capture_output=True)
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": properties.L2_cache_size,
        "driver": driver().get("driver_version", ""),
        "cuda of PyTorch": torch.version.cuda,
        "PyTorch": torch.__version__,
        "cuDNN": torch.backends.cudnn.version(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "tests": tests,
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def rows(torch: Any, chosen: list[Case], rounds: int, limit_s: float) -> list[dict[str, Any]]:
    """Every case that there is time for; each is checked first."""
    lanes = importlib.import_module("gpu.lanes")
    properties = torch.cuda.get_device_properties(0)
    found: list[dict[str, Any]] = []
    start = time.monotonic()
    for case in chosen:
        row: dict[str, Any] = {"case": case.as_dict(), "bytes": case.bytes, "flops": case.flops, "lanes": {}}
        found.append(row)
        if time.monotonic() - start > limit_s:
            row["refused"] = "not run: out of time"
            continue
        try:
            row["error"] = lanes.check(torch, case)
        except RuntimeError as reason:  # a launch that failed, or no memory: the others are measured all the same
            row["refused"] = f"not run: {reason}"
            continue
        if not row["error"] < ERROR_LIMITS[case.precision]:
            row["refused"] = f"WRONG: error {row['error']:.1e}, not timed"
            continue
        turn = rotation(case.bytes, properties.L2_cache_size, properties.total_memory)
        times, row["missing"] = lanes.measure(torch, case, turn, rounds)
        row["lanes"] = {name: {**vars(s), "steady": s.steady} for name, s in times.items()}
        row["rotation"] = vars(turn)
        torch.cuda.empty_cache()
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--only", default="", help="cases whose name or operation holds this text")
    parser.add_argument("--rounds", type=int, default=24, help="replays of every lane")
    parser.add_argument("--limit-s", type=float, default=300, help="seconds for the layer table")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once")
    parser.add_argument("--no-build", action="store_true", help="the modules are built already")
    parser.add_argument("--deterministic", action="store_true", help="cuDNN's deterministic algorithms only")
    parser.add_argument("--table", type=Path, metavar="JSON", help="measure nothing, print what a file holds")
    options = parser.parse_args(arguments)
    if options.table:
        print("\n".join(report_lines(json.loads(options.table.read_text(encoding="utf-8")))))
        return 0
    reason = why_not()
    if reason:
        print(f"gpu benchmark: not run, {reason}", file=sys.stderr)
        return 2
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # float32 against float32
    torch.backends.cudnn.deterministic = options.deterministic
    if not options.no_build:
        build(torch.cuda.get_device_capability(0), options.jobs)
    tests = test()
    lanes = importlib.import_module("gpu.lanes")
    before = driver()
    chosen = [case for case in cases() if options.only in case.name or options.only in case.op]
    report = {
        "machine": machine(torch, tests),
        "ceilings": lanes.ceilings(torch),
        "rows": rows(torch, chosen, options.rounds, options.limit_s),
        "clocks": {"before": before, "after": driver()},
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print("\n".join(report_lines(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
