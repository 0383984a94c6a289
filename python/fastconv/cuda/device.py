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

from fastconv.cuda import native
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

    def uploads(self, pairs: Sequence[tuple[Any, NDArray[Any]]]) -> Uploads:
        return Uploads(self, pairs)

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
    """Copies of a batch to the GPU. The host waits only before it writes to memory that is still being read."""

    def __init__(self, device: CudaDevice, pairs: Sequence[tuple[Any, NDArray[Any]]]) -> None:
        self._device, self._pairs = device, [(into, host) for into, host in pairs if host.nbytes]
        self._event = device.cupy.cuda.Event(block=False, disable_timing=True)
        self._pending = False

    def wait(self) -> None:
        if self._pending:
            self._event.synchronize()
            self._pending = False

    def __call__(self) -> None:
        stream = self._device.cupy.cuda.get_current_stream()
        for into, host in self._pairs:
            into.data.copy_from_host_async(host.ctypes.data, host.nbytes, stream)
        self._event.record(stream)
        self._pending = True


def _as_it_lies(array: Any, values: Any = None) -> Any:
    """The array, or `values` of its shape, with its axes as they lie in memory."""
    four = len(array.shape) == 4 and not array.flags.c_contiguous
    found = array if values is None else values
    return found.transpose(0, 2, 3, 1) if four else found
