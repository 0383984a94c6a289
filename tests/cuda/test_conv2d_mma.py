"""Convolution on tensor cores, in the emulator: against the definition in float64."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

from conv2d_cases import Geometry
from cuda_cases import KINDS, NAMES, as_numbers, poisoned, relative_error, same_bits, stored
from fastconv import cuda
from fastconv.cuda.conv2d import geometry as judge
from tensor_core_cases import arrays, expected

# Tiles are 128 rows by 32, 64 or 128 columns, slabs 32 (float32) or 64 elements deep; copies take 4 or 8 channels.
WHOLE_PIECES = [
    Geometry(16, 24, (9, 15), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    Geometry(32, 131, (7, 6), (3, 2), stride=(1, 2), padding=((1, 0), (2, 1)), dilation=(2, 1)),
    Geometry(16, 80, (5, 6), (3, 3), padding=((1, 1), (1, 1)), groups=2),
]
ELEMENT_BY_ELEMENT = [
    Geometry(3, 5, (9, 7), (3, 3), stride=(2, 1), padding=((0, 1), (2, 1)), dilation=(1, 2)),
    Geometry(5, 66, (4, 3), (5, 5), padding=((3, 2), (2, 3))),
]
MORE = [
    Geometry(8, 32, (17, 16), (1, 1), batch=1),
    Geometry(24, 33, (8, 9), (3, 3), dilation=(3, 2), padding=((2, 4), (1, 3))),
    Geometry(1, 1, (1, 1), (1, 1), batch=3),
    Geometry(6, 6, (6, 5), (3, 3), padding=((1, 1), (1, 1)), groups=6),
    Geometry(64, 130, (14, 14), (3, 3), padding=((1, 1), (1, 1)), batch=1),
    Geometry(8, 65, (12, 12), (5, 5), stride=(3, 2), padding=((2, 2), (2, 2))),
]
CASES = [*WHOLE_PIECES, *ELEMENT_BY_ELEMENT, *(MORE if os.environ.get("FASTCONV_TEST_CUDA") == "all" else [])]
PLAIN = Geometry(16, 40, (6, 5), (3, 3), padding=((1, 1), (1, 1)))


@pytest.fixture
def emulated(emulated: ModuleType) -> ModuleType:
    """As sm_80: sm_90 takes other kernels for most of these."""
    emulated.set_emulation(late_landing=False, backwards=False, compute_capability=80)
    return emulated


@pytest.fixture
def any_mode(any_mode: ModuleType, request: pytest.FixtureRequest) -> ModuleType:
    """As `emulated`, in every mode."""
    late, backwards = request.node.callspec.params["any_mode"]
    any_mode.set_emulation(late_landing=late, backwards=backwards, compute_capability=80)
    return any_mode


@pytest.mark.parametrize("geometry", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_forward(
    any_mode: ModuleType, dtype: str, precision: str | None, geometry: Geometry, rng: np.random.Generator
) -> None:
    x, w, b = arrays(geometry, dtype, rng)
    truth = np.maximum(expected(geometry, dtype, x, w, b), 0)
    out = poisoned(truth.shape, dtype)
    options = {**geometry.options, "precision": precision, "activation": "relu"}
    assert cuda.conv2d(x, w, b, **options, out=out) is out
    assert relative_error(as_numbers(out, dtype), truth) < KINDS[dtype, precision]
    assert same_bits(cuda.conv2d(x, w, b, **options), out)


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_deep_sums(emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator) -> None:
    """Of numbers above 0: tensor cores cut sums off, which all goes one way then."""
    geometry = Geometry(256, 8, (3, 3), (3, 3), batch=1)
    x, w, _ = (stored(np.abs(as_numbers(a, dtype)), dtype) for a in arrays(geometry, dtype, rng))
    y = cuda.conv2d(x, w, precision=precision)
    assert relative_error(as_numbers(y, dtype), expected(geometry, dtype, x, w, None)) < KINDS[dtype, precision]


@pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])
def test_both_operands_are_rounded_to_nearest(emulated: ModuleType, turned: bool) -> None:
    """To TF32, as tensor cores do not: they leave the last bits out."""
    stored_as, nearest = np.float32(1 + 2**-11 + 2**-13), np.float32(1 + 2**-10)
    x, w, gy = (np.full(shape, stored_as, np.float32) for shape in ((1, 4, 4, 8), (8, 1, 1, 8), (1, 4, 4, 8)))
    ones = np.ones_like
    forward = (ones(x), w) if turned else (x, ones(w))
    assert (cuda.conv2d(*forward, precision="tf32") == 8 * nearest).all()
    given, by = (ones(w), gy) if turned else (w, ones(gy))
    assert (cuda.conv2d_backward_input(x.shape, given, by, precision="tf32") == 8 * nearest).all()
    seen, by = (ones(x), gy) if turned else (x, ones(gy))
    assert (cuda.conv2d_backward_weight(seen, w.shape, by, precision="tf32") == 16 * nearest).all()


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_a_batch_is_its_images(
    emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator
) -> None:
    geometry = Geometry(8, 20, (7, 7), (3, 3), padding=((1, 1), (1, 1)), batch=3)
    x, w, b = arrays(geometry, dtype, rng)
    together = cuda.conv2d(x, w, b, **geometry.options, precision=precision)
    for n in range(3):
        assert same_bits(cuda.conv2d(x[n : n + 1], w, b, **geometry.options, precision=precision), together[n])
    assert cuda.conv2d(x[:0], w, b, **geometry.options, precision=precision).shape == (0, 7, 7, 20)


@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_addresses_that_are_not_aligned_to_16_bytes(
    emulated: ModuleType, dtype: str, precision: str | None, rng: np.random.Generator
) -> None:
    x, w, b = arrays(PLAIN, dtype, rng)
    there = cuda.conv2d(x, w, b, **PLAIN.options, precision=precision)
    shifted_x, shifted_out = (np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape) for a in (x, there))
    shifted_x[...] = x
    cuda.conv2d(shifted_x, w, b, **PLAIN.options, precision=precision, out=shifted_out)
    assert same_bits(shifted_out, there)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight"])
@pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)
def test_what_is_not_finite(
    emulated: ModuleType, dtype: str, precision: str | None, value: float, where: str, rng: np.random.Generator
) -> None:
    """It reaches what reads it and nothing else; padding does not read weights."""
    geometry = Geometry(8, 4, (6, 6), (3, 3), padding=((1, 1), (1, 1)), batch=1)
    x, w, b = arrays(geometry, dtype, rng)
    (x if where == "input" else w)[0, 0, 2, 1] = stored(np.array([value]), dtype)[0]
    with np.errstate(invalid="ignore"):
        truth = expected(geometry, dtype, x, w, b)
    y = as_numbers(cuda.conv2d(x, w, b, **geometry.options, precision=precision), dtype)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(truth))
    relu = as_numbers(cuda.conv2d(x, w, b, **geometry.options, precision=precision, activation="relu"), dtype)
    np.testing.assert_array_equal(np.isnan(relu), np.isnan(truth))


@pytest.mark.parametrize("geometry", [PLAIN, ELEMENT_BY_ELEMENT[0]], ids=str)
def test_turing(emulated: ModuleType, geometry: Geometry, rng: np.random.Generator) -> None:
    """sm_75 has less shared memory, float16 alone, and copies that land at once."""
    emulated.set_emulation(late_landing=False, backwards=False, compute_capability=75)
    x, w, b = arrays(geometry, "float16", rng)
    y = cuda.conv2d(x, w, b, **geometry.options)
    assert relative_error(as_numbers(y, "float16"), expected(geometry, "float16", x, w, b)) < 1e-3
    x, w, b = arrays(geometry, "float32", rng)
    ieee = cuda.conv2d(x, w, b, **geometry.options)
    assert same_bits(cuda.conv2d(x, w, b, **geometry.options, precision="tf32"), ieee)
    x, w, b = arrays(geometry, "bfloat16", rng)
    with pytest.raises(cuda.CudaError, match=r"compute capability 7.5, but float16 needs 7.5 and bfloat16 8.0"):
        cuda.conv2d(x, w, b, **geometry.options)


def test_ieee_is_the_default(emulated: ModuleType, rng: np.random.Generator) -> None:
    x, w, b = arrays(PLAIN, "float32", rng)
    default = cuda.conv2d(x, w, b, **PLAIN.options)
    assert relative_error(default, expected(PLAIN, "float32", x, w, b)) < 5e-7
    assert same_bits(cuda.conv2d(x, w, b, **PLAIN.options, precision="ieee"), default)


def test_choice(emulated: ModuleType) -> None:
    def choice(channels: int, outputs: int, dtype: str, precision: str = "", sm: int = 80, aligned: bool = True) -> str:
        shape = judge("conv2d", (1, 4, 4, channels), (outputs, 3, 3, channels), 1, 0, 1, 1)
        return str(
            emulated.conv2d_forward_choice(
                shape, dtype=dtype, precision=precision, aligned=aligned, compute_capability=sm
            )
        )

    assert choice(64, 64, "float32") == "conv2d_forward_simt"
    assert choice(64, 64, "float32", "ieee") == "conv2d_forward_simt"
    assert choice(64, 64, "float32", "tf32", sm=75) == "conv2d_forward_simt"
    assert choice(4, 65, "float32", "tf32") == "conv2d_forward_mma 128x128, 16 bytes a copy, 3 stages"
    assert choice(4, 65, "float32", "tf32", aligned=False) == "conv2d_forward_mma 128x64, 4 bytes a copy, 3 stages"
    assert choice(4, 65, "bfloat16") == "conv2d_forward_mma 128x64, 2 bytes a copy, 3 stages"
    assert choice(8, 64, "bfloat16") == "conv2d_forward_mma 128x64, 16 bytes a copy, 3 stages"
    depthwise = judge("conv2d", (1, 4, 4, 8), (8, 3, 3, 1), 1, 0, 1, 8)
    kind = {"dtype": "float32", "precision": "tf32", "aligned": True, "compute_capability": 80}
    assert emulated.conv2d_forward_choice(depthwise, **kind) == "depthwise_conv2d"
    assert choice(8, 32, "float16", sm=75) == "conv2d_forward_mma 128x32, 16 bytes a copy, 2 stages"


def test_errors(emulated: ModuleType) -> None:
    x, w = np.zeros((1, 4, 4, 8), np.float32), np.zeros((6, 3, 3, 8), np.float32)
    with pytest.raises(ValueError, match="conv2d: precision must be 'ieee', 'tf32', 'tf32x3' or None, got 'fp16'"):
        cuda.conv2d(x, w, precision="fp16")
    with pytest.raises(TypeError, match="conv2d: precision must be a str or None"):
        cuda.conv2d(x, w, precision=3)
    half_x, half_w = x.astype(np.float16), w.astype(np.float16)
    with pytest.raises(ValueError, match="conv2d: precision='tf32' is for float32 arrays; leave it out"):
        cuda.conv2d(half_x, half_w, precision="tf32")
    with pytest.raises(TypeError, match="conv2d: weight must be float16, got float32"):
        cuda.conv2d(half_x, w)
    with pytest.raises(TypeError, match="conv2d: bias must be float16, got float32"):
        cuda.conv2d(half_x, half_w, np.zeros(6, np.float32))
    with pytest.raises(TypeError, match="conv2d: out must be float16, got float32"):
        cuda.conv2d(half_x, half_w, out=np.zeros((1, 2, 2, 6), np.float32))
    with pytest.raises(TypeError, match="conv2d: input must be float32, got float64"):
        cuda.conv2d(x.astype(np.float64), w)
