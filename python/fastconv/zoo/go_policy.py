"""The policy network of AlphaGo: from 48 planes of a board to a probability for each point."""

from __future__ import annotations

from fastconv.nn import Bias, Conv2d, Flatten, Layer, Sequential
from fastconv.zoo.blocks import Shape

__all__ = ["go_policy"]


def go_policy(input_shape: Shape = (48, 19, 19), *, filters: int = 192, layers: int = 12, seed: int = 0) -> Sequential:
    """A 5x5 layer on the board padded to 23x23, 3x3 layers on 21x21, one 1x1 filter with a bias for each point.

    The logits of the points, row by row, come out: 361 for a board of 19 x 19. With 192 filters and 12 layers:
    3,882,793 parameters.

    Parameters
    ----------
    filters
        k of the paper: 128, 192, 256 or 384 there.
    layers
        Layers before the last one.

    Reference: D. Silver et al., "Mastering the game of Go with deep neural networks and tree search" (2016), methods.
    """
    if layers < 1:
        raise ValueError(f"go_policy: layers must be at least 1, got {layers}")
    body: list[Layer] = [Conv2d(input_shape[0], filters, 5, padding=2, activation="relu", name="conv1")]
    body += [
        Conv2d(filters, filters, 3, padding=1, activation="relu", name=f"conv{number}")
        for number in range(2, layers + 1)
    ]
    return Sequential(
        *body,
        Conv2d(filters, 1, 1, bias=False, name="head"),
        Flatten(name="flatten"),
        Bias(name="point"),
        input_shape=input_shape,
        seed=seed,
    )
