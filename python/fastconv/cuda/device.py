"""A GPU as the place where a model computes: memory from CuPy, kernels from here, on the stream that is current there.

It has the attributes and methods of `fastconv.nn.device.Device`. Memory is taken when a model is moved and when a
program is bound to its arena; a step takes none, and never waits for the GPU unless somebody reads a number.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.cuda import arrays, native
from fastconv.cuda.bound import Bound
from fastconv.cuda.error import CudaError
from fastconv.cuda.steps import Steps


def _cupy(op: str) -> Any:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise ImportError(
            f"{op}: device 'cuda' needs CuPy for memory on the GPU; install fastconv[cuda] ({error})"
        ) from None


class CudaDevice:
    """One GPU, for one model.

    Attributes
    ----------
    precision : str or None
        How convolutions and dense layers multiply float32.
    stream, scratch : int
        Addresses that the bound calls read when they run.
    scratch_bytes : int
        What `scratch` holds.
    """

    on_gpu = True

    def __init__(self, op: str, index: int | None, precision: str | None = None) -> None:
        self.cupy = _cupy(op)
        self.module = native.module(op)
        count = self.cupy.cuda.runtime.getDeviceCount() if self.cupy.cuda.is_available() else 0
        if count == 0:
            raise CudaError(f"{op}: CuPy sees no GPU, though the kernels do; is it built for this version of CUDA?")
        self.index = int(self.cupy.cuda.Device().id) if index is None else index
        if self.index >= count:
            raise ValueError(f"{op}: device must be one of cuda:0 to cuda:{count - 1}, got 'cuda:{self.index}'")
        self.name = f"cuda:{self.index}"
        self.precision = precision
        self.stream = self.scratch = self.scratch_bytes = 0
        self._memory: Any = None  # behind `scratch`
        self._ran_on: Any = None  # the stream of the last calls
        self._depth = 0
        with self._current():
            self.dropout_counter = self.cupy.zeros(1, np.int64)
            self.steps = Steps(self)
        self.bind = Bound(self)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # Streams

    @contextmanager
    def _current(self) -> Iterator[Any]:
        """This device and CuPy's stream, which comes behind all that ran on another one before."""
        with self.cupy.cuda.Device(self.index):
            stream = self.cupy.cuda.get_current_stream()
            if self._ran_on is not None and self._ran_on.ptr != stream.ptr:
                stream.wait_event(self._ran_on.record())
            self._ran_on = stream
            yield stream

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let bound calls go on CuPy's current stream."""
        with self._current() as stream:
            before, self.stream = self.stream, 0 if stream.ptr == 1 else int(stream.ptr)
            try:
                yield
            finally:
                self.stream = before

    # Memory

    def _settle(self) -> None:
        """Wait for all that runs: memory is about to change hands, and may be in use on a stream of its own."""
        if self._ran_on is not None:
            self._ran_on.synchronize()

    def empty(self, nbytes: int) -> Any:
        self._settle()
        with self._current():
            return self.cupy.empty(nbytes, np.uint8)

    def zeros(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """Four axes (O, C, H, W) lie as (O, H, W, C), as the kernels read weights."""
        with self._current():
            if len(shape) != 4:
                return self.cupy.zeros(tuple(shape), dtype)
            o, c, h, w = shape
            return self.cupy.zeros((o, h, w, c), dtype).transpose(0, 3, 1, 2)

    def constant(self, values: NDArray[Any]) -> Any:
        """A new array with these values, in C order."""
        with self._current():
            found = self.cupy.empty(values.shape, values.dtype)
        self.put(found, values)
        return found

    def put(self, into: Any, values: NDArray[Any]) -> None:
        turned = _as_it_lies(into)
        host = np.ascontiguousarray(_as_it_lies(into, values), turned.dtype)
        with self._current() as stream:
            turned.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)
            stream.synchronize()

    def host(self, array: Any) -> NDArray[Any]:
        turned = _as_it_lies(array)
        found = np.empty(turned.shape, turned.dtype)
        with self._current() as stream:
            turned.data.copy_to_host_async(found.ctypes.data, found.nbytes, stream)
            stream.synchronize()
        return found if turned is array else np.ascontiguousarray(found.transpose(0, 3, 1, 2))

    def staging(self, array: Any) -> NDArray[Any]:
        """Pinned memory, so that a copy need not wait."""
        self._settle()
        with self._current():
            memory = self.cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
        return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)

    def uploads(self, sets: Sequence[Sequence[tuple[Any, NDArray[Any]]]]) -> Uploads:
        return Uploads(self, sets)

    # Arrays that lie here already

    def look(self, op: str, name: str, array: Any) -> arrays.View:
        """Return where it lies, and the stream on which its library has it ready."""
        view = arrays.look(op, name, array)
        if view.device != self.index:
            raise ValueError(f"{op}: {name} must lie on {self.name} as the model does, got cuda:{view.device}")
        return view._replace(ready=arrays.stream(view))

    def feed(self, pairs: Sequence[tuple[Any, arrays.View]]) -> None:
        """Copy, behind what makes the arrays; the streams of their libraries wait for the copies, the host for none."""
        others = sorted({view.ready or 0 for _, view in pairs} - {self.stream})
        for other in others:
            self.module.order_streams(self.index, other, self.stream)
        for into, view in pairs:
            if not into.nbytes:
                continue
            if view.contiguous:
                self.module.copy(view.address, into.data.ptr, into.nbytes // 4, stream=self.stream)
            else:  # (N, H, W, C) of an array that lies as (N, C, H, W)
                n, height, width, channels = view.shape
                self.module.transpose(view.address, into.data.ptr, 4, n, channels, height * width, stream=self.stream)
        for other in others:
            self.module.order_streams(self.index, self.stream, other)

    def note(self, numbers: Any, place: int, number: Any) -> None:
        """Copy one float32 to its place among others, on the stream that is active."""
        self.module.copy(number.data.ptr, numbers.data.ptr + 4 * place, 1, stream=self.stream)

    def downloads(self, array: Any, count: int) -> Downloads:
        return Downloads(self, array, count)

    def _copy(self, address: int, into: int, nbytes: int) -> None:
        if nbytes:
            with self.active():
                self.module.copy(address, into, nbytes // 4, stream=self.stream)

    def result(self, array: Any) -> Any:
        turned = _as_it_lies(array)
        with self._current():
            found = self.cupy.empty(turned.shape, turned.dtype)
        self._copy(turned.data.ptr, found.data.ptr, found.nbytes)
        return found if turned is array else found.transpose(0, 3, 1, 2)

    def whole(self, count: int, part: Any) -> Any:
        turned = _as_it_lies(part)
        with self._current():
            found = self.cupy.empty((count, *turned.shape[1:]), turned.dtype)
        return found if turned is part else found.transpose(0, 3, 1, 2)

    def write_rows(self, whole: Any, begin: int, part: Any) -> None:
        self._copy(part.data.ptr, whole.data.ptr + begin * (part.nbytes // max(part.shape[0], 1)), part.nbytes)

    def event(self) -> Any:
        with self._current():
            return self.cupy.cuda.Event(block=False, disable_timing=True)

    def reserve_scratch(self, nbytes: int) -> None:
        """Old scratch stays with the graphs that were captured on it."""
        if nbytes > self.scratch_bytes:
            self._memory = self.empty(nbytes)
            self.scratch, self.scratch_bytes = int(self._memory.data.ptr), nbytes

    @property
    def scratch_memory(self) -> Any:
        """What must live as long as somebody uses the address `scratch`."""
        return self._memory

    # Steps

    def begin_step(self, optimizer: Any, generator: np.random.Generator | None) -> None:
        """Kernels that write a number: no copy from host memory, so that nothing has to be waited for."""
        with self.active():
            if generator is not None:
                number = int(generator.integers(1 << 62))
                self.module.fill_int64(self.dropout_counter.data.ptr, number, 1, stream=self.stream)
            if optimizer is not None:
                self.steps.begin(optimizer)


class Uploads:
    """Copies of batches to the GPU, from sets of pinned memory in turn.

    The host waits only before it writes to memory that is still being read. With two sets that is the batch before the
    last one: the next batch is there before the GPU has done with this one.
    """

    def __init__(self, device: CudaDevice, sets: Sequence[Sequence[tuple[Any, NDArray[Any]]]]) -> None:
        self._device = device
        self._sets = [[(into, host) for into, host in pairs if host.nbytes] for pairs in sets]
        self._events = [device.event() for _ in sets]
        self._pending = [False for _ in sets]
        self._now = 0

    def wait(self) -> int:
        self._now = (self._now + 1) % len(self._sets)
        if self._pending[self._now]:
            self._events[self._now].synchronize()
            self._pending[self._now] = False
        return self._now

    def __call__(self) -> None:
        stream = self._device.cupy.cuda.get_current_stream()
        for into, host in self._sets[self._now]:
            into.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)
        self._events[self._now].record(stream)
        self._pending[self._now] = True


class Downloads:
    """Copies of an array to pinned memory, `count` of them in turn, each of which is read later."""

    def __init__(self, device: CudaDevice, array: Any, count: int) -> None:
        self._device, self._array = device, _as_it_lies(array)
        self._turned = self._array is not array
        self._places = [(device.staging(self._array), device.event()) for _ in range(count)]
        self._next = 0

    def __call__(self) -> int:
        """Put a copy on CuPy's stream; its number is that for `read`."""
        number = self._next
        self._next = (number + 1) % len(self._places)
        host, event = self._places[number]
        stream = self._device.cupy.cuda.get_current_stream()
        if host.nbytes:
            self._array.data.copy_to_host_async(host.ctypes.data, host.nbytes, stream)
        event.record(stream)
        return number

    def read(self, number: int) -> NDArray[Any]:
        """Wait for a copy, and for nothing behind it; the array is overwritten when its turn comes again."""
        host, event = self._places[number]
        event.synchronize()
        return host.transpose(0, 3, 1, 2) if self._turned else host


def _as_it_lies(array: Any, values: Any = None) -> Any:
    """The array, or `values` of its shape, with its axes as they lie in memory."""
    four = len(array.shape) == 4 and not array.flags.c_contiguous
    found = array if values is None else values
    return found.transpose(0, 2, 3, 1) if four else found
