"""A stand-in for CuPy where there is no GPU: as much of it as fastconv uses, with host memory that the emulator reads.

Its arrays are no NumPy arrays and refuse to become some, as CuPy's do, so that host code cannot read a GPU by mistake.
It counts allocations, copies and waits, and records graphs: a captured kernel runs when the graph is launched, as on a
GPU, and what a graph must not hold is an error.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from fastconv.cuda import native


class Counts:
    """What happened since `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.allocations = self.uploads = self.downloads = self.waits = 0
        self.drains = 0  # waits behind which nothing was on its way: the GPU stood still
        self.kernels: Counter[str] = Counter()  # calls of the native module that have a stream


class Memory:
    """An allocation of its own, so that AddressSanitizer knows its end; it begins as NaN."""

    def __init__(self, nbytes: int) -> None:
        self.bytes = np.empty(nbytes, np.uint8)
        if self.bytes.ctypes.data % 16:
            self.bytes = np.empty(nbytes + 16, np.uint8)
            start = -self.bytes.ctypes.data % 16
            self.bytes = self.bytes[start : start + nbytes]
        self.bytes[:] = 0xFF


class Pointer:
    """cupy.cuda.MemoryPointer."""

    def __init__(self, owner: Array) -> None:
        self._owner = owner
        self.ptr, self.device_id = owner._host.ctypes.data, owner.device.id

    def copy_from_host_async(self, address: int, nbytes: int, stream: Any = None) -> None:
        current().not_while_capturing("a copy from the host")
        counts.uploads += 1
        current().put += 1
        _bytes_at(self.ptr, nbytes)[:] = _bytes_at(address, nbytes)

    def copy_to_host_async(self, address: int, nbytes: int, stream: Any = None) -> None:
        current().not_while_capturing("a copy to the host")
        counts.downloads += 1
        current().put += 1
        _bytes_at(address, nbytes)[:] = _bytes_at(self.ptr, nbytes)


def _bytes_at(address: int, nbytes: int) -> np.ndarray:
    import ctypes

    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8)), (nbytes,)) if nbytes else empty_


empty_ = np.empty(0, np.uint8)


class Array:
    """cupy.ndarray: views, and nothing that computes."""

    def __init__(self, host: np.ndarray, memory: Memory) -> None:
        self._host, self._memory = host, memory
        self.shape, self.dtype, self.size, self.ndim = host.shape, host.dtype, host.size, host.ndim
        self.nbytes, self.itemsize, self.strides, self.flags = host.nbytes, host.itemsize, host.strides, _Flags(host)
        self.device = Device()

    @property
    def data(self) -> Pointer:
        return Pointer(self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._host.__array_interface__, "version": 3, "stream": state.stream.ptr or 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def _view(self, host: np.ndarray) -> Array:
        assert not host.size or np.shares_memory(host, self._memory.bytes), "not a view"
        view = Array(host, self._memory)
        view.device = self.device
        return view

    def view(self, dtype: Any) -> Array:
        return self._view(self._host.view(dtype))

    def reshape(self, *shape: Any) -> Array:
        return self._view(self._host.reshape(*shape))

    def transpose(self, *axes: int) -> Array:
        return self._view(self._host.transpose(*axes))

    def __getitem__(self, index: Any) -> Array:
        return self._view(self._host[index])

    def __len__(self) -> int:
        return len(self._host)

    def get(self) -> np.ndarray:
        counts.downloads += 1
        return self._host.copy()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    __float__ = __bool__ = __iter__ = __add__ = __array__
    __array_ufunc__ = None


class _Flags:
    def __init__(self, host: np.ndarray) -> None:
        self.c_contiguous = host.flags.c_contiguous


def _new(shape: Any, dtype: Any) -> Array:
    current().not_while_capturing("an allocation")
    counts.allocations += 1
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    memory = Memory(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
    return Array(memory.bytes.view(dtype).reshape(shape), memory)


def zeros(shape: Any, dtype: Any) -> Array:
    array = _new(shape, dtype)
    array._host[...] = 0
    return array


def asarray(values: np.ndarray, channels_last: bool = False) -> Array:
    """A copy; images (N, C, H, W) may lie channels-last."""
    if channels_last:
        return asarray(np.ascontiguousarray(values.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    array = _new(values.shape, values.dtype)
    array._host[...] = values
    return array


class Stream:
    """cupy.cuda.Stream; everything runs at once, but while it captures. `put` counts what was put on it."""

    def __init__(self, ptr: int = 0, non_blocking: bool = False) -> None:
        self.ptr, self.captured, self.put = ptr, None, 0
        self._before: list[Stream] = []

    def not_while_capturing(self, what: str) -> None:
        if self.captured is not None:
            raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")

    def synchronize(self) -> None:
        self.not_while_capturing("a wait")
        counts.waits += 1
        counts.drains += 1

    def record(self, event: Any = None) -> Any:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        pass

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: the legacy stream")
        self.captured: list[Callable[[], object]] | None = []

    def end_capture(self) -> Graph:
        calls, self.captured = self.captured, None
        assert calls is not None
        return Graph(calls)

    def __enter__(self) -> Stream:
        self._before.append(state.stream)
        state.stream = self
        return self

    def __exit__(self, *_: object) -> None:
        state.stream = self._before.pop()


class Graph:
    """cupy.cuda.Graph: the kernels that were launched while it was captured."""

    def __init__(self, calls: list[Callable[[], object]]) -> None:
        self.calls = calls

    def launch(self, stream: Any = None) -> None:
        current().put += 1
        for call in self.calls:
            call()


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        self._stream = stream or current()
        self._behind = self._stream.put

    def synchronize(self) -> None:
        counts.waits += 1
        counts.drains += self._stream.put == self._behind


class Device:
    """cupy.cuda.Device; without a number, the one that is current."""

    def __init__(self, device: int | None = None) -> None:
        self.id = state.device if device is None else device
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(state.device)
        state.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        state.device = self._before.pop()


class Capturing:
    """The emulator's module, but while a stream captures: then kernels are noted, not run."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name == "emulated" or isinstance(found, type) or not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            if "stream" not in options:
                return found(*args, **options)
            counts.kernels[name] += 1
            run = lambda: found(*args, **{**options, "stream": 0})  # noqa: E731
            captured = current().captured
            current().put += captured is None
            assert options["stream"] == current().ptr, "not on CuPy's stream"
            return run() if captured is None else captured.append(run)

        return call


counts = Counts()
state = SimpleNamespace(stream=Stream(), device=0)


def current() -> Stream:
    return state.stream  # type: ignore[no-any-return]


@contextmanager
def installed(emulator: ModuleType, devices: int = 1) -> Iterator[Counts]:
    """Let `import cupy` find this, and fastconv the emulator through it."""
    module = ModuleType("cupy")
    module.ndarray, module.empty, module.zeros = Array, _new, zeros  # type: ignore[attr-defined]
    streams = iter(range(64, 1 << 20, 64))
    module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device,
        Event=Event,
        Stream=lambda **options: Stream(next(streams), **options),
        get_current_stream=current,
        is_available=lambda: devices > 0,
        alloc_pinned_memory=bytearray,
        runtime=SimpleNamespace(getDeviceCount=lambda: devices),
    )
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = module
    native.use(Capturing(emulator))  # type: ignore[arg-type]
    counts.reset()
    try:
        yield counts
    finally:
        native.use(emulator)
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before
