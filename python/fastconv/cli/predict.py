"""``fastconv predict``: what a trained network sees in image files, or how well it does on held-out images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import data, metrics, ops, zoo
from fastconv.nn import Model
from fastconv.train import predict as predict_outputs

__all__ = ["predict"]


def predict(options: argparse.Namespace) -> int:
    """Print predictions; returns the exit status."""
    path = Path(options.weights).expanduser()
    if path.is_dir():
        path = path / "weights.safetensors"
    network, description = zoo.load_network(path)
    network.to(options.device)
    if options.images:
        for name in options.images:
            _print_images(network, description, name)
    else:
        _print_held_out(network, description, options)
    return 0


def _probabilities(network: Model, description: zoo.Description, images: NDArray[Any]) -> NDArray[Any]:
    rescale = data.Rescale(description.scale, description.offset)
    return np.asarray(ops.softmax(predict_outputs(network, rescale(images))))


def _print_images(network: Model, description: zoo.Description, name: str) -> None:
    images = data.read_images(name)
    if images.shape[1:] != description.input_shape:
        wanted, got = (" x ".join(map(str, shape)) for shape in (description.input_shape, images.shape[1:]))
        raise ValueError(f"{name}: {description.model} takes images of {wanted}, got {got}")
    for number, row in enumerate(_probabilities(network, description, images)):
        where = f"{name}[{number}]" if len(images) > 1 else name
        best = np.argsort(row)[::-1][:3]
        print(f"{where}  " + "  ".join(f"{description.classes[k]} {row[k]:.1%}" for k in best))


def _print_held_out(network: Model, description: zoo.Description, options: argparse.Namespace) -> None:
    source = data.source(options.data or description.data)
    _, (x, y) = source.load(options.data_dir, options.download)
    if x.shape[1:] != description.input_shape:
        wanted, got = (" x ".join(map(str, shape)) for shape in (description.input_shape, x.shape[1:]))
        raise ValueError(f"--data: {description.model} takes images of {wanted}, {source.name} has {got}")
    guess = _probabilities(network, description, x).argmax(axis=1)
    matrix = metrics.confusion_matrix(y, guess, max(len(description.classes), len(source.classes)))
    right = int(np.trace(matrix))
    print(f"{source.name}: {right / len(y):.2%} of the {len(y):,} held-out images right ({len(y) - right} wrong)")
    np.fill_diagonal(matrix, 0)
    for flat in np.argsort(matrix, axis=None, kind="stable")[::-1][:5]:
        true, taken = np.unravel_index(flat, matrix.shape)
        if matrix[true, taken]:
            print(f"  {source.classes[true]} taken for {description.classes[taken]}: {matrix[true, taken]}")
