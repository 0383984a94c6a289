"""Gradients of convolution on tensor cores, in the emulator: against their definition in float64."""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import pytest

from conv2d_cases import Geometry
from cuda_cases import KINDS, NAMES, as_numbers, bits_of, poisoned, relative_error, same_bits, stored
from fastconv import cuda
from fastconv.cuda.conv2d import geometry as judge
from tensor_core_cases import Data

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
# Tiles of the weight's gradient are 32 or 64 rows by 128 columns, 128 by 64 and 128 by 128; slices begin at 256 pixels.
SLICED = Geometry(8, 16, (17, 16), (3, 3), padding=((1, 1), (1, 1)))
SLICED_ELEMENTS = Geometry(5, 6, (23, 12), (2, 3), (1, 1), ((1, 0), (1, 1)))
WEIGHTS = [
    SLICED,
    SLICED_ELEMENTS,
    Geometry(16, 40, (7, 6), (3, 3), (2, 1), ((1, 0), (0, 2)), (1, 2)),
    Geometry(8, 72, (9, 8), (1, 1), batch=1),
    Geometry(16, 136, (5, 6), (3, 3), (1, 2), ((1, 1), (0, 1)), batch=1),
    *PIECES[2:],
    *ELEMENTS,
]
MORE_WEIGHTS = [
    Geometry(3, 70, (29, 31), (7, 7), (2, 2), ((3, 2), (2, 3))),
    Geometry(64, 64, (9, 10), (3, 3), padding=((1, 1), (1, 1)), batch=8),
    Geometry(6, 9, (27, 28), (3, 3), (2, 1), ((1, 1), (1, 1)), groups=3),
    Geometry(136, 200, (3, 4), (1, 1), batch=60),
]
CASES = [*PIECES, *ELEMENTS, *(MORE if os.environ.get("FASTCONV_TEST_CUDA") == "all" else [])]
if os.environ.get("FASTCONV_TEST_CUDA") == "all":
    WEIGHTS += [*MORE, *MORE_WEIGHTS]
kinds = pytest.mark.parametrize(("dtype", "precision"), KINDS, ids=NAMES)


@pytest.mark.parametrize("geometry", CASES, ids=str)
@kinds
def test_input(any_mode: ModuleType, dtype: str, precision: str | None, geometry: Geometry) -> None:
    data = Data(geometry, dtype)
    out = poisoned(data.x.shape, dtype)
    options = {**data.options, "precision": precision}
    assert cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options, out=out) is out
    assert relative_error(as_numbers(out, dtype), data.grad_input()) < KINDS[dtype, precision]
    assert same_bits(cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options), out)


def weight(data: Data, precision: str | None, **options: object) -> np.ndarray:
    options = {**data.options, "precision": precision, **options}
    return cuda.conv2d_backward_weight(data.x, data.w.shape, data.gy, **options)


