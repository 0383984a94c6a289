"""Parameter: an array of a layer that belongs to its state, its gradient if it is trained, a count of its changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv._checks.arguments import Array, describe
from fastconv.nn.device import CPU, Device


def float_dtype(op: str, dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a dtype, refuse every other."""
    try:
        chosen = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{op}: dtype must be float32 or float64, got {describe(dtype)}") from None
    if chosen not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"{op}: dtype must be float32 or float64, got {chosen}")
    return chosen


class Parameter:
    """An array that training changes.

    The memory of `data` stays the same for life (plans and optimisers hold on to it): assigning to `data` copies the
    values in. Whoever writes *into* `data` calls `touch()` afterwards, so that weights packed for the kernels are
    packed anew.

    Parameters
    ----------
    data : numpy.ndarray
        Start values, float32 or float64; copied.
    name : str
        For error messages; a model names its parameters by itself.
    trainable : bool, default True
        Whether gradients are computed and optimisers change it. Frozen weights say False.
    statistic : bool, default False
        A running statistic: it belongs to files, checkpoints and casts like any other, but its layer alone changes it,
        so that it is never trainable.

    Attributes
    ----------
    weight_decay : float or None
        Takes the place of the optimiser's weight_decay for this parameter; None, the default, leaves it to that.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_device",
        "_draw",
        "_grad",
        "_trainable",
        "_version",
        "name",
        "statistic",
        "weight_decay",
    )

    def __init__(self, data: Array, name: str = "", trainable: bool = True, *, statistic: bool = False) -> None:
        data = np.asarray(data)
        self._device = CPU
        self._data: Array = CPU.zeros(data.shape, float_dtype("Parameter", data.dtype))
        np.copyto(self._data, data)
        self._grad: Array | None = None
        self._draw: Callable[[], None] | None = None
        self._version = 0
        self.name = name
        self.statistic = statistic
        self._trainable = trainable and not statistic
        self.weight_decay: float | None = None

    @property
    def trainable(self) -> bool:
        """Whether gradients are computed and optimisers change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value and self.statistic:
            raise ValueError(f"Parameter {self.name!r}: trainable must be False for a running statistic, got {value!r}")
        self._trainable = value

    @property
    def data(self) -> Array:
        """The values; assignment copies into them."""
        if self._draw is not None:
            self._draw()
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        value = np.asarray(value)
        if value.shape != self._data.shape:
            raise ValueError(f"Parameter {self.name!r}: data must have shape {self._data.shape}, got {value.shape}")
        if value.dtype.kind != "f":
            raise TypeError(f"Parameter {self.name!r}: data must be floating point, got {value.dtype}")
        self._device.put(self.data, value)
        self.touch()

    def numpy(self) -> Array:
        """Return the values in host memory: `data` itself on the CPU, a copy of a GPU's."""
        found: Array = self._device.host(self.data)
        return found

    @property
    def device(self) -> Device:
        """Where values and gradient lie."""
        return self._device

    def to(self, device: Device) -> None:
        """Move values and gradient; on a GPU weights of four axes lie channels-last."""
        if device is self._device:
            return
        for array, keep in ((self.data, True), (self._grad, False)):
            if array is None:
                continue
            moved = device.zeros(array.shape, array.dtype)
            device.put(moved, self._device.host(array))
            if keep:
                self._data = moved
            else:
                self._grad = moved
        self._device = device
        self.touch()

    def postpone(self, draw: Callable[[], None] | None) -> None:
        """Let `draw` set the start values when somebody first looks at them; None calls that off.

        So a model can draw the weights of its layers from its own generator, unless someone has seen or set them.
        """
        self._draw = draw

    @property
    def is_postponed(self) -> bool:
        return self._draw is not None

    @property
    def grad(self) -> Array | None:
        """The gradient that the last backward pass left, None before the first one."""
        return self._grad

    def gradient(self) -> Array:
        """Return the gradient's array, made of zeros on first use."""
        if self._grad is None:
            self._grad = self._device.zeros(self._data.shape, self._data.dtype)
        return self._grad

    def zero_grad(self) -> None:
        if self._grad is not None:
            with self._device.active():
                self._device.bind.fill(self._grad, 0)()

    @property
    def version(self) -> int:
        """How often the values have changed."""
        return self._version

    def touch(self) -> None:
        """Note that the values have changed."""
        self._version += 1

    def astype(self, dtype: DTypeLike) -> None:
        """Change the dtype; values are cast, the gradient is dropped."""
        chosen = float_dtype("Parameter.astype", dtype)
        if chosen != self._data.dtype:
            if self._device is not CPU:
                raise ValueError(f"Parameter {self.name!r}: dtype must be {self._data.dtype} on a GPU, got {chosen}")
            data: Array = CPU.zeros(self._data.shape, chosen)
            np.copyto(data, self._data, casting="same_kind")
            self._data, self._grad = data, None
            self.touch()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._data.dtype

    @property
    def size(self) -> int:
        return self._data.size

    def __repr__(self) -> str:
        frozen = ", statistic=True" if self.statistic else "" if self.trainable else ", trainable=False"
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype}{frozen})"
