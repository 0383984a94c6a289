"""float16 and bfloat16 in the kernels without tensor cores: sums are float32, rounded once.

Where the float32 result is exact, or a kernel is the same in both types, the result is that of float32, rounded: bit by
bit. Everything else is held against float64 of the numbers as they are stored.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import reference
from conv2d_cases import Geometry
from cuda_cases import as_bits, as_numbers, depthwise, poisoned, relative_error, same_bits, stored, to_nchw, to_nhwc
from fastconv import cuda, ops
from fastconv.cuda.elementwise import mask_shape
from pool2d_cases import Pooling

TYPES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
HALF_A_STEP = {"float16": 2**-11, "bfloat16": 2**-8}


def numbers(rng: np.random.Generator, dtype: str, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Random numbers as they are stored, and the same as float32."""
    a = stored(rng.standard_normal(shape), dtype)
    return a, as_numbers(a, dtype).astype(np.float32)


def assert_rounded(found: np.ndarray, single: np.ndarray, dtype: str) -> None:
    np.testing.assert_array_equal(as_numbers(found, dtype), as_numbers(as_bits(single, dtype), dtype))


def shifted(a: np.ndarray) -> np.ndarray:
    """The same at an address that is aligned to one element alone."""
    b = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
    b[...] = a
    return b


@TYPES
@pytest.mark.parametrize("move", [lambda a: a, shifted], ids=["aligned", "shifted"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 33, 2047, 2049])
def test_element_by_element(
    any_mode: ModuleType, rng: np.random.Generator, dtype: str, size: int, move: object
) -> None:
    x32 = rng.standard_normal(size)
    x32[::7], x32[1::11], x32[2::13] = np.nan, -0.0, np.inf
    x = move(stored(x32, dtype))
    x32 = as_numbers(x, dtype).astype(np.float32)
    mask, mask32 = (np.full(mask_shape(x.shape), 0xDEADBEEF, np.uint32) for _ in range(2))
    y32 = cuda.relu(x32, mask=mask32)
    assert_rounded(cuda.relu(x, mask=mask), y32, dtype)
    np.testing.assert_array_equal(mask, mask32)
    other, other32 = numbers(rng, dtype, size)
    assert_rounded(cuda.relu_backward(other, mask), cuda.relu_backward(other32, mask), dtype)
    assert_rounded(cuda.relu_backward_output(other, x), cuda.relu_backward_output(other32, x32), dtype)
    with np.errstate(invalid="ignore"):
        assert_rounded(cuda.add(x, other, out=x.copy()), x32 + other32, dtype)
    drops = {"p": 0.3, "seed": 7, "offset": 3}
    assert_rounded(cuda.dropout(other, **drops), cuda.dropout(other32, **drops), dtype)
    assert same_bits(cuda.copy(x), x)
    around = poisoned((size + 2,), dtype)
    cuda.fill(around[1:-1], 1.001)
    np.testing.assert_array_equal(
        around.view(np.uint16), [65535, *[as_bits(np.float32([1.001]), dtype)[0]] * size, 65535]
    )


