"""Networks by name, and the recipes that train them."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.nn import Model
from fastconv.zoo.alexnet import alexnet
from fastconv.zoo.digit_nets import cnn_6_12, conv25_50, digits_cnn, fashion_cnn, keras_mnist, lenet5, mlp
from fastconv.zoo.go_policy import go_policy
from fastconv.zoo.googlenet import googlenet
from fastconv.zoo.mobilenet import mobilenet_v2
from fastconv.zoo.patterns import all_conv, convnet
from fastconv.zoo.recipes import Recipe, recipe
from fastconv.zoo.resnet import resnet18, resnet20, resnet34, resnet50
from fastconv.zoo.stored import Description, load_network, save_network
from fastconv.zoo.unet import denoising_unet, unet
from fastconv.zoo.vgg import vgg11, vgg16, vgg19

__all__ = [
    "CLASSIFIERS",
    "MODELS",
    "Description",
    "Recipe",
    "alexnet",
    "all_conv",
    "cnn_6_12",
    "conv25_50",
    "convnet",
    "denoising_unet",
    "digits_cnn",
    "fashion_cnn",
    "get",
    "go_policy",
    "googlenet",
    "keras_mnist",
    "lenet5",
    "load_network",
    "mlp",
    "mobilenet_v2",
    "recipe",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "save_network",
    "unet",
    "vgg11",
    "vgg16",
    "vgg19",
]

_SMALL = (digits_cnn, mlp, lenet5, cnn_6_12, keras_mnist, conv25_50, fashion_cnn, all_conv, resnet20)
_LARGE = (alexnet, vgg11, vgg16, vgg19, googlenet, resnet18, resnet34, resnet50, mobilenet_v2)

# Those that take input_shape=(C, H, W), classes and seed, and give logits.
CLASSIFIERS: dict[str, Callable[..., Model]] = {network.__name__: network for network in (*_SMALL, *_LARGE)}

MODELS: dict[str, Callable[..., Model]] = CLASSIFIERS | {
    network.__name__: network for network in (convnet, go_policy, unet, denoising_unet)
}


def get(name: str) -> Callable[..., Model]:
    """Return the function that builds a network.

    Parameters
    ----------
    name
        One of `MODELS`. Those in `CLASSIFIERS` take ``input_shape=(C, H, W)``, ``classes`` and ``seed``.
    """
    if name not in MODELS:
        raise ValueError(f"zoo.get: name must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]
