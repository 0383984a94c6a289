"""Read pictures: NumPy arrays (.npy), idx and grey PGM without a library; PNG, JPEG and so on with Pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastconv.data.idx import read_idx

__all__ = ["read_images"]

_NPY_MAGIC = b"\x93NUMPY"
_PGM_MAGIC = (b"P2", b"P5")
_PILLOW_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*")
_IDX_MAGIC = (b"\x00\x00", b"\x1f\x8b")  # plain, gzip
_LARGEST_PGM = 1 << 28  # bytes


def read_images(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one or many images; what the file is shows in its first bytes.

    Parameters
    ----------
    path
        An .npy, idx (plain or gzip) or PGM file; a PNG, JPEG, GIF, BMP, WebP or TIFF picture needs the extra [viz].

    Returns
    -------
    ndarray
        Shape (N, C, H, W), the values as they are stored. A file of shape (H, W) gives N = C = 1, one of shape
        (N, H, W) gives C = 1. A picture in colour gives N = 1 and C = 3, a grey one C = 1, both uint8.

    Raises
    ------
    ImportError
        When the file needs Pillow and it is not installed.
    TypeError
        When `path` is none.
    ValueError
        When the file is damaged, holds objects, or no images.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"read_images: path must be one file's path, got {type(path).__name__}")
    path = Path(path).expanduser()
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic == _NPY_MAGIC:
        array = _read_npy(path)
    elif magic[:2] in _PGM_MAGIC:
        array = _read_pgm(path)
    elif magic.startswith(_PILLOW_MAGIC):
        return _read_picture(path)
    elif magic.startswith(_IDX_MAGIC):
        array = read_idx(path)
    else:
        got = f"begins with the bytes {magic.hex(' ')}" if magic else "is empty"
        raise ValueError(
            f"read_images: {path} must be an .npy, idx, PGM, PNG, JPEG, GIF, BMP, WebP or TIFF file, got one that {got}"
        )
    if array.dtype.kind not in "uif" or not 2 <= array.ndim <= 4:
        raise ValueError(
            f"read_images: {path} must hold numbers of shape (H, W), (N, H, W) or (N, C, H, W), "
            f"got {array.dtype} {array.shape}"
        )
    if array.ndim == 2:
        return array[None, None]
    return array[:, None] if array.ndim == 3 else array


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        # A map is held against the size of the file before anything is read; pickled objects are refused.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, OverflowError) as error:
        raise ValueError(f"read_images: {path} is not a valid .npy file: {error}") from None


def _read_pgm(path: Path) -> NDArray[Any]:
    """Netpbm's grey map, plain (P2) or raw (P5): width, height, largest value, pixels."""

    def refuse(why: str) -> NoReturn:
        raise ValueError(f"read_images: {path} is not a valid PGM file: {why}")

    if path.stat().st_size > _LARGEST_PGM:
        refuse(f"it is larger than {_LARGEST_PGM} bytes")
    content = path.read_bytes()
    numbers: list[int] = []
    position = 2
    while len(numbers) < 3:
        position, word = _next_word(content, position)
        if not word.isdigit() or len(word) > 9:
            refuse(f"its header must hold three numbers, got {word[:20]!r}")
        numbers.append(int(word))
    width, height, largest = numbers
    if not (width and height and 1 <= largest <= 65535):
        refuse(f"width and height must be at least 1, the largest value 1..65535, got {width}, {height}, {largest}")
    dtype = np.dtype(np.uint8 if largest < 256 else ">u2")
    if content[:2] == b"P2":
        words = content[position:].split()
        if len(words) != width * height or not all(word.isdigit() and len(word) < 6 for word in words):
            refuse(f"it must hold {width} x {height} numbers")
        pixels = np.array([int(word) for word in words], np.int64)
    else:
        data = content[position + 1 :]
        if len(data) != width * height * dtype.itemsize:
            refuse(f"{width} x {height} pixels take {width * height * dtype.itemsize} bytes, got {len(data)}")
        pixels = np.frombuffer(data, dtype)
    if pixels.max() > largest:
        refuse(f"a pixel is larger than {largest}")
    return pixels.reshape(height, width).astype(dtype.newbyteorder("="))


def _read_picture(path: Path) -> NDArray[Any]:
    """Read what Pillow can, the first frame, without transparency."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f'reading {path} needs the extra [viz]: pip install "fastconv[viz]"') from error
    try:
        with Image.open(path) as picture:
            grey = picture.mode in ("1", "L", "LA", "I", "I;16", "F")
            array = np.asarray(picture.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"read_images: {path} is not a picture that Pillow can read: {error}") from None
    return array[None, None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))[None]


def _next_word(content: bytes, position: int) -> tuple[int, bytes]:
    """Skip white space and comments; return the end of the next word, and the word."""
    while position < len(content) and (content[position : position + 1].isspace() or content[position] == ord("#")):
        if content[position] == ord("#"):
            end = content.find(b"\n", position)
            position = len(content) if end < 0 else end
        else:
            position += 1
    end = position
    while end < len(content) and not content[end : end + 1].isspace():
        end += 1
    return end, content[position:end]
