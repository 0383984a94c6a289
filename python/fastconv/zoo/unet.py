"""U-Nets: down to small maps and up again, with skips between maps of one size.

References: O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation"
(2015); J. Ho, A. Jain, P. Abbeel, "Denoising diffusion probabilistic models" (2020), appendix B.
"""

from __future__ import annotations

from fastconv.nn import (
    Add,
    AddChannels,
    BatchNorm2d,
    Concat,
    Conv2d,
    GroupNorm,
    Input,
    Linear,
    MaxPool2d,
    Model,
    Node,
    ReLU,
    SiLU,
    SinusoidalEmbedding,
    Upsample,
)
from fastconv.zoo.blocks import Shape

__all__ = ["denoising_unet", "unet"]


def unet(
    input_shape: Shape = (3, 64, 64),
    classes: int = 4,
    *,
    width: int = 16,
    depth: int = 3,
    norm: bool = True,
    seed: int = 0,
) -> Model:
    """Segmentation: a score for each class at each pixel, (classes, H, W).

    Convolutions keep the size, where those of the paper lose a border; maps of one size meet without cropping.

    Parameters
    ----------
    width
        Channels at full size (64 in the paper); doubled at each level.
    depth
        How often the size is halved (4 in the paper); H and W must be multiples of 2**depth.
    norm
        Whether batch norm follows each convolution (not in the paper).
    """
    _check_size("unet", input_shape, depth)
    image = Input(input_shape)
    x: Node = image
    skips = []
    for level in range(depth):
        x = _double(x, width << level, f"down{level + 1}", norm)
        skips.append(x)
        x = MaxPool2d(2, name=f"down{level + 1}.pool")(x)
    x = _double(x, width << depth, "middle", norm)
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        x = Upsample(scale_factor=2, name=f"{name}.upsample")(x)
        x = Conv2d(None, width << level, 3, padding=1, activation="relu", name=f"{name}.conv0")(x)
        x = Concat(name=f"{name}.concat")(skips[level], x)
        x = _double(x, width << level, name, norm)
    return Model(image, Conv2d(None, classes, 1, name="head")(x), seed=seed)


def _double(x: Node, channels: int, name: str, norm: bool) -> Node:
    for number in (1, 2):
        conv = Conv2d(None, channels, 3, padding=1, bias=not norm, name=f"{name}.conv{number}")
        x = conv(x)
        x = BatchNorm2d(None, name=f"{name}.bn{number}")(x) if norm else x
        x = ReLU(name=f"{name}.relu{number}")(x)
    return x


def denoising_unet(
    input_shape: Shape = (1, 28, 28), *, width: int = 32, depth: int = 2, groups: int = 8, seed: int = 0
) -> Model:
    """Denoising diffusion: takes a noisy image and the time step, gives the noise, of the image's shape.

    Inputs "image" (C, H, W) and "time" (1,), the number of the step. Residual blocks with group norm and SiLU, the time
    added to the channels of each, as in the paper; without its attention.

    Parameters
    ----------
    width
        Channels at full size; doubled at each level.
    depth
        How often the size is halved; H and W must be multiples of 2**depth.
    groups
        Groups of each group norm; `width` must be a multiple.
    """
    _check_size("denoising_unet", input_shape, depth)
    image, time = Input(input_shape, name="image"), Input((1,), name="time")
    embedding = SinusoidalEmbedding(2 * width, name="time.embedding")(time)
    embedding = SiLU(name="time.silu1")(Linear(None, 4 * width, name="time.dense1")(embedding))
    embedding = SiLU(name="time.silu2")(Linear(None, 4 * width, name="time.dense2")(embedding))

    x = Conv2d(input_shape[0], width, 3, padding=1, name="stem")(image)
    skips = []
    for level in range(depth):
        x = _residual(x, embedding, width << level, groups, f"down{level + 1}")
        skips.append(x)
        x = Conv2d(None, width << level, 3, 2, 1, name=f"down{level + 1}.stride")(x)
    x = _residual(x, embedding, width << depth, groups, "middle1")
    x = _residual(x, embedding, width << depth, groups, "middle2")
    for level in reversed(range(depth)):
        name = f"up{level + 1}"
        x = Upsample(scale_factor=2, name=f"{name}.upsample")(x)
        x = Conv2d(None, width << level, 3, padding=1, name=f"{name}.conv0")(x)
        x = Concat(name=f"{name}.concat")(skips[level], x)
        x = _residual(x, embedding, width << level, groups, name)
    x = SiLU(name="head.silu")(GroupNorm(groups, None, name="head.norm")(x))
    return Model([image, time], Conv2d(None, input_shape[0], 3, padding=1, name="head")(x), seed=seed)


def _residual(x: Node, embedding: Node, channels: int, groups: int, name: str) -> Node:
    y = SiLU(name=f"{name}.silu1")(GroupNorm(groups, None, name=f"{name}.norm1")(x))
    y = Conv2d(None, channels, 3, padding=1, name=f"{name}.conv1")(y)
    y = AddChannels(name=f"{name}.time")(y, Linear(None, channels, name=f"{name}.dense")(embedding))
    y = SiLU(name=f"{name}.silu2")(GroupNorm(groups, None, name=f"{name}.norm2")(y))
    y = Conv2d(None, channels, 3, padding=1, name=f"{name}.conv2")(y)
    if x.shape is not None and x.shape[0] != channels:
        x = Conv2d(None, channels, 1, name=f"{name}.shortcut")(x)
    return Add(name=f"{name}.add")(y, x)


def _check_size(op: str, shape: Shape, depth: int) -> None:
    step = 1 << depth
    if depth < 1 or shape[1] % step or shape[2] % step:
        near = tuple(-(-size // step) * step for size in shape[1:])
        raise ValueError(
            f"{op}: height and width must be multiples of 2**depth = {step}, got {shape[1:]}; {near} would fit"
        )
