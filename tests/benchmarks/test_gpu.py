"""The parts of the GPU benchmark that need no GPU: sizes, statistics, tables, and why it stops without one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Suite = Callable[[str], ModuleType]
L2, MEMORY = 60 << 20, 140 << 30


@pytest.mark.parametrize("size", [1, 1 << 16, 1 << 20, 1 << 26, 1 << 30, 1 << 36])
def test_rotation(suite: Suite, size: int) -> None:
    """Three caches full, or as many sets as calls and memory allow; and then it says so."""
    turn = suite("gpu.rotation").rotation(size, L2, MEMORY)
    assert turn.calls % turn.sets == 0
    assert 20 <= turn.calls <= 200
    assert turn.cold == (turn.sets * size >= 3 * L2)
    assert turn.cold == (size >= 1 << 20)
    assert turn.sets == 1 or turn.sets * size <= MEMORY // 16
    if turn.cold and turn.sets > 2:
        assert (turn.sets - 1) * size < 3 * L2


def test_statistics(suite: Suite) -> None:
    module = suite("gpu.rotation")
    found = module.summary([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    assert (found.median_s, found.mad_s, found.first_s, found.second_s) == (1.5, 0.5, 1.0, 2.0)
    assert not found.steady
    assert module.summary([1.0, 1.01, 1.0, 1.02]).steady
    with pytest.raises(ValueError, match="two samples"):
        module.summary([1.0])
    orders = module.orders(["a", "b", "c"], 50)
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len({tuple(order) for order in orders}) == 6


def test_cases_belong_to_classes_and_count_right(suite: Suite) -> None:
    layers = suite("gpu.layers")
    found = layers.cases()
    assert {case.kind for case in found} == set(layers.CLASSES)
    first = next(case for case in found if case.name == "3x3 64ch 56")
    assert first.flops == 2 * 64 * 56 * 56 * 64 * 64 * 9
    assert first.bytes == 4 * (2 * 64 * 64 * 56 * 56 + 64 * 64 * 9)
    assert next(case for case in found if case.op == "max-pool").out_hw == 28
    assert next(case for case in found if case.kind == "depthwise").flops == 2 * 64 * 144 * 56 * 56 * 9
    short = next(case for case in found if case.name == "3x3 64ch 56 float16")
    assert (short.bytes, short.flops) == (first.bytes // 2, first.flops)


def report(suite: Suite) -> dict[str, object]:
    layers = suite("gpu.layers")

    def lane(seconds: float) -> dict[str, object]:
        keys = ("median_s", "first_s", "second_s")
        return {**dict.fromkeys(keys, seconds), "mad_s": 0.0, "samples": 2, "steady": True}

    rows: list[dict[str, object]] = []
    for case in layers.cases():
        row: dict[str, object] = {"case": case.as_dict(), "bytes": case.bytes, "flops": case.flops, "lanes": {}}
        if case.kind == "max-pool":
            row["lanes"] = {"fastconv": lane(1e-4), "cudnn nchw": lane(4e-4), "cudnn channels-last": lane(2e-4)}
        else:
            row["refused"] = "not run: no kernel yet"
        rows.append(row)
    ceilings = {"copy_bytes_per_s": 4e12, **{f"{kind}_flops_per_s": 6e13 for kind in ("fp32", "tf32", "bf16")}}
    return {"machine": {"device": "a GPU"}, "ceilings": ceilings, "rows": rows, "clocks": {}}


def test_table(suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = suite("gpu.table")
    data = report(suite)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    assert suite("gpu.run").main(["--table", str(path)]) == 0
    text = capsys.readouterr().out
    assert "copy 4000 GB/s" in text
    assert "not run: no kernel yet" in text
    by_class = {line[:24].strip(): line for line in text.splitlines()}
    pooling = by_class["max-pool"]
    assert "2.00" in pooling  # against the faster layout
    assert pooling.endswith((" no", " yes"))
    assert by_class["wgrad"].endswith("not run")
    assert table.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(table.geometric_mean([]))


def test_without_a_gpu_it_says_why_and_builds_nothing(suite: Suite) -> None:
    run = suite("gpu.run")
    if run.driver():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, run.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gpu benchmark: not run, there is no NVIDIA GPU with a driver here" in done.stderr


def test_the_architecture_is_that_of_the_device(suite: Suite) -> None:
    architecture = suite("gpu.run").architecture
    devices = ((7, 5), (8, 9), (9, 0), (10, 0))
    assert [architecture(c) for c in devices] == ["75-real", "89-real", "90a-real", "100-real"]
