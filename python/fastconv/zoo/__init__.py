"""Networks by name, and the recipes that train them."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.nn import Sequential
from fastconv.zoo.digit_nets import cnn_6_12, conv25_50, digits_cnn, keras_mnist, lenet5, mlp
from fastconv.zoo.recipes import Recipe, recipe
from fastconv.zoo.stored import Description, load_network, save_network

__all__ = [
    "MODELS",
    "Description",
    "Recipe",
    "cnn_6_12",
    "conv25_50",
    "digits_cnn",
    "get",
    "keras_mnist",
    "lenet5",
    "load_network",
    "mlp",
    "recipe",
    "save_network",
]

MODELS: dict[str, Callable[..., Sequential]] = {
    network.__name__: network for network in (digits_cnn, mlp, lenet5, cnn_6_12, keras_mnist, conv25_50)
}


def get(name: str) -> Callable[..., Sequential]:
    """Return the function that builds a network.

    Parameters
    ----------
    name
        One of `MODELS`. Every one takes ``input_shape=(C, H, W)``, ``classes`` and ``seed``.
    """
    if name not in MODELS:
        raise ValueError(f"zoo.get: name must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]
