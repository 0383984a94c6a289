"""MobileNetV2: depthwise convolutions between thin layers. Parameters are named as in torchvision: its weights load."""

from __future__ import annotations

from fastconv.nn import Add, Dropout, Flatten, GlobalAvgPool2d, Input, Linear, Model, Node
from fastconv.zoo.blocks import Shape, conv_bn

__all__ = ["mobilenet_v2"]

# Table 2 of the paper: expansion, channels, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    input_shape: Shape = (3, 224, 224), classes: int = 1000, *, width: float = 1.0, seed: int = 0
) -> Model:
    """53 layers with weights: 3,504,872 parameters, 0.3 G multiply-adds.

    ReLU stands in the place of the paper's ReLU6: what both do differs only above 6.

    Parameters
    ----------
    width
        Factor of all numbers of channels, rounded to multiples of 8.

    Reference: M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018).
    """
    image = Input(input_shape)
    x = conv_bn(image, _width(32, width), 3, 2, names=("features.0.0", "features.0.1"))
    place = 1
    for expansion, channels, blocks, stride in _STAGES:
        for block in range(blocks):
            x = _inverted(x, expansion, _width(channels, width), stride if block == 0 else 1, f"features.{place}")
            place += 1
    x = conv_bn(x, max(1280, _width(1280, width)), 1, names=(f"features.{place}.0", f"features.{place}.1"))
    x = Dropout(0.2, name="dropout")(Flatten(name="flatten")(GlobalAvgPool2d(name="avgpool")(x)))
    return Model(image, Linear(None, classes, name="classifier.1")(x), seed=seed)


def _inverted(x: Node, expansion: int, channels: int, stride: int, name: str) -> Node:
    assert x.shape is not None
    inside = x.shape[0] * expansion
    y, place = x, 0
    if expansion != 1:
        y = conv_bn(y, inside, 1, names=(f"{name}.conv.0.0", f"{name}.conv.0.1"))
        place = 1
    names = (f"{name}.conv.{place}.0", f"{name}.conv.{place}.1")
    y = conv_bn(y, inside, 3, stride, groups=inside, names=names)
    y = conv_bn(y, channels, 1, names=(f"{name}.conv.{place + 1}", f"{name}.conv.{place + 2}"), relu=False)
    return Add(name=f"{name}.add")(y, x) if stride == 1 and x.shape[0] == channels else y


def _width(channels: int, factor: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths."""
    rounded = max(8, int(channels * factor + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * factor else rounded
