"""Losses: definitions, stability, gradients, bits, labels that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
import gradcheck
from fastconv import _core, ops


def reference_losses(x: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The loss of each row and softmax - one_hot."""
    x = x.astype(np.float64)
    shifted = x - x.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    grad = np.exp(shifted) / total
    losses = np.log(total[:, 0]) - shifted[rows, labels]
    grad[rows, labels] -= 1
    return losses, grad


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (1, 2), (3, 10), (7, 17), (64, 10), (513, 33), (5, 1000)])
def test_cross_entropy(n: int, classes: int, dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    x = (3 * rng.standard_normal((n, classes))).astype(dtype)
    labels = rng.integers(0, classes, n)
    losses, grad = reference_losses(x, labels)
    eps = np.finfo(dtype).eps
    relative = (abs(x).max() + 4) * eps  # of an exponential: x - max is rounded to half an eps of at most 2 max|x|
    for reduction, divisor in (("mean", n), ("sum", 1)):
        loss, got = ops.cross_entropy_with_grad(x, labels, reduction=reduction)
        assert isinstance(loss, float)
        assert loss == ops.cross_entropy(x, labels, reduction=reduction)
        np.testing.assert_allclose(loss, losses.sum() / divisor, rtol=8 * eps, atol=8 * eps * n / divisor)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, grad / divisor, rtol=relative, atol=2 * eps / divisor)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_labels_of_every_integer_type(kind: type, rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((6, 4)), np.array([0, 1, 2, 3, 0, 2])
    expected = ops.cross_entropy(x, labels)
    assert ops.cross_entropy(x, labels.astype(kind)) == expected
    assert ops.cross_entropy(x, np.repeat(labels, 2)[::2]) == expected
    for one_hot in (np.eye(4)[labels], np.eye(4, dtype=np.float32)[labels], np.eye(4, dtype=bool)[labels]):
        assert ops.cross_entropy(x, one_hot) == expected


def test_large_logits_are_stable(dtype: np.dtype) -> None:
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)
    loss, grad = ops.cross_entropy_with_grad(x, np.array([1, 2, 0]), reduction="sum")
    np.testing.assert_allclose(loss, 2e4 + np.log(2) + np.log(3), rtol=np.finfo(dtype).eps)
    np.testing.assert_allclose(grad, [[1, -1, 0], [0, 0.5, -0.5], [-2 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    assert ops.cross_entropy(np.array([[0, -np.inf]], dtype), np.array([1])) == np.inf


@pytest.mark.parametrize("row", [[-np.inf] * 3, [np.nan, 0, 0], [0, 0, np.nan], [np.inf, 0, 0]], ids=str)
def test_what_is_no_number_gives_nan(row: list[float], dtype: np.dtype) -> None:
    x = np.array([[1, 2, 3], row], dtype)
    loss, grad = ops.cross_entropy_with_grad(x, np.array([0, 1]))
    assert np.isnan(loss)
    assert np.isnan(grad[1]).all()
    assert np.isfinite(grad[0]).all()


def test_an_empty_batch_costs_nothing(dtype: np.dtype) -> None:
    loss, grad = ops.cross_entropy_with_grad(np.empty((0, 3), dtype), np.empty(0, np.int64))
    assert loss == 0
    assert grad.shape == (0, 3)
    loss, grad = ops.mse_loss_with_grad(np.empty((0, 3), dtype), np.empty((0, 3), dtype))
    assert loss == 0
    assert grad.shape == (0, 3)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (4095,), (4096,), (4097,), (2, 3, 50, 61), ()], ids=str)
def test_mse_loss(shape: tuple[int, ...], dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    x, t = (np.asarray(rng.integers(-9, 9, shape).astype(dtype)) for _ in range(2))
    difference = x.astype(np.float64) - t
    loss, grad = ops.mse_loss_with_grad(x, t)
    assert loss == ops.mse_loss(x, t)
    np.testing.assert_allclose(loss, np.mean(difference**2), rtol=1e-15)
    np.testing.assert_allclose(grad, 2 * difference / x.size, rtol=2 * np.finfo(dtype).eps)
    assert ops.mse_loss(x, t, reduction="sum") == np.sum(difference**2)


def test_gradients_are_derivatives(rng: np.random.Generator) -> None:
    x, labels, t = rng.standard_normal((5, 4)), rng.integers(0, 4, 5), rng.standard_normal((5, 4))
    one = np.float64(1)
    for reduction in ("mean", "sum"):
        _, grad = ops.cross_entropy_with_grad(x, labels, reduction=reduction)
        gradcheck.assert_gradient(
            lambda v, r=reduction: np.float64(ops.cross_entropy(v, labels, reduction=r)), x, one, grad
        )
        _, grad = ops.mse_loss_with_grad(x, t, reduction=reduction)
        gradcheck.assert_gradient(lambda v, r=reduction: np.float64(ops.mse_loss(v, t, reduction=r)), x, one, grad)


def test_bits_do_not_depend_on_threads_or_the_instruction_set(dtype: np.dtype, rng: np.random.Generator) -> None:
    x, t = rng.standard_normal((2, 997, 211)).astype(dtype)
    labels = rng.integers(0, 211, 997)

    def results() -> tuple[float, bytes, float, bytes]:
        loss, grad = ops.cross_entropy_with_grad(x, labels)
        error, back = ops.mse_loss_with_grad(x, t)
        return loss, grad.tobytes(), error, back.tobytes()

    before, expected = fastconv.isa_active(), results()
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            assert results() == expected
    for name in fastconv.isa_available():
        fastconv.set_isa(name)
        assert results() == expected
    fastconv.set_isa(before)


X = np.zeros((4, 3), np.float32)
LABELS = np.array([0, 2, 1, 0])


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"target": np.array([0, 3, 1, 7])}, ValueError, r"labels must be in \[0, 3\), got 3 at index 1"),
        ({"target": np.array([0, 1, -1, 0])}, ValueError, r"labels must be in \[0, 3\), got -1 at index 2"),
        ({"target": np.array([0, 1, 2**64 - 1, 0], np.uint64)}, ValueError, "got 18446744073709551615 at index 2"),
        ({"target": LABELS.astype(float)}, TypeError, r"labels must be integers, got float64; write target\.astype"),
        ({"target": LABELS > 0}, TypeError, "labels must be integers, got bool"),
        ({"target": LABELS.astype(complex)}, TypeError, "target must hold labels or one-hot rows, got complex128"),
        ({"target": LABELS.astype(object)}, TypeError, "target must hold labels or one-hot rows, got object"),
        ({"target": [0, 1, 2, 0]}, TypeError, "target must be a numpy.ndarray, got .*list"),
        ({"target": None}, TypeError, "target must be a numpy.ndarray"),
        ({"target": np.ma.masked_array(LABELS)}, TypeError, "target must be a numpy.ndarray"),
        ({"target": LABELS[:3]}, ValueError, r"target must have shape \(4,\) \(labels\) or \(4, 3\)"),
        ({"target": np.eye(3)}, ValueError, "target must have shape"),
        (
            {"target": np.eye(4)[:, :3]},
            ValueError,
            r"a single 1 per row and zeros, got \[0\.0, 0\.0, 0\.0\] at index 3",
        ),
        ({"target": np.eye(3)[LABELS] * 0.9}, ValueError, "one-hot target must hold a single 1 .* at index 0"),
        ({"target": np.full((4, 3), np.nan)}, ValueError, "one-hot target"),
        ({"input": X[0]}, ValueError, "input must have 2 dimensions"),
        ({"input": X[:, :0]}, ValueError, r"input must have shape \(N, C\) with C >= 1"),
        ({"input": X.astype(int)}, TypeError, "input must be float32 or float64"),
        ({"reduction": "none"}, ValueError, "reduction must be 'mean' or 'sum', got 'none'"),
        ({"reduction": None}, TypeError, "reduction must be 'mean' or 'sum', got None"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_to_cross_entropy(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    for op in (ops.cross_entropy, ops.cross_entropy_with_grad):
        with pytest.raises(error, match=f"^{op.__name__}: .*{text}"):
            op(**{"input": X, "target": LABELS} | changes)


def test_bad_input_to_mse_loss() -> None:
    with pytest.raises(ValueError, match=r"mse_loss: target must have shape \(4, 3\), got \(3,\)"):
        ops.mse_loss(X, X[0])
    with pytest.raises(TypeError, match="mse_loss: target must be float32 like the other arrays"):
        ops.mse_loss(X, X.astype(np.float64))
    with pytest.raises(ValueError, match="mse_loss_with_grad: reduction must be"):
        ops.mse_loss_with_grad(X, X, reduction="none")


def test_the_native_module_checks_labels_and_memory() -> None:
    losses, grad = np.empty(4, np.float32), np.empty_like(X)
    for bad in ([0, 0, 3, 9], [0, 0, -1, 0]):
        with pytest.raises(
            ValueError, match=rf"softmax_cross_entropy: labels must be in \[0, 3\), got {bad[2]} at index 2"
        ):
            _core.softmax_cross_entropy(X, np.array(bad), losses, grad, 1.0)
    with pytest.raises(TypeError, match="labels must be int64"):
        _core.softmax_cross_entropy(X, LABELS.astype(np.int32), losses, grad, 1.0)
    with pytest.raises(ValueError, match="grad must not share memory with logits"):
        _core.softmax_cross_entropy(grad, LABELS, losses, grad, 1.0)
    with pytest.raises(ValueError, match="losses must have shape"):
        _core.softmax_cross_entropy(X, LABELS, losses[:3], None, 1.0)
    assert _core.pair_loss("squared", X, X + 1, X, 1.0) == 12  # in place: grad may be the input
    assert (X == -2).all()
    X[...] = 0


def test_against_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x, labels = rng.standard_normal((9, 7)), rng.integers(0, 7, 9)
    given = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(given, torch.tensor(labels))
    expected.backward()
    loss, grad = ops.cross_entropy_with_grad(x, labels)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-14)
    np.testing.assert_allclose(grad, given.grad.numpy(), rtol=1e-13, atol=1e-16)
