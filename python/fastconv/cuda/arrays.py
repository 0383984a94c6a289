"""Arrays on a GPU, whoever made them: their address, new ones of the same library, and that library's stream.

Under the emulator NumPy arrays take the place of GPU arrays.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.cuda import native
from fastconv.ops.arguments import describe


class View(NamedTuple):
    """Where an array lies."""

    address: int
    shape: tuple[int, ...]
    dtype: str


def _is_c_contiguous(shape: Sequence[int], strides: Sequence[int] | None, itemsize: int) -> bool:
    if strides is None or 0 in shape:
        return True
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def view(op: str, name: str, value: Any, ndim: int | None = None, dtype: str = "float32", write: bool = False) -> View:
    """Look at an array without touching its memory; TypeError or ValueError if a kernel cannot take it."""
    interface: dict[str, Any] | None
    if native.emulated() and isinstance(value, np.ndarray):
        interface = value.__array_interface__
    else:
        interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        raise TypeError(f"{op}: {name} must be an array on a GPU, got {describe(value)}")
    shape, kind = tuple(interface["shape"]), np.dtype(interface["typestr"])
    if kind.name != dtype or not kind.isnative:
        raise TypeError(f"{op}: {name} must be {dtype}, got {kind.name}")
    if ndim is not None and len(shape) != ndim:
        raise ValueError(f"{op}: {name} must have {ndim} dimensions, got shape {shape}")
    if not _is_c_contiguous(shape, interface.get("strides"), kind.itemsize):
        raise ValueError(f"{op}: {name} must be C-contiguous, got strides {interface['strides']} for shape {shape}")
    address, read_only = interface["data"]
    if write and read_only:
        raise ValueError(f"{op}: {name} must be writeable, got a read-only array")
    return View(int(address), shape, dtype)


def check_shape(op: str, name: str, found: View, expected: Sequence[int]) -> None:
    """Hold an array against the shape that the geometry gave."""
    if found.shape != tuple(expected):
        raise ValueError(f"{op}: {name} must have shape {tuple(expected)}, got {found.shape}")


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def empty(op: str, like: Any, shape: Sequence[int], dtype: str = "float32") -> Any:
    """A new array of the library and on the device of `like`."""
    library = _library(like)
    if library == "numpy":
        return np.empty(tuple(shape), dtype)
    if library == "cupy":
        cupy = importlib.import_module("cupy")
        with like.device:
            return cupy.empty(tuple(shape), dtype)
    if library == "torch":
        torch = importlib.import_module("torch")
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device=like.device)
    raise TypeError(f"{op}: pass out=, since results cannot be allocated for {type(like).__module__} arrays")


def output(op: str, out: Any, like: Any, shape: Sequence[int], dtype: str = "float32", name: str = "out") -> Any:
    """`out` if it can take the result, or a new array."""
    if out is None:
        return empty(op, like, shape, dtype)
    check_shape(op, name, view(op, name, out, None, dtype, write=True), shape)
    return out


def stream(like: Any) -> int:
    """The stream that is current in the library of `like`, as an address; 0 is the default stream."""
    library = _library(like)
    if library == "cupy":
        return int(importlib.import_module("cupy").cuda.get_current_stream().ptr)
    if library == "torch" and getattr(like, "is_cuda", False):
        return int(importlib.import_module("torch").cuda.current_stream(like.device).cuda_stream)
    interface = getattr(like, "__cuda_array_interface__", None) or {}
    return int(interface.get("stream") or 0)


def count(shape: Sequence[int]) -> int:
    """How many elements an array of this shape has."""
    return math.prod(shape)
