"""Arrays on a GPU, whoever made them: where they lie, new ones of the same library, and that library's stream.

CuPy arrays and PyTorch tensors are asked directly, everything else by DLPack or
`__cuda_array_interface__`. Under the emulator NumPy arrays take the place of GPU arrays.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from fastconv._checks.gpu import is_on_gpu
from fastconv.cuda import native

_DLPACK_CUDA, _DLPACK_MANAGED = 2, 13  # device types
_LEGACY_STREAM = 1  # its number in DLPack and in __cuda_array_interface__; as an address it is 0


class View(NamedTuple):
    """Where an array lies. It keeps the array alive, and counts as an array wherever `view` is called."""

    name: str
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    dtype: str
    device: int
    owner: Any
    library: str  # "cupy", "torch", "numpy" under the emulator; "" for all others
    ready: int | None = None  # the stream on which the data is there, of libraries that have no current stream
    read_only: bool = False
    held: Any = None  # what keeps the memory until the kernel is on its stream

    def permuted(self, *axes: int) -> View:
        """The same memory with its axes in another order."""
        return self._replace(
            shape=tuple(self.shape[axis] for axis in axes), strides=tuple(self.strides[axis] for axis in axes)
        )

    def reshaped(self, *shape: int) -> View:
        """The same contiguous memory with other sizes."""
        return self._replace(shape=shape, strides=c_strides(shape))

    @property
    def contiguous(self) -> bool:
        """Whether it lies in C order without gaps."""
        return self.strides == c_strides(self.shape) or memory_order(self) == tuple(range(len(self.shape)))


@lru_cache(maxsize=1024)
def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-contiguous array, in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def memory_order(array: View) -> tuple[int, ...] | None:
    """The axes from the slowest to the fastest, if the array fills its memory without gaps or overlap; else None.

    Axes of one element lie anywhere, and C order is preferred where several orders are true.
    """
    axes = range(len(array.shape))
    if 0 in array.shape or array.strides == c_strides(array.shape):
        return tuple(axes)
    wide = sorted((axis for axis in axes if array.shape[axis] > 1), key=lambda axis: -array.strides[axis])
    step = 1
    for axis in reversed(wide):
        if array.strides[axis] != step:
            return None
        step *= array.shape[axis]
    slow = iter(wide)
    return tuple(axis if array.shape[axis] == 1 else next(slow) for axis in axes)


def library(value: Any) -> str:
    """Which of the libraries that are known by name an array belongs to."""
    if isinstance(value, View):
        return value.library
    for name, kind in (("torch", "Tensor"), ("cupy", "ndarray")):
        module = sys.modules.get(name)
        if module is not None and isinstance(value, getattr(module, kind, ())):
            return name
    return "numpy" if isinstance(value, np.ndarray) else ""


def describe(value: Any) -> str:
    """Name a value in an error without reading a GPU."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    shape = getattr(value, "shape", None)
    return kind if shape is None else f"{kind} of shape {tuple(shape)} and dtype {getattr(value, 'dtype', '?')}"


def _not_on_a_gpu(op: str, name: str, value: Any, in_host_memory: bool) -> TypeError:
    where = " in host memory; arrays are never copied between devices: move it to the GPU first"
    return TypeError(f"{op}: {name} must be an array on a GPU, got {describe(value)}{where if in_host_memory else ''}")


@lru_cache(maxsize=64)
def _name_of_numpy_dtype(dtype: Any) -> str:
    dtype = np.dtype(dtype)
    if dtype == np.dtype("V2"):
        return "bfloat16"  # NumPy has none; PyTorch and ml_dtypes name theirs so
    return str(dtype.name) if dtype.isnative else f"{dtype.name} of the other byte order"


@lru_cache(maxsize=64)
def _name_of_torch_dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _from_torch(op: str, name: str, value: Any) -> View:
    torch = sys.modules["torch"]
    if not value.is_cuda:
        raise _not_on_a_gpu(op, name, value, in_host_memory=value.device.type == "cpu")
    if value.requires_grad and torch.is_grad_enabled():
        raise TypeError(f"{op}: {name} requires a gradient that would be lost; pass {name}.detach(), or use no_grad()")
    if value.layout is not torch.strided or value.is_neg():
        raise TypeError(f"{op}: {name} must be a plain strided tensor, got {describe(value)}, layout {value.layout}")
    return View(
        name,
        value.data_ptr(),
        tuple(value.shape),
        tuple(value.stride()),
        _name_of_torch_dtype(value.dtype),
        value.get_device(),
        value,
        "torch",
    )


def _address_of_stream(number: int) -> int:
    return 0 if number == _LEGACY_STREAM else int(number)


