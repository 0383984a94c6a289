"""Where a model computes: who owns its memory, and who has the kernels.

The engine and the layers ask for memory and calls here and nowhere else. On the CPU a call is a function of `_core`
with its arrays; on a GPU `fastconv.cuda.device` makes the same calls, by the same names, on addresses.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._aligned import aligned_zeros
from fastconv._checks.arguments import describe


class Device(Protocol):
    """What a model needs of the place where it runs. Arrays are NumPy's on the CPU, CuPy's on a GPU.

    Attributes
    ----------
    name : str
        "cpu", "cuda:0".
    on_gpu : bool
    bind : object
        Has the functions of `_core`, and `copy`, `fill` and a few more, each of which takes the arguments and returns a
        call that is ready to run, any number of times.
    steps : object
        Has sgd_step, rmsprop_step and adam_step of `_core`, which run at once.
    """

    @property
    def name(self) -> str: ...
    @property
    def on_gpu(self) -> bool: ...
    @property
    def bind(self) -> Any: ...
    @property
    def steps(self) -> Any: ...

    def empty(self, nbytes: int) -> Any:
        """Return an array of bytes, aligned to 64."""

    def zeros(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """Return a new array of a parameter's shape; one of four axes lies channels-last on a GPU."""

    def put(self, into: Any, values: NDArray[Any]) -> None:
        """Copy values from the host, cast to the dtype that is there."""

    def host(self, array: Any) -> Any:
        """Return a NumPy array with these values: a copy, on the CPU the array itself."""

    def staging(self, array: Any) -> NDArray[Any]:
        """Return the host's side of an input: on the CPU the array itself."""

    def uploads(self, sets: Sequence[Sequence[tuple[Any, NDArray[Any]]]]) -> Any:
        """Return what copies the host's sides over, or None.

        `sets` has the same arrays each time, with other host sides. `wait()` gives the number of the set to be written
        next, a call sends it.
        """

    def look(self, op: str, name: str, array: Any) -> Any:
        """On a GPU: return a `fastconv.cuda.arrays.View` of an array that lies there, whoever made it."""

    def feed(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """On a GPU: copy views, the second of each pair, to arrays of the device, on the stream that is active."""

    def result(self, array: Any) -> Any:
        """On a GPU: return a copy, a new array there that lies as this one."""

    def whole(self, count: int, part: Any) -> Any:
        """Return a new array of `count` samples like those of `part`."""

    def write_rows(self, whole: Any, begin: int, part: Any) -> None:
        """Copy `part` into it, from sample `begin` on."""

    def reserve_scratch(self, nbytes: int) -> None:
        """Make room for what a kernel borrows."""

    def begin_step(self, optimizer: Any, generator: np.random.Generator | None) -> None:
        """Write what changes from step to step where the kernels read it: rate, number, what dropout draws from."""

    def active(self) -> AbstractContextManager[object]:
        """Return what surrounds the calls of a program."""


class _CpuCalls:
    """Calls of `_core`: ``bind.add(a, b, c)`` is ``partial(_core.add, a, b, c)``."""

    copy = staticmethod(partial(partial, np.copyto))

    @staticmethod
    def multiply(a: NDArray[Any], b: NDArray[Any], output: NDArray[Any]) -> Any:
        return partial(np.multiply, a, b, out=output)

    @staticmethod
    def add_spread(a: NDArray[Any], b: NDArray[Any], output: NDArray[Any]) -> Any:
        """`b` is broadcast."""
        return partial(np.add, a, b, out=output)

    @staticmethod
    def fill(array: NDArray[Any], value: float) -> Any:
        return partial(array.fill, value)

    def __getattr__(self, name: str) -> Any:
        return partial(partial, getattr(_core, name))


class _Cpu:
    name = "cpu"
    on_gpu = False
    bind: Any = _CpuCalls()
    steps: Any = _core

    def empty(self, nbytes: int) -> Any:
        return _core.empty_aligned(nbytes)

    def zeros(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        return aligned_zeros(tuple(shape), dtype)

    def put(self, into: Any, values: NDArray[Any]) -> None:
        np.copyto(into, values, casting="same_kind")

    def host(self, array: Any) -> Any:
        return array

    def staging(self, array: Any) -> NDArray[Any]:
        return array  # type: ignore[no-any-return]

    def uploads(self, sets: Sequence[Sequence[tuple[Any, NDArray[Any]]]]) -> None:
        return None

    def look(self, op: str, name: str, array: Any) -> Any:
        raise NotImplementedError

    def feed(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        raise NotImplementedError

    def result(self, array: Any) -> Any:
        raise NotImplementedError

    def whole(self, count: int, part: Any) -> Any:
        return np.empty((count, *part.shape[1:]), part.dtype)

    def write_rows(self, whole: Any, begin: int, part: Any) -> None:
        whole[begin : begin + len(part)] = part

    def reserve_scratch(self, nbytes: int) -> None:
        _core.reserve_scratch(nbytes)

    def begin_step(self, optimizer: Any, generator: np.random.Generator | None) -> None:
        pass

    def active(self) -> AbstractContextManager[object]:
        return _nothing

    def __repr__(self) -> str:
        return "<cpu>"


_nothing = nullcontext()
CPU: Device = _Cpu()


PRECISIONS = (None, "ieee", "tf32", "tf32x3")


def get(op: str, name: object, precision: object = None) -> Device:
    """Return the device "cpu", "cuda" (the one that is current in CuPy) or "cuda:<number>"."""
    if precision not in PRECISIONS:
        error = ValueError if isinstance(precision, str) else TypeError
        raise error(f"{op}: precision must be None, 'ieee', 'tf32' or 'tf32x3', got {describe(precision)}")
    if not isinstance(name, str):
        raise TypeError(f"{op}: device must be 'cpu', 'cuda' or 'cuda:<number>', got {describe(name)}")
    kind, colon, number = name.partition(":")
    if name == "cpu":
        if precision not in (None, "ieee"):
            raise ValueError(f"{op}: precision must be None or 'ieee' on the CPU, got {precision!r}")
        return CPU
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise ValueError(f"{op}: device must be 'cpu', 'cuda' or 'cuda:<number>', got {name!r}")
    found: Device = importlib.import_module("fastconv.cuda.device").CudaDevice(
        op, int(number) if colon else None, precision
    )
    return found
