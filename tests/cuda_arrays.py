"""Arrays as other libraries show them, with host memory behind, for the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Plain:
    """Has `__cuda_array_interface__` and nothing else."""

    def __init__(self, array: np.ndarray, stream: int | None = None, **changes: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {**array.__array_interface__, "version": 3, "stream": stream, **changes}


class GpuArray:
    """A whole array library: DLPack with a device, and the array API's way to make new ones."""

    float64, float32, float16, uint32, uint8 = np.float64, np.float32, np.float16, np.uint32, np.uint8
    int32, int64 = np.int32, np.int64

    def __init__(self, array: np.ndarray, device: int = 0, kind: int = 2) -> None:
        self.array, self.device, self.kind = array, device, kind
        self.asked_for: list[int | None] = []  # streams that somebody wanted the data on

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, self.device

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> object:
        self.asked_for.append(stream)
        return self.array.__dlpack__(max_version=max_version)

    def __array_namespace__(self) -> type[GpuArray]:
        return GpuArray

    @classmethod
    def empty(cls, shape: Sequence[int], dtype: Any = np.float32, device: int = 0) -> GpuArray:
        poison = np.nan if np.dtype(dtype).kind == "f" else 1
        return cls(np.full(shape, poison, dtype), device)

    @classmethod
    def asarray(cls, values: np.ndarray, device: int = 0) -> GpuArray:
        return cls(values.copy(), device)

    def __getitem__(self, index: Any) -> GpuArray:
        return GpuArray(self.array[index], self.device)

    def transpose(self, *axes: int) -> GpuArray:
        return GpuArray(self.array.transpose(*axes), self.device)


class OldGpuArray(GpuArray):
    """DLPack from before its first version."""

    def __dlpack__(self, *, stream: int | None = None) -> object:  # type: ignore[override]
        return super().__dlpack__(stream=stream)
