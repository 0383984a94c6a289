"""Losses against their formulas, their gradients against differences, and the targets that they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import losses
from fastconv.losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from gradcheck import assert_gradient


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return float(-np.take_along_axis(log_p, np.expand_dims(labels, 1), 1).mean())


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (7, 1000), (2, 4, 3, 5)])
def test_cross_entropy(shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> None:
    logits = (5 * rng.normal(size=shape)).astype(dtype)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    loss, grad = SoftmaxCrossEntropy().with_grad(logits, labels)
    expected = _cross_entropy(logits, labels)
    assert loss == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-13, abs=1e-12)
    assert SoftmaxCrossEntropy()(logits, labels) == loss
    assert grad.shape == logits.shape
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad.sum(1), 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2, 2)])
def test_gradient_of_cross_entropy(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    loss, logits = SoftmaxCrossEntropy(), rng.normal(size=shape)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    _, grad = loss.with_grad(logits, labels)
    assert_gradient(lambda at: np.array(loss(at, labels)), logits, np.array(1.0), grad)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_every_integer_type_is_a_label(kind: type, rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(6, 3)), rng.integers(0, 3, 6)
    expected = SoftmaxCrossEntropy()(logits, labels)
    assert SoftmaxCrossEntropy()(logits, labels.astype(kind)) == expected
    assert SoftmaxCrossEntropy()(logits, labels.astype(kind)[:, np.newaxis]) == expected
    assert SoftmaxCrossEntropy()(logits, np.repeat(labels, 2).astype(kind)[::2]) == expected


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_one_hot_equals_labels(kind: type, rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(6, 3)), rng.integers(0, 3, 6)
    one_hot = np.eye(3, dtype=kind)[labels]
    assert SoftmaxCrossEntropy()(logits, one_hot) == SoftmaxCrossEntropy()(logits, labels)


def test_one_hot_images_equal_labels(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    one_hot = np.moveaxis(np.eye(3)[labels], -1, 1)
    assert SoftmaxCrossEntropy()(logits, one_hot) == SoftmaxCrossEntropy()(logits, labels)


def test_cross_entropy_is_stable() -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    assert SoftmaxCrossEntropy()(logits, np.array([0, 1])) == 0
    assert SoftmaxCrossEntropy()(logits, np.array([1, 0])) == 2e4


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3, 5)])
def test_mean_squared_error(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    output, target = rng.normal(size=shape), rng.normal(size=shape)
    loss, grad = MeanSquaredError().with_grad(output, target)
    assert loss == pytest.approx(np.mean((output - target) ** 2), rel=1e-13)
    np.testing.assert_allclose(grad, 2 * (output - target) / output.size, rtol=1e-12)
    assert_gradient(lambda at: np.array(MeanSquaredError()(at, target)), output, np.array(1.0), grad)


def test_no_sample_at_all() -> None:
    output = np.zeros((0, 3), np.float32)
    assert SoftmaxCrossEntropy()(output, np.zeros(0, np.int64)) == 0
    assert MeanSquaredError()(output, output) == 0


_LOGITS = np.zeros((4, 3), np.float32)


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (np.array([0.0, 1.0, 2.0, 0.0]), TypeError, "cross_entropy: labels must be integers, got float64"),
        (np.array([True, False, True, False]), TypeError, "cross_entropy: labels must be integers, got bool"),
        (np.array([0, 1, 3, -1]), ValueError, r"3.*2|2.*3"),
        (np.array([0, -1, 1, 1]), ValueError, "-1"),
        (
            np.array([0, 1, 2]),
            ValueError,
            r"target must have shape \(4,\) \(labels\) or \(4, 3\) \(one-hot\), got \(3,\)",
        ),
        (np.zeros((4, 3)), ValueError, r"must hold one 1 and otherwise 0, got \[0.0, 0.0, 0.0\] at index 0"),
        (np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]]), ValueError, r"got \[1, 1, 0\] at index 2"),
        (np.array([[0, 1, 0], [0, 0.5, 0.5], [0, 1, 0], [1, 0, 0]]), ValueError, r"got \[0.0, 0.5, 0.5\] at index 1"),
        (np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, np.nan]]), ValueError, r"at index 3"),
        (np.array(["a", "b", "c", "d"]), TypeError, "target must hold numbers, got <U1"),
        ([0, 1, 2, 0], TypeError, r"target must be a numpy.ndarray, got \[0, 1, 2, 0\] \(list\)"),
        (np.ma.array([0, 1, 2, 0]), TypeError, "target must be a numpy.ndarray, got MaskedArray"),
        (None, TypeError, "target must be a numpy.ndarray, got None"),
    ],
)
def test_bad_targets_are_refused(target: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        SoftmaxCrossEntropy()(_LOGITS, target)


def test_bad_targets_of_mean_squared_error_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mse: target must have the output's shape \(4, 3\), got \(4,\)"):
        MeanSquaredError()(_LOGITS, np.zeros(4))
    with pytest.raises(TypeError, match="mse: target must hold numbers, got complex128"):
        MeanSquaredError()(_LOGITS, np.zeros((4, 3), complex))
    with pytest.raises(TypeError, match="mse: output must be float32 or float64"):
        MeanSquaredError()(_LOGITS.astype(int), _LOGITS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", SoftmaxCrossEntropy),
        ("categorical_crossentropy", SoftmaxCrossEntropy),
        ("sparse_categorical_crossentropy", SoftmaxCrossEntropy),
        ("mse", MeanSquaredError),
        ("mean_squared_error", MeanSquaredError),
    ],
)
def test_get_knows_names(name: str, expected: type[Loss]) -> None:
    assert type(losses.get(name)) is expected
    made = expected()
    assert losses.get(made) is made


def test_get_refuses_others() -> None:
    with pytest.raises(ValueError, match="losses.get: loss must be a Loss or one of 'cross_entropy', .*, got 'hinge'"):
        losses.get("hinge")
    with pytest.raises(TypeError, match="losses.get"):
        losses.get(3)


def test_cross_entropy_agrees_with_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    logits, labels = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(x, torch.tensor(labels))
    expected.backward()
    loss, grad = SoftmaxCrossEntropy().with_grad(logits, labels)
    assert loss == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(grad, x.grad.numpy(), rtol=1e-12, atol=1e-15)
