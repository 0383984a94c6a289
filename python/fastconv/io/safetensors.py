"""Arrays in the safetensors format: eight bytes of header length, a JSON header, the raw bytes. No code, no pickle.

The reader believes nothing: it judges the whole header against the size of the file before it allocates an array.
Format: the README of huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastconv.io.atomic import atomic_write

__all__ = ["load_file", "save_file"]

_MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own reader
_ALIGNMENT = 8  # the header is padded, so that the first array starts at a multiple of it
_MAX_RANK = 64  # NumPy's
_MAX_DIGITS = 18  # below 2**63, so that no size overflows
_METADATA = "__metadata__"
_DTYPES = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
        "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
    }.items()
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def save_file(
    tensors: Mapping[str, NDArray[Any]],
    path: str | os.PathLike[str] | BinaryIO,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays; the same arrays give the same bytes, and a failure leaves an old file intact.

    Parameters
    ----------
    tensors
        Arrays by name: bool, integers of 8 to 64 bits, float16, float32 or float64, of any memory order.
    path
        File name, written by `atomic_write`; or a file open for binary writing.
    metadata
        Text by name, kept in the header.

    Raises
    ------
    TypeError
        For an array that the format has no type for, and for a masked array (its mask would be lost).
    ValueError
        For a name that the format reserves.
    """
    header: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise TypeError("save_file: metadata must map str to str")
        header[_METADATA] = dict(sorted(metadata.items()))
    for name, array in tensors.items():
        _check_saved(name, array)
    # Wide types first keeps every array aligned; the name decides between equals.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    end = 0
    for name in names:
        array = tensors[name]
        begin, end = end, end + array.nbytes
        dtype = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _MAX_HEADER_BYTES:
        raise ValueError(f"save_file: the header may take {_MAX_HEADER_BYTES} bytes, got {len(text)}")
    with atomic_write(path) if isinstance(path, (str, os.PathLike)) else nullcontext(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            array = np.asarray(tensors[name], tensors[name].dtype.newbyteorder("<"), order="C")
            file.write(array.reshape(-1).view(np.uint8).data)


def _check_saved(name: object, array: object) -> None:
    if not isinstance(name, str) or name == _METADATA:
        raise ValueError(f"save_file: a tensor's name must be a str other than {_METADATA!r}, got {name!r}")
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"save_file: tensor {name!r} must be a plain numpy array, got {type(array).__name__}")
    if array.dtype.newbyteorder("<") not in _NAMES:
        raise TypeError(
            f"save_file: tensor {name!r} must have one of the types {', '.join(_DTYPES)}, got {array.dtype}"
        )


def load_file(path: str | os.PathLike[str] | BinaryIO) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read named arrays and the metadata of a safetensors file.

    Parameters
    ----------
    path
        File name, or a seekable file open for binary reading.

    Returns
    -------
    tensors, metadata
        New arrays by name, in the order of the file; text by name.

    Raises
    ------
    ValueError
        When anything about the file is not as the format says, or a type is unknown to NumPy (BF16, F8).
    """
    if isinstance(path, (str, os.PathLike)):
        source = Path(path).expanduser()
        with open(source, "rb") as file:
            return _Reader(file, str(source)).read()
    return _Reader(path, str(getattr(path, "name", "the file"))).read()


class _Reader:
    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name

    def refuse(self, why: str) -> NoReturn:
        raise ValueError(f"load_file: {self.name} is not a valid safetensors file: {why}")

    def read(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        size = self.file.seek(0, io.SEEK_END)
        self.file.seek(0)
        header, data_bytes = self.read_header(size)
        metadata = self.check_metadata(header.pop(_METADATA, {}))
        entries = [self.check_entry(name, entry) for name, entry in header.items()]
        entries.sort(key=lambda entry: entry[3:])
        end = 0
        for name, _, _, begin, entry_end in entries:
            if begin != end:
                self.refuse(f"tensor {name!r} begins at byte {begin}, the one before ends at {end}")
            end = entry_end
        if end != data_bytes:
            self.refuse(f"the tensors take {end} bytes, the file holds {data_bytes} behind the header")
        return {name: self.read_array(name, dtype, shape) for name, dtype, shape, _, _ in entries}, metadata

    def read_header(self, size: int) -> tuple[dict[str, Any], int]:
        """Return the JSON header and the number of bytes behind it."""
        if size < 8:
            self.refuse(f"it has {size} bytes, the header length alone takes 8")
        length = int.from_bytes(self.file.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            self.refuse(f"the header may take {_MAX_HEADER_BYTES} bytes, it claims {length}")
        if length > size - 8:
            self.refuse(f"the header claims {length} bytes, the file holds {size - 8} behind its length")
        text = self.file.read(length)
        if not text.startswith(b"{"):
            self.refuse("the header does not begin with '{'")
        try:
            header = json.loads(
                text.decode(),
                object_pairs_hook=self.check_names,
                parse_int=self.check_integer,
                parse_constant=self.refuse_constant,
            )
        except RecursionError:
            self.refuse("the header is nested too deeply")
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            self.refuse(f"the header is not JSON ({error})")
        return header, size - 8 - length

    def check_names(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            self.refuse("the header holds a name twice")
        if any("\ud800" <= letter <= "\udfff" for name in result for letter in name):
            self.refuse("the header holds a name that is not Unicode text")
        return result

    def check_integer(self, digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            self.refuse(f"the header holds a number of {len(digits)} digits")
        return int(digits)

    def refuse_constant(self, text: str) -> NoReturn:
        self.refuse(f"the header holds {text}")

    def check_metadata(self, metadata: object) -> dict[str, str]:
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            self.refuse("its metadata are not text by name")
        return metadata

    def check_entry(self, name: str, entry: object) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
        """Judge one tensor by itself: name, dtype, shape, begin, end."""
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            self.refuse(f"tensor {name!r} must have dtype, shape and data_offsets, and nothing else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            self.refuse(f"tensor {name!r} has dtype {dtype!r}, known are {', '.join(_DTYPES)}")
        for what, numbers in (("shape", shape), ("data_offsets", offsets)):
            # `type`, since JSON's true is an int to isinstance
            if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
                self.refuse(f"tensor {name!r}: {what} must be a list of whole numbers from 0")
        if len(shape) > _MAX_RANK or len(offsets) != 2:
            self.refuse(f"tensor {name!r}: shape may have {_MAX_RANK} numbers and data_offsets must have 2")
        begin, end = offsets
        size = math.prod(shape) * _DTYPES[dtype].itemsize
        if end - begin != size:
            self.refuse(f"tensor {name!r}: {dtype} {tuple(shape)} takes {size} bytes, data_offsets span {end - begin}")
        return name, _DTYPES[dtype], tuple(shape), begin, end

    def read_array(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        array = np.empty(shape, dtype)
        raw = array.reshape(-1).view(np.uint8)
        if self.file.readinto(raw.data) != raw.size:  # type: ignore[attr-defined]
            self.refuse("it became shorter while it was read")
        if dtype.kind == "b" and raw.size and raw.max() > 1:
            self.refuse(f"tensor {name!r} is BOOL and holds bytes other than 0 and 1")
        return array.astype(dtype.newbyteorder("="), copy=False)
