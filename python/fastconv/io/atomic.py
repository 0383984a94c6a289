"""Write a file so that the name always holds a complete one: the old, or the new.

The bytes go to a temporary file in the same folder (a rename is atomic only inside one file system), are forced
to the disk, and then take over the name. The folder is forced to the disk too: the rename is its content.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "remove_leftovers"]

_PREFIX = ".fastconv-"
_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` when the block ends well.

    When the block or a write fails (disk full, I/O error, interrupt), `path` keeps what it held and the temporary
    file is removed. A kill leaves the temporary file behind; see `remove_leftovers`.

    Parameters
    ----------
    path
        The file to write; ``~`` is expanded and a symbolic link is followed.

    Yields
    ------
    file
        A new, empty file, open for writing.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    if target.is_dir():
        raise IsADirectoryError(f"atomic_write: path must name a file, got the folder {target}")
    temporary = target.parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder can't be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The new file is in place already; some network file systems refuse to sync a folder.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes left in `folder`; the caller knows that nobody else writes."""
    for leftover in Path(folder).glob(f"{_PREFIX}*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)