@pytest.mark.parametrize("geometry", WEIGHTS, ids=str)
@kinds
def test_weight(any_mode: ModuleType, dtype: str, precision: str | None, geometry: Geometry) -> None:
    data = Data(geometry, dtype)
    out = poisoned(data.w.shape, dtype)
    size = cuda.conv2d_backward_weight_workspace_bytes(
        data.x.shape, data.w.shape, **data.options, dtype=dtype, precision=precision
    )
    assert (size > 0) == (data.gy[..., 0].size >= 512)
    work = poisoned((size // 4,), "float32")
    assert weight(data, precision, out=out, workspace=work) is out
    assert relative_error(as_numbers(out, dtype), data.grad_weight()) < KINDS[dtype, precision]
    assert same_bits(weight(data, precision), out)


@pytest.mark.parametrize("geometry", [SLICED, WEIGHTS[3], ELEMENTS[0]], ids=["slices", "one slice", "elements"])
@kinds
def test_accumulate(emulated: ModuleType, dtype: str, precision: str | None, geometry: Geometry) -> None:
    """Into a gradient of the weight's dtype, and into one of float32."""
    data = Data(geometry, dtype)
    truth = data.grad_weight() + 3
    for kind in dict.fromkeys((dtype, "float32")):
        out = stored(np.full(data.w.shape, 3.0), kind)
        weight(data, precision, accumulate=True, out=out)
        assert relative_error(as_numbers(out, kind), truth) < KINDS[dtype, precision]
    if precision is None:
        assert relative_error(as_numbers(out, "float32"), truth) < 2e-6  # not rounded


@kinds
def test_weight_of_no_images(emulated: ModuleType, dtype: str, precision: str | None) -> None:
    data = Data(Geometry(8, 16, (5, 5), (3, 3), batch=0), dtype)
    assert not as_numbers(weight(data, precision, out=poisoned(data.w.shape, dtype)), dtype).any()


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
    data = Data(SLICED, dtype)
    options = {**data.options, "precision": precision}
    gx, gw = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options), weight(data, precision)
    data.x, data.w, data.gy = (shifted(a) for a in (data.x, data.w, data.gy))
    out_x, out_w = (shifted(poisoned(a.shape, dtype)) for a in (gx, gw))
    cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **options, out=out_x)
    weight(data, precision, out=out_w)
    assert same_bits(out_x, gx)
    assert same_bits(out_w, gw)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("where", "image"),
    [("input", (6, 6)), ("weight", (6, 6)), ("grad_output", (6, 6)), ("input", (24, 22)), ("grad_output", (24, 22))],
    ids=["input", "weight", "grad_output", "slices of input", "slices of grad_output"],
)
@kinds
def test_what_is_not_finite(
    emulated: ModuleType, dtype: str, precision: str | None, value: float, where: str, image: tuple[int, int]
) -> None:
    """It reaches what reads it and nothing else; padding reads neither weights nor gradients."""
    data = Data(Geometry(8, 8, image, (3, 3), padding=((1, 1), (1, 1)), batch=1), dtype)
    {"input": data.x, "weight": data.w, "grad_output": data.gy}[where][0, 1, 0, 0] = stored(np.array([value]), dtype)[0]
    gx = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options, precision=precision)
    gw = weight(data, precision)
    with np.errstate(invalid="ignore"):
        truth = data.grad_input(), data.grad_weight()
    for got, expected in zip((gx, gw), truth, strict=True):
        np.testing.assert_array_equal(np.isnan(as_numbers(got, dtype)), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(as_numbers(got, dtype)), np.isinf(expected))


