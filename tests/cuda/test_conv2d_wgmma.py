"""Convolution by wgmma and TMA, in the emulator: against the definition in float64."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

import fastconv
from conv2d_cases import Geometry
from cuda_arrays import GpuArray
from cuda_cases import as_numbers, poisoned, relative_error, same_bits, stored
from fastconv import cuda
from fastconv.cuda.conv2d import geometry as judge
from tensor_core_cases import arrays, expected

# dtype and precision, and the relative error that the result may have in the 2-norm.
KINDS = {("bfloat16", None): 4e-3, ("float16", None): 1e-3, ("float32", "tf32"): 5e-4}
NAMES = [precision or dtype for dtype, precision in KINDS]

# Tiles are 128 rows by 64, 128 or 256 columns, slabs one tap by 64 channels (32 floats), four of them in a ring.
CASES = [
    Geometry(40, 72, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2)),
    Geometry(72, 48, (12, 7), (5, 3), stride=(1, 2), padding=((3, 1), (0, 2))),
]
MORE = [
    Geometry(64, 129, (9, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
    Geometry(64, 64, (17, 16), (1, 1), batch=1),
    Geometry(136, 40, (5, 6), (1, 1), stride=(2, 3), padding=((1, 2), (0, 1))),
    Geometry(32, 33, (4, 3), (5, 5), padding=((5, 4), (6, 3)), batch=5),
    Geometry(64, 72, (1, 1), (3, 3), padding=((1, 1), (1, 1)), batch=3),
    Geometry(48, 200, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    Geometry(40, 136, (31, 28), (3, 2), stride=(1, 1), padding=((0, 1), (1, 1)), dilation=(2, 3)),
    Geometry(32, 40, (9, 9), (3, 3), stride=(8, 8), padding=((127, 20), (120, 127)), dilation=(60, 63)),
]
CASES += MORE if os.environ.get("FASTCONV_TEST_CUDA") == "all" else []
PLAIN = Geometry(64, 40, (6, 5), (3, 3), padding=((1, 1), (1, 1)))
WIDE = Geometry(40, 132, (28, 28), (2, 1), padding=((1, 0), (0, 0)), batch=1)  # tiles of 256 columns
MANY = Geometry(32, 72, (17, 16), (3, 1), padding=((1, 1), (0, 0)))  # tiles: 5 x 1, slabs: 3


def kernel(module: ModuleType, geometry: Geometry, dtype: str, precision: str | None, **changed: object) -> str:
    g = geometry
    (n, c, h, w), (o, icg, kh, kw) = g.input_shape, g.weight_shape
    shape = judge("conv2d", (n, h, w, c), (o, kh, kw, icg), g.stride, g.padding, g.dilation, g.groups)
    how = {"dtype": dtype, "precision": precision or "", "aligned": True, "compute_capability": 90, **changed}
    return str(module.conv2d_forward_choice(shape, **how))


def check(
    module: ModuleType, geometry: Geometry, dtype: str, precision: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Twice, into poisoned memory."""
    assert kernel(module, geometry, dtype, precision).startswith("conv2d_forward_wgmma 128x")
    x, w, b = arrays(geometry, dtype, rng)
    truth = np.maximum(expected(geometry, dtype, x, w, b), 0)
    out = poisoned(truth.shape, dtype)
    options = {**geometry.options, "precision": precision, "activation": "relu"}
    assert cuda.conv2d(x, w, b, **options, out=out) is out
    assert relative_error(as_numbers(out, dtype), truth) < KINDS[dtype, precision]
    assert same_bits(cuda.conv2d(x, w, b, **options), out)
    return out


