"""Few channels: folded windows and pixels in the vector lanes, forward and in the gradients of input and weight."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
import reference
from conv2d_cases import LAYOUTS, Geometry, assert_same_bits, run_all
from fastconv import ops

ONE, TWO = ((1, 1), (1, 1)), ((2, 2), (2, 2))
# (geometry, a pass that takes either road on every instruction set). A chunk holds 14 to 1,000 windows: wide images
# take several, by rows and within a row.
BACKWARD, FORWARD = "_backward_input", ""
CASES = [
    (Geometry(1, 20, (28, 28), (5, 5), padding=TWO, batch=3), BACKWARD),
    (Geometry(1, 32, (9, 8), (3, 3), batch=3), BACKWARD),
    (Geometry(1, 20, (70, 61), (3, 3), padding=ONE), BACKWARD),
    (Geometry(1, 20, (4, 2100), (3, 3), batch=1), BACKWARD),  # rows wider than a chunk
    (Geometry(1, 64, (23, 19), (7, 7), (2, 2), ((3, 3), (3, 3))), BACKWARD),
    (Geometry(1, 33, (35, 31), (11, 11), (4, 4), ((2, 1), (2, 1)), batch=1), BACKWARD),
    (Geometry(1, 24, (14, 15), (2, 2), (3, 3), ((0, 1), (2, 0))), BACKWARD),  # input pixels that no window touches
    (Geometry(1, 40, (13, 12), (3, 3), padding=TWO, dilation=(3, 1)), BACKWARD),
    (Geometry(24, 1, (11, 12), (3, 3), padding=ONE, batch=3), FORWARD),
    (Geometry(64, 1, (7, 40), (5, 5), padding=((0, 2), (3, 1))), FORWARD),
    (Geometry(33, 1, (13, 9), (2, 3), dilation=(2, 1)), FORWARD),
]
# The choice of these depends on the instruction set; the results must not.
MORE = [
    Geometry(1, 24, (6, 7), (3, 3), padding=((0, 4), (5, 0))),  # windows of nothing but padding
    Geometry(1, 6, (28, 28), (5, 5), padding=TWO, batch=3),
    Geometry(1, 8, (70, 130), (3, 3), padding=ONE, batch=1),  # several blocks of rows
    Geometry(1, 1, (9, 33), (5, 3), padding=((1, 3), (2, 0))),
    Geometry(1, 2, (8, 31), (3, 3)),
    Geometry(2, 3, (9, 17), (3, 3), padding=TWO),
    Geometry(2, 5, (6, 40), (2, 3), padding=((1, 0), (0, 2)), dilation=(2, 3)),
    Geometry(1, 7, (6, 16), (3, 3)),
    Geometry(1, 9, (5, 15), (3, 3)),
    Geometry(4, 6, (7, 37), (3, 3), padding=ONE, groups=2),
    Geometry(16, 4, (18, 20), (3, 3), padding=ONE),
    Geometry(1, 4, (3, 60), (3, 3), padding=((6, 5), (7, 9))),
    Geometry(3, 64, (12, 15), (3, 3), padding=ONE),
    Geometry(6, 16, (14, 14), (5, 5)),
    Geometry(3, 24, (20, 21), (7, 7), (2, 2), ((3, 3), (3, 3))),
    Geometry(6, 48, (13, 12), (3, 3), padding=TWO, dilation=(1, 2), groups=3),
    Geometry(64, 3, (9, 10), (3, 3), padding=ONE),
    Geometry(48, 6, (9, 10), (3, 3), padding=ONE, groups=2),
    Geometry(3, 4, (5, 6), (5, 6), batch=5),
    # grad_output read where it is: whole vectors, one and two blocks, several tasks, padding on one side
    Geometry(3, 16, (40, 41), (3, 3), (2, 1), ((0, 1), (2, 0)), batch=3),
    Geometry(2, 48, (20, 33), (3, 4), padding=((2, 0), (1, 3)), dilation=(2, 1), batch=3),
    # Pointwise to few channels
    *(Geometry(c, o, (17, 19), (1, 1), batch=3) for c, o in ((64, 2), (67, 3), (16, 1), (130, 4), (33, 8), (5, 1))),
    Geometry(3, 64, (9, 11), (1, 1), batch=3),
    *(Geometry(c, o, (1, size), (1, 1), batch=1) for c, o, size in ((64, 2, 7), (48, 3, 1030), (70, 4, 5))),
    *(Geometry(c, o, (1, size), (1, 1), batch=1) for c, o, size in ((32, 1, 17), (20, 1, 15), (64, 2, 1))),
    Geometry(64, 2, (9, 8), (1, 1), (2, 1)),
    Geometry(64, 2, (9, 8), (1, 1), padding=((0, 1), (1, 0))),
    Geometry(96, 6, (7, 9), (1, 1), groups=3),
]
ALL = [*(geometry for geometry, _ in CASES), *MORE]
EMPTY = Geometry(1, 32, (9, 8), (3, 3), batch=0)


def explain(g: Geometry, suffix: str, **options: object) -> fastconv.Explanation:
    return fastconv.explain(f"conv2d{suffix}", g.input_shape, g.weight_shape, **g.options, **options)


@pytest.mark.parametrize(("geometry", "suffix"), CASES, ids=str)
def test_few_outputs_are_not_slow(geometry: Geometry, suffix: str, dtype: np.dtype, isa: str) -> None:
    for algo in ("auto", "direct"):
        e = explain(geometry, suffix, dtype=dtype.name, algo=algo)
        assert e.algorithm in ("fold", "pixel lanes")
        assert not e.slow_paths


def test_the_choice_reads_geometry_only() -> None:
    chosen = set()
    for batch in (0, 1, 8, 64):
        for count in (1, 2, 8):
            with fastconv.threads(count):
                chosen.add(fastconv.explain("conv2d_backward_input", (batch, 1, 28, 28), (32, 1, 3, 3)).algorithm)
    assert chosen == {"fold"}
    assert fastconv.explain("conv2d", (1, 1, 28, 28), (6, 1, 5, 5), padding=2).algorithm == "pixel lanes"
    for suffix, other in (
        ("_backward_weight", Geometry(1, 32, (9, 9), (3, 3))),
        ("", Geometry(64, 1, (9, 9), (3, 3), (2, 2))),
        ("_backward_input", Geometry(64, 64, (9, 9), (3, 3))),
        ("_backward_input", Geometry(1, 8192, (9, 9), (5, 5))),  # neither the filters nor a few rows fit the cache
    ):
        e = explain(other, suffix)
        assert e.algorithm not in ("fold", "pixel lanes")
        for method in ("fold", "pixel lanes"):
            assert any(line.startswith(f"{method}: ") for line in e.rejected)


def test_pointwise_layers_fill_the_lanes_with_the_wider_side(isa: str) -> None:
    for suffix, shape in (("", (2, 64, 1, 1)), ("_backward_input", (64, 2, 1, 1))):
        e = fastconv.explain(f"conv2d{suffix}", (1, shape[1], 9, 9), shape)
        assert e.algorithm == "channel lanes"
        assert not e.slow_paths
    e = fastconv.explain("conv2d_backward_weight", (1, 64, 9, 9), (2, 64, 1, 1))
    assert not e.slow_paths
    assert any("change places" in note for note in e.notes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", [*ALL, EMPTY], ids=str)
def test_whole_numbers_are_exact(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    got = run_all(geometry, geometry.integers, dtype, layout)
    for name, array in got.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, geometry.integers[name], err_msg=name)


@pytest.mark.parametrize("geometry", ALL, ids=str)
def test_bits_do_not_depend_on_threads_or_on_the_split_of_the_batch(geometry: Geometry, dtype: np.dtype) -> None:
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(run_all(geometry, geometry.normal, dtype, "NHWC"))
    for other in results[1:]:
        assert_same_bits(other, results[0])
    arrays = {name: array.astype(dtype) for name, array in geometry.normal.items()}
    for i in range(geometry.batch):
        x, w, bias, gy = (arrays[name] for name in ("input", "weight", "bias", "grad_output"))
        y = ops.conv2d(x[i : i + 1], w, bias, **geometry.options)
        gx = ops.conv2d_backward_input((1, *x.shape[1:]), w, gy[i : i + 1], **geometry.options)
        assert y.tobytes() == np.ascontiguousarray(results[0]["output"][i]).tobytes()
        assert gx.tobytes() == np.ascontiguousarray(results[0]["grad_input"][i]).tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("channels", "outputs"), [(40, 1), (1, 6), (2, 9)])
@pytest.mark.parametrize("kernel", [3, 1])
def test_bias_and_relu_are_fused(
    channels: int, outputs: int, kernel: int, layout: str, dtype: np.dtype, rng: np.random.Generator, isa: str
) -> None:
    shape = (2, channels, 11, 30) if layout == "NCHW" else (2, 11, 30, channels)
    x = rng.standard_normal(shape).astype(dtype)
    w = rng.standard_normal((outputs, channels, kernel, kernel)).astype(dtype)
    bias = rng.standard_normal(outputs).astype(dtype)
    plain = ops.conv2d(x, w, bias, padding=kernel // 2, layout=layout)
    fused = ops.conv2d(x, w, bias, padding=kernel // 2, layout=layout, activation="relu")
    np.testing.assert_array_equal(fused, np.maximum(plain, 0))
    assert not np.signbit(fused).any()
    assert (plain < 0).any()


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("geometry", [*(CASES[i][0] for i in (0, 4, 8)), *MORE[:7], *MORE[9:18], *MORE[19:]], ids=str)
def test_not_a_number_stays_in_its_field(geometry: Geometry, poison: float, isa: str) -> None:
    clean = run_all(geometry, geometry.normal, np.dtype(np.float32), "NHWC")
    for name in ("input", "weight", "grad_output"):
        a = {key: array.copy() for key, array in geometry.normal.items()}
        for corner in (0, -1, None):
            a[name][tuple(size // 2 if corner is None else corner for size in a[name].shape)] = poison
        x, w, gy = a["input"], a["weight"], a["grad_output"]
        with np.errstate(invalid="ignore"):
            truth = {
                "output": reference.conv2d(x, w, a["bias"], **geometry.options),
                "grad_input": reference.conv2d_backward_input(x.shape, w, gy, **geometry.options),
                "grad_weight": reference.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
            }
        got = run_all(geometry, a, np.dtype(np.float32), "NHWC")
        for result, expected in truth.items():
            fine = np.isfinite(expected)
            np.testing.assert_array_equal(got[result][fine], clean[result][fine], err_msg=f"{name} in {result}")
            np.testing.assert_array_equal(np.isnan(got[result]), np.isnan(expected), err_msg=f"{name} in {result}")
            np.testing.assert_array_equal(np.isposinf(got[result]), np.isposinf(expected))
