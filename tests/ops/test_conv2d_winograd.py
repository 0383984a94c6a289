"""Winograd convolution against the definition in float64: its error, its tails, its borders, and what it hands back to
the direct kernel."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
import reference
from conv2d_cases import LAYOUTS, Geometry, assert_same_bits, from_layout, run_all, to_layout
from fastconv import ops

ONE, TWO = ((1, 1), (1, 1)), ((2, 2), (2, 2))
CASES = [
    Geometry(16, 16, (8, 8), (3, 3), padding=ONE),  # whole vectors, whole tiles
    Geometry(17, 35, (9, 11), (3, 3), padding=ONE),  # tails everywhere
    Geometry(33, 19, (7, 5), (3, 3), batch=3),
    Geometry(40, 24, (3, 3), (3, 3)),  # one output: a tile of 2 x 2
    Geometry(16, 20, (4, 17), (3, 3)),
    Geometry(20, 16, (4, 3), (3, 3), padding=((0, 2), (1, 0))),
    Geometry(16, 16, (2, 3), (3, 3), padding=((4, 1), (2, 6))),  # tiles that see nothing but padding
    Geometry(64, 48, (13, 13), (3, 3), padding=ONE, groups=2),
    Geometry(24, 40, (15, 17), (3, 3), padding=TWO, dilation=(2, 2)),
    Geometry(18, 20, (11, 12), (3, 3), padding=((3, 3), (1, 1)), dilation=(3, 1)),
    Geometry(16, 16, (9, 9), (3, 3), padding=((7, 7), (7, 7)), dilation=(7, 7), batch=1),
    Geometry(48, 40, (10, 10), (5, 5), padding=TWO),
    Geometry(32, 34, (6, 7), (5, 5), groups=2),
    Geometry(130, 70, (9, 9), (3, 3), padding=ONE, batch=1),
]


def explain(g: Geometry, suffix: str, **options: object) -> fastconv.Explanation:
    return fastconv.explain(f"conv2d{suffix}", g.input_shape, g.weight_shape, **g.options, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_error_is_small_against_the_largest_result(geometry: Geometry, layout: str, isa: str) -> None:
    for suffix in ("", "_backward_input", "_backward_weight"):
        assert explain(geometry, suffix, algo="winograd").algorithm.startswith("winograd F(")
    arrays = {name: array.astype(np.float32) for name, array in geometry.normal.items()}
    x, w, bias, gy = (arrays[name] for name in ("input", "weight", "bias", "grad_output"))
    got = run_all(geometry, arrays, np.dtype(np.float32), layout, "winograd")
    truth = {
        "output": reference.conv2d(x, w, bias, **geometry.options),
        "grad_input": reference.conv2d_backward_input(x.shape, w, gy, **geometry.options),
        "grad_weight": reference.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
    }
    for name, expected in truth.items():
        assert np.abs(got[name] - expected).max() <= 4e-6 * np.abs(expected).max(), name


@pytest.mark.parametrize("offset", [0.0, 100.0, 3000.0])
def test_images_with_large_offsets(offset: float, rng: np.random.Generator, isa: str) -> None:
    """Pixels 0..255 and far from zero: the error grows with the pixels, not with their differences."""
    x = (rng.integers(0, 256, (2, 32, 20, 21)) + offset).astype(np.float32)
    w = (rng.standard_normal((40, 32, 3, 3)) / 17).astype(np.float32)
    expected = reference.conv2d(x, w, None, (1, 1), ONE, (1, 1), 1)
    scale = reference.conv2d(x, abs(w), None, (1, 1), ONE, (1, 1), 1).max()
    got = ops.conv2d(x, w, padding=1, algo="winograd")
    assert np.abs(got - expected).max() <= 1e-6 * scale


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_bits_do_not_depend_on_threads(geometry: Geometry, layout: str) -> None:
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(run_all(geometry, geometry.normal, np.dtype(np.float32), layout, "winograd"))
    for other in results[1:]:
        assert_same_bits(other, results[0])


@pytest.mark.parametrize("batch", [1, 5, 40])
def test_bits_do_not_depend_on_the_split_of_the_batch(batch: int, rng: np.random.Generator, isa: str) -> None:
    x = rng.standard_normal((batch, 9, 9, 24)).astype(np.float32)
    w = rng.standard_normal((70, 24, 3, 3)).astype(np.float32)
    whole = ops.conv2d(x, w, padding=1, layout="NHWC", algo="winograd")
    single = [ops.conv2d(image, w, padding=1, layout="NHWC", algo="winograd") for image in x]
    assert np.stack(single).tobytes() == whole.tobytes()


def test_relu_and_bias_are_fused(rng: np.random.Generator, isa: str) -> None:
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 18, 10, 9), (21, 18, 3, 3)))
    bias = rng.standard_normal(21).astype(np.float32)
    plain = ops.conv2d(x, w, bias, padding=1, algo="winograd")
    fused = ops.conv2d(x, w, bias, padding=1, algo="winograd", activation="relu")
    np.testing.assert_array_equal(fused, np.maximum(plain, 0))
    assert not np.signbit(fused).any()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("geometry", [CASES[1], CASES[5], CASES[7], CASES[8], CASES[11]], ids=str)
def test_not_a_number_stays_in_its_field(geometry: Geometry, poison: float, isa: str) -> None:
    """Everything that does not read the bad value is as it was, up to the tile's choice of kernel."""
    clean = run_all(geometry, geometry.normal, np.dtype(np.float32), "NHWC", "winograd")
    for name in ("input", "weight", "grad_output"):
        a = {key: array.copy() for key, array in geometry.normal.items()}
        for corner in (0, -1, None):  # tile borders and the middle
            a[name][tuple(size // 2 if corner is None else corner for size in a[name].shape)] = poison
        got = run_all(geometry, a, np.dtype(np.float32), "NHWC", "winograd")
        direct = run_all(geometry, a, np.dtype(np.float32), "NHWC", "direct")
        for result in ("output", "grad_input", "grad_weight"):
            np.testing.assert_array_equal(np.isnan(got[result]), np.isnan(direct[result]), f"{name} in {result}")
            np.testing.assert_array_equal(np.isposinf(got[result]), np.isposinf(direct[result]))
            fine = np.isfinite(direct[result]) & (abs(direct[result]) < 1e6)
            scale = np.abs(clean[result]).max()
            assert np.abs(got[result][fine] - direct[result][fine]).max(initial=0) <= 8e-6 * scale, (name, result)


def test_one_images_poison_leaves_the_others_bits_alone(rng: np.random.Generator) -> None:
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 18, 10, 9), (21, 18, 3, 3)))
    clean = ops.conv2d(x, w, padding=1, algo="winograd")
    x[1, 3, 4, 4] = np.nan
    got = ops.conv2d(x, w, padding=1, algo="winograd")
    assert got[[0, 2]].tobytes() == clean[[0, 2]].tobytes()
    assert np.isnan(got[1]).any(axis=0).sum() == 9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_infinite_filters_do_not_meet_the_padding(layout: str, isa: str) -> None:
    x, w = np.ones((1, 16, 6, 7), np.float32), np.ones((20, 16, 3, 3), np.float32)
    w[1, :, 0, 0] = np.inf
    y = from_layout(ops.conv2d(to_layout(x, layout), w, padding=1, layout=layout, algo="winograd"), layout)
    assert not np.isnan(y).any()
    assert np.isfinite(y[:, 1, 0]).all()
    assert np.isposinf(y[:, 1, 1:, 1:]).all()
    assert np.isfinite(y[:, 0]).all()


