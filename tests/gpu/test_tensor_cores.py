"""On a real GPU: convolution on tensor cores in all passes, against float64 of the numbers as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import KINDS, NAMES, as_numbers, relative_error, stored, to_nchw, to_nhwc
from fastconv import cuda
from fastconv.cuda import native

pytestmark = pytest.mark.gpu

# With channels in whole pieces and without; groups, strides, slices, and tiles of every size.
GEOMETRIES = [
    Geometry(64, 128, (28, 29), (3, 3), padding=((1, 1), (1, 1)), batch=9),
    Geometry(72, 16, (17, 16), (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 3)),
    Geometry(80, 96, (25, 26), (3, 3), (2, 2), ((0, 1), (2, 1)), groups=2, batch=5),
    Geometry(64, 256, (56, 56), (1, 1), batch=4),
    Geometry(256, 512, (7, 7), (3, 3), padding=((1, 1), (1, 1)), batch=6),
    Geometry(32, 32, (30, 31), (5, 5), (1, 2), ((2, 2), (2, 1)), batch=3),
    Geometry(5, 7, (14, 15), (3, 3), (4, 6), ((4, 3), (2, 5)), (6, 4)),
    Geometry(66, 131, (23, 25), (3, 3), padding=((1, 1), (0, 2)), batch=3),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_all_passes(gpu: Any, dtype: str, precision: str | None, geometry: Geometry, rng: np.random.Generator) -> None:
    """Twice, with the same bits."""
    if dtype == "bfloat16" and gpu.name != "torch":
        pytest.skip(f"{gpu.name} has no bfloat16")
    if dtype != "float16" and native.device_properties(0)["compute_capability"] < (8, 0):
        pytest.skip("needs compute capability 8.0")

    def put(a: np.ndarray) -> Any:
        return gpu.put(a.view(np.int16)).view(gpu.module.bfloat16) if dtype == "bfloat16" else gpu.put(a)

    def numbers(a: Any) -> np.ndarray:
        return to_nchw(as_numbers(gpu.get(a.view(gpu.module.int16) if dtype == "bfloat16" else a), dtype))

    shapes = geometry.input_shape, geometry.weight_shape, geometry.output_shape
    x, w, gy = (stored(to_nhwc(rng.standard_normal(shape)), dtype) for shape in shapes)
    wide_x, wide_w, wide_gy = (to_nchw(as_numbers(a, dtype)) for a in (x, w, gy))
    here = geometry.options
    there = {**here, "precision": precision}
    gpu_x, gpu_w, gpu_gy = put(x), put(w), put(gy)
    passes: list[tuple[Callable[[], Any], np.ndarray]] = [
        (lambda: cuda.conv2d(gpu_x, gpu_w, **there), reference.conv2d(wide_x, wide_w, None, **here)),
        (
            lambda: cuda.conv2d_backward_input(x.shape, gpu_w, gpu_gy, **there),
            reference.conv2d_backward_input(wide_x.shape, wide_w, wide_gy, **here),
        ),
        (
            lambda: cuda.conv2d_backward_weight(gpu_x, w.shape, gpu_gy, **there),
            reference.conv2d_backward_weight(wide_x, wide_w.shape, wide_gy, **here),
        ),
    ]
    for call, expected in passes:
        first, second = numbers(call()), numbers(call())
        assert relative_error(first, expected) < KINDS[dtype, precision]
        assert first.tobytes() == second.tobytes()
