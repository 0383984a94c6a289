"""One arena for all arrays of a program: blocks with lifetimes, placed so that those which live at once don't overlap.

Placement is "greedy by size" (Pisarchyk and Lee 2020, arXiv 2001.03288): the largest block first, each at the lowest
offset that is free during its whole life.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.nn.frame import Shape

_ALIGNMENT = 64  # a cache line, and an AVX-512 vector


class Block:
    """A stretch of the arena, in use from time `first` to time `last`."""

    __slots__ = ("first", "kind", "last", "merged_into", "nbytes", "offset")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.nbytes = 0
        self.first = self.last = -1
        self.offset = 0
        self.merged_into: Block | None = None

    def use(self, time: int) -> None:
        self.first = time if self.first < 0 else min(self.first, time)
        self.last = max(self.last, time)

    @property
    def reserved(self) -> int:
        return -(-self.nbytes // _ALIGNMENT) * _ALIGNMENT


class Slot:
    """An array to be: shape in memory and dtype, on a block. Views and in-place layers share a block."""

    __slots__ = ("_block", "dtype", "shape")

    def __init__(self, shape: Shape, dtype: np.dtype[Any], block: Block) -> None:
        self.shape = shape
        self.dtype = dtype
        self._block = block
        block.nbytes = max(block.nbytes, self.nbytes)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def block(self) -> Block:
        while self._block.merged_into is not None:
            self._block = self._block.merged_into
        return self._block

    def use(self, time: int) -> None:
        self.block.use(time)

    def merge(self, other: Slot) -> None:
        """Let all that lies on the other's block lie on this one's."""
        mine, gone = self.block, other.block
        gone.merged_into = mine
        mine.nbytes = max(mine.nbytes, gone.nbytes)
        mine.first, mine.last = min(mine.first, gone.first), max(mine.last, gone.last)

    def array(self, arena: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the view of the arena."""
        start = self.block.offset
        return arena[start : start + self.nbytes].view(self.dtype).reshape(self.shape)


def place(blocks: Iterable[Block]) -> int:
    """Give every block its offset; returns the bytes of the arena."""
    placed: list[Block] = []  # by offset
    total = 0
    for block in sorted(blocks, key=lambda b: (-b.reserved, b.first)):
        offset = 0
        for other in placed:
            if other.last < block.first or block.last < other.first:
                continue
            if offset + block.reserved <= other.offset:
                break
            offset = max(offset, other.offset + other.reserved)
        block.offset = offset
        total = max(total, offset + block.reserved)
        insort(placed, block, key=lambda b: b.offset)
    return total
