"""VGG: 3x3 convolutions in blocks, a pool after each. Parameters are named as in torchvision, whose weights load."""

from __future__ import annotations

from fastconv.nn import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, Sequential
from fastconv.zoo.blocks import Shape

__all__ = ["vgg11", "vgg16", "vgg19"]

_CHANNELS = (64, 128, 256, 512, 512)


def _vgg(convolutions: tuple[int, ...], input_shape: Shape, classes: int, top: bool, seed: int) -> Sequential:
    layers: list[Layer] = []
    place = 0  # torchvision counts convolutions, ReLUs and pools
    before = input_shape[0]
    for block, (count, channels) in enumerate(zip(convolutions, _CHANNELS, strict=True), start=1):
        for _ in range(count):
            layers.append(Conv2d(before, channels, 3, padding=1, activation="relu", name=f"features.{place}"))
            before, place = channels, place + 2
        layers.append(MaxPool2d(2, name=f"pool{block}"))
        place += 1
    if top:
        layers += [
            Flatten(name="flatten"),
            Linear(None, 4096, activation="relu", name="classifier.0"),
            Dropout(0.5, name="drop1"),
            Linear(4096, 4096, activation="relu", name="classifier.3"),
            Dropout(0.5, name="drop2"),
            Linear(4096, classes, name="classifier.6"),
        ]
    return Sequential(*layers, input_shape=input_shape, seed=seed)


def vgg11(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, top: bool = True, seed: int = 0) -> Sequential:
    """Configuration A: 8 convolutions, 132,863,336 parameters, 7.6 G multiply-adds; see `vgg19`."""
    return _vgg((1, 1, 2, 2, 2), input_shape, classes, top, seed)


def vgg16(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, top: bool = True, seed: int = 0) -> Sequential:
    """Configuration D: 13 convolutions, 138,357,544 parameters, 15.5 G multiply-adds; see `vgg19`."""
    return _vgg((2, 2, 3, 3, 3), input_shape, classes, top, seed)


def vgg19(input_shape: Shape = (3, 224, 224), classes: int = 1000, *, top: bool = True, seed: int = 0) -> Sequential:
    """Configuration E: 16 convolutions, 143,667,240 parameters, 19.6 G multiply-adds.

    With ``top=False`` the dense layers are left out: what style transfer needs, for images of any size. The
    convolutions are called features.0, features.2, features.5 and so on, as in torchvision's file of weights.

    Reference: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015).
    """
    return _vgg((2, 2, 4, 4, 4), input_shape, classes, top, seed)
