"""Small networks for small grey images. All end in logits: the loss, or a softmax, comes after them.

Each takes

    input_shape   (C, H, W) of an image
    classes       number of outputs
    seed          what the start values (and dropout masks) are drawn from

and returns a Sequential that is built but not compiled.
"""

from __future__ import annotations

from fastconv.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential

__all__ = ["cnn_6_12", "conv25_50", "digits_cnn", "fashion_cnn", "keras_mnist", "lenet5", "mlp"]

Shape = tuple[int, int, int]
_MNIST: Shape = (1, 28, 28)


def digits_cnn(input_shape: Shape = (1, 8, 8), classes: int = 10, *, seed: int = 0) -> Sequential:
    """Two 3x3 convolutions, pool, another one, pool, dense 64: for the embedded 8x8 digits (40,394 parameters)."""
    return Sequential(
        Conv2d(input_shape[0], 16, 3, padding="same", activation="relu", name="conv1"),
        Conv2d(16, 32, 3, padding="same", activation="relu", name="conv2"),
        MaxPool2d(2, name="pool2"),
        Conv2d(32, 64, 3, padding="same", activation="relu", name="conv3"),
        MaxPool2d(2, name="pool3"),
        Flatten(name="flatten"),
        Dropout(0.3, name="dropout"),
        Linear(None, 64, activation="relu", name="dense1"),
        Linear(64, classes, name="dense2"),
        input_shape=input_shape,
        seed=seed,
    )


def mlp(input_shape: Shape = _MNIST, classes: int = 10, *, seed: int = 0) -> Sequential:
    """784 - dense 512 - dense 10, without a convolution: what the others are compared with."""
    return Sequential(
        Flatten(name="flatten"),
        Linear(None, 512, activation="relu", name="dense1"),
        Linear(512, classes, name="dense2"),
        input_shape=input_shape,
        seed=seed,
    )


def lenet5(input_shape: Shape = _MNIST, classes: int = 10, *, padding: int = 2, seed: int = 0) -> Sequential:
    """LeNet-5 with today's habits: ReLU and max pooling in place of tanh and trained averages, every map connected.

    The first layer pads 28x28 images by 2, which gives the 32x32 of the paper; pass ``padding=0`` for 32x32 images.

    Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition"
    (1998), section II.B.
    """
    return Sequential(
        Conv2d(input_shape[0], 6, 5, padding=padding, activation="relu", name="conv1"),
        MaxPool2d(2, name="pool1"),
        Conv2d(6, 16, 5, activation="relu", name="conv2"),
        MaxPool2d(2, name="pool2"),
        Flatten(name="flatten"),
        Linear(None, 120, activation="relu", name="dense1"),
        Linear(120, 84, activation="relu", name="dense2"),
        Linear(84, classes, name="dense3"),
        input_shape=input_shape,
        seed=seed,
    )


def cnn_6_12(input_shape: Shape = _MNIST, classes: int = 10, *, seed: int = 0) -> Sequential:
    """5x5 convolution to 6 maps, pool, 5x5 convolution to 12 maps, pool, dense: 3,898 parameters for digits."""
    return Sequential(
        Conv2d(input_shape[0], 6, 5, activation="relu", name="conv1"),
        MaxPool2d(2, name="pool1"),
        Conv2d(6, 12, 5, activation="relu", name="conv2"),
        MaxPool2d(2, name="pool2"),
        Flatten(name="flatten"),
        Linear(None, classes, name="dense"),
        input_shape=input_shape,
        seed=seed,
    )


def keras_mnist(input_shape: Shape = _MNIST, classes: int = 10, *, seed: int = 0) -> Sequential:
    """3x3 convolutions to 32, 64 and 64 maps with pools between, dense 64: the first listing of the Keras book.

    Reference: F. Chollet, "Deep Learning with Python" (2017), listings 5.1 and 5.2.
    """
    return Sequential(
        Conv2d(input_shape[0], 32, 3, activation="relu", name="conv1"),
        MaxPool2d(2, name="pool1"),
        Conv2d(32, 64, 3, activation="relu", name="conv2"),
        MaxPool2d(2, name="pool2"),
        Conv2d(64, 64, 3, activation="relu", name="conv3"),
        Flatten(name="flatten"),
        Linear(None, 64, activation="relu", name="dense1"),
        Linear(64, classes, name="dense2"),
        input_shape=input_shape,
        seed=seed,
    )


def conv25_50(input_shape: Shape = _MNIST, classes: int = 10, *, seed: int = 0) -> Sequential:
    """3x3 convolutions to 25 and 50 maps, a pool after each, dense 100: 9 and 225 weights per filter on grey images."""
    return Sequential(
        Conv2d(input_shape[0], 25, 3, activation="relu", name="conv1"),
        MaxPool2d(2, name="pool1"),
        Conv2d(25, 50, 3, activation="relu", name="conv2"),
        MaxPool2d(2, name="pool2"),
        Flatten(name="flatten"),
        Linear(None, 100, activation="relu", name="dense1"),
        Linear(100, classes, name="dense2"),
        input_shape=input_shape,
        seed=seed,
    )


def fashion_cnn(input_shape: Shape = _MNIST, classes: int = 10, *, seed: int = 0) -> Sequential:
    """Pairs of 3x3 convolutions to 32, 64 and 128 maps with batch norm and pools between (298,410 parameters)."""
    layers: list[Layer] = []
    for block, channels in enumerate((32, 64, 128), start=1):
        for number in (1, 2):
            name = f"{block}_{number}"
            layers.append(Conv2d(None, channels, 3, padding="same", bias=False, name=f"conv{name}"))
            layers += [BatchNorm2d(None, name=f"norm{name}"), ReLU(name=f"relu{name}")]
        layers.append(MaxPool2d(2, name=f"pool{block}"))
    return Sequential(
        *layers,
        Flatten(name="flatten"),
        Dropout(0.3, name="dropout"),
        Linear(None, classes, name="dense"),
        input_shape=input_shape,
        seed=seed,
    )
