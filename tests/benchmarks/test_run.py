"""A tiny layer through the whole path, without rivals: measured, stored, resumed, summed up, compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
SMALL = ["--layers", "lenet5/conv2", "--rounds", "2", "--threads", "1"]


def run(*words: str | Path, code: int = 0) -> str:
    if not RUN.exists():
        pytest.skip("the benchmarks are not part of this copy")
    # The suite binds threads, which this process may not want to pass on.
    done = subprocess.run(
        [sys.executable, str(RUN), *map(str, words)], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def scaled(report: Path, target: Path, factor: float) -> Path:
    """A copy of the report in which we take `factor` times as long."""
    data = json.loads(report.read_text(encoding="utf-8"))
    for row in data["rows"]:
        row["times"]["fastconv"]["median_s"] *= factor
    target.write_text(json.dumps(data), encoding="utf-8")
    return target


def test_measure_store_and_compare(tmp_path: Path) -> None:
    report = tmp_path / "a.json"
    text = run(*SMALL, "--json", report)
    assert "lenet5/conv2" in text
    assert "geometric mean" in text
    data = json.loads(report.read_text(encoding="utf-8"))
    assert [row["pass"] for row in data["rows"]] == ["forward", "backward_input", "backward_weight"]
    forward = data["rows"][0]
    assert forward["family"] == "few channels"
    assert forward["flops"] == 2 * 16 * 10 * 10 * 6 * 25
    assert {"fastconv", "numpy", "numpy loop"} == set(forward["times"])
    assert forward["times"]["fastconv"]["samples"] == 2
    assert forward["peak_share"] > 0
    assert data["machine"]["cores"] >= 1

    assert "few channels" in run("--summary", report, report)
    assert "0 slower, 0 faster" in run("--compare", report, report)
    slower = scaled(report, tmp_path / "slower.json", 1.5)
    assert "3 slower" in run("--compare", report, slower, code=1)
    assert "3 faster" in run("--compare", slower, report)
    assert "0 slower" in run("--compare", report, slower, "--threshold", "0.4")

    data["rows"][1]["others_busy"] = 0.5  # "noisy": all its passes are measured again
    for row in data["rows"]:
        row["mark"] = True
    report.write_text(json.dumps(data), encoding="utf-8")
    run(*SMALL, "--json", report, "--redo-noisy")
    assert not any("mark" in row for row in json.loads(report.read_text(encoding="utf-8"))["rows"])

    before = report.read_text(encoding="utf-8")
    run(*SMALL, "--json", report, "--resume")
    assert json.loads(report.read_text(encoding="utf-8"))["rows"] == json.loads(before)["rows"]


def test_every_pass_and_dtype_is_checked() -> None:
    text = run(
        "--layers", "tf_mnist/conv2", "--rounds", "1", "--threads", "1", "--dtype", "float64", "--layout", "NCHW"
    )
    assert "tf_mnist/conv2" in text
