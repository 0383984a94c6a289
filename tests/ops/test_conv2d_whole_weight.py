"""Gradients of weights from few pixels, or from maps that are mostly padding: summed whole, stored in their order."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
import reference
from conv2d_cases import LAYOUTS, Geometry, to_layout
from fastconv import _core, ops
from gradcheck import assert_gradient

ONE = ((1, 1), (1, 1))
NOTE = "every part of the gradient is summed at once"
CASES = [
    # One tap: input channels in the lanes, rows stored straight to their place; pixels of all images are one list
    Geometry(512, 33, (7, 7), (1, 1), batch=1),
    Geometry(47, 272, (5, 4), (1, 1), batch=3),
    Geometry(64, 40, (9, 8), (1, 1), (2, 3), batch=2),
    Geometry(34, 96, (6, 6), (1, 1), (2, 2), groups=2),
    Geometry(32, 16, (5, 5), (1, 1), padding=((1, 0), (0, 2))),  # not inside everywhere: as with several taps
    # Several taps, borders, strides, chunks of channels that are no whole vectors
    Geometry(16, 16, (3, 3), (3, 3), batch=1),
    Geometry(64, 64, (5, 5), (3, 3), batch=1),
    Geometry(70, 31, (7, 6), (3, 3), padding=ONE, batch=1),
    Geometry(131, 17, (14, 13), (3, 3), (2, 2), ONE, batch=2),
    Geometry(33, 65, (6, 9), (5, 5), padding=((2, 2), (2, 1)), batch=1),
    Geometry(40, 100, (8, 7), (3, 2), (1, 2), ((0, 1), (1, 0)), groups=2, batch=3),
    Geometry(17, 29, (1, 9), (1, 7), padding=((0, 0), (3, 3)), batch=9),
    # Mostly padding: more pixels than one part, several images, taps that never lie inside
    Geometry(40, 24, (9, 9), (3, 3), padding=((6, 6), (6, 6)), dilation=(6, 6), batch=3),
    Geometry(19, 33, (33, 33), (3, 3), padding=((12, 12), (12, 12)), dilation=(12, 12), batch=1),
    Geometry(16, 18, (4, 5), (3, 3), padding=((9, 9), (9, 9)), dilation=(5, 4)),
]


def gradient(g: Geometry, arrays: dict[str, np.ndarray], dtype: np.dtype, layout: str = "NHWC") -> np.ndarray:
    x, gy = (to_layout(arrays[name].astype(dtype), layout) for name in ("input", "grad_output"))
    return ops.conv2d_backward_weight(x, g.weight_shape, gy, **g.options, layout=layout, algo="direct")


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_it_is_taken(geometry: Geometry, isa: str) -> None:
    call = (geometry.input_shape, geometry.weight_shape)
    e = fastconv.explain("conv2d_backward_weight", *call, **geometry.options, algo="direct")
    assert any(NOTE in note for note in e.notes)
    large = fastconv.explain("conv2d_backward_weight", (1, 32, 40, 40), (32, 32, 3, 3), padding=1, algo="direct")
    assert not any(NOTE in note for note in large.notes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_whole_numbers_are_exact(geometry: Geometry, layout: str, dtype: np.dtype, isa: str) -> None:
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            got = gradient(geometry, geometry.integers, dtype, layout)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, geometry.integers["grad_weight"])


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_bits_do_not_depend_on_threads(geometry: Geometry, dtype: np.dtype) -> None:
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append(gradient(geometry, geometry.normal, dtype).tobytes())
    assert results.count(results[0]) == len(results)


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_it_can_be_added_to_a_gradient(geometry: Geometry, isa: str) -> None:
    arrays = {name: geometry.integers[name].astype(np.float32) for name in ("input", "grad_output")}
    before = np.arange(np.prod(geometry.weight_shape), dtype=np.float32).reshape(geometry.weight_shape) % 97
    total = before.copy()
    x, gy = (to_layout(arrays[name], "NHWC") for name in ("input", "grad_output"))
    shape = _core.Conv2dShape(
        geometry.input_shape,
        geometry.weight_shape,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.groups,
    )
    _core.conv2d_backward_weight(shape, x, gy, total, layout="NHWC", algo="direct", accumulate=True)
    np.testing.assert_array_equal(total, before + geometry.integers["grad_weight"])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_not_a_number_stays_in_its_field(geometry: Geometry, poison: float, isa: str) -> None:
    clean = gradient(geometry, geometry.normal, np.dtype(np.float32))
    for name in ("input", "grad_output"):
        a = {key: array.copy() for key, array in geometry.normal.items()}
        for corner in (0, -1, None):
            a[name][tuple(size // 2 if corner is None else corner for size in a[name].shape)] = poison
        with np.errstate(invalid="ignore"):
            truth = reference.conv2d_backward_weight(
                a["input"], geometry.weight_shape, a["grad_output"], **geometry.options
            )
        got = gradient(geometry, a, np.dtype(np.float32))
        fine = np.isfinite(truth)
        np.testing.assert_array_equal(got[fine], clean[fine])
        np.testing.assert_array_equal(np.isnan(got), np.isnan(truth))
        np.testing.assert_array_equal(np.isposinf(got), np.isposinf(truth))


@pytest.mark.parametrize("geometry", [Geometry(16, 17, (3, 4), (1, 1)), Geometry(17, 16, (3, 3), (3, 2), padding=ONE)])
def test_gradient_by_differences(geometry: Geometry, isa: str) -> None:
    x, w, gy = (geometry.normal[name] for name in ("input", "weight", "grad_output"))
    got = gradient(geometry, geometry.normal, np.dtype(np.float64))
    assert_gradient(lambda at: ops.conv2d(x, at, **geometry.options), w.copy(), gy, got)


def test_no_images_give_zeros(dtype: np.dtype, isa: str) -> None:
    x, gy = np.zeros((0, 64, 5, 5), dtype), np.zeros((0, 32, 3, 3), dtype)
    assert not ops.conv2d_backward_weight(x, (32, 64, 3, 3), gy, algo="direct").any()


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_torch_agrees(geometry: Geometry) -> None:
    torch = pytest.importorskip("torch")
    (top, bottom), (left, right) = geometry.padding
    x = np.pad(geometry.normal["input"], ((0, 0), (0, 0), (top, bottom), (left, right)))
    gy = geometry.normal["grad_output"]
    expected = torch.nn.grad.conv2d_weight(
        torch.tensor(x), geometry.weight_shape, torch.tensor(gy), geometry.stride, 0, geometry.dilation, geometry.groups
    )
    np.testing.assert_allclose(gradient(geometry, geometry.normal, np.dtype(np.float64)), expected, rtol=0, atol=1e-10)
