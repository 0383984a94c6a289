"""Gradients of convolution of the CUDA half, in the emulator: against their definition in float64."""

from __future__ import annotations

from itertools import product
from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import bits_of, relative_error, to_nchw, to_nhwc
from fastconv import cuda

IEEE = 2e-6  # relative error that float32 may have

# Every tile of both gradients, with and without channels in fours; phases with many, few and no taps; several slices.
CASES = [
    Geometry(8, 16, (9, 7), (3, 3), padding=((1, 1), (1, 1))),
    Geometry(132, 20, (6, 5), (3, 2), (2, 3), ((1, 0), (0, 2)), (1, 2), batch=1),
    Geometry(20, 132, (5, 6), (1, 3), (2, 1), ((0, 1), (2, 1))),
    Geometry(72, 68, (5, 4), (1, 1)),
    Geometry(5, 7, (14, 15), (3, 3), (4, 6), ((4, 3), (2, 5)), (6, 4)),
    Geometry(38, 42, (7, 8), (3, 3), (2, 2), ((1, 1), (0, 1)), groups=2),
    Geometry(8, 8, (7, 5), (1, 1), (2, 2)),
    Geometry(6, 5, (4, 3), (7, 5), padding=((2, 1), (2, 1)), dilation=(1, 1)),
    Geometry(4, 3, (9, 7), (3, 4), (9, 5), dilation=(2, 2)),
    Geometry(5, 6, (13, 11), (2, 2), (5, 4), ((1, 2), (3, 0))),
    Geometry(6, 6, (6, 5), (3, 3), (2, 1), ((1, 1), (1, 1)), groups=6),
    Geometry(8, 8, (17, 16), (3, 3), padding=((1, 1), (1, 1)), batch=8),
    Geometry(6, 9, (7, 8), (3, 3), (2, 1), ((1, 1), (1, 1)), groups=3),
    Geometry(5, 5, (23, 25), (3, 3)),
    Geometry(12, 8, (5, 6), (3, 3), batch=0),
]
SLICED = CASES[11]