def _in_elements(op: str, name: str, strides: Sequence[int], itemsize: int) -> tuple[int, ...]:
    if any(stride % itemsize for stride in strides):
        raise ValueError(f"{op}: {name} must have strides of whole elements, got {tuple(strides)} bytes")
    return tuple(stride // itemsize for stride in strides)


def _from_cupy(op: str, name: str, value: Any) -> View:
    strides = _in_elements(op, name, value.strides, value.itemsize)
    dtype = _name_of_numpy_dtype(value.dtype)
    return View(name, value.data.ptr, value.shape, strides, dtype, value.device.id, value, "cupy")


def _from_dlpack(op: str, name: str, value: Any) -> View:
    kind, device = value.__dlpack_device__()
    if kind not in (_DLPACK_CUDA, _DLPACK_MANAGED):
        raise _not_on_a_gpu(op, name, value, in_host_memory=kind in (1, 3))
    try:
        capsule = value.__dlpack__(stream=_LEGACY_STREAM, max_version=(1, 0))
    except TypeError:  # from before version 1
        capsule = value.__dlpack__(stream=_LEGACY_STREAM)
    address, shape, strides, dtype, read_only = native.module(op).read_dlpack(capsule)
    return View(name, address, shape, strides or c_strides(shape), dtype, int(device), value, "", 0, read_only, capsule)


def _from_interface(op: str, name: str, value: Any, interface: dict[str, Any], emulated: bool = False) -> View:
    dtype = np.dtype(interface["typestr"])
    shape = tuple(interface["shape"])
    strides = interface.get("strides")
    address, read_only = interface["data"]
    if interface.get("mask") is not None:
        raise TypeError(f"{op}: {name} must not have a mask, which would be lost")
    device = 0 if emulated or not address else native.module(op).pointer_device(address)
    if device < 0:
        raise _not_on_a_gpu(op, name, value, in_host_memory=True)
    stream = interface.get("stream")
    if stream == 0:
        raise ValueError(
            f"{op}: {name} names stream 0, which __cuda_array_interface__ does not allow (1 or 2 are meant)"
        )
    return View(
        name,
        int(address or 0),
        shape,
        c_strides(shape) if strides is None else _in_elements(op, name, strides, dtype.itemsize),
        _name_of_numpy_dtype(dtype),
        device,
        value,
        "numpy" if emulated else "",
        None if stream is None else _address_of_stream(stream),
        bool(read_only),
    )


def is_on_a_gpu(value: Any) -> bool:
    """Whether `look` would take it, as far as its type tells."""
    return native.emulated() if isinstance(value, np.ndarray) else isinstance(value, View) or is_on_gpu(value)


def look(op: str, name: str, value: Any) -> View:
    """Find out where an array lies without touching its memory; TypeError for what is no array on a GPU."""
    if isinstance(value, View):
        return value._replace(name=name)
    known = library(value)
    if known == "torch":
        return _from_torch(op, name, value)
    if known == "cupy":
        return _from_cupy(op, name, value)
    if known == "numpy":
        if not native.emulated():
            raise _not_on_a_gpu(op, name, value, in_host_memory=True)
        return _from_interface(op, name, value, value.__array_interface__, emulated=True)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        return _from_dlpack(op, name, value)
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        raise _not_on_a_gpu(op, name, value, in_host_memory=False)
    return _from_interface(op, name, value, interface)


FLOATS = ("float32", "float16", "bfloat16")


def look_floats(op: str, name: str, value: Any, dtypes: Sequence[str] = FLOATS) -> View:
    """Look at an array of one of these types."""
    array = look(op, name, value)
    if array.dtype not in dtypes:
        known = ", ".join(dtypes[:-1]) + " or " + dtypes[-1] if len(dtypes) > 1 else dtypes[0]
        raise TypeError(f"{op}: {name} must be {known}, got {array.dtype}")
    return array


def view_floats(op: str, name: str, value: Any, ndim: int | None = None) -> View:
    """Look at an array in C order of a type that kernels compute with."""
    array = look_floats(op, name, value)
    return view(op, name, array, ndim, array.dtype)


def check(op: str, array: View, ndim: int | None, dtype: str, write: bool = False) -> View:
    """Refuse another dtype or rank, and to write what is read-only."""
    if array.dtype != dtype:
        raise TypeError(f"{op}: {array.name} must be {dtype}, got {array.dtype}")
    if ndim is not None and len(array.shape) != ndim:
        raise ValueError(f"{op}: {array.name} must have {ndim} dimensions, got shape {array.shape}")
    if write and (array.read_only or type(array.owner).__module__.startswith("jax")):
        raise ValueError(f"{op}: {array.name} must be writeable, got a read-only array")
    return array


def view(op: str, name: str, value: Any, ndim: int | None = None, dtype: str = "float32", write: bool = False) -> View:
    """Look at an array that a kernel reads in C order; TypeError or ValueError if it cannot."""
    array = check(op, look(op, name, value), ndim, dtype, write)
    if not array.contiguous:
        raise ValueError(
            f"{op}: {name} must be C-contiguous, got strides {array.strides} (elements) for shape {array.shape}"
        )
    return array


def check_shape(op: str, name: str, found: View, expected: Sequence[int]) -> None:
    """Hold an array against the shape that the geometry gave."""
    if found.shape != tuple(expected):
        raise ValueError(f"{op}: {name} must have shape {tuple(expected)}, got {found.shape}")


def _of_cupy(device: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    cupy = importlib.import_module("cupy")
    if cupy.cuda.Device().id == device.id:  # asking is quicker than entering
        return cupy.empty(shape, dtype)
    with device:
        return cupy.empty(shape, dtype)


def maker(
    op: str, like: Any, shape: Sequence[int], dtype: str = "float32", order: Sequence[int] | None = None
) -> Callable[[], Any]:
    """What makes new arrays of the library and on the device of `like`.

    `order`: the axes from the slowest to the fastest in memory, if not as in C.
    """
    known = library(like)
    if isinstance(like, View):
        like = like.owner
    shape = tuple(shape)
    if order is None or tuple(order) == tuple(range(len(shape))):
        order = None
    memory = shape if order is None else tuple(shape[axis] for axis in order)
    make: Callable[[], Any]
    if known == "torch":
        torch = importlib.import_module("torch")
        options = {"dtype": getattr(torch, dtype), "device": like.device}
        if order is None:
            return partial(torch.empty, shape, **options)
        steps = dict(zip(order, c_strides(memory), strict=True))
        return partial(torch.empty_strided, shape, tuple(steps[axis] for axis in range(len(shape))), **options)
    if known == "numpy":
        make = partial(np.empty, memory, "V2" if dtype == "bfloat16" else dtype)
    elif known == "cupy":
        make = partial(_of_cupy, like.device, memory, np.dtype(dtype))
    elif hasattr(like, "__array_namespace__") and not type(like).__module__.startswith("jax"):
        library_of = like.__array_namespace__()
        make = partial(library_of.empty, memory, dtype=getattr(library_of, dtype), device=like.device)
    else:
        raise TypeError(f"{op}: pass out=, since results cannot be allocated for {type(like).__module__} arrays")
    if order is None:
        return make
    back = [order.index(axis) for axis in range(len(shape))]
    return lambda: permute(make(), back)


def empty(op: str, like: Any, shape: Sequence[int], dtype: str = "float32", order: Sequence[int] | None = None) -> Any:
    """A new array; see `maker`."""
    return maker(op, like, shape, dtype, order)()


def from_host(op: str, like: Any, values: np.ndarray[Any, Any]) -> Any:
    """A copy of a small NumPy array, of the library and on the device of `like`."""
    known = library(like)
    if isinstance(like, View):
        like = like.owner
    if known == "numpy":
        return values.copy()
    if known == "cupy":
        with like.device:
            return importlib.import_module("cupy").asarray(values)
    if known == "torch":
        return importlib.import_module("torch").from_numpy(values.copy()).to(like.device)
    if hasattr(like, "__array_namespace__") and not type(like).__module__.startswith("jax"):
        return like.__array_namespace__().asarray(values, device=like.device)
    raise TypeError(f"{op}: takes arrays of libraries that can make some from NumPy's, got {type(like).__module__}")


def permute(value: Any, axes: Sequence[int]) -> Any:
    """The array of any library with its axes in another order, a view of the same memory."""
    return value.permute(*axes) if library(value) == "torch" else value.transpose(*axes)


def check_result(op: str, out: View, shape: Sequence[int], dtype: str) -> None:
    """Refuse an `out` that a kernel cannot write a result of this shape to, in C order."""
    check(op, out, None, dtype, write=True)
    if not out.contiguous:
        raise ValueError(f"{op}: out must be C-contiguous, got strides {out.strides} (elements) for shape {out.shape}")
    check_shape(op, "out", out, shape)


def output(op: str, out: Any, like: Any, shape: Sequence[int], dtype: str = "float32", name: str = "out") -> Any:
    """`out` if it can take the result, or a new array."""
    if out is None:
        return empty(op, like, shape, dtype)
    check_shape(op, name, view(op, name, out, None, dtype, write=True), shape)
    return out


def _stream_of_cupy() -> int:
    return int(sys.modules["cupy"].cuda.get_current_stream().ptr)


def stream(like: Any) -> int:
    """The stream that is current in the library of `like`, as an address; 0 is the default stream."""
    known = library(like)
    owner = like.owner if isinstance(like, View) else like
    if known == "cupy":
        number = _stream_of_cupy()
    elif known == "torch" and owner.is_cuda:
        number = int(importlib.import_module("torch").cuda.current_stream(owner.device).cuda_stream)
    elif known:
        number = 0
    else:
        number = (like if isinstance(like, View) else look("stream", "array", like)).ready or 0
    return _address_of_stream(number)


def read_directly(module: Any, value: Any) -> None:
    """Let the native module read arrays of this type itself, if it is one of PyTorch's or CuPy's own."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and type(value) in (torch.Tensor, torch.nn.Parameter):
        module.read_directly(type(value), "torch", torch.is_grad_enabled)
    elif cupy is not None and type(value) is cupy.ndarray:
        module.read_directly(type(value), "cupy", _stream_of_cupy)


def count(shape: Sequence[int]) -> int:
    """How many elements an array of this shape has."""
    return math.prod(shape)
