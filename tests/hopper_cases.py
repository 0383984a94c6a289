"""What csrc/cuda/hopper.h says of TMA and wgmma, once more in NumPy: for the emulator, and first of all for a GPU.

Each check takes a machine, which says where the arrays live.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conv2d_cases import Geometry
from cuda_cases import as_bits, as_numbers, to_nhwc
from fastconv.cuda.conv2d import geometry as judge

Bits = NDArray[np.unsignedinteger]

DTYPES = ["bfloat16", "float16", "float32"]
LINE = 128  # bytes of depth, of an operand in shared memory

# Geometry, first output of the box, first channel, tap. Boxes end within a row, an image and beyond the last.
BOXES = [
    (Geometry(40, 64, (9, 13), (3, 3), padding=((1, 1), (1, 1))), 0, 0, (0, 0)),
    (Geometry(40, 64, (9, 13), (3, 3), padding=((1, 1), (1, 1))), 128, 0, (2, 2)),
    (Geometry(72, 64, (12, 7), (5, 3), stride=(1, 2), padding=((3, 1), (0, 2))), 0, 64, (4, 1)),
    (Geometry(64, 64, (9, 13), (3, 3), (2, 1), ((0, 2), (2, 1)), (1, 2), batch=3), 128, 0, (1, 2)),
    (Geometry(64, 64, (17, 16), (1, 1), stride=(2, 3), batch=4), 128, 0, (0, 0)),
    (Geometry(64, 64, (5, 4), (2, 3), stride=(3, 2), padding=((1, 0), (2, 0)), batch=40), 128, 32, (1, 2)),
    (Geometry(32, 64, (9, 9), (3, 3), (8, 8), ((127, 20), (120, 127)), (60, 63)), 128, 0, (2, 2)),
]  # fmt: skip


@dataclass
class Machine:
    """Where kernels run, and how arrays get there."""

    module: Any
    library: Any = None  # of tests/gpu/conftest.py; None: the emulator

    def put(self, a: NDArray[Any]) -> Any:
        return np.array(a, order="C") if self.library is None else self.library.put(a)

    def address(self, a: Any) -> int:
        if self.library is None:
            return int(a.ctypes.data)
        return int(a.data_ptr() if self.library.name == "torch" else a.data.ptr)

    def get(self, a: Any) -> NDArray[Any]:
        if self.library is None:
            return np.asarray(a)
        self.library.wait()
        return np.asarray(self.library.get(a))


def rounded_to_tf32(a: NDArray[np.floating]) -> NDArray[np.float32]:
    """To 10 bits of mantissa, to the nearest, ties to even."""
    bits = a.astype(np.float32).view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def swizzled(lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines of 128 bytes as TMA lays them down and wgmma reads them: piece i of line r at place i ^ (r % 8)."""
    pieces = lines.reshape(-1, 8, 16)
    result = np.empty_like(pieces)
    for line in range(len(pieces)):
        result[line, np.arange(8) ^ line % 8] = pieces[line]
    return result.reshape(-1, LINE)


def turned(lines: Bits) -> Bits:
    """A 16-bit operand, [row or column][depth], with its rows inside ("MN-major").

    PTX ISA, "Shared Memory Matrix Layout" and "Strides", swizzle of 128 bytes: 64 rows at one depth are a line of 128
    bytes, eight depths a group. The stride byte offset, 1024 here, leads to the next eight depths; the leading byte
    offset leads to the next 64 rows, past all depths of these: 64 of them, or 8192 bytes.
    """
    depth = lines.shape[1]
    return np.ascontiguousarray(lines.reshape(-1, 64, depth).transpose(0, 2, 1)).reshape(-1, 64)


def operand(bits: Bits, dtype: str) -> NDArray[np.uint8]:
    """The bytes that TMA makes of elements: those of float32 are rounded on the way."""
    if dtype == "float32":
        bits = rounded_to_tf32(bits.view(np.float32)).view(np.uint32)
    return np.ascontiguousarray(bits).view(np.uint8)


def _signed(bits: Bits) -> NDArray[np.signedinteger]:
    return bits.view(f"i{bits.itemsize}")  # PyTorch has no unsigned ones


def _shape(g: Geometry) -> Any:
    (n, c, h, w), (o, icg, kh, kw) = g.input_shape, g.weight_shape
    return judge("conv2d", (n, h, w, c), (o, kh, kw, icg), g.stride, g.padding, g.dilation, 1)


