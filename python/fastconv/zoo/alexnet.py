"""AlexNet, as its paper has it: two groups in the second, fourth and fifth layer, local response normalisation."""

from __future__ import annotations

from fastconv.nn import Conv2d, Dropout, Flatten, Layer, Linear, LocalResponseNorm, MaxPool2d, Sequential
from fastconv.zoo.blocks import Shape

__all__ = ["alexnet"]


def alexnet(input_shape: Shape = (3, 227, 227), classes: int = 1000, *, seed: int = 0) -> Sequential:
    """Five convolutions, three dense layers: 60,965,224 parameters, 724 M multiply-adds.

    The paper speaks of images of 224 x 224, but its first layer gives 55 x 55 only for 227 x 227. The 832 M
    multiply-adds that are often quoted count the fourth layer without its groups.

    Reference: A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet classification with deep convolutional neural
    networks" (2012).
    """

    def norm(number: int) -> Layer:
        # The paper's k = 2, n = 5, alpha = 1e-4 multiply the plain sum of squares; here alpha is divided by n.
        return LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0, name=f"norm{number}")

    return Sequential(
        Conv2d(input_shape[0], 96, 11, 4, activation="relu", name="conv1"),
        norm(1),
        MaxPool2d(3, 2, name="pool1"),
        Conv2d(96, 256, 5, padding=2, groups=2, activation="relu", name="conv2"),
        norm(2),
        MaxPool2d(3, 2, name="pool2"),
        Conv2d(256, 384, 3, padding=1, activation="relu", name="conv3"),
        Conv2d(384, 384, 3, padding=1, groups=2, activation="relu", name="conv4"),
        Conv2d(384, 256, 3, padding=1, groups=2, activation="relu", name="conv5"),
        MaxPool2d(3, 2, name="pool5"),
        Flatten(name="flatten"),
        Linear(None, 4096, activation="relu", name="fc6"),
        Dropout(0.5, name="drop6"),
        Linear(4096, 4096, activation="relu", name="fc7"),
        Dropout(0.5, name="drop7"),
        Linear(4096, classes, name="fc8"),
        input_shape=input_shape,
        seed=seed,
    )
