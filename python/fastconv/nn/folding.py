"""Folding a batch norm into the weights before it: in inference its running statistics are constants.

(x * w + b) * scale + shift = x * (w * scale) + (b * scale + shift), scale and shift by output channel.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fastconv._aligned import aligned_zeros
from fastconv._checks.arguments import Array
from fastconv.nn.parameter import Parameter


class Foldable(Protocol):
    """What can be folded: a layer that multiplies each channel by a constant and adds another."""

    def parameters(self) -> dict[str, Parameter]: ...
    def scale_and_shift(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...


class FoldedWeight:
    """A weight and a bias with a norm in them. `refresh` computes them anew, in place.

    Attributes
    ----------
    weight : ndarray of the shape of the layer's weight
    bias : ndarray, shape (channels,)
    """

    def __init__(self, weight: Parameter, bias: Parameter | None, norm: Foldable) -> None:
        self._sources = weight, bias
        self._norm = norm
        self.weight: Array = aligned_zeros(weight.shape, weight.dtype)
        self.bias: Array = aligned_zeros(weight.shape[:1], weight.dtype)

    def parameters(self) -> list[Parameter]:
        """Return all that the folded arrays depend on."""
        own = [parameter for parameter in self._sources if parameter is not None]
        return [*own, *self._norm.parameters().values()]

    def refresh(self) -> Array:
        """Fold once more, rounding once, and return the weight."""
        weight, bias = self._sources
        scale, shift = self._norm.scale_and_shift()
        column = scale.reshape(-1, *(1,) * (len(weight.shape) - 1))
        np.multiply(weight.data, column, out=self.weight, casting="same_kind")
        np.copyto(self.bias, shift if bias is None else bias.data * scale + shift, casting="same_kind")
        return self.weight

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + self.bias.nbytes


class Foldings:
    """The folded weights of one layer, one for each norm that follows it somewhere."""

    def __init__(self) -> None:
        self._found: dict[Foldable, FoldedWeight] = {}

    def get(self, weight: Parameter, bias: Parameter | None, norm: Foldable) -> FoldedWeight:
        folded = self._found.get(norm)
        if folded is None or folded.weight.dtype != weight.dtype:
            folded = self._found[norm] = FoldedWeight(weight, bias, norm)
        return folded

    @property
    def nbytes(self) -> int:
        return sum(folded.nbytes for folded in self._found.values())


def folded_bytes(weight: Parameter, norm: Foldable | None) -> int:
    """Bytes that a `FoldedWeight` holds; none without a norm."""
    return 0 if norm is None else weight.data.nbytes + weight.shape[0] * weight.dtype.itemsize
