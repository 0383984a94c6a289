"""Data sets, and the loader that cuts them into batches."""

from __future__ import annotations

from fastconv.data.augment import RandomShift
from fastconv.data.catalogue import SOURCES, Source, source
from fastconv.data.dataset import Dataset
from fastconv.data.digits import load_digits
from fastconv.data.idx import read_idx
from fastconv.data.images import read_images
from fastconv.data.loader import BatchLoader
from fastconv.data.mnist import load_fashion_mnist, load_mnist
from fastconv.data.preprocess import Rescale, Standardize

__all__ = [
    "SOURCES",
    "BatchLoader",
    "Dataset",
    "RandomShift",
    "Rescale",
    "Source",
    "Standardize",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "read_idx",
    "read_images",
    "source",
]
