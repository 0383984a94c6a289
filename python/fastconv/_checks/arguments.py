"""The one place where what a caller writes becomes what the native module takes.

Sizes: int or pair -> pair, the forms of padding. Arrays: who may pass (`check_array`), the one copy that a strided or
misaligned array costs (`contiguous`), and who may be written to (`check_output`). Nothing here casts: an array of
another dtype is refused with the cast to write. Shapes are judged in C++ (csrc/core), before anything is allocated.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks.gpu import is_on_gpu
from fastconv._config import ALGORITHMS, Algorithm, config

Array: TypeAlias = NDArray[np.floating[Any]]
Pair: TypeAlias = tuple[int, int]
IntOrPair: TypeAlias = int | Sequence[int]
ExplicitPadding: TypeAlias = tuple[Pair, Pair]
PaddingArgument: TypeAlias = int | str | Sequence[int] | Sequence[Sequence[int]]
Layout: TypeAlias = Literal["NCHW", "NHWC"]
Activation: TypeAlias = Literal["none", "relu"]
Shape4: TypeAlias = tuple[int, int, int, int]

ALIGN_FROM_BYTES = 1 << 20  # below, the microsecond that it takes is felt
PADDING_NAMES = ("valid", "same", "same_lower")
_INT64_MAX = 2**63 - 1


def describe(value: object) -> str:
    """Name a value in an error text without printing a whole array."""
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__} of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


# Sizes


def integer(op: str, name: str, value: object) -> int:
    """Return an int that fits 64 bits; bool, float and str are refused, every integer type is taken."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{op}: {name} must be an integer, got {describe(value)}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # this call is the check
    except TypeError:
        raise TypeError(f"{op}: {name} must be an integer, got {describe(value)}") from None
    if not -_INT64_MAX - 1 <= number <= _INT64_MAX:
        raise ValueError(f"{op}: {name} must fit 64 bits, got {number}")
    return number


def pair(op: str, name: str, value: object) -> Pair:
    """Return (h, w) from an int or a pair of ints."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{op}: {name} must be an int or a pair (height, width), got {describe(value)}")
        return integer(op, f"{name}[0]", value[0]), integer(op, f"{name}[1]", value[1])
    number = integer(op, name, value)
    return number, number


def explicit_padding(op: str, value: object) -> ExplicitPadding:
    """Return ((top, bottom), (left, right)) from an int, (h, w) or the full form."""
    if isinstance(value, tuple | list) and len(value) == 2:
        (top, bottom), (left, right) = (pair(op, f"padding[{axis}]", value[axis]) for axis in (0, 1))
        return (top, bottom), (left, right)
    if isinstance(value, tuple | list):
        raise ValueError(
            f"{op}: padding must be an int, (h, w) or ((top, bottom), (left, right)), got {describe(value)}"
        )
    number = integer(op, "padding", value)
    return (number, number), (number, number)


def padding(op: str, value: object) -> ExplicitPadding | str:
    """Like `explicit_padding`; "valid", "same" and "same_lower" pass as they are."""
    if isinstance(value, str):
        if value not in PADDING_NAMES:
            raise ValueError(f"{op}: padding must be one of {', '.join(map(repr, PADDING_NAMES))}, got {value!r}")
        return value
    return explicit_padding(op, value)


def shape_tuple(op: str, name: str, value: object, ndim: int) -> tuple[int, ...]:
    """Return a shape given as a sequence of `ndim` ints."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{op}: {name} must be a tuple of {ndim} ints, got {describe(value)}")
    if len(value) != ndim:
        raise ValueError(f"{op}: {name} must have {ndim} entries, got {describe(value)}")
    return tuple(integer(op, f"{name}[{axis}]", entry) for axis, entry in enumerate(value))


# Options


