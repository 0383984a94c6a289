"""TMA and wgmma by themselves, in the emulator; tests/gpu/test_hopper.py holds the same against a GPU."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import hopper_cases as cases
from conv2d_cases import Geometry
from fastconv import cuda


@pytest.mark.parametrize("case", cases.BOXES, ids=[str(g) for g, *_ in cases.BOXES])
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_boxes_of_images(any_mode: ModuleType, dtype: str, case: tuple[Geometry, int, int, tuple[int, int]]) -> None:
    cases.check_im2col(cases.Machine(any_mode), dtype, case)


@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_boxes_of_filters(any_mode: ModuleType, dtype: str) -> None:
    cases.check_filter(cases.Machine(any_mode), dtype)


def test_rounding(any_mode: ModuleType) -> None:
    cases.check_rounding(cases.Machine(any_mode))


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("dtype", cases.DTYPES)
def test_products(any_mode: ModuleType, dtype: str, columns: int) -> None:
    cases.check_product(cases.Machine(any_mode), dtype, columns)


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("turned", ["b", "ab"])
@pytest.mark.parametrize("dtype", cases.DTYPES[:2])
def test_products_of_turned_operands(any_mode: ModuleType, dtype: str, turned: str, columns: int) -> None:
    cases.check_product(cases.Machine(any_mode), dtype, columns, turned)


def test_errors(emulated: ModuleType) -> None:
    words = np.zeros((256, 32), np.int32).ctypes.data
    with pytest.raises(ValueError, match="probe_wgmma: columns must be 64, 128 or 256, got 96"):
        emulated.probe_wgmma("float16", 96, words, words, words, stream=0)
    with pytest.raises(ValueError, match="probe_wgmma: operands of float32 cannot be turned"):
        emulated.probe_wgmma("float32", 64, words, words, words, turned="b", stream=0)
    with pytest.raises(ValueError, match="probe_wgmma: turned must be '', 'b' or 'ab', got 'a'"):
        emulated.probe_wgmma("float16", 64, words, words, words, turned="a", stream=0)
    machine = cases.Machine(emulated)
    with pytest.raises(cuda.CudaError, match="a stride is not 1 to 8"):
        cases.check_im2col(machine, "float16", (Geometry(64, 64, (9, 9), (1, 1), stride=(9, 1)), 0, 0, (0, 0)))
    with pytest.raises(cuda.CudaError, match="not a multiple of 16 bytes"):
        cases.check_im2col(machine, "float16", (Geometry(60, 64, (9, 9), (1, 1)), 0, 0, (0, 0)))