@pytest.mark.parametrize("shape", [(3, 7, 1), (1100, 8), (5, 40, 12), (310, 136), (33, 260), (0, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_bias(any_mode: ModuleType, dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    gy = stored(rng.integers(-4, 5, shape).astype(np.float64), dtype)
    passes = rng.random(shape) > 0.4
    work = poisoned((cuda.conv2d_backward_bias_workspace_bytes(shape, dtype) // 4,), "float32")
    for mask in (None, bits_of(passes)):
        masked = None if mask is None else poisoned(shape, dtype)
        counted = as_numbers(gy, dtype) if mask is None else np.where(passes, as_numbers(gy, dtype), 0)
        truth = counted.reshape(-1, shape[-1]).sum(0)
        out = poisoned(shape[-1:], dtype)
        options = {"mask": mask, "masked": masked, "workspace": work}
        assert cuda.conv2d_backward_bias(gy, **options, out=out) is out
        assert same_bits(out, stored(truth, dtype))
        wide = np.full(shape[-1], 2, np.float32)
        cuda.conv2d_backward_bias(gy, **options, out=wide, accumulate=True)
        np.testing.assert_array_equal(wide, truth + 2)
        if masked is not None:
            np.testing.assert_array_equal(as_numbers(masked, dtype), counted)


def test_the_workspace_is_bounded(emulated: ModuleType) -> None:
    for x, w in [
        ((64, 56, 56, 64), (64, 3, 3, 64)),
        ((64, 7, 7, 512), (512, 3, 3, 512)),
        ((256, 224, 224, 3), (64, 7, 7, 3)),
        ((64, 14, 14, 1024), (256, 1, 1, 1024)),
        ((64, 56, 56, 64), (256, 1, 1, 64)),
        ((64, 28, 28, 128), (128, 3, 3, 4)),
    ]:
        groups = x[3] // w[3]
        for dtype, precision in KINDS:
            size = cuda.conv2d_backward_weight_workspace_bytes(
                x, w, padding="same", groups=groups, dtype=dtype, precision=precision
            )
            assert size <= 264 * 128 * 128 * 4


def test_turing(emulated: ModuleType) -> None:
    """sm_75 has less shared memory and float16 alone."""
    emulated.set_emulation(late_landing=False, backwards=False, compute_capability=75)
    for geometry in (PIECES[0], ELEMENTS[0]):
        data = Data(geometry, "float16")
        gx = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)
        assert relative_error(as_numbers(gx, "float16"), data.grad_input()) < 1e-3
        assert relative_error(as_numbers(weight(data, None), "float16"), data.grad_weight()) < 1e-3
    data = Data(PIECES[0], "float32")
    exact = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)
    tf32 = cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options, precision="tf32")
    assert same_bits(exact, tf32)
    assert same_bits(weight(data, "tf32"), weight(data, None))
    data = Data(PIECES[0], "bfloat16")
    with pytest.raises(cuda.CudaError, match=r"conv2d_backward_input: .* capability 7.5, but float16 needs 7.5"):
        cuda.conv2d_backward_input(data.x.shape, data.w, data.gy, **data.options)
    with pytest.raises(cuda.CudaError, match=r"conv2d_backward_weight: .* capability 7.5, but float16 needs 7.5"):
        weight(data, None)


def test_choice(emulated: ModuleType) -> None:
    def choice(
        of: str, channels: int, outputs: int, dtype: str, precision: str = "", sm: int = 80, aligned: bool = True
    ) -> str:
        shape = judge("conv2d", (1, 4, 4, channels), (outputs, 3, 3, channels), 1, 0, 1, 1)
        kind = {"dtype": dtype, "precision": precision, "aligned": aligned, "compute_capability": sm}
        name = str(getattr(emulated, f"conv2d_backward_{of}_choice")(shape, **kind))
        return name.removeprefix(f"conv2d_backward_{of}_")

    for of in ("input", "weight"):
        assert choice(of, 64, 64, "float32") == "simt"
        assert choice(of, 64, 64, "float32", "tf32", sm=75) == "simt"
    assert choice("input", 68, 4, "float32", "tf32") == "mma 128x128, 16 bytes a copy, 3 stages"
    assert choice("input", 64, 6, "float32", "tf32x3") == "mma 128x64, 4 bytes a copy, 3 stages"
    assert choice("input", 32, 8, "bfloat16") == "mma 128x32, 16 bytes a copy, 3 stages"
    assert choice("input", 32, 8, "float16", sm=75, aligned=False) == "mma 128x64, 2 bytes a copy, 2 stages"
    assert choice("weight", 16, 72, "float32", "tf32") == "mma 128x128, 16 bytes a copy, 3 stages"
    assert choice("weight", 4, 72, "float32", "tf32") == "mma 128x64, 16 bytes a copy, 3 stages"
    assert choice("weight", 64, 64, "bfloat16") == "mma 64x128, 16 bytes a copy, 3 stages"
    assert choice("weight", 64, 32, "float16", sm=75) == "mma 32x128, 16 bytes a copy, 2 stages"
    assert choice("weight", 64, 100, "float16") == "mma 64x128, 2 bytes a copy, 3 stages"


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
    with pytest.raises(TypeError, match="conv2d_backward_weight: grad_output must be float16, got float32"):
        cuda.conv2d_backward_weight(x, w.shape, gy.astype(np.float32))
    with pytest.raises(TypeError, match="conv2d_backward_weight: out must be float16, got float64"):
        cuda.conv2d_backward_weight(x, w.shape, gy, out=w.astype(np.float64))
    with pytest.raises(TypeError, match="conv2d_backward_bias: masked must be float16, got float32"):
        cuda.conv2d_backward_bias(gy, mask=np.zeros(1, np.uint32), masked=gy.astype(np.float32))
    with pytest.raises(ValueError, match="conv2d_backward_weight: precision must be 'ieee', 'tf32'"):
        cuda.conv2d_backward_weight(x, w.shape, gy, precision="fast")
