"""Convolution of the CUDA half, in the emulator: against the definition in float64."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import CASES, relative_error, to_nchw, to_nhwc
from fastconv import cuda

IEEE = 2e-6  # relative error that float32 may have


def arrays(geometry: Geometry, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(
        rng.standard_normal(shape).astype(np.float32)
        for shape in (geometry.input_shape, geometry.weight_shape, (geometry.outputs,))
    )


def expected(geometry: Geometry, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return reference.conv2d(x, w, b, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_forward(any_mode: ModuleType, geometry: Geometry, rng: np.random.Generator) -> None:
    x, w, b = arrays(geometry, rng)
    truth = expected(geometry, x, w, b)
    out = np.full(to_nhwc(truth).shape, np.nan, np.float32)
    y = cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options, out=out)
    assert y is out
    assert relative_error(to_nchw(y), truth) < IEEE
    again = cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options)
    np.testing.assert_array_equal(y.view(np.uint32), again.view(np.uint32))
    plain = cuda.conv2d(to_nhwc(x), to_nhwc(w), **geometry.options, activation="relu")
    assert relative_error(to_nchw(plain), np.maximum(expected(geometry, x, w, None), 0)) < IEEE


def test_a_batch_is_its_images(emulated: ModuleType, rng: np.random.Generator) -> None:
    """The sum of an output has one order, wherever its pixel lies in a tile."""
    geometry = Geometry(8, 20, (7, 7), (3, 3), padding=((1, 1), (1, 1)), batch=5)
    x, w, b = arrays(geometry, rng)
    together = cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options)
    for n in range(5):
        alone = cuda.conv2d(to_nhwc(x[n : n + 1]), to_nhwc(w), b, **geometry.options)
        np.testing.assert_array_equal(together[n], alone[0])


def test_addresses_that_are_not_aligned_to_16_bytes(emulated: ModuleType, rng: np.random.Generator) -> None:
    geometry = CASES[0]
    x, w, b = arrays(geometry, rng)
    memory = np.empty(x.size + 1, np.float32)
    shifted = memory[1:].reshape(to_nhwc(x).shape)
    shifted[...] = to_nhwc(x)
    y = cuda.conv2d(shifted, to_nhwc(w), b, **geometry.options)
    np.testing.assert_array_equal(y, cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight"])
def test_what_is_not_finite(emulated: ModuleType, rng: np.random.Generator, value: float, where: str) -> None:
    """It reaches what reads it and nothing else; padding does not read weights."""
    geometry = Geometry(5, 4, (6, 6), (3, 3), padding=((1, 1), (1, 1)), batch=1)
    x, w, b = arrays(geometry, rng)
    (x if where == "input" else w)[0, 1, 0, 2] = value
    with np.errstate(invalid="ignore"):
        truth = expected(geometry, x, w, b)
    y = to_nchw(cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(truth))
    relu = to_nchw(cuda.conv2d(to_nhwc(x), to_nhwc(w), b, **geometry.options, activation="relu"))
    np.testing.assert_array_equal(np.isnan(relu), np.isnan(truth))


def test_errors(emulated: ModuleType) -> None:
    x, w = np.zeros((1, 4, 4, 8), np.float32), np.zeros((6, 3, 3, 8), np.float32)
    with pytest.raises(ValueError, match="conv2d: weight must have shape"):
        cuda.conv2d(x, w[..., :4].copy())
    with pytest.raises(TypeError, match="conv2d: weight must be float32, got float64"):
        cuda.conv2d(x, w.astype(np.float64))
    with pytest.raises(ValueError, match="conv2d: input must be C-contiguous"):
        cuda.conv2d(x.transpose(0, 2, 1, 3), w)
    with pytest.raises(ValueError, match=r"conv2d: out must have shape \(1, 2, 2, 6\)"):
        cuda.conv2d(x, w, out=np.empty((1, 2, 2, 5), np.float32))
    with pytest.raises(ValueError, match="conv2d: bias must have shape"):
        cuda.conv2d(x, w, np.zeros(5, np.float32))
    with pytest.raises(TypeError, match="conv2d: input must be an array on a GPU"):
        cuda.conv2d([1.0], w)
    both = np.zeros(8 * 36, np.float32)
    with pytest.raises(ValueError, match="conv2d: out must not overlap weight"):
        cuda.conv2d(x, both[: 4 * 72].reshape(4, 3, 3, 8), out=both[:16].reshape(1, 2, 2, 4))