@pytest.mark.parametrize("geometry", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_forward(
    any_mode: ModuleType, dtype: str, precision: str | None, geometry: Geometry, rng: np.random.Generator
) -> None:
    check(any_mode, geometry, dtype, precision, rng)


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_wide_tiles(emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator) -> None:
    assert "128x256" in kernel(emulated, WIDE, dtype, precision)
    check(emulated, WIDE, dtype, precision, rng)


@pytest.mark.parametrize("multiprocessors", [1, 2])
@pytest.mark.parametrize(("late", "backwards"), [(False, False), (False, True), (True, False), (True, True)])
def test_several_tiles_of_a_block(
    emulated: ModuleType, late: bool, backwards: bool, multiprocessors: int, rng: np.random.Generator
) -> None:
    """The ring goes on from tile to tile, and begins each at another place; many blocks give the same bits."""
    modes = {"late_landing": late, "backwards": backwards}
    x, w, b = arrays(MANY, "bfloat16", rng)
    alone = cuda.conv2d(x, w, b, **MANY.options)
    assert relative_error(as_numbers(alone, "bfloat16"), expected(MANY, "bfloat16", x, w, b)) < 4e-3
    emulated.set_emulation(**modes, multiprocessors=multiprocessors)
    assert same_bits(cuda.conv2d(x, w, b, **MANY.options), alone)


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_a_batch_is_its_images(
    emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator
) -> None:
    x, w, b = arrays(PLAIN, dtype, rng)
    options = {**PLAIN.options, "precision": precision}
    together = cuda.conv2d(x, w, b, **options)
    for n in range(2):
        assert same_bits(cuda.conv2d(x[n : n + 1], w, b, **options), together[n])
    assert cuda.conv2d(x[:0], w, b, **options).shape == (0, 6, 5, 40)


def test_outputs_that_are_not_aligned(emulated: ModuleType, rng: np.random.Generator) -> None:
    x, w, b = arrays(PLAIN, "float16", rng)
    there = cuda.conv2d(x, w, b, **PLAIN.options)
    shifted = np.empty(there.size + 1, there.dtype)[1:].reshape(there.shape)
    assert same_bits(cuda.conv2d(x, w, b, **PLAIN.options, out=shifted), there)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight"])
@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_what_is_not_finite(
    emulated: ModuleType, dtype: str, precision: str | None, value: float, where: str, rng: np.random.Generator
) -> None:
    """It reaches what reads it and nothing else; padding does not read weights."""
    x, w, b = arrays(PLAIN, dtype, rng)
    # The sums of filter 9 are not where they are stored from.
    (x[0] if where == "input" else w[9])[0, 2, 1] = stored(np.array([value]), dtype)[0]
    with np.errstate(invalid="ignore"):
        truth = expected(PLAIN, dtype, x, w, b)
    for activation in (None, "relu"):
        y = as_numbers(cuda.conv2d(x, w, b, **PLAIN.options, precision=precision, activation=activation), dtype)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
        np.testing.assert_array_equal(np.isposinf(y), np.isposinf(truth))
        if activation is None:
            np.testing.assert_array_equal(np.isneginf(y), np.isneginf(truth))
            finite = np.isfinite(truth)
            assert relative_error(y[finite], truth[finite]) < KINDS[dtype, precision]


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_deep_sums(emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator) -> None:
    """Of numbers above 0: tensor cores cut sums off, which all goes one way then."""
    geometry = Geometry(256, 40, (3, 3), (3, 3), batch=1)
    x, w, _ = (stored(np.abs(as_numbers(a, dtype)), dtype) for a in arrays(geometry, dtype, rng))
    y = cuda.conv2d(x, w, precision=precision)
    assert relative_error(as_numbers(y, dtype), expected(geometry, dtype, x, w, None)) < KINDS[dtype, precision]


def test_choice(emulated: ModuleType) -> None:
    """What wgmma takes, and that mma takes the rest."""

    def taken(dtype: str = "bfloat16", precision: str | None = None, **changed: object) -> str:
        how = {key: changed.pop(key) for key in ("aligned", "compute_capability") if key in changed}
        given = {"channels": 64, "outputs": 96, "image": (20, 300), "kernel": (3, 3), **changed}
        return kernel(emulated, Geometry(**given), dtype, precision, **how).removeprefix("conv2d_forward_")

    assert taken() == "wgmma 128x128, boxes by TMA, 4 stages"
    assert taken(outputs=64).startswith("wgmma 128x64,")
    assert taken(outputs=129).startswith("wgmma 128x256,")
    assert taken(outputs=129, image=(27, 27)).startswith("wgmma 128x128,")
    assert taken("float32", "tf32").startswith("wgmma")
    assert taken("float32", "tf32x3").startswith("mma")
    assert taken("float32", None) == "simt"
    assert taken(aligned=False).startswith("mma 128x64, 2 bytes")
    for other in (75, 80, 89, 100, 120):
        assert taken("float16", compute_capability=other).startswith("mma")
    assert taken(groups=2).startswith("mma")
    assert taken(channels=60).startswith("mma")
    assert taken("float32", "tf32", channels=60).startswith("wgmma")
    assert taken(channels=24).startswith("mma")
    assert taken(outputs=32).startswith("mma")
    assert taken(stride=(1, 8)).startswith("wgmma")
    assert taken(stride=(9, 1)).startswith("mma")
    assert taken(padding=((0, 0), (128, 0))).startswith("wgmma")
    assert taken(padding=((0, 0), (129, 0))).startswith("mma")
    assert taken(padding=((0, 0), (0, 129))).startswith("wgmma")  # 127 beyond the last position of the first tap
    assert taken(padding=((0, 0), (0, 130))).startswith("mma")
    assert taken(dilation=(1, 64)).startswith("wgmma")
    assert taken(dilation=(1, 65)).startswith("mma")
    assert taken(dilation=(1, 127), padding=((0, 0), (0, 127))).startswith("wgmma")
    assert taken(dilation=(1, 128), padding=((0, 0), (0, 128))).startswith("mma")  # a tap 256 further
    emulated.set_emulation(late_landing=False, backwards=False, tensor_maps=False)
    assert taken().startswith("mma")


def test_explain(emulated: ModuleType) -> None:
    """Names the kernel, and what stands in the way of it."""

    def explain(channels: int) -> fastconv.Explanation:
        x, w = np.zeros((1, 9, 9, channels), np.float16), np.zeros((96, 3, 3, channels), np.float16)
        return fastconv.explain("conv2d", GpuArray(x), GpuArray(w.transpose(0, 3, 1, 2)), layout="NHWC")

    assert explain(64).kernel == "conv2d_forward_wgmma 128x128, boxes by TMA, 4 stages"
    assert explain(64).rejected == []
    assert explain(60).kernel.startswith("conv2d_forward_mma 128x64,")
    assert explain(60).rejected == ["wgmma: TMA needs channels in whole 16 bytes"]


def test_switched_off(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a variable, read when a form of arguments is first seen."""
    x, w = np.zeros((1, 9, 9, 72), np.float16), np.zeros((96, 3, 3, 72), np.float16)
    monkeypatch.setenv("FASTCONV_CUDA_WGMMA", "0")
    found = fastconv.explain("conv2d", GpuArray(x), GpuArray(w.transpose(0, 3, 1, 2)), layout="NHWC")
    assert found.kernel.startswith("conv2d_forward_mma")
    assert found.rejected == ["wgmma: FASTCONV_CUDA_WGMMA=0 is set"]


def test_without_tensor_maps(emulated: ModuleType, rng: np.random.Generator) -> None:
    """An old driver: mma computes the same."""
    emulated.set_emulation(late_landing=False, backwards=False, tensor_maps=False)
    x, w, b = arrays(PLAIN, "bfloat16", rng)
    y = cuda.conv2d(x, w, b, **PLAIN.options)
    assert relative_error(as_numbers(y, "bfloat16"), expected(PLAIN, "bfloat16", x, w, b)) < 4e-3
