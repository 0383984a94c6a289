"""CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels in colour, or a subset of them.

The "binary version" of the data set is read, ten thousand records of a label and 3 x 32 x 32 bytes in each file, never
the pickled one: files hold no code here.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data.dataset import Dataset

__all__ = ["load_cifar10"]

_ENVIRONMENT = "FASTCONV_DATA"
_RECORD = 1 + 3 * 32 * 32
_RECORDS = 10_000
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)
_SUBSET = "cifar10-subset.npz"
_FOLDERS = ("cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10", "")
_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_SUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"  # as the home page of the data set states it


def load_cifar10(
    data_dir: str | os.PathLike[str] | None = None, *, download: bool = False, subset: bool | None = None
) -> Dataset:
    """Load CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

    Parameters
    ----------
    data_dir
        Folder with the six files of the binary version (``data_batch_1.bin`` and so on), with a folder ``cifar10`` or
        ``cifar-10-batches-bin`` that holds them, or with ``cifar10-subset.npz``. Default: the environment variable
        FASTCONV_DATA.
    download
        Fetch missing files (162 MB) into ``data_dir/cifar10`` (default: the user's cache folder); needs the extra
        [data].
    subset
        True takes ``cifar10-subset.npz``, arrays x_train, y_train, x_test, y_test of any number of images; False takes
        the whole set. Default: the whole set where it is found, else the subset.

    Returns
    -------
    Dataset
        uint8 images N x 3 x 32 x 32 (red, green, blue), labels 0..9: airplane, automobile, bird, cat, deer, dog, frog,
        horse, ship, truck.

    Raises
    ------
    FileNotFoundError
        When files are missing and `download` is false.
    ValueError
        When a file is damaged or holds something else.
    """
    given = data_dir if data_dir is not None else os.environ.get(_ENVIRONMENT)
    base = None if given is None else Path(given).expanduser()
    if base is not None and not base.is_dir() and not download:
        raise FileNotFoundError(f"load_cifar10: the data folder {base} does not exist")
    if base is not None:
        folders = [base / name for name in _FOLDERS]
        if not subset:
            for folder in folders:
                if all((folder / name).is_file() for name in _TRAIN + _TEST):
                    return _whole(folder)
        if subset is not False:
            for folder in folders:
                if (folder / _SUBSET).is_file():
                    return _subset(folder / _SUBSET)
    if download and not subset:
        return _whole(_download(base))
    if base is None:
        raise FileNotFoundError(
            f"cifar10: no data folder was given; pass data_dir (--data-dir) or set {_ENVIRONMENT} to a folder with the "
            "files of the binary version, or allow download=True (--download)"
        )
    wanted = _SUBSET if subset else f"{', '.join(_TRAIN + _TEST)} or {_SUBSET}"
    raise FileNotFoundError(
        f"cifar10: {base} holds neither {wanted}, nor a folder cifar10 with them; allow download=True (--download) to "
        "fetch the whole set"
    )


def _whole(folder: Path) -> Dataset:
    return Dataset(_read(folder, _TRAIN), _read(folder, _TEST))


def _read(folder: Path, names: tuple[str, ...]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    records = []
    for name in names:
        path = folder / name
        if path.stat().st_size != _RECORDS * _RECORD:
            raise ValueError(f"{path} must hold {_RECORDS * _RECORD} bytes, got {path.stat().st_size}")
        records.append(np.fromfile(path, np.uint8).reshape(_RECORDS, _RECORD))
    table = np.concatenate(records)
    return _checked(folder, np.ascontiguousarray(table[:, 1:]).reshape(-1, 3, 32, 32), table[:, 0])


def _subset(path: Path) -> Dataset:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = [archive[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a subset of CIFAR-10 (x_train, y_train, x_test, y_test): {error}") from None
    return Dataset(_checked(path, arrays[0], arrays[1]), _checked(path, arrays[2], arrays[3]))


def _checked(path: Path, images: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, 32, 32):
        raise ValueError(f"{path} must hold uint8 images (N, 3, 32, 32), got {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{path} must hold a whole number for each image, got {labels.dtype} {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() > 9):
        raise ValueError(f"{path} must hold labels 0..9, got {labels.min()}..{labels.max()}")
    return images, labels.astype(np.int64)


def _download(base: Path | None) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise ImportError('downloading cifar10 needs the extra [data]: pip install "fastconv[data]"') from error
    folder = Path(pooch.os_cache("fastconv") if base is None else base) / "cifar10"
    members = [f"cifar-10-batches-bin/{name}" for name in _TRAIN + _TEST]
    pooch.retrieve(
        _URL, _SUM, fname="cifar-10-binary.tar.gz", path=folder, processor=pooch.Untar(members, extract_dir=".")
    )
    return folder / "cifar-10-batches-bin"
