"""GoogLeNet: inception modules, four branches of different reach joined along the channels."""

from __future__ import annotations

from fastconv.nn import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Input,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Model,
    Node,
)
from fastconv.zoo.blocks import Shape

__all__ = ["googlenet"]

# Table 1 of the paper: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; behind the pool.
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(
    input_shape: Shape = (3, 224, 224), classes: int = 1000, *, auxiliary: bool = False, seed: int = 0
) -> Model:
    """22 layers with weights: 6,998,552 parameters, 1.6 G multiply-adds.

    Parameters
    ----------
    auxiliary
        Add the two classifiers of section 5, which train the lower layers: outputs "aux1" and "aux2" besides "fc". The
        paper adds their losses with weights of 0.3, which `Model.compile` takes.

    Reference: C. Szegedy et al., "Going deeper with convolutions" (2015).
    """
    image = Input(input_shape)
    x = Conv2d(input_shape[0], 64, 7, 2, 3, activation="relu", name="conv1")(image)
    x = MaxPool2d(3, 2, ceil_mode=True, name="pool1")(x)
    x = LocalResponseNorm(5, name="norm1")(x)
    x = Conv2d(64, 64, 1, activation="relu", name="conv2.reduce")(x)
    x = Conv2d(64, 192, 3, padding=1, activation="relu", name="conv2")(x)
    x = LocalResponseNorm(5, name="norm2")(x)
    x = MaxPool2d(3, 2, ceil_mode=True, name="pool2")(x)
    outputs: list[Node] = []
    for module, widths in _INCEPTION.items():
        x = _inception(x, widths, f"inception{module}")
        if module in ("3b", "4e"):
            x = MaxPool2d(3, 2, ceil_mode=True, name=f"pool{module[0]}")(x)
        if auxiliary and module in ("4a", "4d"):
            outputs.append(_auxiliary(x, classes, f"aux{len(outputs) + 1}"))
    x = Flatten(name="flatten")(GlobalAvgPool2d(name="pool5")(x))
    main = Linear(None, classes, name="fc")(Dropout(0.4, name="dropout")(x))
    return Model(image, [main, *outputs], seed=seed)


def _inception(x: Node, widths: tuple[int, ...], name: str) -> Node:
    one, three_reduced, three, five_reduced, five, pooled = widths

    def conv(x: Node, channels: int, kernel: int, what: str) -> Node:
        return Conv2d(None, channels, kernel, padding=kernel // 2, activation="relu", name=f"{name}.{what}")(x)

    return Concat(name=name)(
        conv(x, one, 1, "1x1"),
        conv(conv(x, three_reduced, 1, "3x3_reduce"), three, 3, "3x3"),
        conv(conv(x, five_reduced, 1, "5x5_reduce"), five, 5, "5x5"),
        conv(MaxPool2d(3, 1, 1, name=f"{name}.pool")(x), pooled, 1, "pool_proj"),
    )


def _auxiliary(x: Node, classes: int, name: str) -> Node:
    x = AvgPool2d(5, 3, name=f"{name}.pool")(x)
    x = Flatten(name=f"{name}.flatten")(Conv2d(None, 128, 1, activation="relu", name=f"{name}.conv")(x))
    x = Dropout(0.7, name=f"{name}.dropout")(Linear(None, 1024, activation="relu", name=f"{name}.fc1")(x))
    return Linear(1024, classes, name=name)(x)