def test_empty_batch() -> None:
    g = Geometry(16, 20, (6, 6), (3, 3), batch=0)
    got = run_all(g, g.normal, np.dtype(np.float32), "NCHW", "winograd")
    assert got["output"].shape == (0, 20, 4, 4)
    assert not got["grad_weight"].any()


def test_the_choice_reads_geometry_only() -> None:
    """The same for every batch and thread count; float64 and short sums stay direct; `algo` decides."""
    g = Geometry(64, 64, (14, 14), (3, 3), padding=ONE)
    for suffix in ("", "_backward_input", "_backward_weight"):
        chosen = set()
        for batch in (1, 8, 64):
            for count in (1, 2, 8):
                with fastconv.threads(count):
                    shape = (batch, *g.input_shape[1:])
                    chosen.add(fastconv.explain(f"conv2d{suffix}", shape, g.weight_shape, **g.options).algorithm)
        assert chosen == {"winograd F(4x4,3x3)"}, suffix
        assert explain(g, suffix, dtype="float64").algorithm == "direct"
        assert explain(g, suffix, algo="direct").algorithm == "direct"
    for other in (
        Geometry(15, 64, (14, 14), (3, 3)),
        Geometry(64, 64, (14, 14), (3, 3), stride=(2, 2)),
        Geometry(64, 64, (14, 14), (1, 1)),
        Geometry(64, 64, (14, 14), (3, 5)),
    ):
        e = explain(other, "", algo="winograd")
        assert not e.algorithm.startswith("winograd")
        assert len([line for line in e.rejected if line.startswith("winograd F(")]) == 3
    assert explain(Geometry(32, 32, (20, 20), (5, 5)), "").algorithm == "winograd F(2x2,5x5)"
    assert any("times the estimated work" in line for line in explain(g, "").rejected)


def test_the_setting_of_the_process(rng: np.random.Generator) -> None:
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 16, 9, 9), (16, 16, 3, 3)))
    chosen, direct = ops.conv2d(x, w), ops.conv2d(x, w, algo="direct")
    assert chosen.tobytes() != direct.tobytes()
    fastconv.config.algo = "direct"
    try:
        assert ops.conv2d(x, w).tobytes() == direct.tobytes()
        assert ops.conv2d(x, w, algo="winograd").tobytes() == chosen.tobytes()
    finally:
        fastconv.config.algo = "auto"
