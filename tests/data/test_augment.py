"""Random shifts against the obvious loop."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.data import Compose, RandomFlip, RandomShift


def test_every_image_is_a_shifted_copy() -> None:
    images = np.random.default_rng(1).random((40, 2, 5, 4), np.float32)
    shifted = RandomShift(1, fill=-1)(images, np.random.default_rng(2))
    assert shifted.shape == images.shape
    assert shifted.dtype == images.dtype
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    seen = set()
    for image, result in zip(padded, shifted, strict=True):
        (where,) = [
            (t, s) for t in range(3) for s in range(3) if np.array_equal(image[:, t : t + 5, s : s + 4], result)
        ]
        seen.add(where)
    assert len(seen) == 9


def test_each_direction_has_its_own_limit() -> None:
    images = np.zeros((50, 1, 3, 5), np.uint8)
    images[:, :, 1, 2] = 1
    shifted = RandomShift((0, 2))(images, np.random.default_rng(0))
    assert set(np.argwhere(shifted)[:, 2]) == {1}
    assert set(np.argwhere(shifted)[:, 3]) == {0, 1, 2, 3, 4}


def test_shift_by_nothing_is_a_copy() -> None:
    images = np.ones((2, 1, 3, 3), np.float32)
    shifted = RandomShift(0)(images, np.random.default_rng(0))
    np.testing.assert_array_equal(shifted, images)
    assert not np.shares_memory(shifted, images)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="pixels must be at least 0"):
        RandomShift((0, -1))
    with pytest.raises(ValueError, match="N, C, H, W"):
        RandomShift(1)(np.zeros((3, 3)), np.random.default_rng(0))


def test_flip_mirrors_some_images(rng: np.random.Generator) -> None:
    images = rng.standard_normal((200, 2, 3, 5))
    result = RandomFlip()(images, np.random.default_rng(0))
    same = np.array([np.array_equal(a, b) for a, b in zip(images, result, strict=True)])
    mirrored = np.array([np.array_equal(a[:, :, ::-1], b) for a, b in zip(images, result, strict=True)])
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130
    assert np.array_equal(RandomFlip(0.0)(images, rng), images)
    assert np.array_equal(RandomFlip(1.0)(images, rng), images[:, :, :, ::-1])
    with pytest.raises(ValueError, match="probability must lie in 0..1, got 2"):
        RandomFlip(2)
    with pytest.raises(ValueError, match="images must have shape"):
        RandomFlip()(images[0], rng)


def test_compose_applies_in_order(rng: np.random.Generator) -> None:
    images = rng.standard_normal((4, 1, 3, 3))
    both = Compose(lambda x, _: x + 1, lambda x, _: x * 2)
    assert np.array_equal(both(images, rng), (images + 1) * 2)
    with pytest.raises(TypeError, match="transforms must be callable, got 3"):
        Compose(3)  # type: ignore[arg-type]
