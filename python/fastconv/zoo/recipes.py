"""How to train the networks of the zoo: data, not code."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """Options of one training run.

    Attributes
    ----------
    epochs, batch_size
        See `fastconv.train.fit`.
    optimizer, learning_rate
        See `fastconv.optim`; the rate is the largest of the run.
    schedule
        See `fastconv.schedules.get`; a step is a batch.
    weight_decay
        See `fastconv.optim`.
    shift
        Random shifts of the training images, in pixels: (vertical, horizontal).
    flip
        Mirror every second training image, left to right.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 0.002
    schedule: str = "one_cycle"
    weight_decay: float = 0.0
    shift: tuple[int, int] = (0, 0)
    flip: bool = False


_DEFAULT = Recipe()
_RECIPES = {
    # The digits fill their 8 rows; only to the left and right there is room to move.
    ("digits_cnn", "digits"): Recipe(epochs=30, batch_size=32, learning_rate=0.004, shift=(0, 1)),
    ("keras_mnist", "mnist"): Recipe(epochs=5, optimizer="rmsprop", learning_rate=0.001, schedule="cosine"),
    ("cnn_6_12", "mnist"): Recipe(epochs=10, batch_size=32, learning_rate=0.005),
    ("fashion_cnn", "fashion-mnist"): Recipe(
        epochs=12, batch_size=128, optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, shift=(2, 2), flip=True
    ),
    ("resnet20", "cifar10"): Recipe(
        epochs=30, batch_size=128, optimizer="sgd", learning_rate=0.2, weight_decay=5e-4, shift=(4, 4), flip=True
    ),
    ("mlp", "mnist"): Recipe(epochs=5, optimizer="rmsprop", learning_rate=0.001, schedule="cosine"),
}


def recipe(model: str, data: str) -> Recipe:
    """Return the recipe for a network on a data set, or a plain one that suits small networks."""
    return _RECIPES.get((model, data), _DEFAULT)
