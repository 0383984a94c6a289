"""The error of each algorithm: `python benchmarks/accuracy.py`.

The largest |float32 result - float64 result| over the largest |float64 result|, for all three passes, on
normal numbers after a ReLU with He weights, on real images of 0..255 (the handwritten digits, one image a channel), and
on images far from zero. docs/numerics.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastconv
from fastconv import ops

Array = NDArray[np.floating[Any]]

#         channels, size, outputs, kernel, padding, batch
LAYERS = [
    (64, 56, 64, 3, 1, 1),
    (128, 28, 128, 3, 1, 1),
    (256, 14, 256, 3, 1, 2),
    (512, 7, 512, 3, 1, 4),
    (32, 13, 64, 3, 0, 16),
    (16, 32, 16, 3, 1, 8),
    (64, 2, 64, 3, 1, 64),  # maps this small take tiles of 2 x 2 outputs
    (48, 27, 128, 5, 2, 1),
]


def relu_of_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.maximum(rng.standard_normal(shape), 0)


def digits(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Every channel is a picture of handwritten digits side by side, 0..255."""
    (images, _), _ = fastconv.data.load_digits()
    n, c, h, w = shape
    rows, columns = -(-h // 8), -(-w // 8)
    chosen = images[rng.integers(0, len(images), n * c * rows * columns), 0].reshape(n, c, rows, columns, 8, 8)
    pictures = chosen.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, rows * 8, columns * 8)
    scaled: Array = pictures[:, :, :h, :w] * 15.9375
    return scaled


def digits_far_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return digits(rng, shape) + 10_000


DATA: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal after ReLU": relu_of_normal,
    "digits 0..255": digits,
    "digits + 10,000": digits_far_from_zero,
}
PASSES = ("", "_backward_input", "_backward_weight")


def results(x: Array, w: Array, gy: Array, padding: int, algo: str) -> Iterator[Array]:
    yield ops.conv2d(x, w, padding=padding, algo=algo)
    yield ops.conv2d_backward_input(x.shape, w, gy, padding=padding, algo=algo)
    yield ops.conv2d_backward_weight(x, w.shape, gy, padding=padding, algo=algo)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    rng = np.random.default_rng(parser.parse_args().seed)
    print(f"{fastconv.isa_active()}; direct / as chosen with algo='winograd'")
    print(f"{'layer':<20}{'algorithm':<22}{'data':<20}{'forward':^20}{'input gradient':^20}{'weight gradient':^20}")
    for c, size, o, k, padding, n in LAYERS:
        shape, filters = (n, c, size, size), (o, c, k, k)
        out = size + 2 * padding - k + 1
        for name, draw in DATA.items():
            x = draw(rng, shape).astype(np.float32)
            w = (rng.standard_normal(filters) * np.sqrt(2 / (c * k * k))).astype(np.float32)
            gy = rng.standard_normal((n, o, out, out)).astype(np.float32)
            exact = list(results(x.astype(np.float64), w.astype(np.float64), gy.astype(np.float64), padding, "direct"))
            errors = [
                [
                    float(np.abs(got - true).max() / np.abs(true).max())
                    for got, true in zip(results(x, w, gy, padding, a), exact, strict=True)
                ]
                for a in ("direct", "winograd")
            ]
            chosen = fastconv.explain("conv2d", shape, filters, padding=padding, algo="winograd").algorithm
            cells = "".join(f"{f'{a:.1e} / {b:.1e}':^20}" for a, b in zip(*errors, strict=True))
            print(f"{f'{k}x{k} {c}->{o}@{size} x{n}':<20}{chosen:<22}{name:<20}{cells}")


if __name__ == "__main__":
    main()
