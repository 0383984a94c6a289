"""The embedded photograph: a cat, for filters, restoration and style. See photograph/README.md for its source."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from numpy.typing import NDArray

from fastconv.data.idx import read_idx

__all__ = ["load_photograph"]


def load_photograph() -> NDArray[Any]:
    """Load the photograph.

    Returns
    -------
    ndarray
        uint8, shape (3, 128, 192): red, green and blue.
    """
    with (files(__package__) / "photograph" / "cat-idx3-ubyte.gz").open("rb") as file:
        return read_idx(file)  # type: ignore[arg-type]
