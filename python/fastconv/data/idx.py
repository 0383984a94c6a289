"""A strict reader for idx files, plain or gzip: the format of MNIST.

Two zero bytes, a type, the number of dimensions, the dimensions as big-endian 32-bit numbers, the data. The size
is judged by what the file could hold before anything of that size is allocated, and no more than the declared
bytes (and one) is ever unpacked.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_idx"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_RATIO = 1032  # the most that deflate can gain: 258 bytes from 2 bits
_MAX_RANK = 8


def read_idx(source: str | os.PathLike[str] | BinaryIO) -> NDArray[Any]:
    """Read the array of an idx file; whether it is gzip shows in its first bytes, not in its name.

    Parameters
    ----------
    source
        File name, or a seekable file open for binary reading.

    Returns
    -------
    ndarray
        A new array in native byte order.

    Raises
    ------
    ValueError
        When the file is short, long, damaged, of another format, or unpacks to more than it declares.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        with open(path, "rb") as file:
            return _read(file, str(path))
    return _read(source, str(getattr(source, "name", "the file")))


def _refuse(name: str, why: str) -> NoReturn:
    raise ValueError(f"read_idx: {name} is not a valid idx file: {why}")


def _read(file: BinaryIO, name: str) -> NDArray[Any]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    packed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    if not packed:
        return _read_array(file, name, size)
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _read_array(cast(BinaryIO, unpacked), name, size * _DEFLATE_RATIO)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        _refuse(name, f"its gzip data are damaged ({error})")


def _read_array(file: BinaryIO, name: str, most: int) -> NDArray[Any]:
    """Read the array from a stream that can't hold more than `most` bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_RANK:
        _refuse(name, f"it begins with the bytes {magic.hex(' ') or '(none)'}")
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    dimensions = file.read(4 * rank)
    if len(dimensions) < 4 * rank:
        _refuse(name, f"it ends inside its {rank} dimensions")
    shape = tuple(int.from_bytes(dimensions[k : k + 4], "big") for k in range(0, 4 * rank, 4))
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        _refuse(name, f"it declares the shape {shape}, {size} bytes, and is too short to hold them")
    array = np.empty(shape, dtype)
    got = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
    if got != size:
        _refuse(name, f"it declares the shape {shape}, {size} bytes, and holds {got}")
    if file.read(1):
        _refuse(name, f"it declares the shape {shape}, {size} bytes, and holds more")
    return array.astype(dtype.newbyteorder("="), copy=False)
