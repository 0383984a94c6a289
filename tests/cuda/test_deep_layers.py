"""Few tiles and deep sums on CUDA: the same bits from every tile, from one block or many, in any batch."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import KINDS, NAMES, bits_of, poisoned, relative_error, same_bits, stored, to_nchw, to_nhwc
from fastconv import cuda

IEEE = 2e-6  # relative error that float32 may have
TILES = [(128, 128), (128, 64), (128, 16), (64, 64), (64, 32)]
WAYS = [(tile, split) for tile in TILES for split in (False, True)]

# Sums in several chunks, the last one shorter, also of phases that have fewer of them than others, or none; channels
# in fours and not.
PAD = ((1, 1), (1, 1))
CASES = [
    Geometry(132, 72, (5, 4), (3, 3), padding=PAD),
    Geometry(115, 37, (4, 4), (3, 3), padding=PAD, batch=1),
    Geometry(20, 600, (5, 4), (3, 3), (2, 2), PAD),
    Geometry(24, 520, (6, 5), (3, 1), (2, 3), PAD, (2, 1)),
    Geometry(2064, 24, (1, 3), (1, 1), groups=2),
    Geometry(1540, 18, (1, 1), (1, 1), batch=70),
]


def run(
    module: ModuleType, g: Geometry, data: dict[str, np.ndarray], mask: np.ndarray | None = None, relu: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Output and gradient of the input as NCHW; both hold NaN before, as does a workspace that is always offered."""
    x, w, gy = (to_nhwc(data[name].astype(np.float32)) for name in ("input", "weight", "grad_output"))
    bias = data["bias"].astype(np.float32)
    shape = module.Conv2dShape(g.input_shape, g.weight_shape, g.stride, g.padding, g.dilation, g.groups)
    y, gx = poisoned(gy.shape, "float32"), poisoned(x.shape, "float32")
    bits = None if mask is None else bits_of(to_nhwc(mask))
    work = poisoned((max(y.size, gx.size) * 8,), "float32")

    def at(a: np.ndarray | None) -> int:
        return 0 if a is None else a.ctypes.data

    options: dict[str, Any] = {"workspace": at(work), "workspace_bytes": work.nbytes, "stream": 0}
    module.conv2d_forward_mma(
        shape, at(x), at(w), at(bias), at(y), dtype="float32", precision="ieee", relu=relu, **options
    )
    module.conv2d_backward_input(shape, at(w), at(gy), at(bits), at(gx), **options)
    return to_nchw(y), to_nchw(gx)


def ways(module: ModuleType, late: bool = True, backwards: bool = True) -> Any:
    """In each of the ways, what is to be done."""
    for tile, split in WAYS:
        module.set_emulation(late_landing=late, backwards=backwards, simt_tile=tile, simt_split=split)
        yield tile, split


@pytest.mark.parametrize("late", [True, False], ids=["late", "early"])
@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_all_ways_are_exact_on_whole_numbers(emulated: ModuleType, geometry: Geometry, late: bool) -> None:
    data = geometry.integers
    passes = np.random.default_rng(0).random(geometry.input_shape) > 0.4
    for _ in ways(emulated, late, late):
        y, gx = run(emulated, geometry, data, passes)
        np.testing.assert_array_equal(y, data["output"])
        np.testing.assert_array_equal(gx, np.where(passes, data["grad_input"], 0))


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_all_ways_have_the_same_bits(emulated: ModuleType, geometry: Geometry) -> None:
    """And so have images by themselves."""
    data = geometry.normal
    expected = None
    for _ in ways(emulated):
        found = run(emulated, geometry, data, relu=True)
        if expected is None:
            expected = found
            assert relative_error(found[0], np.maximum(data["output"], 0)) < IEEE
            assert relative_error(found[1], data["grad_input"]) < IEEE
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
    assert expected is not None
    x, w, gy = (to_nhwc(data[name].astype(np.float32)) for name in ("input", "weight", "grad_output"))
    bias = data["bias"].astype(np.float32)
    for count in (1, 132):
        emulated.set_emulation(late_landing=True, backwards=False, multiprocessors=count)
        y = cuda.conv2d(x[:1].copy(), w, bias, **geometry.options, activation="relu")
        gx = cuda.conv2d_backward_input((1, *x.shape[1:]), w, gy[:1].copy(), **geometry.options)
        assert same_bits(to_nchw(y), expected[0][:1])
        assert same_bits(to_nchw(gx), expected[1][:1])


def test_sums_that_round_to_minus_zero(emulated: ModuleType) -> None:
    """What a phase without taps in a chunk adds leaves the sign of a zero as it is."""
    geometry = CASES[2]
    tiny = {"input": -1e-30, "weight": 1e-30, "grad_output": -1e-30, "bias": -0.0}
    data = {name: np.full_like(geometry.normal[name], value) for name, value in tiny.items()}
    found = [run(emulated, geometry, data)[1] for _ in ways(emulated)]
    assert np.signbit(found[0]).any()
    assert all(same_bits(gx, found[0]) for gx in found)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight", "grad_output"])
