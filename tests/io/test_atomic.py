"""A name always holds a complete file: after an error at any point of the write, and after a kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastconv.io import atomic_write, load_file, save_file
from fastconv.io.atomic import remove_leftovers


def test_writes_new_and_replaces_old(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(content)
            if content == b"new":
                assert path.read_bytes() == b"old"  # nothing is seen before the end
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_an_error_inside_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_system_call_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match=os.strerror(code)), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


class FullDisk:
    """A file that takes `room` bytes and then fails as a full disk does, halfway through a write."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data) -> int:
        taken = min(self.room, len(data))
        self.file.write(bytes(data)[:taken])
        self.room -= taken
        if taken < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return taken

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 7, 8, 100, 500, 1000])
def test_a_full_disk_keeps_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"w": np.ones(200, np.float32)}, path)

    def open_on_full_disk(name, mode):
        return FullDisk(open(name, mode), room)

    monkeypatch.setattr("fastconv.io.atomic.open", open_on_full_disk, raising=False)
    with pytest.raises(OSError, match="No space left"):
        save_file({"w": np.zeros(400, np.float32)}, path)
    monkeypatch.undo()
    np.testing.assert_array_equal(load_file(path)[0]["w"], np.ones(200, np.float32))
    assert len(list(tmp_path.iterdir())) == 1


def test_follows_a_link_and_refuses_a_folder(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    with pytest.raises(IsADirectoryError, match="folder"), atomic_write(tmp_path):
        pass


def test_expands_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file({"w": np.zeros(1)}, "~/w.safetensors")
    assert "w" in load_file("~/w.safetensors")[0]


_WRITER = """
import sys, numpy as np
from fastconv.io import save_file
print("ready", flush=True)
k = 0
while True:
    save_file({"w": np.full(300_000, k, np.float64)}, sys.argv[1], {"k": str(k)})
    k += 1
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_at_any_time_leaves_a_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"w": np.full(300_000, -1.0)}, path, {"k": "-1"})
    for round_ in range(6):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.01 + 0.013 * round_)
            writer.kill()
        tensors, metadata = load_file(path)
        assert np.all(tensors["w"] == float(metadata["k"]))
    remove_leftovers(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]
