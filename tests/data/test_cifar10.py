"""Finding CIFAR-10 in folders: the binary version, a subset, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastconv.data import cifar10, load_cifar10

FILES = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]


def write_binary(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(FILES):
        records = np.full((7, 3073), n, np.uint8)
        records[:, 1:] = np.arange(3072) % 251
        (folder / name).write_bytes(records.tobytes())


def write_subset(folder: Path, **change: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "x_train": np.zeros((4, 3, 32, 32), np.uint8),
        "y_train": np.arange(4, dtype=np.uint8),
        "x_test": np.zeros((2, 3, 32, 32), np.uint8),
        "y_test": np.arange(2, dtype=np.uint8),
    }
    np.savez(folder / "cifar10-subset.npz", **(arrays | change))


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "_RECORDS", 7)
    monkeypatch.delenv("FASTCONV_DATA", raising=False)


@pytest.mark.parametrize("folder", ["", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_reads_the_binary_version(tmp_path: Path, folder: str) -> None:
    write_binary(tmp_path / folder)
    (x, y), (x_test, y_test) = load_cifar10(tmp_path)
    assert x.shape == (35, 3, 32, 32)
    assert x.dtype == np.uint8
    assert np.array_equal(x[0].ravel(), np.arange(3072) % 251)
    assert y.tolist() == [n for n in range(5) for _ in range(7)]
    assert x_test.shape == (7, 3, 32, 32)
    assert y_test.tolist() == [5] * 7
    assert y.dtype == np.int64


def test_the_whole_set_comes_before_the_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_subset(tmp_path / "cifar10")
    assert len(load_cifar10(tmp_path).train[0]) == 4
    with pytest.raises(FileNotFoundError, match="data_batch_1.bin"):
        load_cifar10(tmp_path, subset=False)
    write_binary(tmp_path / "cifar10")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path))
    assert len(load_cifar10().train[0]) == 35
    assert len(load_cifar10(subset=True).train[0]) == 4


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_subset(tmp_path, y_test=np.array([0, 10], np.uint8))
    with pytest.raises(ValueError, match="labels 0..9, got 0..10"):
        load_cifar10(tmp_path)
    write_subset(tmp_path, x_test=np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 images \(N, 3, 32, 32\), got uint8 \(2, 32, 32, 3\)"):
        load_cifar10(tmp_path)
    write_subset(tmp_path, y_train=np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="a whole number for each image"):
        load_cifar10(tmp_path)
    (tmp_path / "cifar10-subset.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ValueError, match="not a subset of CIFAR-10"):
        load_cifar10(tmp_path)
    np.savez(tmp_path / "cifar10-subset.npz", x_train=np.array([{}], object))
    with pytest.raises(ValueError, match="not a subset of CIFAR-10"):
        load_cifar10(tmp_path)
    write_binary(tmp_path)
    (tmp_path / FILES[2]).write_bytes(b"short")
    with pytest.raises(ValueError, match="must hold 21511 bytes, got 5"):
        load_cifar10(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data folder was given; pass data_dir"):
        load_cifar10()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_cifar10(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds neither data_batch_1.bin"):
        load_cifar10(tmp_path)


def test_real_subset(data_folder: Path) -> None:
    if not (data_folder / "cifar10").is_dir():
        pytest.skip("no cifar10 in the data folder")
    (x, y), (x_test, y_test) = load_cifar10(data_folder)
    assert len(x) == len(y) > 0
    assert len(x_test) == len(y_test) > 0
    assert set(y) == set(range(10))
