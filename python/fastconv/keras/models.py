"""Sequential, as Keras's listings use it; `Sequential.network` is the `fastconv.nn.Sequential` behind it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastconv import nn
from fastconv.keras import optimizers
from fastconv.keras.layers import Layer
from fastconv.keras.utils import generator
from fastconv.losses import Loss
from fastconv.nn.frame import Shape
from fastconv.optim import Optimizer
from fastconv.train import Callback, History

__all__ = ["Sequential"]

Data = tuple[NDArray[Any], NDArray[Any]]


class Sequential:
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of layers, optional
        More come with `add`. The first one says the `input_shape`, or the first batch does.
    name : str, default "sequential"
    """

    def __init__(self, layers: Sequence[Layer] = (), name: str = "sequential") -> None:
        self.name = name
        self.layers: list[Layer] = []
        self._network: nn.Sequential | None = None
        self._compiled: dict[str, Any] | None = None
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put a layer behind the last one; what was trained already stays."""
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential.add: layer must be one of fastconv.keras.layers, got {type(layer).__name__}")
        layouts = {one.layout for one in (*self.layers, layer) if one.layout is not None}
        if len(layouts) > 1:
            raise ValueError(
                "Sequential.add: all layers must have one data_format, got channels_first and channels_last"
            )
        self.layers.append(layer)
        self._network = None

    @property
    def layout(self) -> str:
        """ "NHWC" (channels-last), or "NCHW" where a layer says channels-first."""
        return next((layer.layout for layer in self.layers if layer.layout is not None), "NHWC")

    @property
    def network(self) -> nn.Sequential:
        """The model that computes. It exists once the shape of an input is known."""
        if self._network is None:
            if not self.layers or self.layers[0].input_shape is None:
                raise ValueError(
                    "Sequential: the first layer must have an input_shape, e.g. (28, 28, 1); or call fit or build first"
                )
            self.build(self.layers[0].input_shape)
        assert self._network is not None
        return self._network

    def build(self, input_shape: Sequence[int]) -> None:
        """Make the layers for samples of this shape, (H, W, C), (C, H, W) or (F,)."""
        shape = self._inside(tuple(input_shape))
        made: list[nn.Layer] = []
        start = shape
        for layer in self.layers:
            layer.check(shape, self.layout)
            for one in layer.make(shape):
                made.append(one)
                shape = one.infer_shape(shape)
        seed = np.random.default_rng(generator().integers(2**63))
        self._network = nn.Sequential(made, input_shape=start, layout=self.layout, seed=seed)
        if self._compiled is not None:
            self._network.compile(**self._compiled)

    def _inside(self, shape: Shape) -> Shape:
        """(C, H, W) of a shape as the listing writes it."""
        return (shape[2], *shape[:2]) if len(shape) == 3 and self.layout == "NHWC" else shape

    def _outside(self, shape: Shape) -> tuple[int | None, ...]:
        return (None, *shape[1:], shape[0]) if len(shape) == 3 and self.layout == "NHWC" else (None, *shape)

    def _for(self, x: object) -> nn.Sequential:
        """The model, built by what it sees if that is still to be done."""
        unknown = self._network is None and bool(self.layers) and self.layers[0].input_shape is None
        if unknown and isinstance(x, np.ndarray) and x.ndim:
            self.build(x.shape[1:])
        return self.network

    # As in Keras

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss = "categorical_crossentropy",
        metrics: Sequence[Any] = (),
    ) -> None:
        """Choose optimiser, loss and metrics. A cross entropy behind a softmax is computed in one, from the logits."""
        self._compiled = {"optimizer": optimizers.get(optimizer), "loss": loss, "metrics": list(metrics or ())}
        if self._network is not None or (self.layers and self.layers[0].input_shape is not None):
            self.network.compile(**self._compiled)

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Data | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        *,
        nb_epoch: int | None = None,
    ) -> History:
        """Train; `history.history["loss"]` of what it returns holds the figures of each epoch. Default batch: 32."""
        judge = None if validation_data is None else (validation_data[0], _labels(validation_data[1]))
        history: History = self._for(x).fit(
            x,
            _labels(y),
            batch_size=32 if batch_size is None else batch_size,
            epochs=epochs if nb_epoch is None else nb_epoch,
            verbose=verbose != 0,
            callbacks=callbacks or (),
            validation_split=validation_split,
            validation_data=judge,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
            seed=int(generator().integers(2**31)),
        )
        return history

    def evaluate(
        self, x: NDArray[Any], y: NDArray[Any], batch_size: int | None = None, verbose: int | str = "auto"
    ) -> Any:
        """Return the loss, or a list of the loss and the metrics."""
        size = 256 if batch_size is None else batch_size  # a figure over all samples does not depend on it
        figures = list(self._for(x).evaluate(x, _labels(y), batch_size=size, verbose=verbose != 0).values())
        return figures if len(figures) > 1 else figures[0]

    def predict(self, x: NDArray[Any], batch_size: int | None = None, verbose: int | str = 0) -> NDArray[Any]:
        """Return the output for each sample."""
        found: NDArray[Any] = self._for(x).predict(x, batch_size=256 if batch_size is None else batch_size)
        return found

    def predict_classes(self, x: NDArray[Any], batch_size: int | None = None) -> NDArray[np.int64]:
        """Return the class of each sample (older spelling)."""
        classes: NDArray[np.int64] = self.predict(x, batch_size).argmax(axis=-1)
        return classes

    def count_params(self) -> int:
        return sum(parameter.size for parameter in self.network.parameters())

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file."""
        self.network.save(path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read a safetensors file."""
        self.network.load(path)

    def summary(self) -> None:
        """Print layers, output shapes and numbers of parameters."""
        total, trainable = self.count_params(), 0
        shape = self._inside(self.layers[0].input_shape or ()) or self.network.graph.inputs[0].shape or ()
        rows = [("Layer (type)", "Output Shape", "Param #")]
        counts: dict[str, int] = {}
        for layer in self.layers:
            parameters = []
            for one in layer.make(shape):
                shape = one.infer_shape(shape)
                parameters += list(one.parameters().values())
            number = counts.get(layer.kind, 0)
            counts[layer.kind] = number + 1
            name = layer.name or (f"{layer.kind}_{number}" if number else layer.kind)
            trainable += sum(parameter.size for parameter in parameters if parameter.trainable)
            size = sum(parameter.size for parameter in parameters)
            rows.append((f"{name} ({type(layer).__name__})", str(self._outside(shape)), f"{size:,}"))
        widths = [max(len(row[column]) for row in rows) + 3 for column in range(3)]
        lines = ["".join(f" {text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        rule = sum(widths) + 3
        print(
            f'Model: "{self.name}"', "_" * rule, lines[0], "=" * rule, *lines[1:], "=" * rule,
            f"Total params: {total:,}", f"Trainable params: {trainable:,}",
            f"Non-trainable params: {total - trainable:,}", "_" * rule, sep="\n",
        )  # fmt: skip


def _labels(y: Any) -> Any:
    """Labels in a column are labels."""
    column = isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iu"
    return y[:, 0] if column else y
