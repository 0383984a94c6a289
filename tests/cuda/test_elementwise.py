"""ReLU, fill, copy and layouts of the CUDA half, in the emulator."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from fastconv import cuda
from fastconv.cuda.elementwise import mask_shape

SIZES = [0, 1, 3, 31, 32, 33, 1023, 1024, 1025, 4099]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "shifted"])
def test_relu(emulated: ModuleType, rng: np.random.Generator, size: int, offset: int) -> None:
    x = rng.standard_normal(size + offset).astype(np.float32)[offset:]
    x[::7] = np.nan
    x[1::11] = -0.0
    mask = np.full(mask_shape(x.shape), 0xDEADBEEF, np.uint32)
    y = cuda.relu(x, mask=mask)
    passes = ~(x <= 0)
    np.testing.assert_array_equal(y, np.where(passes, x, 0))
    assert not np.signbit(y[1::11]).any()
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    np.testing.assert_array_equal(bits[:size], passes)
    assert not bits[size:].any()

    gradient = rng.standard_normal(size).astype(np.float32)
    np.testing.assert_array_equal(cuda.relu_backward(gradient, mask), np.where(passes, gradient, 0))
    assert cuda.relu_backward(gradient, mask, out=gradient) is gradient
    cuda.relu(x, out=x)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("size", SIZES)
def test_fill_and_copy(emulated: ModuleType, size: int) -> None:
    memory = np.full(size + 2, 7, np.float32)
    cuda.fill(memory[1:-1], 2.5)
    np.testing.assert_array_equal(memory, [7, *[2.5] * size, 7])
    np.testing.assert_array_equal(cuda.copy(memory), memory)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 32, 8, 4), (3, 33, 1, 65), (1, 1, 40, 2), (0, 3, 4, 4)])
def test_layouts(any_mode: ModuleType, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    y = cuda.nchw_to_nhwc(x)
    np.testing.assert_array_equal(y, x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(cuda.nhwc_to_nchw(y), x)


def test_errors(emulated: ModuleType) -> None:
    x = np.zeros(40, np.float32)
    with pytest.raises(ValueError, match=r"relu: mask must have shape \(2,\)"):
        cuda.relu(x, mask=np.zeros(1, np.uint32))
    with pytest.raises(ValueError, match="relu: out must not overlap input"):
        cuda.relu(x[:20], out=x[1:21])
    x.flags.writeable = False
    with pytest.raises(ValueError, match="relu: out must be writeable"):
        cuda.relu(np.zeros(40, np.float32), out=x)
