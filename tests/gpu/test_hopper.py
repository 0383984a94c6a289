"""On sm_90: what the emulator takes for granted of TMA and wgmma, then the kernel that rests on it.

The parts come first. If one of them fails, csrc/cuda/hopper.h and the emulator are wrong in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hopper_cases as cases
from conv2d_cases import Geometry
from cuda_cases import STORED, as_numbers, bits_of, relative_error
from fastconv import cuda
from fastconv.cuda import arrays as look
from fastconv.cuda import native
from fastconv.cuda.conv2d import geometry as judge
from tensor_core_cases import Data, arrays, expected

pytestmark = pytest.mark.gpu

GEOMETRIES = [
    Geometry(64, 128, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=9),
    Geometry(40, 72, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2)),
    Geometry(72, 48, (12, 7), (5, 3), stride=(1, 2), padding=((3, 1), (0, 2))),
    Geometry(64, 129, (9, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
    Geometry(136, 40, (5, 6), (1, 1), stride=(2, 3), padding=((1, 2), (0, 1))),
    Geometry(48, 200, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=24),
    Geometry(256, 512, (14, 14), (3, 3), padding=((1, 1), (1, 1)), batch=6),
    Geometry(64, 256, (56, 56), (1, 1), batch=8),
]
INPUTS = [
    Geometry(128, 64, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=9),
    Geometry(40, 72, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2)),
    Geometry(72, 48, (12, 7), (5, 3), stride=(1, 2), padding=((3, 1), (0, 2))),
    Geometry(136, 64, (10, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
    Geometry(64, 40, (14, 15), (3, 3), (4, 6), ((4, 3), (2, 5)), (6, 4)),
    Geometry(40, 136, (5, 6), (1, 1), stride=(2, 3), padding=((1, 2), (0, 1))),
    Geometry(200, 48, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=24),
    Geometry(256, 128, (57, 56), (3, 3), (2, 2), padding=((1, 1), (1, 1)), batch=6),
    Geometry(64, 256, (56, 56), (1, 1), batch=8),
]
WEIGHTS = [
    Geometry(128, 64, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=9),
    Geometry(40, 72, (17, 16), (3, 2), padding=((1, 1), (1, 0))),
    Geometry(72, 48, (12, 7), (3, 3), stride=(1, 2), padding=((3, 1), (0, 2))),
    Geometry(40, 136, (9, 13), (3, 3), stride=(2, 1), padding=((0, 2), (2, 1)), dilation=(1, 2)),
    Geometry(64, 136, (9, 6), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), dilation=(2, 1)),
    Geometry(136, 200, (3, 4), (1, 1), batch=60),
    Geometry(64, 40, (56, 56), (1, 1), batch=4),
    Geometry(256, 128, (57, 56), (3, 3), (2, 2), padding=((1, 1), (1, 1)), batch=6),
]
KINDS = {("bfloat16", None): 4e-3, ("float16", None): 1e-3, ("float32", "tf32"): 5e-4}

BOUNDS = {"bfloat16": 4e-3, "float16": 1e-3}


@pytest.fixture
def hopper(gpu: Any) -> cases.Machine:
    if native.device_properties(0)["compute_capability"] != (9, 0):
        pytest.skip("needs compute capability 9.0")
    module = native.module("test")
    if "90a" not in module.architectures:
        pytest.skip("this build has no code for sm_90a")
    return cases.Machine(module, gpu)


@pytest.mark.parametrize("case", cases.BOXES, ids=[str(g) for g, *_ in cases.BOXES])
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_boxes_of_images(hopper: cases.Machine, dtype: str, case: tuple[Geometry, int, int, tuple[int, int]]) -> None:
    cases.check_im2col(hopper, dtype, case)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_boxes_of_filters(hopper: cases.Machine, dtype: str) -> None:
    cases.check_filter(hopper, dtype)


def test_rounding(hopper: cases.Machine) -> None:
    cases.check_rounding(hopper)


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_products(hopper: cases.Machine, dtype: str, columns: int) -> None:
    cases.check_product(hopper, dtype, columns)


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("turned", ["b", "ab"])
@pytest.mark.parametrize("dtype", cases.DTYPES[:2])
def test_products_of_turned_operands(hopper: cases.Machine, dtype: str, turned: str, columns: int) -> None:
    cases.check_product(hopper, dtype, columns, turned)


def put(machine: cases.Machine, a: np.ndarray, dtype: str) -> Any:
    """An array of `dtype` on the GPU; of bfloat16 in PyTorch alone."""
    if dtype != "bfloat16":
        return machine.put(a.view(dtype))
    return machine.put(a.view(np.int16)).view(machine.library.module.bfloat16)


def numbers(machine: cases.Machine, a: Any, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        a = a.view(machine.library.module.int16)
    return as_numbers(machine.get(a), dtype)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("dtype", "precision"), KINDS)
def test_forward(
    hopper: cases.Machine, dtype: str, precision: str | None, geometry: Geometry, rng: np.random.Generator
) -> None:
    """Poisoned outputs, many times over: races between warps show on a GPU alone."""
    if dtype == "bfloat16" and hopper.library.name != "torch":
        pytest.skip("bfloat16 comes from PyTorch")
    g = geometry
    x, w, b = arrays(g, dtype, rng)
    truth = np.maximum(expected(g, dtype, x, w, b), 0)
    there = [put(hopper, a, dtype) for a in (x, w, b)]
    aligned = all(look.look("conv2d", "input", a).address % 16 == 0 for a in there[:2])
    shape = judge("conv2d", x.shape, w.shape, g.stride, g.padding, g.dilation, 1)
    how = {"dtype": dtype, "precision": precision or "", "aligned": aligned, "compute_capability": 90}
    assert hopper.module.conv2d_forward_choice(shape, **how).startswith("conv2d_forward_wgmma")
    first = None
    for _ in range(20):
        out = put(hopper, np.full(truth.shape, -1, f"i{STORED[dtype].itemsize}"), dtype)
        cuda.conv2d(*there, **g.options, precision=precision, activation="relu", out=out)
        got = numbers(hopper, out, dtype)
        if first is None:
            assert relative_error(got, truth) < KINDS[dtype, precision]
            first = got
        assert got.tobytes() == first.tobytes()


@pytest.mark.parametrize("geometry", INPUTS, ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_backward_input(hopper: cases.Machine, dtype: str, geometry: Geometry, rng: np.random.Generator) -> None:
    """As forward, with a mask."""
    if dtype == "bfloat16" and hopper.library.name != "torch":
        pytest.skip("bfloat16 comes from PyTorch")
    g = geometry
    data = Data(g, dtype)
    passes = rng.random(data.x.shape) > 0.4
    truth = np.where(passes, data.grad_input(), 0)
    w, gy = (put(hopper, a, dtype) for a in (data.w, data.gy))
    mask = hopper.put(bits_of(passes))
    aligned = all(look.look("conv2d_backward_input", "weight", a).address % 16 == 0 for a in (w, gy))
    shape = judge("conv2d", data.x.shape, data.w.shape, g.stride, g.padding, g.dilation, 1)
    how = {"dtype": dtype, "precision": "", "aligned": aligned, "compute_capability": 90}
    assert hopper.module.conv2d_backward_input_choice(shape, **how).startswith("conv2d_backward_input_wgmma")
    first = None
    for _ in range(20):
        out = put(hopper, np.full(truth.shape, -1, f"i{STORED[dtype].itemsize}"), dtype)
        cuda.conv2d_backward_input(data.x.shape, w, gy, **g.options, mask=mask, out=out)
        got = numbers(hopper, out, dtype)
        if first is None:
            assert relative_error(got, truth) < BOUNDS[dtype]
            first = got
        assert got.tobytes() == first.tobytes()


@pytest.mark.parametrize("geometry", WEIGHTS, ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_backward_weight(hopper: cases.Machine, dtype: str, geometry: Geometry, rng: np.random.Generator) -> None:
    """As forward, into float32."""
    if dtype == "bfloat16" and hopper.library.name != "torch":
        pytest.skip("bfloat16 comes from PyTorch")
    g = geometry
    data = Data(g, dtype)
    truth = data.grad_weight()
    x, gy = (put(hopper, a, dtype) for a in (data.x, data.gy))
    aligned = all(look.look("conv2d_backward_weight", "input", a).address % 16 == 0 for a in (x, gy))
    shape = judge("conv2d", data.x.shape, data.w.shape, g.stride, g.padding, g.dilation, 1)
    how = {"dtype": dtype, "precision": "", "aligned": aligned, "compute_capability": 90}
    assert hopper.module.conv2d_backward_weight_choice(shape, **how).startswith("conv2d_backward_weight_wgmma")
    first = None
    for _ in range(20):
        out = hopper.put(np.full(truth.shape, np.nan, np.float32))
        cuda.conv2d_backward_weight(x, data.w.shape, gy, **g.options, out=out)
        got = hopper.get(out)
        if first is None:
            assert relative_error(got, truth) < 1e-4  # sums of tensor cores, not rounded
            first = got
        assert got.tobytes() == first.tobytes()
