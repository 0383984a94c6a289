"""Made-up pictures for segmentation: discs, boxes and triangles before a noisy ground, each with its mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastconv._checks import arguments

__all__ = ["SHAPE_CLASSES", "make_shapes"]

SHAPE_CLASSES = ("ground", "disc", "box", "triangle")


def make_shapes(
    count: int, size: int = 64, *, seed: int | np.random.Generator = 0, noise: float = 0.1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw pictures with one to four shapes each; where shapes overlap the later one is in front.

    A person can tell all of them: each stands out from the ground in some colour, and shows more than half of itself.

    Parameters
    ----------
    count
        Number of pictures.
    size
        Height and width in pixels, at least 16.
    seed
        Where all that is random comes from.
    noise
        Standard deviation of the noise on every pixel.

    Returns
    -------
    images : ndarray, shape (count, 3, size, size), float32
        Around 0..1. Shapes have any colour, so that only form tells them apart.
    masks : ndarray, shape (count, size, size), int64
        The class of each pixel: an index of `SHAPE_CLASSES`.
    """
    count, size = arguments.integer("make_shapes", "count", count), arguments.integer("make_shapes", "size", size)
    if count < 0 or size < 16:
        raise ValueError(f"make_shapes: count must be at least 0 and size at least 16, got {count}, {size}")
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    images = np.empty((count, 3, size, size), np.float32)
    masks = np.zeros((count, size, size), np.int64)
    for image, mask in zip(images, masks, strict=True):
        slope = rng.uniform(-0.3, 0.3, (3, 2)).astype(np.float32) / size
        ground = rng.uniform(0.2, 0.8, (3, 1, 1)) + slope[:, :1, None] * y + slope[:, 1:, None] * x
        image[:] = ground
        whole: list[NDArray[np.bool_]] = []
        seen: list[NDArray[np.bool_]] = []
        for _ in range(rng.integers(1, 5)):
            kind = int(rng.integers(1, len(SHAPE_CLASSES)))
            inside = _inside(kind, y, x, size, rng)
            left = [part & ~inside for part in seen]
            if any(2 * part.sum() < shape.sum() for part, shape in zip(left, whole, strict=True)):
                continue
            whole, seen = [*whole, inside], [*left, inside]
            colour = rng.uniform(0, 1, (3, 1))
            while np.abs(colour - ground[:, inside]).max(axis=0).min() < 0.3:
                colour = rng.uniform(0, 1, (3, 1))
            mask[inside] = kind
            image[:, inside] = colour
        image += noise * rng.standard_normal(image.shape, dtype=np.float32)
    return images, masks


def _inside(
    kind: int, y: NDArray[np.float32], x: NDArray[np.float32], size: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which pixels a shape of random place, size and turn covers."""
    radius = rng.uniform(0.12, 0.28) * size
    center_y, center_x = rng.uniform(0.15, 0.85, 2) * size
    turn = rng.uniform(0, 2 * np.pi)
    down, across = y - center_y, x - center_x
    if kind == 1:
        return np.asarray(down**2 + across**2 <= radius**2)
    sides = 4 if kind == 2 else 3
    # A regular polygon is where the distance along each side's normal is at most the inner radius.
    normals = turn + 2 * np.pi * np.arange(sides) / sides
    distance = np.max([np.sin(a) * down + np.cos(a) * across for a in normals], axis=0)
    return np.asarray(distance <= radius * np.cos(np.pi / sides))
