"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels, from a folder or a mirror.

The network is touched only when the caller asks for it; what comes over it must have the SHA-256 sum below.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv.data.dataset import Dataset
from fastconv.data.idx import read_idx

__all__ = ["load_fashion_mnist", "load_mnist"]

_ENVIRONMENT = "FASTCONV_DATA"
_SHAPES = {"train": (60_000, 28, 28), "t10k": (10_000, 28, 28)}
_MNIST_SUMS = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_FASHION_SUMS = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)


def load_mnist(data_dir: str | os.PathLike[str] | None = None, *, download: bool = False) -> Dataset:
    """Load the MNIST handwritten digits (Y. LeCun, C. Cortes, C. J. C. Burges, 1998).

    Parameters
    ----------
    data_dir
        Folder with the four idx files (``train-images-idx3-ubyte.gz`` and so on, unpacked ones too), or with a
        folder ``mnist`` that holds them. Default: the environment variable FASTCONV_DATA.
    download
        Fetch missing files into ``data_dir/mnist`` (default: the user's cache folder); needs the extra [data].

    Returns
    -------
    Dataset
        uint8 images N x 1 x 28 x 28, labels 0..9.

    Raises
    ------
    FileNotFoundError
        When files are missing and `download` is false.
    ValueError
        When a file is damaged or holds something else.
    """
    return _load("mnist", _MNIST_SUMS, _MNIST_MIRRORS, data_dir, download)


def load_fashion_mnist(data_dir: str | os.PathLike[str] | None = None, *, download: bool = False) -> Dataset:
    """Load the Fashion-MNIST articles of clothing (H. Xiao, K. Rasul, R. Vollgraf, 2017, MIT licence).

    Parameters, result and errors are those of `load_mnist`; the folder is called ``fashion-mnist``.
    """
    return _load("fashion-mnist", _FASHION_SUMS, _FASHION_MIRRORS, data_dir, download)


def _load(
    name: str,
    sums: Mapping[str, str],
    mirrors: tuple[str, ...],
    data_dir: str | os.PathLike[str] | None,
    download: bool,
) -> Dataset:
    given = data_dir if data_dir is not None else os.environ.get(_ENVIRONMENT)
    base = None if given is None else Path(given).expanduser()
    if base is not None and not base.is_dir() and not download:
        raise FileNotFoundError(f"load_{name}: the data folder {base} does not exist")
    folder = None if base is None else _folder_with_files(base, name)
    if folder is None:
        if not download:
            raise FileNotFoundError(_advice(name, base))
        folder = _download(name, sums, mirrors, base)
    return Dataset(_read_part(folder, "train"), _read_part(folder, "t10k"))


def _find(folder: Path, name: str) -> Path | None:
    """Find `name`.gz, or the same unpacked."""
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _folder_with_files(base: Path, name: str) -> Path | None:
    for folder in (base / name, base):
        if all(_find(folder, file) for part in _SHAPES for file in _names(part)):
            return folder
    return None


def _advice(name: str, base: Path | None) -> str:
    if base is None:
        return (
            f"{name}: no data folder was given; pass data_dir (--data-dir) or set {_ENVIRONMENT} to a folder with the "
            f"idx files, or allow download=True (--download)"
        )
    files = ", ".join(f"{file}.gz" for part in _SHAPES for file in _names(part))
    return f"{name}: neither {base / name} nor {base} holds {files}; allow download=True (--download) to fetch them"


def _read_part(folder: Path, part: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    paths = [_find(folder, file) for file in _names(part)]
    assert paths[0] is not None
    assert paths[1] is not None
    images, labels = read_idx(paths[0]), read_idx(paths[1])
    shape = _SHAPES[part]
    for path, array, wanted in ((paths[0], images, shape), (paths[1], labels, shape[:1])):
        if array.shape != wanted or array.dtype != np.uint8:
            raise ValueError(f"{path} must hold uint8 {wanted}, got {array.dtype} {array.shape}")
    if labels.max() > 9:
        raise ValueError(f"{paths[1]} must hold labels 0..9, got {labels.max()}")
    return images[:, None], labels.astype(np.int64)


def _download(name: str, sums: Mapping[str, str], mirrors: tuple[str, ...], base: Path | None) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(f'downloading {name} needs the extra [data]: pip install "fastconv[data]"') from error
    folder = Path(pooch.os_cache("fastconv") if base is None else base) / name
    for file, digest in sums.items():
        failures: list[str] = []
        for mirror in mirrors:
            try:
                pooch.retrieve(mirror + file, f"sha256:{digest}", fname=file, path=folder)
                break
            except (OSError, ValueError) as error:  # unreachable, or the wrong bytes: ask the next mirror
                failures.append(f"{mirror}: {error}")
        else:
            raise OSError(f"{name}: no mirror gave {file}; " + "; ".join(failures))
    return folder
