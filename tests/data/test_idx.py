"""The idx reader: every type, plain and gzip, and every kind of file that is not what it says."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import read_idx

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array: np.ndarray, code: int = 8) -> bytes:
    dimensions = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + dimensions + array.tobytes()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_every_type(tmp_path: Path, dtype: str, pack) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "any.name").write_bytes(pack(idx(array, CODES[dtype])))
    result = read_idx(tmp_path / "any.name")
    np.testing.assert_array_equal(result, array)
    assert result.dtype.isnative
    assert result.dtype.kind == array.dtype.kind


def test_reads_no_rows() -> None:
    assert read_idx(io.BytesIO(idx(np.zeros((0, 28, 28), np.uint8)))).shape == (0, 28, 28)


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
BAD_FILES = {
    "empty": (b"", "none"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "89 50 4e 47"),
    "unknown type": (b"\0\0\x0a\1" + bytes(20), "00 00 0a 01"),
    "no dimensions": (b"\0\0\x08\0" + bytes(20), "00 00 08 00"),
    "too many dimensions": (b"\0\0\x08\xff" + bytes(2000), "00 00 08 ff"),
    "short dimensions": (GOOD[:9], "inside its 2 dimensions"),
    "short": (GOOD[:-1], "holds 11"),
    "long": (GOOD + b"x", "holds more"),
    "declares 18 EB": (b"\0\0\x08\2" + b"\xff" * 8 + bytes(100), "too short"),
    "gzip of a short file": (gzip.compress(GOOD[:-1]), "holds 11"),
    "gzip of a long file": (gzip.compress(GOOD + b"x"), "holds more"),
    "gzip that declares 4 GB": (gzip.compress(b"\0\0\x08\1" + b"\xff" * 4), "too short"),
    "truncated gzip": (gzip.compress(GOOD)[:-9], "gzip data are damaged"),
    "gzip with a wrong sum": (gzip.compress(GOOD)[:-8] + bytes(8), "gzip data are damaged"),
    "gzip with bad data": (gzip.compress(GOOD)[:10] + b"\xff" * 20, "gzip data are damaged"),
    "gzip magic alone": (b"\x1f\x8b", "gzip data are damaged"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_refuses_a_bad_file(tmp_path: Path, case: str) -> None:
    content, text = BAD_FILES[case]
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match="bad is not a valid idx file: .*" + text):
        read_idx(tmp_path / "bad")


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bomb", "wb", compresslevel=1) as file:
        file.write(GOOD)
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds more"):
        read_idx(tmp_path / "bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20  # of 200 MiB
