"""A network of the zoo in one file: weights, and beside them what is needed to use them on a picture."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from fastconv.io import load_file, save_file
from fastconv.nn import Model

__all__ = ["Description", "load_network", "save_network"]

_KEY = "fastconv.network"
_LARGEST_INPUT = 1 << 18  # values; a file may not ask for a network of any size
_MOST_CLASSES = 1 << 14


@dataclass(frozen=True)
class Description:
    """How to build a network and how to feed it.

    Attributes
    ----------
    model
        Name in the zoo.
    data
        Name of the data set that it was trained on.
    input_shape
        (C, H, W) of an image.
    classes
        Names of the outputs.
    scale, offset
        What `fastconv.data.Rescale` does to the stored pixels.
    """

    model: str
    data: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    scale: float
    offset: float = 0.0


def save_network(network: Model, path: str | os.PathLike[str], description: Description) -> None:
    """Write weights and description atomically; any reader of safetensors can read the weights."""
    save_file(network.state_dict(), path, {_KEY: json.dumps(asdict(description))})


def load_network(path: str | os.PathLike[str]) -> tuple[Model, Description]:
    """Build the network of a file that `save_network` wrote.

    Raises
    ------
    ValueError
        When the file is damaged, has no description, or its weights do not fit it.
    """
    from fastconv.zoo import CLASSIFIERS

    tensors, metadata = load_file(path)
    if _KEY not in metadata:
        raise ValueError(f"load_network: {os.fspath(path)} holds no description of its network, only weights")
    description = _read_description(metadata[_KEY], os.fspath(path))
    if description.model not in CLASSIFIERS:
        raise ValueError(
            f"load_network: {os.fspath(path)}: model must be one of {', '.join(CLASSIFIERS)}, got {description.model!r}"
        )
    network = CLASSIFIERS[description.model](description.input_shape, len(description.classes))
    network.load_state_dict(tensors)
    return network, description


def _read_description(text: str, path: str) -> Description:
    try:
        fields: dict[str, Any] = json.loads(text)
        channels, height, width = fields["input_shape"]
        description = Description(
            model=str(fields["model"]),
            data=str(fields["data"]),
            input_shape=(int(channels), int(height), int(width)),
            classes=tuple(str(name) for name in fields["classes"]),
            scale=float(fields["scale"]),
            offset=float(fields["offset"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"load_network: {path} holds a damaged description ({error!r})") from None
    shape = description.input_shape
    if min(shape) < 1 or math.prod(shape) > _LARGEST_INPUT:
        raise ValueError(
            f"load_network: {path}: input_shape must be (C, H, W) of at most {_LARGEST_INPUT}, got {shape}"
        )
    if not 1 <= len(description.classes) <= _MOST_CLASSES:
        raise ValueError(f"load_network: {path}: classes must number 1..{_MOST_CLASSES}")
    return description
