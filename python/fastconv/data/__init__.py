"""Data sets, and the loader that cuts them into batches."""

from __future__ import annotations

from fastconv.data.augment import Compose, RandomFlip, RandomShift
from fastconv.data.catalogue import SOURCES, Source, source
from fastconv.data.cifar10 import load_cifar10
from fastconv.data.dataset import Dataset
from fastconv.data.digits import load_digits
from fastconv.data.go import GO_PLANES, go_planes, make_go_positions
from fastconv.data.idx import read_idx
from fastconv.data.images import read_images
from fastconv.data.loader import BatchLoader
from fastconv.data.mnist import load_fashion_mnist, load_mnist
from fastconv.data.photo import load_photograph
from fastconv.data.preprocess import Rescale, Standardize
from fastconv.data.shapes import SHAPE_CLASSES, make_shapes

__all__ = [
    "GO_PLANES",
    "SHAPE_CLASSES",
    "SOURCES",
    "BatchLoader",
    "Compose",
    "Dataset",
    "RandomFlip",
    "RandomShift",
    "Rescale",
    "Source",
    "Standardize",
    "go_planes",
    "load_cifar10",
    "load_digits",
    "load_fashion_mnist",
    "load_mnist",
    "load_photograph",
    "make_go_positions",
    "make_shapes",
    "read_idx",
    "read_images",
    "source",
]
