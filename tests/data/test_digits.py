"""The embedded digits are the ones of the source, and the held-out fifth never changes."""

from __future__ import annotations

import hashlib

import numpy as np

from fastconv.data import load_digits


def test_shapes_types_and_values() -> None:
    (x_train, y_train), (x_test, y_test) = load_digits()
    assert x_train.shape == (1438, 1, 8, 8)
    assert x_test.shape == (359, 1, 8, 8)
    assert (y_train.shape, y_test.shape) == ((1438,), (359,))
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int64
    assert (x_train.min(), x_train.max()) == (0, 16)
    counts = np.bincount(np.concatenate([y_train, y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the source states them


def test_the_held_out_fifth_is_fixed() -> None:
    _, (x_test, y_test) = load_digits()
    digest = hashlib.sha256(x_test.tobytes() + y_test.astype("<i8").tobytes()).hexdigest()
    assert digest == "2f4f71bedd2e8ff704046d470752fa140d25bb6374ee5d94e2c9d3c3fdf3c76f"


def test_no_image_is_in_both_parts() -> None:
    (x_train, _), (x_test, _) = load_digits()
    assert not {image.tobytes() for image in x_train} & {image.tobytes() for image in x_test}


def test_images_and_labels_belong_together() -> None:
    """A classifier by the nearest class mean reaches what it reaches on the source's data (about 90 %)."""
    (x_train, y_train), (x_test, y_test) = load_digits()
    means = np.stack([x_train[y_train == digit].mean(axis=0).ravel() for digit in range(10)])
    distance = ((x_test.reshape(-1, 1, 64) - means) ** 2).sum(axis=2)
    assert np.mean(distance.argmin(axis=1) == y_test) > 0.88
