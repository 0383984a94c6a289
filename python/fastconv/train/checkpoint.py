"""A folder that always holds a complete checkpoint: new ones beside old ones, the last two kept, one run at a time."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from fastconv.io.atomic import remove_leftovers
from fastconv.io.tree import load_tree, save_tree

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder go unnoticed there
    fcntl = None  # type: ignore[assignment]

__all__ = ["CheckpointFolder"]

_NAME = re.compile(r"checkpoint-(\d{9,})\.safetensors")


class CheckpointFolder:
    """The checkpoints of one run. Use as a context manager: the folder is locked while it is open.

    The lock belongs to the process, so that it goes with it whatever ends it.

    Parameters
    ----------
    path
        Folder; made if it is missing.
    keep
        Number of checkpoints that stay, at least 1. Default: 2.
    every
        Batches between two checkpoints inside an epoch. Default: only at the end of an epoch.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: int = 2, every: int | None = None) -> None:
        if keep < 1:
            raise ValueError(f"CheckpointFolder: keep must be at least 1, got {keep}")
        if every is not None and every < 1:
            raise ValueError(f"CheckpointFolder: every must be at least 1, got {every}")
        self.path = Path(path).expanduser()
        self.keep = keep
        self.every = every
        self._lock: BinaryIO | None = None

    def __enter__(self) -> CheckpointFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / ".lock", "ab")
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise RuntimeError(f"CheckpointFolder: path must not be in use by another run, got {self.path}") from None
        self._lock = lock
        remove_leftovers(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        found = [(int(match[1]), path) for path in self.path.glob("*") if (match := _NAME.fullmatch(path.name))]
        return [path for _, path in sorted(found, reverse=True)]

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Write the state after `step` batches; older checkpoints go only when it is safely on the disk."""
        path = self.path / f"checkpoint-{step:09}.safetensors"
        save_tree(state, path)
        for old in self.files()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that can be read, or None when the folder holds no checkpoint.

        A damaged file (which this class never leaves) is passed over with a warning.

        Raises
        ------
        ValueError
            When none of the checkpoints can be read.
        """
        failure: ValueError | None = None
        for path in self.files():
            try:
                return load_tree(path)
            except ValueError as error:
                failure = error
                warnings.warn(f"CheckpointFolder: passing over a damaged checkpoint: {error}", stacklevel=2)
        if failure is not None:
            raise failure
        return None