def test_what_is_not_finite(emulated: ModuleType, value: float, where: str) -> None:
    """It reaches what reads it and nothing else, in whichever chunk it lies."""
    geometry = CASES[0]
    data = {name: array.copy() for name, array in geometry.normal.items()}
    data[where][0, 70, 0, 0] = value
    with np.errstate(invalid="ignore"):
        x, w, gy = (data[name] for name in ("input", "weight", "grad_output"))
        truth = (
            reference.conv2d(x, w, data["bias"], **geometry.options),
            reference.conv2d_backward_input(x.shape, w, gy, **geometry.options),
        )
    for split in (False, True):
        emulated.set_emulation(late_landing=False, backwards=False, simt_tile=(64, 64), simt_split=split)
        for got, expected in zip(run(emulated, geometry, data), truth, strict=True):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_tiles_of_tensor_cores_have_the_same_bits(
    emulated: ModuleType, rng: np.random.Generator, dtype: str, precision: str | None
) -> None:
    """Those of fewer columns are taken where all of them run at once."""
    shape = emulated.Conv2dShape((2, 136, 4, 9), (136, 136, 1, 3), (1, 2), ((0, 0), (1, 1)), (1, 1), 1)
    options = {"stride": (1, 2), "padding": ((0, 0), (1, 1)), "precision": precision}
    x, w = (stored(rng.standard_normal(size), dtype) for size in ((2, 4, 9, 136), (136, 1, 3, 136)))
    gy = stored(rng.standard_normal((2, 4, 5, 136)), dtype)
    how = {"dtype": dtype, "precision": precision or "", "aligned": True, "compute_capability": 80}
    found = []
    for count, columns, phase_columns in ((1, 128, 128), (4, 64, 128), (7, 32, 64), (1000, 32, 32)):
        emulated.set_emulation(late_landing=True, backwards=True, compute_capability=80, multiprocessors=count)
        forward = emulated.conv2d_forward_choice(shape, **how, multiprocessors=count)
        backward = emulated.conv2d_backward_input_choice(shape, **how, multiprocessors=count)
        assert f" 128x{columns}," in forward
        assert f" 128x{phase_columns}," in backward
        y = cuda.conv2d(x, w, **options, out=poisoned(gy.shape, dtype))
        gx = cuda.conv2d_backward_input(x.shape, w, gy, **options, out=poisoned(x.shape, dtype))
        found.append((y.tobytes(), gx.tobytes()))
    assert len(set(found)) == 1


def test_what_is_chosen(emulated: ModuleType) -> None:
    def plan(n: int, channels: int, size: int, outputs: int, kernel: int, multiprocessors: int = 132) -> str:
        pad = kernel // 2
        shape = emulated.Conv2dShape(
            (n, channels, size, size), (outputs, channels, kernel, kernel), (1, 1), ((pad, pad), (pad, pad)), (1, 1), 1
        )
        both = {
            str(emulated.explain_conv2d_simt(shape, backward_input=back, multiprocessors=multiprocessors))
            for back in (False, True)
        }
        assert len(both) == (1 if channels == outputs else 2)
        return both.pop() if channels == outputs else str(sorted(both))

    assert plan(64, 64, 56, 64, 3) == "tiles of 128x64"
    assert plan(64, 128, 28, 128, 3) == "tiles of 128x128, a sum in 2 chunks of 576"
    small = plan(1, 512, 7, 512, 3)
    assert small == "tiles of 64x64, a sum in 9 chunks of 512, a block for each, 903168 bytes of workspace"
    assert "a block for each" in plan(8, 512, 7, 512, 3)
    assert plan(64, 512, 7, 512, 3, multiprocessors=16) == "tiles of 128x128, a sum in 9 chunks of 512"
    assert plan(1, 64, 56, 64, 1) == "tiles of 64x32"
    # The chunks are the same for every batch and every GPU.
    for n in (1, 3, 64, 1000):
        for count in (1, 40, 132):
            assert "a sum in 4 chunks of 576" in plan(n, 256, 14, 256, 3, count)


def test_the_workspace_is_bounded_and_asked_for_where_it_helps(emulated: ModuleType) -> None:
    def size(n: int, c: int, hw: int) -> int:
        shape = emulated.Conv2dShape((n, c, hw, hw), (c, c, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        both = {emulated.conv2d_backward_input_workspace_bytes(shape), emulated.conv2d_forward_workspace_bytes(shape)}
        assert len(both) == 1
        return int(both.pop())

    assert size(1, 512, 7) == 9 * 49 * 512 * 4
    assert size(64, 128, 28) == size(64, 512, 7) == size(1, 32, 7) == 0
    assert all(size(n, 512, 7) <= 264 * 128 * 128 * 4 for n in range(1, 40))
    emulated.set_emulation(late_landing=False, backwards=False, multiprocessors=1)
    assert size(1, 512, 7) == 0
