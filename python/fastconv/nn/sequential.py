"""Sequential: the model of layers one after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from fastconv._checks import arguments
from fastconv.nn.frame import Shape
from fastconv.nn.graph import Input
from fastconv.nn.layer import Layer
from fastconv.nn.model import Model


class Sequential(Model):
    """Layers one after another.

    Parameters
    ----------
    *layers : Layer, or one sequence of them
    input_shape : tuple of int, optional
        (C, H, W) or (F,) of one sample; without it the model is built when it sees its first batch.
    seed, dtype, layout, algo
        See `Model`.

    Examples
    --------
    >>> model = Sequential(Conv2d(1, 8, 3, activation="relu"), MaxPool2d(2), Flatten(), Linear(None, 10))
    """

    def __init__(
        self,
        *layers: Layer | Model | Sequence[Layer | Model],
        input_shape: Shape | None = None,
        seed: int | np.random.Generator = 0,
        dtype: DTypeLike = "float32",
        layout: str = "NCHW",
        algo: str = "auto",
    ) -> None:
        chain = list(layers[0]) if len(layers) == 1 and isinstance(layers[0], list | tuple) else list(layers)
        start = node = Input(input_shape)
        if not chain:
            raise ValueError("Sequential: needs at least one layer")
        for place, layer in enumerate(chain):
            if not isinstance(layer, Layer | Model):
                raise TypeError(f"Sequential: layers must be Layers, got {arguments.describe(layer)} at place {place}")
            node = layer(node)
        super().__init__(start, node, seed=seed, dtype=dtype, layout=layout, algo=algo)
