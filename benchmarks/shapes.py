"""Convolution layers of real networks, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One convolution; `name` is network/layer, `padding` the zeros at each border of height and of width."""

    name: str
    channels: int
    size: Pair
    outputs: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    dilation: Pair = (1, 1)
    batch: int = 1

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.channels, *self.size)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.outputs, self.channels // self.groups, *self.kernel)

    @property
    def label(self) -> str:
        return f"{self.name} x{self.batch}"

    def of_batch(self, batch: int) -> Layer:
        return replace(self, batch=batch)


def _square(
    name: str, channels: int, size: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> Layer:
    return Layer(name, channels, (size, size), outputs, (kernel, kernel), (stride, stride), (padding, padding), groups)


LAYERS = [
    # LeCun, Bottou, Bengio, Haffner 1998
    _square("lenet5/conv1", 1, 28, 6, 5, padding=2),
    _square("lenet5/conv2", 6, 14, 16, 5),
    # The small nets for MNIST of the zoo
    _square("cnn_6_12/conv1", 1, 28, 6, 5),
    _square("cnn_6_12/conv2", 6, 12, 12, 5),
    _square("keras_mnist/conv1", 1, 28, 32, 3),
    _square("keras_mnist/conv2", 32, 13, 64, 3),
    _square("keras_mnist/conv3", 64, 5, 64, 3),
    # He, Zhang, Ren, Sun 2016, for CIFAR
    _square("resnet20/stem", 3, 32, 16, 3, padding=1),
    _square("resnet20/stage1", 16, 32, 16, 3, padding=1),
    _square("resnet20/stage2", 32, 16, 32, 3, padding=1),
    _square("resnet20/stage3", 64, 8, 64, 3, padding=1),
    # Krizhevsky, Sutskever, Hinton 2012
    _square("alexnet/conv1", 3, 227, 96, 11, 4),
    _square("alexnet/conv2", 96, 27, 256, 5, padding=2, groups=2),
    _square("alexnet/conv3", 256, 13, 384, 3, padding=1),
    _square("alexnet/conv4", 384, 13, 384, 3, padding=1, groups=2),
    # Simonyan, Zisserman 2014
    _square("vgg19/conv1_1", 3, 224, 64, 3, padding=1),
    _square("vgg19/conv1_2", 64, 224, 64, 3, padding=1),
    _square("vgg19/conv2_2", 128, 112, 128, 3, padding=1),
    _square("vgg19/conv3_2", 256, 56, 256, 3, padding=1),
    _square("vgg19/conv4_2", 512, 28, 512, 3, padding=1),
    _square("vgg19/conv5_1", 512, 14, 512, 3, padding=1),
    # He, Zhang, Ren, Sun 2016
    _square("resnet50/stem", 3, 224, 64, 7, 2, 3),
    _square("resnet50/3x3@56", 64, 56, 64, 3, padding=1),
    _square("resnet50/3x3@28", 128, 28, 128, 3, padding=1),
    _square("resnet50/3x3@14", 256, 14, 256, 3, padding=1),
    _square("resnet50/3x3@7", 512, 7, 512, 3, padding=1),
    _square("resnet50/3x3s2@56", 128, 56, 128, 3, 2, 1),
    _square("resnet50/1x1@56 reduce", 256, 56, 64, 1),
    _square("resnet50/1x1@56 expand", 64, 56, 256, 1),
    _square("resnet50/1x1@14 reduce", 1024, 14, 256, 1),
    _square("resnet50/1x1@7 expand", 512, 7, 2048, 1),
    _square("resnet50/1x1s2@56", 256, 56, 512, 1, 2),
    # Sandler et al. 2018
    _square("mobilenetv2/depthwise@112", 32, 112, 32, 3, padding=1, groups=32),
    _square("mobilenetv2/depthwise@56", 144, 56, 144, 3, padding=1, groups=144),
    _square("mobilenetv2/depthwise@112s2", 96, 112, 96, 3, 2, 1, groups=96),
    _square("mobilenetv2/depthwise@14", 384, 14, 384, 3, padding=1, groups=384),
    # Ronneberger, Fischer, Brox 2015
    _square("unet/encoder2", 64, 128, 128, 3, padding=1),
    _square("unet/decoder1", 128, 256, 64, 3, padding=1),
    # A U-Net of 32, 64, 128 channels for MNIST, its middle level
    _square("unet_mnist/3x3@14", 64, 14, 64, 3, padding=1),
    # Silver et al. 2016
    _square("go/first", 48, 19, 192, 5, padding=2),
    _square("go/middle", 192, 19, 192, 3, padding=1),
]

BY_NAME = {layer.name: layer for layer in LAYERS}

SHORT = [
    BY_NAME["keras_mnist/conv1"].of_batch(64),
    BY_NAME["keras_mnist/conv2"].of_batch(64),
    BY_NAME["resnet50/3x3@56"],
    BY_NAME["resnet50/3x3@14"],
    BY_NAME["resnet50/3x3@14"].of_batch(8),
    BY_NAME["resnet50/stem"],
    BY_NAME["resnet50/1x1@14 reduce"],
    BY_NAME["mobilenetv2/depthwise@56"],
]


def select(pattern: str, batches: list[int]) -> list[Layer]:
    """Layers whose name contains one of the comma-separated parts of `pattern`, each with every batch size."""
    parts = [part for part in pattern.split(",") if part]
    chosen = [layer for layer in LAYERS if any(part in layer.name for part in parts)]
    if not chosen:
        raise ValueError(f"no layer matches {pattern!r}; there are: {', '.join(BY_NAME)}")
    return [layer.of_batch(batch) for layer in chosen for batch in batches]
