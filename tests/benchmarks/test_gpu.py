"""The parts of the GPU benchmark that need no GPU: sizes, statistics, tables, and why it stops without one."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

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


def lane(seconds: float) -> dict[str, object]:
    keys = ("median_s", "first_s", "second_s")
    return {**dict.fromkeys(keys, seconds), "mad_s": 0.0, "samples": 2, "steady": True}


def report(suite: Suite) -> dict[str, object]:
    layers = suite("gpu.layers")

    rows: list[dict[str, object]] = []
    for case in layers.cases():
        row: dict[str, object] = {"case": case.as_dict(), "bytes": case.bytes, "flops": case.flops, "lanes": {}}
        if case.kind == "max-pool":
            row["lanes"] = {"fastconv": lane(1e-4), "cudnn nchw": lane(4e-4), "cudnn channels-last": lane(2e-4)}
        else:
            row["refused"] = "not run: no kernel yet"
        rows.append(row)
    ceilings = {"copy_bytes_per_s": 4e12, **{f"{kind}_flops_per_s": 6e13 for kind in ("fp32", "tf32", "bf16")}}
    clocks = {"before": {"clocks.sm": "1980 MHz"}, "after": {"clocks.sm": "1755 MHz"}}
    return {"machine": {"device": "a GPU"}, "ceilings": ceilings, "rows": rows, "clocks": clocks}


def host_rows(lane: Callable[[float], dict[str, object]]) -> dict[str, list[dict[str, object]]]:
    """Single calls and training steps, one of which came out wrong."""
    times = {"fastconv graph": 1e-4, "fastconv train_on_batch": 3e-4, "pytorch eager nchw": 4e-4}
    times |= {"pytorch eager channels-last": 2e-4, "pytorch graph nchw": 9e-5, "pytorch graph channels-last": 5e-5}
    calls = {"fastconv": 1e-5, "pytorch nchw": 4e-5, "pytorch channels-last": 5e-5}
    return {
        "calls": [
            {"case": {"name": "3x3", "kind": "eager layer"}, "lanes": {name: lane(t) for name, t in calls.items()}},
            {"case": {"name": "net", "kind": "eager network"}, "lanes": {}, "refused": "not run: no CuPy"},
        ],
        "training": [
            {"case": {"name": "lenet5 N=64"}, "lanes": {name: lane(t) for name, t in times.items()}},
            {"case": {"name": "lenet5 N=128"}, "lanes": {}, "refused": "WRONG: other losses"},
        ],
        "missing": ["CuPy is not installed"],
    }


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


def test_table_of_what_the_host_sees(suite: Suite) -> None:
    """Ratios are to the faster layout of each kind; what is missing stands at the end."""
    text = "\n".join(suite("gpu.table").report_lines(report(suite) | host_rows(lane)))
    by_aim = {line[:42].strip(): line.split() for line in text.splitlines()}
    assert by_aim["layer of batch 1 and 8, eager call"][-6:] == ["1", "4.00", "4.00", "1.50", "2.50", "yes"]
    assert by_aim["network of batch 1 and 8, eager call"][-2:] == ["not", "run"]
    assert by_aim["training step in a graph, PyTorch eager"][-6:] == ["1", "2.00", "2.00", "1.50", "3.00", "yes"]
    assert by_aim["training step in a graph, PyTorch's too"][-6:] == ["1", "0.50", "0.50", "0.60", "0.90", "no"]
    assert "lenet5 N=128               WRONG: other losses" in text
    assert "not run: CuPy is not installed" in text
    assert "before: clocks.sm 1980 MHz" in text


def test_deterministic_algorithms_have_a_column(suite: Suite) -> None:
    table = suite("gpu.table")
    data = report(suite)
    row = next(row for row in data["rows"] if row["case"]["op"] == "wgrad")  # type: ignore[attr-defined]
    row.pop("refused")
    row["lanes"] = {"fastconv": lane(1e-4), "cudnn channels-last": lane(5e-5), "cudnn deterministic": lane(3e-4)}
    assert (table.ratio(row), table.ratio(row, table.DETERMINISTIC)) == (pytest.approx(0.5), pytest.approx(3.0))
    assert any(line.split()[-2:] == ["0.50", "3.00"] for line in table.case_lines(data["rows"], data["ceilings"]))


def test_picture(suite: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = suite("gpu.run")
    data = report(suite) | host_rows(lane)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(data))
    words = ["--table", str(path), "--picture", str(tmp_path / "picture.png")]
    assert run.main(words) == 0
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "picture.png").stat().st_size > 10_000
    else:
        assert "no picture, matplotlib is not installed" in capsys.readouterr().out
    assert [bar[0] for bar in suite("gpu.picture").class_bars(data["rows"])] == ["max-pool"]


def test_without_matplotlib(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    data, path = report(suite) | host_rows(lane), tmp_path / "new" / "report.json"
    suite("gpu.run").write(data, path)
    suite("gpu.run").picture(data, path.with_suffix(".png"))
    assert "no picture, matplotlib is not installed" in capsys.readouterr().out
    assert json.loads((tmp_path / "new" / "report.json").read_text())["missing"] == ["CuPy is not installed"]


@pytest.mark.parametrize("outcome", ["passed", "failed", "hangs"])
def test_a_kernel_that_fails_or_hangs_is_left_out(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys, outcome: str
) -> None:
    """The tests of wgmma end by themselves or are ended; the others run all the same."""
    run = suite("gpu.run")
    monkeypatch.delenv("FASTCONV_CUDA_WGMMA", raising=False)
    commands = []

    def pytest_run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        first = len(commands) == 1
        if first and outcome == "hangs":
            raise subprocess.TimeoutExpired(command, options["timeout"])
        failed = first and outcome == "failed"
        return subprocess.CompletedProcess(command, int(failed), f"1 {'failed' if failed else 'passed'} in 1s\n", "")

    monkeypatch.setattr(run, "run", pytest_run)
    passed, text = run.test()
    switch = os.environ.pop("FASTCONV_CUDA_WGMMA", None)  # monkeypatch does not know of it
    assert len(commands) == 2
    assert (passed, switch) == ((True, None) if outcome == "passed" else (False, "0"))
    assert {"passed": "wgmma: 1 passed", "failed": "wgmma: 1 failed", "hangs": "wgmma: stopped after 90 s"}[
        outcome
    ] in text
    assert "others: 1 passed in 1s" in text
    assert ("switched off" in text) == (not passed)


def test_where_results_go(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = suite("gpu.run")
    monkeypatch.setattr(run, "HERE", tmp_path / "gpu")
    facts = {"device": "NVIDIA H200", "date": "2026-01-02T03:04:05+00:00"}
    path = run.result_path(facts)
    assert path == tmp_path / "results" / "nvidia-h200-2026-01-02.json"
    path.parent.mkdir()
    path.touch()
    assert run.result_path(facts).name == "nvidia-h200-2026-01-02-030405.json"


def test_calls_take_turns_and_wait_at_the_end(suite: Suite) -> None:
    """The clock runs over the calls and the wait behind them; warm-up calls do not count."""
    now = [0.0]
    called: list[str] = []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            called.append(name)
            now[0] += seconds

        return call

    def wait() -> None:
        called.append("wait")
        now[0] += 0.5

    found = suite("gpu.turns").interleaved({"a": work("a", 1.0), "b": work("b", 2.0)}, wait, 4, 10, lambda: now[0])
    assert (found["a"].median_s, found["b"].median_s) == (pytest.approx(1.05), pytest.approx(2.05))
    assert (found["a"].samples, called.count("a"), called.count("wait")) == (4, 50, 16)


def test_losses_must_agree(suite: Suite) -> None:
    training = suite("gpu.training")
    same = {"pytorch eager nchw": [2.0, 1.0], "fastconv graph": [2.0001, 1.0001]}
    assert training.disagreement(same) is None
    for wrong in ([2.0, 1.1], [2.0, float("nan")]):
        assert "WRONG: losses of fastconv graph" in training.disagreement(same | {"fastconv graph": wrong})
    lanes = {"good": training.Lane(lambda: None, lambda: 1.0), "bad": training.Lane(lambda: 1 / 0, lambda: 1.0)}

    def fail() -> None:
        raise RuntimeError("out of memory\nand more")

    lanes["bad"].step = fail
    missing: dict[str, str] = {}
    assert training.losses(lanes, missing) == {"good": [1.0] * training.CHECKED_STEPS}
    assert (list(lanes), missing) == (["good"], {"bad": "out of memory"})


def test_what_is_missing_is_named_once(suite: Suite) -> None:
    run = suite("gpu.run")
    gpu = SimpleNamespace(cupy=None, no_cupy="CuPy is not installed")
    data = report(suite) | host_rows(lane)
    data["rows"] = [{"case": {"name": "3x3", "op": "wgrad"}, "refused": "WRONG: error 1"}]
    data["training"][0]["missing"] = {"fastconv graph": "CuPy is not installed", "pytorch graph nchw": "no"}  # type: ignore[index]
    data["calls"][1]["refused"] = "not run: CuPy is not installed"  # type: ignore[index]
    assert run.missing(data, gpu) == [
        "CuPy is not installed",
        "3x3 wgrad: WRONG: error 1",
        "lenet5 N=64, pytorch graph nchw: no",
        "lenet5 N=128: WRONG: other losses",
    ]


@pytest.fixture
def dry_run(suite: Suite) -> Iterator[ModuleType]:
    """The script, where a dry run can run."""
    pytest.importorskip("torch")
    emulator = importlib.import_module("cuda_emulator")
    try:
        emulator.build()
    except emulator.CannotBuild as reason:
        pytest.skip(f"the CUDA emulator {reason}")
    yield suite("gpu.run")
    torch = importlib.import_module("torch")
    torch.backends.cudnn.benchmark = False


@pytest.mark.parametrize("only", ["lenet5", "max-pool", "1x1 1024-256 14 tf32x3"])
def test_a_dry_run(dry_run: ModuleType, only: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command to the tables, on the emulator: every row is there and right, no lane is missing."""
    path = tmp_path / "report.json"
    assert dry_run.main(["--dry-run", "--only", only, "--rounds", "2", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    found = [row for part in ("rows", "calls", "training") for row in data[part]]
    assert len(found) >= 2
    assert data["missing"] == []
    assert not any("refused" in row for row in found)
    assert all(len(row["lanes"]) == (6 if "losses" in row else len(row["lanes"])) for row in found)
    text = capsys.readouterr().out
    assert "DRY RUN without a GPU" in text
    assert all(row["case"]["name"] in text for row in found)


def test_what_is_measured_outlives_what_comes_after(
    dry_run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the second part, a run has kept the first."""
    path, real = tmp_path / "report.json", dry_run.host_rows

    def ended(part: str, **options: object) -> object:
        if part == "training":
            raise KeyboardInterrupt
        return real(part, **options)

    monkeypatch.setattr(dry_run, "host_rows", ended)
    with pytest.raises(KeyboardInterrupt):
        dry_run.main(["--dry-run", "--only", "lenet5", "--rounds", "2", "--json", str(path)])
    kept = json.loads(path.read_text())
    assert kept["calls"]
    assert kept["training"] == []


def test_no_time_left(dry_run: ModuleType, tmp_path: Path) -> None:
    """Then nothing more is begun, and every row says so."""
    path = tmp_path / "report.json"
    words = ["--dry-run", "--only", "max-pool", "--rounds", "2", "--total-s", "0", "--json", str(path)]
    assert dry_run.main(words) == 3
    rows = json.loads(path.read_text())["rows"]
    assert rows
    assert all(row["refused"] == "not run: out of time" for row in rows)


def test_tests_that_failed_on_a_gpu_show_in_the_exit_code(
    dry_run: ModuleType, suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    """What is right was measured all the same."""
    place = suite("gpu.place")
    monkeypatch.setattr(dry_run, "why_not", lambda: None)
    monkeypatch.setattr(dry_run, "test", lambda: (False, "wgmma: 1 failed"))
    monkeypatch.setattr(dry_run, "Gpu", lambda torch: place.DryRun(torch, dry_run.ROOT / "tests"))
    monkeypatch.setattr(dry_run, "cases", list)
    monkeypatch.setattr(dry_run, "host_rows", lambda *_, **__: [])
    monkeypatch.setattr(dry_run.importlib.import_module("gpu.lanes"), "ceilings", lambda gpu: {
        "copy_bytes_per_s": 1.0, "fp32_flops_per_s": 1.0, "tf32_flops_per_s": 1.0, "bf16_flops_per_s": 1.0,
    })  # fmt: skip
    assert dry_run.main(["--no-build", "--json", str(tmp_path / "report.json")]) == 1
    assert "tests on the GPU failed (wgmma: 1 failed)" in capsys.readouterr().err


def test_a_dry_run_without_cupy(dry_run: ModuleType, suite: Suite, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The rest is measured; exit code and table say what is not."""
    place = suite("gpu.place")
    begin = place.DryRun.__init__

    def without(self, *args: object) -> None:
        begin(self, *args)
        self.cupy, self.no_cupy = None, "CuPy is not installed (as a test has it)"

    monkeypatch.setattr(place.DryRun, "__init__", without)
    assert dry_run.main(["--dry-run", "--only", "lenet5", "--rounds", "2"]) == 3
    captured = capsys.readouterr()
    assert captured.out.count("not run: CuPy is not installed (as a test has it)") == 2  # its row, and the end
    assert "gpu benchmark: 1 not measured" in captured.err
    assert "pytorch graph cl" in captured.out
