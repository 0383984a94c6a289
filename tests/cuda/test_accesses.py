"""How kernels touch memory, counted by the emulator a warp at a time: turns of banks and sectors, beside the fewest.

`python tests/cuda/test_accesses.py` prints every line. What does not go through the device layer's load() and store(),
single values mostly, is not seen; nor is what TMA and wgmma do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from cuda_arrays import GpuArray
from fastconv import cuda
from fastconv.cuda import native

PIXELS = (2, 8, 8)  # of images: two tiles of 64 rows


class Line(NamedTuple):
    """A line of a kernel: how many requests of warps it made, what they needed, and the fewest for as many bytes."""

    file: str
    number: int
    shared: bool
    store: bool
    requests: int
    needed: int
    least: int


# What takes more than the fewest: file, type, whether shared memory; and how many times as much. Every entry is a debt.
DEBTS = {
    # A quad of lanes stores 16 bytes of a row, half a sector, once for each weight; and only where there is one slice.
    ("conv2d_backward_weight_wgmma.h", "float16", False): 2.0,
    # Rows of three channels begin anywhere; in shared memory the columns of each remainder of the stride lie together.
    ("stem_conv2d_weight.h", "float32", False): 1.3,
    ("stem_conv2d_weight.h", "float32", True): 1.4,
}


def aligned(a: np.ndarray) -> GpuArray:
    """A copy that begins where memory of a GPU would, on a multiple of 256 bytes."""
    raw = np.empty(a.nbytes + 256, np.uint8)
    first = -raw.ctypes.data % 256
    copy = raw[first : first + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return GpuArray(copy)


def calls(name: str) -> dict[str, Callable[[], object]]:
    """A call of each kernel whose speed matters, on arrays of a type or at a precision."""
    rng = np.random.default_rng(0)
    dtype = np.float16 if name == "float16" else np.float32
    precision = {"precision": name} if name == "tf32" else {}

    def some(*shape: int) -> GpuArray:
        return aligned(rng.standard_normal(shape).astype(dtype))

    shape = (*PIXELS, 128)
    x, w, b, gy, y = some(*shape), some(128, 3, 3, 128), some(128), some(*shape), some(*shape)
    gx, gw = some(*shape), some(128, 3, 3, 128)
    each = some(128, 3, 3, 1)
    photo, filters, maps = some(2, 32, 32, 3), some(64, 7, 7, 3), some(2, 16, 16, 64)
    half, planes = some(2, 4, 4, 128), some(2, 128, 8, 8)
    one = {"padding": 1, **precision}
    own: dict[str, Callable[[], object]] = {
        "conv2d": lambda: cuda.conv2d(x, w, b, **one, out=y),
        "conv2d_backward_input": lambda: cuda.conv2d_backward_input(shape, w, gy, **one, out=gx),
        "conv2d_backward_weight": lambda: cuda.conv2d_backward_weight(x, gw.shape, gy, **one, out=gw),
    }
    if name == "tf32":
        return own
    if name == "float32":
        own["stem conv2d_backward_weight"] = lambda: cuda.conv2d_backward_weight(photo, filters.shape, maps, 2, 3)
    deep = {"padding": 1, "groups": 128}
    return own | {
        "conv2d_backward_bias": lambda: cuda.conv2d_backward_bias(gy),
        "depthwise conv2d": lambda: cuda.conv2d(x, each, b, **deep, out=y),
        "depthwise conv2d_backward_input": lambda: cuda.conv2d_backward_input(shape, each, gy, **deep, out=gx),
        "depthwise conv2d_backward_weight": lambda: cuda.conv2d_backward_weight(x, each.shape, gy, **deep),
        "stem_conv2d": lambda: cuda.stem_conv2d(photo, filters, None, 2, 3, layout="NHWC", out=maps),
        "max_pool2d": lambda: cuda.max_pool2d(x, 2, out=half),
        "avg_pool2d": lambda: cuda.avg_pool2d(x, 3, 2, 1, out=half),
        "relu": lambda: cuda.relu(x, out=y),
        "nhwc_to_nchw": lambda: cuda.nhwc_to_nchw(x, out=planes),
        "nchw_to_nhwc": lambda: cuda.nchw_to_nhwc(planes, out=x),
    }


def lines(module: ModuleType, call: Callable[[], object]) -> list[Line]:
    module.start_counting()
    try:
        call()
    finally:
        counted = [Line(*line) for line in module.stop_counting()]
    return counted


LANES = range(32)
REQUESTS = {  # bytes of a lane, where it begins in shared memory, turns needed and fewest
    "neighbours": (4, lambda lane: lane * 4, 1, 1),
    "every other word": (4, lambda lane: lane * 8, 2, 1),
    "a column": (4, lambda lane: lane * 128, 32, 1),
    "a padded column": (4, lambda lane: lane * 132, 1, 1),
    "one for all": (4, lambda _: 64, 1, 1),
    "halves": (2, lambda lane: lane * 2, 1, 1),
    "pairs": (8, lambda lane: lane * 8, 2, 2),
    "pairs in one bank of two": (8, lambda lane: lane * 16, 4, 2),
    "pieces": (16, lambda lane: lane * 16, 4, 4),
    # Lines of 48 bytes: the halves of four of them meet in one bank, those of eight do not.
    "two halves of a line each": (16, lambda lane: lane // 2 * 48 + lane % 2 * 16, 8, 4),
    "the same halves of eight lines": (16, lambda lane: (lane // 16 * 8 + lane % 8) * 48 + lane // 8 % 2 * 16, 4, 4),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_turns_of_banks(emulated: ModuleType, name: str) -> None:
    size, place, needed, least = REQUESTS[name]
    assert emulated.access_cost([place(lane) for lane in LANES], size, shared=True) == (needed, least)


def test_sectors(emulated: ModuleType) -> None:
    assert emulated.access_cost([lane * 4 for lane in LANES], 4, shared=False) == (4, 4)
    assert emulated.access_cost([lane * 4 + 16 for lane in LANES], 4, shared=False) == (5, 4)
    assert emulated.access_cost([lane * 32 for lane in LANES], 4, shared=False) == (32, 4)
    assert emulated.access_cost([lane * 32 for lane in LANES], 16, shared=False) == (32, 16)
    assert emulated.access_cost([0, 8, 64], 8, shared=False) == (2, 1)


@pytest.mark.parametrize(
    ("name", "capability"), [("float32", 80), ("tf32", 80), ("float16", 80), ("tf32", 90), ("float16", 90)]
)
def test_no_conflicts_of_banks_and_whole_sectors(emulated: ModuleType, name: str, capability: int) -> None:
    emulated.set_emulation(late_landing=False, backwards=False, compute_capability=capability)
    for what, call in calls(name).items():
        counted = lines(emulated, call)
        assert counted or capability == 90, what
        for line in counted:
            debt = DEBTS.get((line.file, name, line.shared), 1.0)
            assert line.least <= line.needed <= debt * line.least, (what, line)


def test_the_loop_of_the_exact_kernel(emulated: ModuleType) -> None:
    """16 bytes of both operands for four of depth: 64 loads of a warp for each slab of 8, and 4 copies."""
    emulated.set_emulation(late_landing=False, backwards=False, simt_tile=(128, 128))
    counted = lines(emulated, calls("float32")["conv2d"])
    loads = sum(line.requests for line in counted if line.shared and not line.store)
    copies = sum(line.requests for line in counted if line.shared and line.store)
    slabs = 128 * 9 // 8
    assert (loads, copies) == (slabs * 8 * 32, slabs * 8 * 2)


def test_conflicts_are_seen(emulated: ModuleType) -> None:
    """Arrays that begin 16 bytes further need a sector more for each piece that crosses two."""
    x = np.zeros(4 * 32 + 4, np.float32)
    inside = aligned(x).array[4:]
    (load, _store) = lines(emulated, lambda: cuda.relu(GpuArray(inside)))
    assert (load.requests, load.needed, load.least) == (1, 17, 16)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))
    import cuda_emulator

    emulator: Any = cuda_emulator.load(cuda_emulator.build())
    native.use(emulator)
    emulator.set_emulation(late_landing=False, backwards=False, compute_capability=80)
    for kind in ("float32", "tf32", "float16"):
        for what, call in calls(kind).items():
            print(f"{what}, {kind}")
            for line in lines(emulator, call):
                place = f"{line.file}:{line.number}"
                memory = f"{'shared' if line.shared else 'global'} {'store' if line.store else 'load'}"
                counts = f"{line.requests:6} requests, needed {line.needed:6}, fewest {line.least:6}"
                print(f"    {place:34} {memory:13} {counts}")
