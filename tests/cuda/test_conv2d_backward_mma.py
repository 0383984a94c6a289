"""Gradients of convolution on tensor cores, in the emulator: against their definition in float64."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import KINDS, NAMES, as_numbers, bits_of, poisoned, relative_error, same_bits, stored, to_nchw, to_nhwc
from fastconv import cuda
from fastconv.cuda.conv2d import geometry as judge

# Tiles are 128 rows by 32, 64 or 128 columns, slabs 32 (float32) or 64 elements deep; copies take 4 or 8 channels.
STRIDED = Geometry(72, 16, (17, 16), (3, 2), (2, 1), ((1, 0), (0, 2)), (1, 3))
PIECES = [
    Geometry(16, 24, (9, 15), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    STRIDED,
    Geometry(80, 32, (5, 6), (3, 3), (2, 2), ((0, 1), (2, 1)), groups=2),
]
ELEMENTS = [
    Geometry(5, 7, (14, 15), (3, 3), (4, 6), ((4, 3), (2, 5)), (6, 4)),
    Geometry(66, 9, (7, 6), (2, 3), (1, 2), ((1, 0), (0, 1))),
]
MORE = [
    Geometry(8, 136, (17, 16), (1, 1), (2, 2), batch=1),
    Geometry(136, 40, (6, 7), (1, 1), batch=1),
    Geometry(24, 32, (9, 8), (7, 5), padding=((2, 1), (2, 1)), batch=1),
    Geometry(6, 6, (6, 5), (3, 3), (2, 1), padding=((1, 1), (1, 1)), groups=6),
    Geometry(6, 9, (7, 8), (3, 3), (2, 1), ((1, 1), (1, 1)), groups=3),
    Geometry(3, 66, (23, 25), (3, 3)),
    Geometry(1, 1, (1, 1), (1, 1), batch=3),
]
CASES = [*PIECES, *ELEMENTS, *(MORE if os.environ.get("FASTCONV_TEST_CUDA") == "all" else [])]
kinds = pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)


class Data:
    """Arrays as on the GPU, and gradients from the definition of the numbers as they are stored."""

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        self.options = geometry.options
        rng = np.random.default_rng(7)
        shapes = geometry.input_shape, geometry.weight_shape, geometry.output_shape
        self.x, self.w, self.gy = (stored(to_nhwc(rng.standard_normal(shape)), dtype) for shape in shapes)
        self.dtype = dtype

    def grad_input(self) -> np.ndarray:
        w, gy = (to_nchw(as_numbers(a, self.dtype)) for a in (self.w, self.gy))
        n, h, wide, c = self.x.shape
        return to_nhwc(reference.conv2d_backward_input((n, c, h, wide), w, gy, **self.options))


@pytest.mark.parametrize("geometry", CASES, ids=str)
@kinds
def test_input(any_mode: ModuleType, dtype: str, precision: str | None, geometry: Geometry) -> None:
    data = Data(geometry, dtype)
    out = poisoned(data.x.shape, dtype)
    options = {**data.options, "precision": precision}
    assert cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options, out=out) is out
    assert relative_error(as_numbers(out, dtype), data.grad_input()) < KINDS[dtype, precision]
    assert same_bits(cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options), out)


@pytest.mark.parametrize("geometry", [PIECES[0], PIECES[2], ELEMENTS[1]], ids=["pieces", "phases", "elements"])
@kinds
def test_relu_before_the_convolution(
    emulated: ModuleType, dtype: str, precision: str | None, geometry: Geometry, rng: np.random.Generator
) -> None:
    data = Data(geometry, dtype)
    passes = rng.random(data.x.shape) > 0.4
    options = {**data.options, "precision": precision}
    whole = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options)
    masked = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options, mask=bits_of(passes))
    assert same_bits(masked, np.where(passes, whole, np.zeros(1, whole.dtype)))


@kinds
def test_input_of_a_batch_is_that_of_its_images(emulated: ModuleType, dtype: str, precision: str | None) -> None:
    data = Data(Geometry(24, 8, (7, 7), (3, 3), (2, 2), ((1, 1), (1, 1)), batch=3), dtype)
    options = {**data.options, "precision": precision}
    together = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options)
    for n in range(3):
        one = cuda.conv2d_backward_input((1, *data.x.shape[1:]), data.w, data.gy[n : n + 1], **options)
        assert same_bits(one, together[n])
    none = cuda.conv2d_backward_input((0, *data.x.shape[1:]), data.w, data.gy[:0], **options)
    assert none.shape == (0, 7, 7, 24)


def shifted(a: np.ndarray) -> np.ndarray:
    """The same in memory that does not begin on 16 bytes."""
    result = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
    result[...] = a
    return result


@kinds
def test_addresses_that_are_not_aligned_to_16_bytes(emulated: ModuleType, dtype: str, precision: str | None) -> None:
    data = Data(PIECES[0], dtype)
    options = {**data.options, "precision": precision}
    there = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options)
    out = shifted(poisoned(there.shape, dtype))
    cuda.conv2d_backward_input(data.x.shape, shifted(data.w), shifted(data.gy), **options, out=out)
    assert same_bits(out, there)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["weight", "grad_output"])
@kinds
def test_what_is_not_finite(emulated: ModuleType, dtype: str, precision: str | None, value: float, where: str) -> None:
    """It reaches what reads it and nothing else; gradients outside the output do not meet weights."""
    data = Data(Geometry(8, 8, (6, 6), (3, 3), padding=((1, 1), (1, 1)), batch=1), dtype)
    (data.w if where == "weight" else data.gy)[0, 1, 0, 0] = stored(np.array([value]), dtype)[0]
    gx = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options, precision=precision)
    with np.errstate(invalid="ignore"):
        truth = data.grad_input()
    np.testing.assert_array_equal(np.isnan(as_numbers(gx, dtype)), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(as_numbers(gx, dtype)), np.isinf(truth))


def test_turing(emulated: ModuleType) -> None:
    """sm_75 has less shared memory and float16 alone."""
    emulated.set_emulation(late_landing=False, backwards=False, compute_capability=75)
    for geometry in (PIECES[0], ELEMENTS[0]):
        data = Data(geometry, "float16")
        gx = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)
        assert relative_error(as_numbers(gx, "float16"), data.grad_input()) < 1e-3
    data = Data(PIECES[0], "float32")
    exact = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)
    tf32 = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options, precision="tf32")
    assert same_bits(exact, tf32)
    data = Data(PIECES[0], "bfloat16")
    with pytest.raises(cuda.CudaError, match=r"conv2d_backward_input: .* capability 7.5, but float16 needs 7.5"):
        cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)


def test_choice(emulated: ModuleType) -> None:
    def choice(channels: int, outputs: int, dtype: str, precision: str = "", sm: int = 80, aligned: bool = True) -> str:
        shape = judge("conv2d", (1, 4, 4, channels), (outputs, 3, 3, channels), 1, 0, 1, 1)
        kind = {"dtype": dtype, "precision": precision, "aligned": aligned, "compute_capability": sm}
        return str(emulated.conv2d_backward_input_choice(shape, **kind))

    assert choice(64, 64, "float32") == "conv2d_backward_input_simt"
    assert choice(64, 64, "float32", "tf32", sm=75) == "conv2d_backward_input_simt"
    assert choice(68, 4, "float32", "tf32") == "conv2d_backward_input_mma 128x128, 16 bytes a copy, 3 stages"
    assert choice(64, 6, "float32", "tf32x3") == "conv2d_backward_input_mma 128x64, 4 bytes a copy, 3 stages"
    assert choice(32, 8, "bfloat16") == "conv2d_backward_input_mma 128x32, 16 bytes a copy, 3 stages"
    assert (
        choice(32, 8, "float16", sm=75, aligned=False) == "conv2d_backward_input_mma 128x64, 2 bytes a copy, 2 stages"
    )


def test_errors(emulated: ModuleType) -> None:
    x, w, gy = (np.zeros(shape, np.float16) for shape in ((1, 4, 4, 8), (6, 3, 3, 8), (1, 2, 2, 6)))
    with pytest.raises(ValueError, match="conv2d_backward_input: precision='tf32' is for float32 arrays"):
        cuda.conv2d_backward_input(x.shape, w, gy, precision="tf32")
    with pytest.raises(TypeError, match="conv2d_backward_input: precision must be a str or None"):
        cuda.conv2d_backward_input(x.shape, w, gy, precision=1)
    with pytest.raises(TypeError, match="conv2d_backward_input: weight must be float16, got float32"):
        cuda.conv2d_backward_input(x.shape, w.astype(np.float32), gy)
    with pytest.raises(TypeError, match="conv2d_backward_input: out must be float16, got float32"):
        cuda.conv2d_backward_input(x.shape, w, gy, out=x.astype(np.float32))
