"""What every rival offers: a name, whether it is installed, and the passes of one layer as calls without arguments."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from arrays import Array, Arrays
from shapes import Layer


class NotOfferedError(Exception):
    """This rival does not do this layer; the text says why."""


class Rival:
    """A layer prepared by one library: weights packed, graph compiled, input in place and aligned.

    `forward`, `backward_input` and `backward_weight` compute what their names say, or are None. What they return
    is given to `as_array` when results are compared, never while the clock runs.
    """

    name: ClassVar[str]  # of the column
    package: ClassVar[str]
    uses_malloc: ClassVar[bool] = False  # results come fresh from malloc: measured also with malloc keeping its memory

    uses_openmp: ClassVar[bool] = False  # whose threads are bound by its own variables

    forward: Callable[[], Any] | None = None
    backward_input: Callable[[], Any] | None = None
    backward_weight: Callable[[], Any] | None = None

    def __init__(self, layer: Layer, arrays: Arrays, threads: int) -> None:
        raise NotImplementedError

    @classmethod
    def available(cls) -> bool:
        return importlib.util.find_spec(cls.package) is not None

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.package)

    @classmethod
    def environment(cls, threads: int) -> dict[str, str]:
        """Variables that must stand before the library is loaded."""
        count = str(threads)
        return {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}

    def as_array(self, value: Any) -> Array:
        """The result as NCHW, or OIHW for a weight gradient."""
        return np.asarray(value)

    def call(self, pass_name: str) -> Callable[[], Any] | None:
        call: Callable[[], Any] | None = getattr(self, pass_name)
        return call