def _choice(op: str, name: str, value: object, allowed: Sequence[str]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{op}: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def flag(op: str, name: str, value: object) -> bool:
    """True or False, and nothing that merely counts as one."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{op}: {name} must be True or False, got {describe(value)}")
    return bool(value)


def layout(op: str, value: object) -> Layout:
    return cast(Layout, _choice(op, "layout", value, ("NCHW", "NHWC")))


def activation(op: str, value: object) -> Activation:
    """None means "none"."""
    return "none" if value is None else cast(Activation, _choice(op, "activation", value, ("none", "relu")))


def algorithm(op: str, value: object) -> Algorithm:
    """ "auto" gives way to `fastconv.config.algo`."""
    chosen = own_algorithm(op, value)
    return config.algo if chosen == "auto" else chosen


def own_algorithm(op: str, value: object) -> Algorithm:
    """As the caller wrote it; "auto" may still give way to a model's or the process's choice."""
    return cast(Algorithm, _choice(op, "algo", value, ALGORITHMS))


# Arrays

_TAKEN = (np.float32, np.float64)


def _refuse_type(op: str, name: str, value: object) -> TypeError:
    got = f"{op}: {name} must be a numpy.ndarray, got {type(value).__module__}.{type(value).__qualname__}"
    if is_on_gpu(value):
        return TypeError(
            f"{op}: {name} is an array on a GPU and this call runs on the CPU (CUDA: {_core.cuda_status()}); "
            "arrays are never copied between devices: bring it to the host first"
        )
    if isinstance(value, np.ndarray) and hasattr(value, "mask"):
        return TypeError(f"{got}; its mask would be lost: pass {name}.filled(value)")
    if isinstance(value, np.ndarray):
        return TypeError(f"{got}; pass np.asarray({name})")
    return TypeError(f"{got}; pass np.asarray({name}, dtype=np.float32)")


def check_array(op: str, name: str, value: object, ndim: int | None, dtype: np.dtype[Any] | None = None) -> Array:
    """Return `value` unchanged if it is a float32 or float64 array in native byte order, refuse it otherwise.

    `ndim` None takes any rank; `dtype` is what the other arrays of the call have. Strides are not looked at: call
    `contiguous` once the shapes are judged.
    """
    if type(value) is not np.ndarray and not isinstance(value, np.memmap):
        raise _refuse_type(op, name, value)
    array = cast(Array, value)
    if array.dtype.type not in _TAKEN:
        target = "float32" if dtype is None else dtype.name
        raise TypeError(f"{op}: {name} must be float32 or float64, got {array.dtype}; write {name}.astype(np.{target})")
    if not array.dtype.isnative:
        raise ValueError(
            f"{op}: {name} must be in native byte order, got {array.dtype.str!r}; "
            f"write {name}.astype(np.{array.dtype.name})"
        )
    if dtype is not None and array.dtype != dtype:
        raise TypeError(
            f"{op}: {name} must be {dtype.name} like the other arrays, got {array.dtype.name}; "
            f"write {name}.astype(np.{dtype.name})"
        )
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{op}: {name} must have {ndim} dimensions, got shape {array.shape}")
    return array


def is_contiguous(array: Array) -> bool:
    """Whether the native module takes the array as it is."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned


def contiguous(array: Array) -> Array:
    """Return the array itself, or one C-contiguous aligned copy of it."""
    return array if is_contiguous(array) else array.copy(order="C")


def as_array(op: str, name: str, value: object, ndim: int | None, dtype: np.dtype[Any] | None = None) -> Array:
    """`check_array` and `contiguous` in one, for operations without a geometry to judge."""
    return contiguous(check_array(op, name, value, ndim, dtype))


def check_batch(op: str, name: str, value: object, ndim: int, dtype: np.dtype[Any] | None = None) -> tuple[Array, bool]:
    """Return an array of `ndim` dimensions and whether it came without its first, as a batch of one (no copy)."""
    array = check_array(op, name, value, None, dtype)
    if array.ndim == ndim - 1:
        return array[np.newaxis], True
    if array.ndim != ndim:
        raise ValueError(
            f"{op}: {name} must have {ndim} dimensions, or {ndim - 1} for a batch of one, got shape {array.shape}"
        )
    return array, False


def check_images(op: str, name: str, value: object, dtype: np.dtype[Any] | None = None) -> tuple[Array, bool]:
    """`check_batch` of four dimensions: 3-D is one image."""
    return check_batch(op, name, value, 4, dtype)


def check_shape(op: str, name: str, array: NDArray[Any], expected: Sequence[int]) -> None:
    """Hold an array against the shape that the geometry gave."""
    if array.shape != tuple(expected):
        raise ValueError(f"{op}: {name} must have shape {tuple(expected)}, got {array.shape}")


def batch_shape(op: str, name: str, value: object, ndim: int) -> tuple[tuple[int, ...], bool]:
    """A shape given as ints: of `ndim` entries, or one fewer for a batch of one."""
    if isinstance(value, tuple | list) and len(value) == ndim - 1:
        return (1, *shape_tuple(op, name, value, ndim - 1)), True
    return shape_tuple(op, name, value, ndim), False


def logical_shape(shape: Sequence[int], layout: Layout) -> Shape4:
    """(N, C, H, W) of an array's 4-D shape."""
    n, a, b, c = shape
    return (n, a, b, c) if layout == "NCHW" else (n, c, a, b)


def memory_shape(shape: Sequence[int], layout: Layout) -> Shape4:
    """The array's 4-D shape of a logical (N, C, H, W)."""
    n, c, h, w = shape
    return (n, c, h, w) if layout == "NCHW" else (n, h, w, c)


# Outputs


def check_output(
    op: str,
    out: object,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    inputs: Sequence[NDArray[Any] | None] = (),
    name: str = "out",
) -> NDArray[Any]:
    """Return `out` if it can take the result in place, or a new array where `out` is None."""
    shape = tuple(shape)
    if out is None:
        return allocate(op, shape, dtype)
    if type(out) is not np.ndarray and not isinstance(out, np.memmap):
        raise _refuse_type(op, name, out)
    if out.dtype != dtype or not out.dtype.isnative:
        raise TypeError(f"{op}: {name} must be {dtype.name}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{op}: {name} must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{op}: {name} must be writeable, got a read-only array")
    if not (out.flags.c_contiguous and out.flags.aligned):
        raise ValueError(f"{op}: {name} must be C-contiguous and aligned, got strides {out.strides}")
    if any(array is not None and np.may_share_memory(out, array) for array in inputs):
        raise ValueError(f"{op}: {name} must not overlap an input in memory")
    return out


def allocate(op: str, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`np.empty`, with the operation named when memory does not suffice.

    Large arrays begin at a multiple of 64 bytes, so that no vector that a kernel stores straddles two cache lines.
    """
    try:
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < ALIGN_FROM_BYTES:
            return np.empty(tuple(shape), dtype)
        memory = np.empty(nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        return memory[start : start + nbytes].view(dtype).reshape(tuple(shape))
    except (MemoryError, ValueError):
        raise MemoryError(f"{op}: no memory for a result of shape {tuple(shape)} and dtype {dtype.name}") from None


def exact(op: str, precision: object) -> None:
    """Refuse a precision that the CPU does not have: it multiplies exactly."""
    if precision is not None and not isinstance(precision, str):
        raise TypeError(f"{op}: precision must be a str or None, got {describe(precision)}")
    if precision not in (None, "ieee"):
        raise ValueError(f"{op}: precision must be None or 'ieee' for NumPy arrays, got {precision!r}")
