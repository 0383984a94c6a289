"""Convolutions chosen to meet every tail and border of the GPU kernels, and how to compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conv2d_cases import Geometry

# Tiles are 128 rows by 16, 64 or 128 columns, the depth goes in slabs of 8, channels in fours where they divide.
CASES = [
    Geometry(8, 16, (9, 7), (3, 3), padding=((1, 1), (1, 1))),
    Geometry(5, 5, (9, 7), (3, 3), stride=(2, 1), padding=((0, 1), (2, 1)), dilation=(1, 2)),
    Geometry(12, 130, (11, 13), (3, 2), stride=(1, 2), padding=((1, 1), (1, 0)), dilation=(2, 1)),
    Geometry(8, 70, (17, 16), (1, 1), batch=1),
    Geometry(12, 6, (5, 6), (3, 3), padding=((1, 1), (1, 1)), groups=3),
    Geometry(6, 6, (6, 5), (3, 3), padding=((1, 1), (1, 1)), groups=6),
    Geometry(16, 17, (12, 12), (5, 5), stride=(3, 2), padding=((2, 2), (2, 2))),
    Geometry(1, 1, (1, 1), (1, 1), batch=3),
    Geometry(5, 7, (4, 3), (7, 7), padding=((5, 4), (6, 3))),
    Geometry(20, 33, (8, 9), (3, 3), dilation=(3, 2), padding=((2, 4), (1, 3))),
    Geometry(8, 4, (6, 6), (3, 3), padding=((1, 1), (1, 1)), batch=0),
]


def depthwise(channels: int, image: tuple[int, int], kernel: int | tuple[int, int], **options: object) -> Geometry:
    """One group for every channel."""
    outputs = channels * options.pop("multiplier", 1)
    pair = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = options.pop("pad", 0)
    padding = options.pop("padding", ((pad, pad), (pad, pad)))
    return Geometry(channels, outputs, image, pair, padding=padding, groups=channels, **options)


def to_nhwc(a: NDArray[np.floating]) -> NDArray[np.floating]:
    """Images to (N, H, W, C), weights to (O, KH, KW, C/groups)."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1))


def to_nchw(a: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2))


def relative_error(got: NDArray[np.floating], expected: NDArray[np.float64]) -> float:
    """In the 2-norm; NaN in the result is an error of infinity."""
    if expected.size == 0:
        return 0.0
    error = np.linalg.norm(got.astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-30)
    return float(error) if np.isfinite(error) else float("inf")


# NumPy has no bfloat16. Fastconv takes "V2", two bytes without a meaning, for it, as `__cuda_array_interface__` of
# PyTorch and ml_dtypes name it.
STORED = {"float32": np.dtype("f4"), "float16": np.dtype("f2"), "bfloat16": np.dtype("V2")}


def as_bits(a: NDArray[np.floating], dtype: str) -> NDArray[np.unsignedinteger]:
    """Round to the nearest number of `dtype`, ties to even; the bits of it."""
    if dtype == "bfloat16":
        bits = a.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return a.astype(dtype).view(f"u{np.dtype(dtype).itemsize}")


def as_numbers(a: NDArray[np.generic], dtype: str) -> NDArray[np.float64]:
    """What an array of `dtype`, or its bits, holds."""
    if dtype == "bfloat16":
        return (a.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return a.view(dtype).astype(np.float64)


def stored(a: NDArray[np.floating], dtype: str) -> NDArray[np.generic]:
    """As `as_bits`, in the dtype that a GPU array of it has."""
    return as_bits(a, dtype).view(STORED[dtype])


def poisoned(shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    return np.full(shape, -1, f"i{STORED[dtype].itemsize}").view(STORED[dtype])  # all ones: NaN


def same_bits(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    return a.tobytes() == b.tobytes()


def bits_of(passes: NDArray[np.generic]) -> NDArray[np.uint32]:
    """The mask of an array of booleans: bit i % 32 of word i / 32."""
    padded = np.zeros(-(-passes.size // 32) * 32, bool)
    padded[: passes.size] = passes.ravel()
    return np.packbits(padded, bitorder="little").view(np.uint32)


# On tensor cores: dtype and precision, and the relative error that a result may have in the 2-norm.
KINDS = {
    ("float32", "tf32"): 5e-4,
    ("float32", "tf32x3"): 4e-6,
    ("float16", None): 1e-3,
    ("bfloat16", None): 4e-3,
}
NAMES = [precision or dtype for dtype, precision in KINDS]
