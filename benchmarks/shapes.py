"""Convolution layers of real networks, as data, each of a family whose results are summed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Pair = tuple[int, int]

# In the order of tables and pictures
FAMILIES = (
    "3x3 s1",
    "3x3 s1 16 channels",
    "512@7",
    "5x5 s1",
    "dilated",
    "1x1",
    "strided",
    "stem",
    "few channels",
    "grouped",
    "depthwise",
)
FEW_CHANNELS = 6  # they leave lanes of a vector empty where the lanes are channels


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
    def family(self) -> str:
        """What makes this layer hard, judged from its geometry; the first that fits counts."""
        kh, kw = self.kernel
        strided = max(self.stride) > 1
        rules = {
            "depthwise": self.groups == self.channels > 1,
            "grouped": self.groups > 1,
            "dilated": max(self.dilation) > 1,
            "stem": strided and self.channels <= FEW_CHANNELS,
            "strided": strided,
            "few channels": self.channels <= FEW_CHANNELS,
            "1x1": kh * kw == 1,
            "512@7": self.channels >= 512 and max(self.size) <= 7,
            "3x3 s1 16 channels": max(kh, kw) <= 3 and min(self.channels, self.outputs) <= 16,
            "3x3 s1": max(kh, kw) <= 3,
        }
        return next((family for family, fits in rules.items() if fits), "5x5 s1")

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.channels, *self.size)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.outputs, self.channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        span = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        height, width = (
            (i + 2 * p - s) // t + 1 for i, p, s, t in zip(self.size, self.padding, span, self.stride, strict=True)
        )
        return (self.batch, self.outputs, height, width)

    @property
    def elements(self) -> int:
        """Of input, output and weight together: what a pass must read and write at least."""
        return sum(math.prod(shape) for shape in (self.input_shape, self.output_shape, self.weight_shape))

    @property
    def flops(self) -> int:
        """Of the direct algorithm, taps on the padding counted."""
        return 2 * math.prod(self.output_shape) * math.prod(self.weight_shape[1:])

    @property
    def label(self) -> str:
        return f"{self.name} x{self.batch}"

    def of_batch(self, batch: int) -> Layer:
        return replace(self, batch=batch)


def _square(
    name: str,
    channels: int,
    size: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Layer:
    return Layer(
        name,
        channels,
        (size, size),
        outputs,
        (kernel, kernel),
        (stride, stride),
        (padding, padding),
        groups,
        (dilation, dilation),
    )


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
    _square("resnet20/stage2 s2", 16, 32, 32, 3, 2, 1),
    _square("resnet20/stage2 1x1s2", 16, 32, 32, 1, 2),
    _square("resnet20/stage3", 64, 8, 64, 3, padding=1),
    # Krizhevsky, Sutskever, Hinton 2012
    _square("alexnet/conv1", 3, 227, 96, 11, 4),
    _square("alexnet/conv2", 96, 27, 256, 5, padding=2, groups=2),
    _square("alexnet/conv3", 256, 13, 384, 3, padding=1),
    _square("alexnet/conv4", 384, 13, 384, 3, padding=1, groups=2),
    _square("alexnet/conv5", 384, 13, 256, 3, padding=1, groups=2),
    # Krizhevsky 2014, on one GPU, without groups
    _square("alexnet2014/conv2", 64, 27, 192, 5, padding=2),
    # TensorFlow's old tutorial for MNIST
    _square("tf_mnist/conv2", 32, 14, 64, 5, padding=2),
    # Szegedy et al. 2015
    _square("googlenet/3b 5x5@28", 32, 28, 96, 5, padding=2),
    _square("googlenet/4e 5x5@14", 32, 14, 128, 5, padding=2),
    _square("googlenet/5b 5x5@7", 48, 7, 128, 5, padding=2),
    # Simonyan, Zisserman 2014
    _square("vgg19/conv1_1", 3, 224, 64, 3, padding=1),
    _square("vgg19/conv1_2", 64, 224, 64, 3, padding=1),
    _square("vgg19/conv2_2", 128, 112, 128, 3, padding=1),
    _square("vgg19/conv3_2", 256, 56, 256, 3, padding=1),
    _square("vgg19/conv2_1", 64, 112, 128, 3, padding=1),
    _square("vgg19/conv4_1", 256, 28, 512, 3, padding=1),
    _square("vgg19/conv4_2", 512, 28, 512, 3, padding=1),
    _square("vgg19/conv5_1", 512, 14, 512, 3, padding=1),
    # He, Zhang, Ren, Sun 2016
    _square("resnet50/stem", 3, 224, 64, 7, 2, 3),
    _square("resnet50/3x3@56", 64, 56, 64, 3, padding=1),
    _square("resnet50/3x3@28", 128, 28, 128, 3, padding=1),
    _square("resnet50/3x3@14", 256, 14, 256, 3, padding=1),
    _square("resnet50/3x3@7", 512, 7, 512, 3, padding=1),
    _square("resnet50/3x3s2@56", 128, 56, 128, 3, 2, 1),
    _square("resnet50/3x3s2@14", 512, 14, 512, 3, 2, 1),
    _square("resnet50/1x1@56 reduce", 256, 56, 64, 1),
    _square("resnet50/1x1@56 expand", 64, 56, 256, 1),
    _square("resnet50/1x1@28 expand", 128, 28, 512, 1),
    _square("resnet50/1x1@14 reduce", 1024, 14, 256, 1),
    _square("resnet50/1x1@7 reduce", 2048, 7, 512, 1),
    _square("resnet50/1x1@7 expand", 512, 7, 2048, 1),
    _square("resnet50/1x1s2@56", 256, 56, 512, 1, 2),
    # Sandler et al. 2018
    _square("mobilenetv2/stem", 3, 224, 32, 3, 2, 1),
    _square("mobilenetv2/1x1@56 expand", 24, 56, 144, 1),
    _square("mobilenetv2/1x1@14 project", 384, 14, 64, 1),
    _square("mobilenetv2/depthwise@112", 32, 112, 32, 3, padding=1, groups=32),
    _square("mobilenetv2/depthwise@56", 144, 56, 144, 3, padding=1, groups=144),
    _square("mobilenetv2/depthwise@112s2", 96, 112, 96, 3, 2, 1, groups=96),
    _square("mobilenetv2/depthwise@28s2", 192, 28, 192, 3, 2, 1, groups=192),
    _square("mobilenetv2/depthwise@14", 384, 14, 384, 3, padding=1, groups=384),
    _square("mobilenetv2/depthwise@7", 960, 7, 960, 3, padding=1, groups=960),
    # Tan, Le 2019; Howard et al. 2019
    _square("efficientnet_b0/depthwise5@28", 240, 28, 240, 5, padding=2, groups=240),
    _square("efficientnet_b0/depthwise5@56s2", 144, 56, 144, 5, 2, 2, groups=144),
    _square("efficientnet_b0/depthwise5@7", 1152, 7, 1152, 5, padding=2, groups=1152),
    _square("mobilenetv3/depthwise5@28", 120, 28, 120, 5, padding=2, groups=120),
    # Xie, Girshick, Dollar, Tu, He 2017: 32 groups of 4, 8, 16 and 32 channels
    _square("resnext50/3x3@56", 128, 56, 128, 3, padding=1, groups=32),
    _square("resnext50/3x3s2@56", 256, 56, 256, 3, 2, 1, groups=32),
    _square("resnext50/3x3@28", 256, 28, 256, 3, padding=1, groups=32),
    _square("resnext50/3x3@14", 512, 14, 512, 3, padding=1, groups=32),
    _square("resnext50/3x3@7", 1024, 7, 1024, 3, padding=1, groups=32),
    # Chen, Papandreou, Schroff, Adam 2017: ResNet with dilation for segmentation, and one small enough for a cache
    _square("deeplab/3x3d2@28", 512, 28, 512, 3, padding=2, dilation=2),
    _square("deeplab/aspp d12@33", 2048, 33, 256, 3, padding=12, dilation=12),
    _square("deeplab/3x3d2@56", 64, 56, 64, 3, padding=2, dilation=2),
    # Ronneberger, Fischer, Brox 2015
    _square("unet/encoder1", 64, 256, 64, 3, padding=1),
    _square("unet/encoder2", 64, 128, 128, 3, padding=1),
    _square("unet/head", 64, 256, 2, 1),
    _square("unet/decoder1", 128, 256, 64, 3, padding=1),
    # A U-Net of 32, 64, 128 channels for MNIST, its middle level
    _square("unet_mnist/3x3@14", 64, 14, 64, 3, padding=1),
    # Silver et al. 2016
    _square("go/first", 48, 19, 192, 5, padding=2),
    _square("go/middle", 192, 19, 192, 3, padding=1),
]

BY_NAME = {layer.name: layer for layer in LAYERS}
BATCHES = (1, 8, 64)
MAX_BYTES = 640 << 20  # of one layer's arrays; a run holds about ten times as much, with the rivals' copies
MAX_FLOPS = 40e9  # of one pass: a third of a second for one good core

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


def is_sensible(layer: Layer, item_bytes: int = 4) -> bool:
    """A batch of one always; a larger one while its arrays and its time stay moderate."""
    return layer.batch == 1 or (layer.elements * item_bytes <= MAX_BYTES and layer.flops <= MAX_FLOPS)


def select(pattern: str = "", batches: Sequence[int] = BATCHES, families: Sequence[str] = ()) -> list[Layer]:
    """Layers by comma-separated names or parts of names and by families, each with every batch size; all by default."""
    parts = [part for part in pattern.split(",") if part]

    def is_named(layer: Layer) -> bool:
        return any(part == layer.name or (part not in BY_NAME and part in layer.name) for part in parts)

    chosen = [
        layer for layer in LAYERS if (not parts or is_named(layer)) and (not families or layer.family in families)
    ]
    if not chosen:
        raise ValueError(f"no layer matches {pattern!r} {list(families)}; there are: {', '.join(BY_NAME)}")
    return [layer.of_batch(batch) for layer in chosen for batch in batches]
