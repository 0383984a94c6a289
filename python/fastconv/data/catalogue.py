"""The data sets by name, with what a program has to know about each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from fastconv.data.cifar10 import load_cifar10
from fastconv.data.dataset import Dataset
from fastconv.data.digits import load_digits
from fastconv.data.mnist import load_fashion_mnist, load_mnist

__all__ = ["SOURCES", "Source", "source"]

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes
    ----------
    name
        As on the command line.
    load
        Called as ``load(data_dir, download)``.
    largest
        Largest pixel value; dividing by it brings the images to 0..1.
    classes
        Names of the labels 0, 1, ...
    """

    name: str
    load: Callable[[str | os.PathLike[str] | None, bool], Dataset]
    largest: float
    classes: tuple[str, ...]


SOURCES = {
    source.name: source
    for source in (
        Source("digits", lambda data_dir, download: load_digits(), 16.0, _DIGITS),
        Source("mnist", lambda data_dir, download: load_mnist(data_dir, download=download), 255.0, _DIGITS),
        Source(
            "fashion-mnist", lambda data_dir, download: load_fashion_mnist(data_dir, download=download), 255.0, _CLOTHES
        ),
        Source("cifar10", lambda data_dir, download: load_cifar10(data_dir, download=download), 255.0, _THINGS),
    )
}


def source(name: str) -> Source:
    """Return the data set of this name."""
    if name not in SOURCES:
        raise ValueError(f"data.source: name must be one of {', '.join(SOURCES)}, got {name!r}")
    return SOURCES[name]
