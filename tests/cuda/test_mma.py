"""The tensor-core instructions, one warp at a time, against the tables of the PTX ISA ("Matrix fragments for mma")."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from cuda_cases import as_bits, as_numbers

# Instruction: element type, depth, elements of a word.
INSTRUCTIONS = {
    "tf32": ("float32", 8, 1),
    "float16": ("float16", 16, 2),
    "bfloat16": ("bfloat16", 16, 2),
    "float16_half": ("float16", 8, 2),
}


def fragments(matrix: np.ndarray, words: int, per_word: int, is_b: bool) -> np.ndarray:
    """The words (32, `words`) that lanes hold of a (16, depth), or of b (depth, 8), whose elements are bits."""
    held = np.zeros((32, words), np.uint32)
    for lane in range(32):
        group, thread = lane // 4, lane % 4
        for word in range(words):
            across = group if is_b else group + 8 * (word % 2)
            block = word if is_b else word // 2  # of four words of depth
            for part in range(per_word):
                k = (4 * block + thread) * per_word + part
                value = int(matrix[k, across] if is_b else matrix[across, k])
                held[lane, word] |= np.uint32(value << (16 * part))
    return held


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_product(any_mode: ModuleType, instruction: str, rng: np.random.Generator) -> None:
    dtype, depth, per_word = INSTRUCTIONS[instruction]
    words = depth // (4 * per_word)
    a, b = as_bits(rng.standard_normal((16, depth)), dtype), as_bits(rng.standard_normal((depth, 8)), dtype)
    if dtype == "float32":  # ten bits of mantissa count
        a, b = a & np.uint32(0xFFFFE000), b & np.uint32(0xFFFFE000)
    c = rng.standard_normal((16, 8)).astype(np.float32)
    held_a, held_b = np.zeros((32, 4), np.uint32), np.zeros((32, 2), np.uint32)
    held_a[:, : 2 * words] = fragments(a, 2 * words, per_word, is_b=False)
    held_b[:, :words] = fragments(b, words, per_word, is_b=True)
    # Lane, (half, side): row lane / 4 + 8 half, column 2 (lane % 4) + side.
    d = np.ascontiguousarray(c.reshape(2, 8, 4, 2).transpose(1, 2, 0, 3).reshape(32, 4))
    any_mode.probe_mma(instruction, held_a.ctypes.data, held_b.ctypes.data, d.ctypes.data, stream=0)
    got = d.reshape(8, 4, 2, 2).transpose(2, 0, 1, 3).reshape(16, 8)
    expected = as_numbers(a, dtype) @ as_numbers(b, dtype) + c
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_load_matrices(any_mode: ModuleType) -> None:
    rows = np.arange(128, dtype=np.uint32).reshape(32, 4)
    b, d = np.zeros((32, 2), np.uint32), np.zeros((32, 4), np.float32)
    any_mode.probe_mma("load_matrices", rows.ctypes.data, b.ctypes.data, d.ctypes.data, stream=0)
    lanes = np.arange(32)
    for matrix in range(4):
        np.testing.assert_array_equal(d.view(np.uint32)[:, matrix], rows[8 * matrix + lanes // 4, lanes % 4])


def test_load_matrices_turned(any_mode: ModuleType) -> None:
    rows = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    b, d = np.zeros((32, 2), np.uint32), np.zeros((32, 4), np.float32)
    any_mode.probe_mma("load_matrices_turned", rows.ctypes.data, b.ctypes.data, d.ctypes.data, stream=0)
    lanes = np.arange(32)
    for matrix in range(4):
        low, high = (rows[matrix, 2 * (lanes % 4) + k, lanes // 4].astype(np.uint32) for k in (0, 1))
        np.testing.assert_array_equal(d.view(np.uint32)[:, matrix], low | high << 16)
