"""Networks by a pattern: [(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K-SOFTMAX, and one of convolutions only."""

from __future__ import annotations

from fastconv._checks import arguments
from fastconv.nn import Conv2d, Dropout, Flatten, GlobalAvgPool2d, Layer, Linear, MaxPool2d, Sequential
from fastconv.zoo.blocks import Shape

__all__ = ["all_conv", "convnet"]


def convnet(
    n: int = 2,
    m: int = 2,
    k: int = 1,
    input_shape: Shape = (1, 28, 28),
    classes: int = 10,
    *,
    width: int = 32,
    dense: int = 128,
    pool: bool = True,
    seed: int = 0,
) -> Sequential:
    """[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K-SOFTMAX: the pattern that most networks before ResNet follow.

    Convolutions are 3x3 and keep the size, pools are 2x2; the channels double after each. It ends in logits: the
    softmax belongs to the loss.

    Parameters
    ----------
    n, m, k
        Convolutions before a pool (usually up to 5), blocks, and dense layers before the last (usually 0 to 2).
    width
        Channels of the first block.
    dense
        Features of each dense layer.
    pool
        Whether a block ends in a pool.
    """
    for name, value, least in (("n", n, 1), ("m", m, 1), ("k", k, 0), ("width", width, 1), ("dense", dense, 1)):
        if arguments.integer("convnet", name, value) < least:
            raise ValueError(f"convnet: {name} must be at least {least}, got {value}")
    layers: list[Layer] = []
    for block in range(m):
        layers += [
            Conv2d(None, width << block, 3, padding="same", activation="relu", name=f"conv{block + 1}_{number + 1}")
            for number in range(n)
        ]
        layers += [MaxPool2d(2, name=f"pool{block + 1}")] if pool else []
    layers.append(Flatten(name="flatten"))
    layers += [Linear(None, dense, activation="relu", name=f"dense{number + 1}") for number in range(k)]
    return Sequential(*layers, Linear(None, classes, name=f"dense{k + 1}"), input_shape=input_shape, seed=seed)


def all_conv(input_shape: Shape = (3, 32, 32), classes: int = 10, *, seed: int = 0) -> Sequential:
    """All-CNN-C: strides instead of pools, 1x1 convolutions and a mean instead of dense layers (1,369,738 parameters).

    Reference: J. T. Springenberg et al., "Striving for simplicity: the all convolutional net" (2015), table 2.
    """
    return Sequential(
        Dropout(0.2, name="drop1"),
        Conv2d(input_shape[0], 96, 3, padding=1, activation="relu", name="conv1"),
        Conv2d(96, 96, 3, padding=1, activation="relu", name="conv2"),
        Conv2d(96, 96, 3, 2, padding=1, activation="relu", name="conv3"),
        Dropout(0.5, name="drop3"),
        Conv2d(96, 192, 3, padding=1, activation="relu", name="conv4"),
        Conv2d(192, 192, 3, padding=1, activation="relu", name="conv5"),
        Conv2d(192, 192, 3, 2, padding=1, activation="relu", name="conv6"),
        Dropout(0.5, name="drop6"),
        Conv2d(192, 192, 3, activation="relu", name="conv7"),
        Conv2d(192, 192, 1, activation="relu", name="conv8"),
        Conv2d(192, classes, 1, activation="relu", name="conv9"),
        GlobalAvgPool2d(name="mean"),
        Flatten(name="flatten"),
        input_shape=input_shape,
        seed=seed,
    )
