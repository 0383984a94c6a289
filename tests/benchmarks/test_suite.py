"""The parts of the suite that compute: layers as data, reference, summary, comparison, timing."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv

Suite = Callable[[str], ModuleType]


def row(**changes: Any) -> dict[str, Any]:
    times = {"fastconv": 1e-3, "torch NCHW": 2e-3, "torch channels_last": 1.5e-3, "numpy": 9e-3} | changes.pop(
        "times", {}
    )
    fields: dict[str, Any] = {
        "layer": "a/b",
        "batch": 1,
        "family": "3x3 s1",
        "pass": "forward",
        "isa": "avx2",
        "threads": 1,
        "dtype": "float32",
        "layout": "NHWC",
        "packed": False,
        "algo": "auto",
        "algorithm": "direct",
        "flops": 80_000_000,
        "bytes": 1_000_000,
        "peak_flops_per_s": 100e9,
        "copy_bytes_per_s": 20e9,
        "others_busy": 0.0,
    }
    timed = {"times": {who: {"median_s": time, "mad_s": time / 100} for who, time in times.items()}}
    return fields | changes | timed


def test_every_layer_has_a_family_and_a_name_of_its_own(suite: Suite) -> None:
    shapes = suite("shapes")
    assert len(shapes.BY_NAME) == len(shapes.LAYERS)
    assert {layer.family for layer in shapes.LAYERS} <= set(shapes.FAMILIES)
    of = {layer.name: layer.family for layer in shapes.LAYERS}
    assert of["vgg19/conv3_2"] == "3x3 s1"
    assert of["resnet20/stage1"] == "3x3 s1 16 channels"
    assert of["resnet50/3x3@7"] == "512@7"
    assert of["resnet50/1x1s2@56"] == "strided"
    assert of["resnet50/stem"] == "stem"
    assert of["alexnet/conv2"] == "grouped"
    assert of["mobilenetv2/depthwise@112s2"] == "depthwise"
    for layer in shapes.LAYERS:
        geometry = suite("ours").geometry(layer)
        assert (geometry.output_shape, geometry.flops) == (layer.output_shape, layer.flops)


def test_layers_are_chosen_by_name_part_and_family(suite: Suite) -> None:
    shapes = suite("shapes")
    assert [layer.label for layer in shapes.select("vgg19/conv3_2", [1, 8])] == ["vgg19/conv3_2 x1", "vgg19/conv3_2 x8"]
    assert {layer.family for layer in shapes.select("mobilenetv2", [1], ["1x1"])} == {"1x1"}
    with pytest.raises(ValueError, match="no layer matches"):
        shapes.select("nothing of this name")


@pytest.mark.parametrize("name", ["lenet5/conv2", "alexnet/conv2", "resnet20/stage2 s2", "mobilenetv2/depthwise@7"])
def test_reference_agrees_with_numpy_and_its_passes_are_adjoint(suite: Suite, name: str) -> None:
    layer = suite("shapes").BY_NAME[name].of_batch(2)
    arrays = suite("arrays").Arrays.random(layer, "float64")
    reference = suite("truth").Reference(layer, arrays)
    y, gx, gw = (reference.result(p) for p in suite("arrays").PASSES)
    expected = suite("rivals.numpy_rival").im2col_forward(layer, arrays.input, arrays.weight)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    product = np.vdot(y, arrays.grad_output)
    assert np.vdot(gx, arrays.input) == pytest.approx(product)
    assert np.vdot(gw, arrays.weight) == pytest.approx(product)


def test_wrong_results_are_refused(suite: Suite) -> None:
    layer = suite("shapes").BY_NAME["lenet5/conv2"]
    arrays = suite("arrays").Arrays.random(layer, "float32")
    reference = suite("truth").Reference(layer, arrays)
    results = {p: reference.result(p).astype("float32") for p in suite("arrays").PASSES}
    suite("truth").check(reference, results, "float32")
    for pass_name in results:
        for wrong in (1e-3, np.nan):
            spoilt = results[pass_name].copy()
            spoilt.flat[-1] += wrong
            with pytest.raises(AssertionError, match=pass_name):
                suite("truth").check(reference, results | {pass_name: spoilt}, "float32")


def test_summary_arithmetic(suite: Suite) -> None:
    summary = suite("summary")
    rows = [
        row(),
        row(layer="a/c", times={"torch NCHW": 0.5e-3}),
        row(threads=2, times={"fastconv": 0.5e-3}),
        row(isa="avx512", times={"fastconv": 0.8e-3}),
    ]
    results = summary.collect([{"rows": rows}])
    assert [result.best("torch") for result in results[:3]] == pytest.approx([1.5, 0.5, 3.0])
    assert results[0].share == pytest.approx(0.8)
    text = summary.text(results)
    assert f"geometric mean {math.sqrt(1.5 * 0.5):.2f} over 2 rows, at least 1 in 1, smallest 0.50" in text
    assert "avx2: 2 threads over 1, layers above 1 ms: geometric mean 2.00 over 1 rows" in text
    assert "AVX2 time over AVX-512 time, 1 thread: geometric mean 1.25 over 1 rows" in text


def test_files_are_merged_by_ratios_of_the_same_run(suite: Suite) -> None:
    slow_hour = row(times={"fastconv": 2e-3, "torch NCHW": 4e-3, "torch channels_last": 6e-3, "jax": 8e-3})
    (result,) = suite("summary").collect([{"rows": [row()]}, {"rows": [slow_hour]}])
    assert result.ratios["torch NCHW"] == pytest.approx(2.0)
    assert result.ratios["jax"] == pytest.approx(4.0)
    assert result.seconds == pytest.approx(1.5e-3)


def test_compare_sees_through_a_slower_machine(suite: Suite) -> None:
    compare = suite("compare").compare
    said: list[str] = []
    before = {"rows": [row()]}
    half_speed = {who: 2 * time["median_s"] for who, time in row()["times"].items()}
    assert compare(before, {"rows": [row(times=half_speed, peak_flops_per_s=50e9)]}, 0.1, said.append) == 0
    assert compare(before, {"rows": [row(times=half_speed)]}, 0.1, said.append) == 0  # the rivals slowed down as we did
    assert compare(before, {"rows": [row(times={"fastconv": 1.2e-3})]}, 0.1, said.append) == 1
    assert said[-2].startswith("slower  x0.83")
    assert compare(before, {"rows": [row(times={"fastconv": 0.8e-3})]}, 0.1, said.append) == 0
    assert said[-2].startswith("faster  x1.25")


def test_candidates_take_turns(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = suite("timing")
    monkeypatch.setattr(timing, "PAUSE_S", 0.0)
    monkeypatch.setattr(timing, "SAMPLE_S", 1e-4)

    class Remote:
        def sample(self, calls: int, warm: int) -> float:
            return 0.25

    times = timing.interleaved({"here": lambda: sum(range(100)), "there": Remote()}, rounds=5)
    assert times["there"].median_s == 0.25
    assert times["there"].mad_s == 0
    assert times["here"].samples == 5
    assert times["here"].calls > 1


def test_rivals_that_are_not_installed_are_named(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    contestants = suite("contestants")
    monkeypatch.setattr(suite("rivals.torch_rival").TorchNchw, "package", "a_package_that_nobody_has")
    assert contestants.available(["numpy", "torch"]) == (["numpy"], ["torch"])


def test_a_rival_that_dies_is_reported_and_started_again(suite: Suite, tmp_path: Any) -> None:
    contestants = suite("contestants")
    process = contestants.Process("numpy", 1, keep_memory=False)
    try:
        process.process.kill()
        layer = suite("shapes").BY_NAME["lenet5/conv2"]
        remotes, refused = process.prepare(layer, tmp_path, {"forward": 1e-3})
        assert remotes == []
        assert "ended with status" in refused["numpy"]
        arrays = suite("arrays").Arrays.random(layer, "float32")
        arrays.save(tmp_path)
        np.save(
            tmp_path / "forward.npy", suite("rivals.numpy_rival").im2col_forward(layer, arrays.input, arrays.weight)
        )
        remotes, refused = process.prepare(layer, tmp_path, {"forward": 1e-5})
        assert [remote.name for remote in remotes] == ["numpy", "numpy loop"]
        assert remotes[0].sample(1, warm=1) > 0
        np.save(tmp_path / "forward.npy", np.ones(layer.output_shape, np.float32))
        assert "differs from ours" in process.prepare(layer, tmp_path, {"forward": 1e-5})[1]["numpy"]
    finally:
        process.close()


def test_working_threads_get_cores_of_their_own(suite: Suite) -> None:
    threads = suite("threads")
    cpus = sorted(os.sched_getaffinity(0))
    try:
        threads.spread(lambda: sum(range(1000)), cpus[:1])
        assert os.sched_getaffinity(threading.get_native_id()) == {cpus[0]}
        threads.release(cpus)
        assert os.sched_getaffinity(threading.get_native_id()) == set(cpus)
    finally:
        threads.release(cpus)


def test_pictures_are_drawn(suite: Suite, tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    results = suite("summary").collect([{"rows": [row(), row(threads=2), row(layer="a/c", family="1x1", bytes=10**7)]}])
    files = suite("pictures").draw(results, tmp_path)
    assert [file.name for file in files] == ["roofline_avx2_float32.png", "ratios_avx2_float32.png"]
    assert all(file.stat().st_size > 10_000 for file in files)


def test_a_rival_that_dies_while_the_clock_runs_loses_its_columns(suite: Suite, tmp_path: Any) -> None:
    measure, peak = suite("measure"), suite("peak")
    process = suite("contestants").Process("numpy", 1, keep_memory=False)
    setting = measure.Setting(fastconv.isa_active(), 1, peak.Peak(1e9, 1e9), [process])
    run = measure.LayerRun(suite("shapes").BY_NAME["lenet5/conv2"], measure.Options(["forward"], rounds=1), tmp_path)
    prepare = process.prepare

    def prepare_and_die(*arguments: Any) -> Any:
        answer = prepare(*arguments)
        process.process.kill()
        return answer

    try:
        process.prepare = prepare_and_die
        (measured,) = run.measure(setting)
    finally:
        process.close()
    assert set(measured["times"]) == {"fastconv"}
    assert "ended with status" in measured["refused"]["numpy"]
