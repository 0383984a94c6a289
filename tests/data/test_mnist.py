"""Finding MNIST and Fashion-MNIST in folders, fetching them from mirrors, and saying what is missing."""

from __future__ import annotations

import gzip
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from fastconv.data import load_fashion_mnist, load_mnist, mnist

SMALL = {"train": (30, 28, 28), "t10k": (10, 28, 28)}


def idx(array: np.ndarray) -> bytes:
    dimensions = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + dimensions + array.tobytes()


def write_set(folder: Path, pack=gzip.compress, suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, shape in SMALL.items():
        images, labels = rng.integers(256, size=shape, dtype=np.uint8), np.arange(shape[0], dtype=np.uint8) % 10
        (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))


@pytest.fixture(autouse=True)
def small_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten-thousands of images be tens, and no folder be known from outside."""
    if "real" not in request.node.name:
        monkeypatch.setattr(mnist, "_SHAPES", SMALL)
        monkeypatch.delenv("FASTCONV_DATA", raising=False)


@pytest.mark.parametrize("layout", ["", "mnist"])
@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (bytes, "")])
def test_finds_both_folder_layouts(tmp_path: Path, layout: str, pack, suffix: str) -> None:
    write_set(tmp_path / layout, pack, suffix)
    (x_train, y_train), (x_test, y_test) = load_mnist(tmp_path)
    assert x_train.shape == (30, 1, 28, 28)
    assert x_test.shape == (10, 1, 28, 28)
    assert x_train.dtype == np.uint8
    assert y_train.tolist() == [*range(10)] * 3
    assert y_test.dtype == np.int64


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "fashion-mnist")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    assert len(load_fashion_mnist().train[0]) == 30


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"set FASTCONV_DATA .*or allow download=True \(--download\)"):
        load_mnist()
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_mnist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds train-images-idx3-ubyte\.gz, .*; allow download=True"):
        load_mnist(tmp_path)


def test_refuses_files_of_other_content(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(9, dtype=np.uint8)))
    with pytest.raises(ValueError, match=r"must hold uint8 \(10,\), got uint8 \(9,\)"):
        load_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.full(10, 10, np.uint8)))
    with pytest.raises(ValueError, match=r"labels 0\.\.9, got 10"):
        load_mnist(tmp_path)


def test_downloads_only_when_asked_and_tries_every_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, asked = tmp_path / "source", []
    write_set(source)

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> None:
        asked.append(url)
        assert known_hash == f"sha256:{mnist._MNIST_SUMS[fname]}"
        if url.startswith(mnist._MNIST_MIRRORS[0]):
            raise ValueError("SHA256 hash of downloaded file does not match")
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((source / fname).read_bytes())

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve, os_cache=None))
    target = tmp_path / "target"
    with pytest.raises(FileNotFoundError):
        load_mnist(target)
    assert not asked
    assert len(load_mnist(target, download=True).test[0]) == 10
    assert len(asked) == 8
    load_mnist(target, download=True)
    assert len(asked) == 8  # what is there is not fetched again


def test_names_every_mirror_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(*_: object, **__: object) -> None:
        raise OSError("unreachable")

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve, os_cache=None))
    with pytest.raises(OSError, match=r"no mirror gave train-images.*ossci.*unreachable.*cvdf.*unreachable"):
        load_mnist(tmp_path, download=True)


def test_a_missing_pooch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "fastconv\[data\]"'):
        load_mnist(tmp_path, download=True)


@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist])
def test_the_real_files(load, data_folder: Path) -> None:
    (x_train, y_train), (x_test, y_test) = load(data_folder)
    assert x_train.shape == (60_000, 1, 28, 28)
    assert x_test.shape == (10_000, 1, 28, 28)
    assert np.bincount(y_train).sum() == 60_000
    assert np.bincount(y_test).min() > 800
