"""Residual networks. Parameters are named as in torchvision, whose weights load.

References: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition" (2016), table 1 and section
4.2; the stride lies in the 3x3 convolution of a bottleneck, as everywhere since.
"""

from __future__ import annotations

from fastconv.nn import Add, BatchNorm2d, Conv2d, Flatten, GlobalAvgPool2d, Input, Linear, MaxPool2d, Model, Node, ReLU
from fastconv.zoo.blocks import Shape, conv_bn

__all__ = ["resnet18", "resnet20", "resnet34", "resnet50"]


def _basic(x: Node, channels: int, stride: int, name: str) -> Node:
    y = conv_bn(x, channels, 3, stride, names=(f"{name}.conv1", f"{name}.bn1"))
    y = conv_bn(y, channels, 3, names=(f"{name}.conv2", f"{name}.bn2"), relu=False)
    return _joined(x, y, channels, stride, name)


def _bottleneck(x: Node, channels: int, stride: int, name: str) -> Node:
    y = conv_bn(x, channels, 1, names=(f"{name}.conv1", f"{name}.bn1"))
    y = conv_bn(y, channels, 3, stride, names=(f"{name}.conv2", f"{name}.bn2"))
    y = conv_bn(y, 4 * channels, 1, names=(f"{name}.conv3", f"{name}.bn3"), relu=False)
    return _joined(x, y, 4 * channels, stride, name)


def _joined(x: Node, y: Node, channels: int, stride: int, name: str) -> Node:
    """Add the input; a projection brings it to the same shape where it differs (option B of the paper)."""
    if stride != 1 or (x.shape is not None and x.shape[0] != channels):
        names = (f"{name}.downsample.0", f"{name}.downsample.1")
        x = conv_bn(x, channels, 1, stride, names=names, relu=False)
    return ReLU(name=f"{name}.relu")(Add(name=f"{name}.add")(y, x))


def _resnet(blocks: tuple[int, ...], bottleneck: bool, input_shape: Shape, classes: int, seed: int) -> Model:
    image = Input(input_shape)
    x = Conv2d(input_shape[0], 64, 7, 2, 3, bias=False, name="conv1")(image)
    x = ReLU(name="relu")(BatchNorm2d(None, name="bn1")(x))
    x = MaxPool2d(3, 2, 1, name="maxpool")(x)
    block = _bottleneck if bottleneck else _basic
    for stage, count in enumerate(blocks):
        for number in range(count):
            stride = 2 if stage and number == 0 else 1
            x = block(x, 64 << stage, stride, f"layer{stage + 1}.{number}")
    x = Flatten(name="flatten")(GlobalAvgPool2d(name="avgpool")(x))
    return Model(image, Linear(None, classes, name="fc")(x), seed=seed)


def resnet18(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, seed: int = 0) -> Model:
    """18 layers with weights: 11,689,512 parameters, 1.8 G multiply-adds."""
    return _resnet((2, 2, 2, 2), False, input_shape, classes, seed)


def resnet34(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, seed: int = 0) -> Model:
    """34 layers with weights: 21,797,672 parameters, 3.7 G multiply-adds."""
    return _resnet((3, 4, 6, 3), False, input_shape, classes, seed)


def resnet50(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, seed: int = 0) -> Model:
    """50 layers with weights, bottlenecks of 1x1, 3x3 and 1x1: 25,557,032 parameters, 4.1 G multiply-adds."""
    return _resnet((3, 4, 6, 3), True, input_shape, classes, seed)


def resnet20(input_shape: Shape = (3, 32, 32), classes: int = 10, *, width: int = 16, seed: int = 0) -> Model:
    """The network for CIFAR-10 of section 4.2: three stages of three basic blocks, 272,474 parameters.

    A shortcut that changes its shape is a projection (1x1 convolution and batch norm); the paper's pads with zeros,
    which has 2,752 parameters fewer.

    Parameters
    ----------
    width
        Channels of the first stage; doubled in each of the next two.
    """
    image = Input(input_shape)
    x = conv_bn(image, width, 3, names=("conv1", "bn1"))
    for stage in range(3):
        for number in range(3):
            stride = 2 if stage and number == 0 else 1
            x = _basic(x, width << stage, stride, f"layer{stage + 1}.{number}")
    x = Flatten(name="flatten")(GlobalAvgPool2d(name="avgpool")(x))
    return Model(image, Linear(None, classes, name="fc")(x), seed=seed)
