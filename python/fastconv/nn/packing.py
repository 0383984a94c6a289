"""PackedWeight: a weight in the kernels' own order, packed anew when its sources or the instruction set change."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastconv import _core
from fastconv._checks.arguments import Array
from fastconv.nn.parameter import Parameter


class PackedWeight:
    """Inference calls `array()` in every call; training doesn't pack ahead, its weights change in every step."""

    __slots__ = ("_array", "_pack", "_parameters", "_state")

    def __init__(self, parameters: Iterable[Parameter], pack: Callable[[], Array]) -> None:
        self._parameters = tuple(parameters)
        self._pack = pack
        self._state: tuple[object, ...] | None = None
        self._array: Array | None = None

    def array(self) -> Array:
        state: tuple[object, ...] = (*(parameter.version for parameter in self._parameters), _core.isa_active())
        if self._array is None or state != self._state:
            self._array, self._state = self._pack(), state
        return self._array

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return 0 if self._array is None else self._array.nbytes