@TYPES
def test_layouts(emulated: ModuleType, rng: np.random.Generator, dtype: str) -> None:
    x, _ = numbers(rng, dtype, 2, 33, 5, 7)
    y = cuda.nchw_to_nhwc(x)
    assert same_bits(y, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    assert same_bits(cuda.nhwc_to_nchw(y), x)


POOLS = [
    Pooling(4, (5, 7), (2, 2)),
    Pooling(8, (7, 11), (3, 3), (2, 2), ((1, 1), (1, 1))),
    Pooling(5, (6, 9), (3, 3), (2, 2)),
    Pooling(12, (8, 9), (2, 3), (1, 2), ((1, 0), (0, 1)), (2, 2)),
    Pooling(136, (7, 5), (7, 5), batch=3),
]


@TYPES
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pooling(emulated: ModuleType, case: Pooling, dtype: str) -> None:
    x = stored(to_nhwc(case.special), dtype)
    gy = stored(to_nhwc(case.grad_output), dtype)
    x32, gy32 = (as_numbers(a, dtype).astype(np.float32) for a in (x, gy))
    truth, places = ops.max_pool2d(x32, **case.options, return_indices=True, layout="NHWC")
    y, indices = cuda.max_pool2d(x, **case.options, return_indices=True, out=poisoned(truth.shape, dtype))
    np.testing.assert_array_equal(as_numbers(y, dtype), truth)
    np.testing.assert_array_equal(indices, places)
    assert same_bits(cuda.max_pool2d(shifted(x), **case.options), y)
    taps = np.full(truth.shape, 99, np.uint8)
    cuda.max_pool2d(x, **case.options, taps=taps)
    gradient = ops.max_pool2d_backward(gy32, places, x.shape, **case.options, layout="NHWC")
    for found in (indices, taps):
        gx = cuda.max_pool2d_backward(gy, found, x.shape, **case.options, out=poisoned(x.shape, dtype))
        assert_rounded(gx, gradient, dtype)


@TYPES
@pytest.mark.parametrize("case", [c for c in POOLS if c.dilation == (1, 1)], ids=str)
def test_average_pooling(any_mode: ModuleType, case: Pooling, dtype: str, rng: np.random.Generator) -> None:
    x, x32 = numbers(rng, dtype, *to_nhwc(case.special).shape)
    gy, gy32 = numbers(rng, dtype, *to_nhwc(case.grad_output).shape)
    window = case.kernel, case.steps, case.padding, case.ceil_mode
    for include_pad in (True, False):
        options = {**case.average, "count_include_pad": include_pad}
        y = cuda.avg_pool2d(x, **options, out=poisoned(gy.shape, dtype))
        assert_rounded(y, cuda.avg_pool2d(x32, **options), dtype)
        truth = reference.avg_pool2d(to_nchw(x32.astype(np.float64)), *window, include_pad, None)
        assert relative_error(to_nchw(as_numbers(y, dtype)), truth) < HALF_A_STEP[dtype]
        gx = cuda.avg_pool2d_backward(gy, x.shape, **options, out=poisoned(x.shape, dtype))
        assert_rounded(gx, cuda.avg_pool2d_backward(gy32, x.shape, **options), dtype)
    assert_rounded(cuda.global_avg_pool2d(x), cuda.global_avg_pool2d(x32), dtype)


DEPTHWISE = [
    depthwise(8, (9, 7), 3, pad=1),
    depthwise(5, (7, 9), 3, pad=3, stride=(2, 2)),
    depthwise(36, (31, 19), 5, pad=2, batch=3),  # more than one slice
    depthwise(3, (8, 9), 5, pad=2, multiplier=2),
    depthwise(16, (10, 9), 3, pad=2, dilation=(2, 3)),
    depthwise(128, (10, 11), 10, batch=1),
    depthwise(8, (6, 6), 3, pad=1, batch=0),
]


@TYPES
@pytest.mark.parametrize("geometry", DEPTHWISE, ids=str)
def test_depthwise_convolution(any_mode: ModuleType, geometry: Geometry, dtype: str) -> None:
    """Of small integers, whose sums are exact."""
    a, options = geometry.integers, geometry.options
    x, w, gy = (stored(to_nhwc(a[name]), dtype) for name in ("input", "weight", "grad_output"))
    y = cuda.conv2d(x, w, stored(a["bias"], dtype), **options, activation="relu", out=poisoned(gy.shape, dtype))
    assert_rounded(to_nchw(y), np.maximum(a["output"], 0), dtype)
    gx = cuda.conv2d_backward_input(x.shape, w, gy, **options, out=poisoned(x.shape, dtype))
    assert_rounded(to_nchw(gx), a["grad_input"], dtype)
    gw = cuda.conv2d_backward_weight(x, w.shape, gy, **options, out=poisoned(w.shape, dtype))
    assert_rounded(to_nchw(gw), a["grad_weight"], dtype)
    wide = to_nhwc(a["weight"].astype(np.float32))
    cuda.conv2d_backward_weight(x, w.shape, gy, **options, accumulate=True, out=wide)
    np.testing.assert_array_equal(to_nchw(wide), a["weight"] + a["grad_weight"])
    cuda.conv2d_backward_weight(x, w.shape, gy, **options, accumulate=True, out=w)
    assert_rounded(to_nchw(w), a["weight"] + a["grad_weight"], dtype)
    assert same_bits(
        cuda.conv2d_backward_input(x.shape, shifted(w), shifted(gy), **options),
        cuda.conv2d_backward_input(x.shape, w, gy, **options),
    )


STEMS = [
    Geometry(3, 64, (19, 37), (7, 7), stride=(2, 2), padding=((3, 3), (3, 3))),
    Geometry(1, 6, (11, 19), (5, 5)),
    Geometry(4, 35, (10, 9), (3, 2), padding=((1, 0), (2, 1)), dilation=(1, 2)),
]


@TYPES
@pytest.mark.parametrize("geometry", STEMS, ids=str)
def test_first_layers(any_mode: ModuleType, geometry: Geometry, dtype: str) -> None:
    a = geometry.integers
    window = {"stride": geometry.stride, "padding": geometry.padding, "dilation": geometry.dilation}
    x, w, b = stored(a["input"], dtype), stored(to_nhwc(a["weight"]), dtype), stored(a["bias"], dtype)
    y = cuda.stem_conv2d(x, w, b, **window, out=poisoned(to_nhwc(a["output"]).shape, dtype))
    assert_rounded(to_nchw(y), a["output"], dtype)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    assert same_bits(cuda.stem_conv2d(last, w, b, **window, layout="NHWC", out=shifted(y)), y)


@TYPES
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_padding_takes_no_part(emulated: ModuleType, value: float, dtype: str) -> None:
    """Weights that are not finite reach what reads them, and nothing else."""
    for geometry in (DEPTHWISE[0], DEPTHWISE[4], STEMS[2]):
        a = {name: array.copy() for name, array in geometry.integers.items()}
        a["weight"][0, 0, 1, 1] = value
        with np.errstate(invalid="ignore"):
            truth = reference.conv2d(a["input"], a["weight"], None, **geometry.options)
        x, w = (stored(to_nhwc(a[name]), dtype) for name in ("input", "weight"))
        if geometry.groups > 1:
            y = cuda.conv2d(x, w, **geometry.options)
        else:
            window = {"stride": geometry.stride, "padding": geometry.padding, "dilation": geometry.dilation}
            y = cuda.stem_conv2d(x, w, **window, layout="NHWC")
        assert_rounded(to_nchw(y), truth, dtype)


def test_errors_and_choices(emulated: ModuleType) -> None:
    x, y = np.zeros((1, 6, 6, 8), np.float16), np.zeros((1, 3, 3, 8), np.float32)
    with pytest.raises(TypeError, match="max_pool2d: out must be float16, got float32"):
        cuda.max_pool2d(x, 2, out=y)
    with pytest.raises(TypeError, match="avg_pool2d: input must be float32, float16 or bfloat16, got float64"):
        cuda.avg_pool2d(x.astype(np.float64), 2)
    with pytest.raises(TypeError, match="add: other must be float16, got float32"):
        cuda.add(x, x.astype(np.float32))
    with pytest.raises(TypeError, match="stem_conv2d: weight must be float16, got float32"):
        cuda.stem_conv2d(x[..., :3].copy(), np.zeros((4, 3, 3, 3), np.float32), layout="NHWC")
    with pytest.raises(
        ValueError, match="max_pool2d: out must not overlap input in memory, got 144 bytes from address"
    ):
        cuda.max_pool2d(x, 2, out=x.reshape(-1)[:72].reshape(1, 3, 3, 8))
    with pytest.raises(ValueError, match="relu: dtype must be 'float32', 'float16' or 'bfloat16', got 'int8'"):
        emulated.relu_forward(x.ctypes.data, x.ctypes.data, 0, 4, dtype="int8", stream=0)
    shape = emulated.Conv2dShape((1, 8, 9, 9), (8, 1, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 8)
    for choice in (
        emulated.conv2d_forward_choice,
        emulated.conv2d_backward_input_choice,
        emulated.conv2d_backward_weight_choice,
    ):
        # Without tensor cores, so that bfloat16 needs no GPU that multiplies it.
        assert choice(shape, dtype="bfloat16", precision="", aligned=True, compute_capability=75).startswith(
            "depthwise"
        )
