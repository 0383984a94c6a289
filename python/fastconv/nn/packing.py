"""PackedWeight: a weight in the kernels' own order, packed anew when the weight or the instruction set changes."""

from __future__ import annotations

from collections.abc import Callable

from fastconv import _core
from fastconv.nn.parameter import Parameter
from fastconv.ops.arguments import Array


class PackedWeight:
    """Inference calls `array()` in every call; training doesn't pack ahead, its weights change in every step."""

    __slots__ = ("_array", "_pack", "_state", "_weight")

    def __init__(self, weight: Parameter, pack: Callable[[Array], Array]) -> None:
        self._weight = weight
        self._pack = pack
        self._state: tuple[int, str] | None = None
        self._array: Array | None = None

    def array(self) -> Array:
        state = (self._weight.version, _core.isa_active())
        if self._array is None or state != self._state:
            self._array, self._state = self._pack(self._weight.data), state
        return self._array

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return 0 if self._array is None else self._array.nbytes
