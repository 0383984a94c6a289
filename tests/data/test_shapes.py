"""Made-up pictures with masks, and the photograph."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.data import SHAPE_CLASSES, load_photograph, make_shapes


def test_masks_say_where_the_shapes_are() -> None:
    images, masks = make_shapes(40, 32, noise=0.0)
    assert images.shape == (40, 3, 32, 32)
    assert images.dtype == np.float32
    assert masks.shape == (40, 32, 32)
    assert set(np.unique(masks)) == set(range(len(SHAPE_CLASSES)))
    assert (masks > 0).any(axis=(1, 2)).all()
    # Without noise the ground changes slowly: every jump in colour is an edge of a shape.
    jump = np.abs(np.diff(images, axis=3)).max(axis=1) > 0.05
    assert jump.any()
    covered = masks > 0
    assert not (jump & ~covered[:, :, 1:] & ~covered[:, :, :-1]).any()


def test_seed_and_noise() -> None:
    first, again, other = (make_shapes(2, 32, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    quiet = make_shapes(1, 32, noise=0.0)[0]
    assert quiet.min() >= -0.5
    assert quiet.max() <= 1.5


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="size at least 16, got 1, 8"):
        make_shapes(1, 8)
    assert make_shapes(0)[0].shape == (0, 3, 64, 64)


def test_photograph() -> None:
    photo = load_photograph()
    assert photo.shape == (3, 128, 192)
    assert photo.dtype == np.uint8
    assert photo.std() > 20
