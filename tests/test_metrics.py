"""Metrics against counts done by hand, and the weighted mean over uneven batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastconv import metrics

OUTPUT = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]], np.float32)


def test_accuracy_of_labels_and_one_hot_rows() -> None:
    labels = np.array([1, 0, 0, 1])
    assert metrics.accuracy(OUTPUT, labels) == 0.5  # the tie of the last row goes to the first class
    assert metrics.accuracy(OUTPUT, np.eye(3)[labels]) == 0.5
    assert metrics.accuracy(OUTPUT, labels.astype(np.uint8)) == 0.5


def test_top_k_accuracy() -> None:
    labels = np.array([2, 1, 0, 1])
    assert [metrics.top_k_accuracy(OUTPUT, labels, k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.3"):
        metrics.top_k_accuracy(OUTPUT, labels)


def test_mean_absolute_error() -> None:
    assert metrics.mean_absolute_error(np.array([1.0, 2.0]), np.array([2.0, 0.0])) == 1.5
    with pytest.raises(ValueError, match="output's shape"):
        metrics.mean_absolute_error(np.zeros(2), np.zeros((2, 1)))


def test_no_samples_have_no_mean() -> None:
    assert math.isnan(metrics.accuracy(np.zeros((0, 3)), np.zeros(0, np.int64)))


def test_accuracy_refuses_other_shapes_and_types() -> None:
    with pytest.raises(ValueError, match=r"target must have shape \(4,\) or \(4, 3\), got \(3,\)"):
        metrics.accuracy(OUTPUT, np.zeros(3, int))
    with pytest.raises(TypeError, match="float64"):
        metrics.accuracy(OUTPUT, np.zeros(4))
    with pytest.raises(ValueError, match=r"shape \(N, C\)"):
        metrics.accuracy(OUTPUT[0], np.zeros(3, int))


def test_confusion_matrix() -> None:
    matrix = metrics.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), classes=4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert metrics.confusion_matrix(np.array([1]), np.array([2])).shape == (3, 3)


@pytest.mark.parametrize(
    ("target", "prediction", "text"),
    [
        ([0, 5], [0, 0], r"0\.\.2, got 0\.\.5"),
        ([0, -1], [0, 0], "got -1"),
        ([0], [0, 0], "1 targets"),
        ([0.0], [0], "float64"),
    ],
)
def test_confusion_matrix_refuses(target, prediction, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        metrics.confusion_matrix(np.array(target), np.array(prediction), classes=3)


def test_weighted_mean_equals_the_mean_over_samples() -> None:
    mean = metrics.WeightedMean()
    mean.add({"loss": 1.0, "accuracy": 0.5}, 4)
    mean.add({"loss": 4.0, "accuracy": 1.0}, 2)
    mean.add({"loss": float("nan")}, 0)
    assert mean.result() == {"loss": 2.0, "accuracy": pytest.approx(2 / 3)}
    again = metrics.WeightedMean()
    again.restore(mean.state())
    assert again.result() == mean.result()
    mean.reset()
    assert mean.result() == {}


def test_get() -> None:
    assert metrics.get("acc") is metrics.get("accuracy") is metrics.accuracy
    assert metrics.get(metrics.accuracy) is metrics.accuracy
    with pytest.raises(ValueError, match="accuracy, top_k_accuracy, mean_absolute_error, got 'f1'"):
        metrics.get("f1")


def test_accuracy_of_pixels(rng: np.random.Generator) -> None:
    scores, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(3, size=(2, 4, 5))
    right = np.mean(scores.argmax(axis=1) == labels)
    assert metrics.accuracy(scores, labels) == right
    assert metrics.accuracy(scores, np.moveaxis(np.eye(3)[labels], -1, 1)) == right
    assert np.isnan(metrics.accuracy(scores[:0], labels[:0]))
    with pytest.raises(ValueError, match=r"target must have shape \(2, 4, 5\) or \(2, 3, 4, 5\), got \(2, 5, 4\)"):
        metrics.accuracy(scores, labels.transpose(0, 2, 1))
