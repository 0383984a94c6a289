"""The arrays of one layer: the same numbers for everybody, NCHW and OIHW, shared with child processes through files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shapes import Layer

Array: TypeAlias = NDArray[np.floating[Any]]
PASSES = ("forward", "backward_input", "backward_weight")


def aligned(array: Array) -> Array:
    """Copy to memory that begins on a cache line, as in our models and in PyTorch (NumPy begins 16 bytes later)."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy: Array = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@dataclass(frozen=True)
class Arrays:
    input: Array
    weight: Array
    grad_output: Array

    @classmethod
    def random(cls, layer: Layer, dtype: str) -> Arrays:
        rng = np.random.default_rng(0)
        kind: Any = np.float64 if dtype == "float64" else np.float32
        weight = rng.standard_normal(layer.weight_shape, kind) / kind(np.sqrt(np.prod(layer.weight_shape[1:])))
        return cls(rng.standard_normal(layer.input_shape, kind), weight, rng.standard_normal(layer.output_shape, kind))

    @classmethod
    def load(cls, folder: Path) -> Arrays:
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("input", "weight", "grad_output")))

    def save(self, folder: Path) -> None:
        for name in ("input", "weight", "grad_output"):
            np.save(folder / f"{name}.npy", getattr(self, name))
