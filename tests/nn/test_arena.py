"""Placement of blocks: those that live together never overlap, and memory is shared where it can be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastconv.nn.arena import Block, Slot, place

_BLOCKS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 12), st.integers(0, 6)), max_size=25)


def _block(nbytes: int, first: int, length: int) -> Block:
    block = Block("test")
    Slot((nbytes,), np.dtype(np.uint8), block)
    block.use(first)
    block.use(first + length)
    return block


@given(_BLOCKS)
def test_blocks_that_live_together_do_not_overlap(specs: list[tuple[int, int, int]]) -> None:
    blocks = [_block(*spec) for spec in specs]
    total = place(blocks)
    for index, one in enumerate(blocks):
        assert one.offset % 64 == 0
        assert one.offset + one.reserved <= total
        for other in blocks[:index]:
            together = one.first <= other.last and other.first <= one.last
            apart = one.offset + one.reserved <= other.offset or other.offset + other.reserved <= one.offset
            assert apart or not together or 0 in (one.nbytes, other.nbytes)
    busiest = max((sum(b.reserved for b in blocks if b.first <= t <= b.last) for t in range(20)), default=0)
    assert busiest <= total <= sum(block.reserved for block in blocks)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    sizes = [640, 1280, 64, 640, 128]
    assert place([_block(size, time, 1) for time, size in enumerate(sizes)]) == 1920


def test_merged_slots_share_a_block() -> None:
    first, second = (Slot((n,), np.dtype(np.float32), Block("test")) for n in (4, 6))
    first.use(1)
    second.use(5)
    first.merge(second)
    assert first.block is second.block
    assert (first.block.first, first.block.last, first.block.nbytes) == (1, 5, 24)