def check_im2col(machine: Machine, dtype: str, case: tuple[Geometry, int, int, tuple[int, int]]) -> None:
    """A box of 128 outputs: padding, channels beyond the last and images beyond the last are zeros."""
    g, first, c, (kh, kw) = case
    x = as_bits(to_nhwc(np.random.default_rng(0).standard_normal(g.input_shape)), dtype)
    images, height, width, channels = x.shape
    _, _, oh, ow = g.output_shape
    wide = LINE // x.itemsize
    lines = np.zeros((128, wide), x.dtype)
    for line in range(128):
        n, row, column = (first + line) // (oh * ow), (first + line) // ow % oh, (first + line) % ow
        h = row * g.stride[0] - g.padding[0][0] + kh * g.dilation[0]
        w = column * g.stride[1] - g.padding[1][0] + kw * g.dilation[1]
        if n < images and 0 <= h < height and 0 <= w < width:
            held = x[n, h, w, c : c + wide]
            lines[line, : len(held)] = held
    assert c < channels
    there, to = machine.put(_signed(x)), machine.put(np.full((128, LINE // 4), -1, np.int32))
    at = {"row": first, "c": c, "kh": kh, "kw": kw, "stream": 0}
    machine.module.probe_tma_im2col(_shape(g), dtype, machine.address(there), machine.address(to), **at)
    np.testing.assert_array_equal(machine.get(to).view(np.uint8), swizzled(operand(lines, dtype)))


def check_filter(machine: Machine, dtype: str) -> None:
    """A box of one tap of 64 filters, of which some do not exist, as do some channels."""
    g = Geometry(72, 80, (5, 5), (2, 3))
    w = as_bits(to_nhwc(np.random.default_rng(0).standard_normal(g.weight_shape)), dtype)
    wide = LINE // w.itemsize
    there, to = machine.put(_signed(w)), machine.put(np.full((64, LINE // 4), -1, np.int32))
    for column, c, tap in [(0, 0, 0), (0, 64, 4), (64, 32, 5)]:
        at = {"column": column, "c": c, "tap": tap, "stream": 0}
        machine.module.probe_tma_filter(_shape(g), dtype, machine.address(there), machine.address(to), **at)
        lines = np.zeros((64, wide), w.dtype)
        held = w[column : column + 64, tap // 3, tap % 3, c : c + wide]
        lines[: len(held), : held.shape[1]] = held
        np.testing.assert_array_equal(machine.get(to).view(np.uint8), swizzled(operand(lines, dtype)))


def check_rounding(machine: Machine) -> None:
    """TMA rounds float32 to TF32 to the nearest, ties to even, and leaves what is not finite."""
    special = [
        0x3F801000,
        0x3F803000,
        0x3F800FFF,
        0x3F801001,
        0x7F7FFFFF,
        0x7F800000,
        0xFF800000,
        0x00000001,
        0xBF803000,
    ]
    g = Geometry(32, 64, (1, 128), (1, 1), batch=1)
    x = np.zeros((1, 1, 128, 32), np.uint32)
    x[0, 0, 0, : len(special)] = special
    there, to = machine.put(_signed(x)), machine.put(np.full((128, LINE // 4), -1, np.int32))
    at = {"row": 0, "c": 0, "kh": 0, "kw": 0, "stream": 0}
    machine.module.probe_tma_im2col(_shape(g), "float32", machine.address(there), machine.address(to), **at)
    expected = x.copy()
    finite = (expected & 0x7F800000) != 0x7F800000
    expected[finite] = rounded_to_tf32(expected[finite].view(np.float32)).view(np.uint32)
    got = machine.get(to).view(np.uint32)
    np.testing.assert_array_equal(got[0, : len(special)], expected[0, 0, 0, : len(special)])


def check_product(machine: Machine, dtype: str, columns: int, which: str = "") -> None:
    """64 x columns, 128 bytes deep, from swizzled lines: the descriptor, the steps in it, and who holds which sum.

    which: operands that are turned, "", "b" or "ab".
    """
    rng = np.random.default_rng(columns)
    depth = LINE // (4 if dtype == "float32" else 2)
    a, b = (rng.standard_normal((lines, depth)) for lines in (64, columns))
    if dtype == "float32":
        a, b = rounded_to_tf32(a), rounded_to_tf32(b)
    a_bits, b_bits = as_bits(a, dtype), as_bits(b, dtype)
    start = rng.standard_normal((64, columns)).astype(np.float32)
    # (warp, half, r) x (eight, c, side) to a thread (warp, r, c) that holds (eight, half, side).
    held = start.reshape(4, 2, 8, columns // 8, 4, 2).transpose(0, 2, 4, 3, 1, 5)
    lying = [turned(bits) if name in which else bits for name, bits in (("a", a_bits), ("b", b_bits))]
    words = [machine.put(swizzled(bits.view(np.uint8).reshape(-1, LINE)).view(np.int32)) for bits in lying]
    sums = machine.put(held.reshape(128, columns // 2))
    machine.module.probe_wgmma(dtype, columns, *map(machine.address, (*words, sums)), turned=which, stream=0)
    got = machine.get(sums).reshape(4, 8, 4, columns // 8, 2, 2).transpose(0, 4, 1, 3, 2, 5).reshape(64, columns)
    expected = as_numbers(a_bits, dtype) @ as_numbers(b_bits, dtype).T + start
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)