def poisoned(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


def run(g: Geometry, data: dict[str, np.ndarray], **options: object) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of input and weight as NCHW; results and workspace hold NaN before."""
    x, w, gy = (to_nhwc(data[name].astype(np.float32)) for name in ("input", "weight", "grad_output"))
    size = cuda.conv2d_backward_weight_workspace_bytes(x.shape, w.shape, **g.options)
    gx = cuda.conv2d_backward_input(x.shape, w, gy, **g.options, **options, out=poisoned(x.shape))
    gw = cuda.conv2d_backward_weight(
        x, w.shape, gy, **g.options, out=poisoned(w.shape), workspace=poisoned((size // 4,))
    )
    return to_nchw(gx), to_nchw(gw)


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_exact_on_whole_numbers(any_mode: ModuleType, geometry: Geometry) -> None:
    data = geometry.integers
    gx, gw = run(geometry, data)
    np.testing.assert_array_equal(gx, data["grad_input"])
    np.testing.assert_array_equal(gw, data["grad_weight"])


@pytest.mark.parametrize("geometry", CASES, ids=str)
def test_real_numbers(emulated: ModuleType, geometry: Geometry) -> None:
    """Close to the truth, with the same bits twice, and adjoint to the forward pass."""
    data = geometry.normal
    gx, gw = run(geometry, data)
    assert relative_error(gx, data["grad_input"]) < IEEE
    assert relative_error(gw, data["grad_weight"]) < IEEE
    for first, second in zip((gx, gw), run(geometry, data), strict=True):
        assert first.tobytes() == second.tobytes()
    x, w, gy = (data[name].astype(np.float32) for name in ("input", "weight", "grad_output"))
    y = to_nchw(cuda.conv2d(to_nhwc(x), to_nhwc(w), **geometry.options)).astype(np.float64)
    scale = np.linalg.norm(y) * np.linalg.norm(gy)
    assert abs(np.vdot(y, gy) - np.vdot(x, gx.astype(np.float64))) <= 1e-6 * scale
    assert abs(np.vdot(y, gy) - np.vdot(w, gw.astype(np.float64))) <= 1e-6 * scale


STRIDES = [*product(((1, 1), (2, 3), (3, 2), (4, 1)), ((1, 1), (2, 2), (4, 6), (3, 1)), ((1, 1), (3, 2), (4, 5)))]


@pytest.mark.parametrize(("stride", "dilation", "kernel"), STRIDES, ids=str)
def test_phases(emulated: ModuleType, stride: tuple, dilation: tuple, kernel: tuple) -> None:
    for top, right in ((0, 1), (5, 7)):
        padding = ((top, 2), (3, right))
        least = [dilation[a] * (kernel[a] - 1) + 1 - sum(padding[a]) for a in (0, 1)]
        for more in ((0, 0), (1, 6), (7, 2)):
            image = (max(1, least[0] + more[0]), max(1, least[1] + more[1]))
            geometry = Geometry(5, 3, image, kernel, stride, padding, dilation)
            gx, gw = run(geometry, geometry.integers)
            np.testing.assert_array_equal(gx, geometry.integers["grad_input"])
            np.testing.assert_array_equal(gw, geometry.integers["grad_weight"])


@pytest.mark.parametrize("geometry", [CASES[1], CASES[5], CASES[6]], ids=str)
def test_relu_before_the_convolution(any_mode: ModuleType, geometry: Geometry, rng: np.random.Generator) -> None:
    passes = rng.random(geometry.input_shape) > 0.4
    gx, _ = run(geometry, geometry.integers, mask=bits_of(to_nhwc(passes)))
    np.testing.assert_array_equal(gx, np.where(passes, geometry.integers["grad_input"], 0))


@pytest.mark.parametrize("geometry", [CASES[0], SLICED, CASES[10]], ids=["one slice", "slices", "depthwise"])
def test_accumulate(emulated: ModuleType, geometry: Geometry) -> None:
    data = geometry.integers
    x, gy = to_nhwc(data["input"].astype(np.float32)), to_nhwc(data["grad_output"].astype(np.float32))
    truth = to_nhwc(data["grad_weight"])
    out = np.full(truth.shape, 3, np.float32)
    cuda.conv2d_backward_weight(x, truth.shape, gy, **geometry.options, accumulate=True, out=out)
    np.testing.assert_array_equal(out, truth + 3)
    bias = np.full(geometry.outputs, 2, np.float32)
    cuda.conv2d_backward_bias(gy, accumulate=True, out=bias)
    np.testing.assert_array_equal(bias, data["grad_bias"] + 2)


@pytest.mark.parametrize(
    "shape", [(3, 7, 1), (2, 17, 3), (1100, 4), (5, 40, 12), (310, 130), (33, 260), (0, 5)], ids=str
)
def test_bias(any_mode: ModuleType, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    gy = rng.integers(-4, 5, shape).astype(np.float32)
    truth = gy.astype(np.float64).reshape(-1, shape[-1]).sum(0)
    work = poisoned((cuda.conv2d_backward_bias_workspace_bytes(shape) // 4,))
    np.testing.assert_array_equal(cuda.conv2d_backward_bias(gy, out=poisoned(shape[-1:]), workspace=work), truth)
    passes = rng.random(shape) > 0.4
    expected, masked = np.where(passes, gy, 0), poisoned(shape)
    bias = cuda.conv2d_backward_bias(gy, mask=bits_of(passes), masked=masked)
    np.testing.assert_array_equal(bias, expected.astype(np.float64).reshape(-1, shape[-1]).sum(0))
    np.testing.assert_array_equal(masked, expected)
    cuda.conv2d_backward_bias(gy, mask=bits_of(passes), masked=gy)
    np.testing.assert_array_equal(gy, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["input", "weight", "grad_output"])
@pytest.mark.parametrize("image", [(6, 6), (18, 17)], ids=["one slice", "slices"])
def test_what_is_not_finite(emulated: ModuleType, value: float, where: str, image: tuple[int, int]) -> None:
    """It reaches what reads it and nothing else; padding reads neither weights nor gradients."""
    geometry = Geometry(8, 8, image, (3, 3), (1, 1), ((1, 1), (1, 1)))
    data = {name: array.copy() for name, array in geometry.normal.items()}
    data[where][0, 1, 0, 0] = value
    with np.errstate(invalid="ignore"):
        x, w, gy = (data[name] for name in ("input", "weight", "grad_output"))
        truth = (
            reference.conv2d_backward_input(x.shape, w, gy, **geometry.options),
            reference.conv2d_backward_weight(x, w.shape, gy, **geometry.options),
        )
    for got, expected in zip(run(geometry, data), truth, strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))


def test_addresses_that_are_not_aligned_to_16_bytes(emulated: ModuleType) -> None:
    data = CASES[0].integers

    def shifted(a: np.ndarray) -> np.ndarray:
        memory = np.empty(a.size + 1, np.float32)
        memory[1:] = a.ravel()
        return memory[1:].reshape(a.shape)

    x, w, gy = (shifted(to_nhwc(data[name])) for name in ("input", "weight", "grad_output"))
    options = CASES[0].options
    gx = cuda.conv2d_backward_input(x.shape, w, gy, **options)
    np.testing.assert_array_equal(to_nchw(gx), data["grad_input"])
    gw = cuda.conv2d_backward_weight(x, w.shape, gy, **options)
    np.testing.assert_array_equal(to_nchw(gw), data["grad_weight"])
    np.testing.assert_array_equal(cuda.conv2d_backward_bias(gy), data["grad_bias"])


def test_the_workspace_is_bounded(emulated: ModuleType) -> None:
    for x, w in [
        ((64, 56, 56, 64), (64, 3, 3, 64)),
        ((64, 7, 7, 512), (512, 3, 3, 512)),
        ((256, 224, 224, 3), (64, 7, 7, 3)),
        ((64, 14, 14, 1024), (256, 1, 1, 1024)),
        ((1024, 32, 32, 128), (128, 3, 3, 128)),
    ]:
        assert cuda.conv2d_backward_weight_workspace_bytes(x, w, padding="same") <= 264 * 128 * 128 * 4
    assert cuda.conv2d_backward_weight_workspace_bytes((1, 8, 8, 8), (4, 3, 3, 8)) == 0
    assert cuda.conv2d_backward_bias_workspace_bytes((64, 56, 56, 2048)) <= 1056 * 128 * 4


def test_errors(emulated: ModuleType) -> None:
    x, w, gy = (
        np.zeros((1, 4, 4, 8), np.float32),
        np.zeros((6, 3, 3, 8), np.float32),
        np.zeros((1, 2, 2, 6), np.float32),
    )
    with pytest.raises(ValueError, match=r"conv2d_backward_input: grad_output must have shape \(1, 2, 2, 6\)"):
        cuda.conv2d_backward_input(x.shape, w, gy[:, :1].copy())
    with pytest.raises(TypeError, match="conv2d_backward_input: input_shape must be a tuple of 4 ints"):
        cuda.conv2d_backward_input(3, w, gy)
    with pytest.raises(ValueError, match="conv2d_backward_input: mask must have shape"):
        cuda.conv2d_backward_input(x.shape, w, gy, mask=np.zeros(3, np.uint32))
    with pytest.raises(TypeError, match="conv2d_backward_input: mask must be uint32"):
        cuda.conv2d_backward_input(x.shape, w, gy, mask=np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="conv2d_backward_weight: weight_shape must have 4 entries"):
        cuda.conv2d_backward_weight(x, (6, 3, 3), gy)
    with pytest.raises(ValueError, match="conv2d_backward_weight: accumulate=True needs out"):
        cuda.conv2d_backward_weight(x, w.shape, gy, accumulate=True)
    both = np.zeros(6 * 72, np.float32)
    with pytest.raises(ValueError, match="conv2d_backward_weight: out must not overlap input"):
        cuda.conv2d_backward_weight(both[:128].reshape(x.shape), w.shape, gy, out=both.reshape(w.shape))
    with pytest.raises(ValueError, match="conv2d_backward_bias: workspace must have at least 6 elements, got 5"):
        cuda.conv2d_backward_bias(gy, workspace=np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="conv2d_backward_bias: masked needs a mask"):
        cuda.conv2d_backward_bias(gy, masked=gy)
    with pytest.raises(ValueError, match="conv2d_backward_bias: grad_output must have channels"):
        cuda.conv2d_backward_bias(np.zeros((2, 0), np.float32))
