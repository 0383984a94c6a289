"""Data sets, and the loader that cuts them into batches."""

from __future__ import annotations

from .augment import RandomShift
from .dataset import Dataset
from .digits import load_digits
from .idx import read_idx
from .loader import BatchLoader
from .mnist import load_fashion_mnist, load_mnist
from .preprocess import Rescale, Standardize

__all__ = [
    "BatchLoader",
    "Dataset",
    "RandomShift",
    "Rescale",
    "Standardize",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "read_idx",
]
