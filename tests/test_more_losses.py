"""Cross entropy's options, binary cross entropy, L1, Huber, Gram and total variation: formulas, gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import losses, ops
from fastconv.losses import (
    L1,
    BinaryCrossEntropy,
    GramLoss,
    Huber,
    Loss,
    SoftmaxCrossEntropy,
    TotalVariation,
    gram_matrix,
)
from fastconv.nn import Conv2d, Flatten, Linear, Sequential, Sigmoid
from gradcheck import assert_gradient

OPTIONS: list[dict[str, Any]] = [
    {"label_smoothing": 0.1},
    {"ignore_index": 2},
    {"ignore_index": -100},
    {"weight": np.array([0.5, 2.0, 0.0, 1.0])},
    {"weight": np.array([0.5, 2.0, 3.0, 1.0]), "label_smoothing": 0.3, "ignore_index": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(7, 4), (3, 4, 2, 5)])
def test_options_of_cross_entropy(shape: tuple[int, ...], options: dict[str, Any], rng: np.random.Generator) -> None:
    logits, labels = 3 * rng.normal(size=shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    if options.get("ignore_index") == -100:
        labels[0] = -100
    loss = SoftmaxCrossEntropy(**options)
    value, grad = loss.with_grad(logits, labels)
    assert_gradient(lambda at: np.array(loss(at, labels)), logits, np.array(1.0), grad)
    torch = pytest.importorskip("torch")
    x = torch.tensor(logits, requires_grad=True)
    given = dict(options)
    if "weight" in given:
        given["weight"] = torch.tensor(given["weight"])
    expected = torch.nn.functional.cross_entropy(x, torch.tensor(labels), **given)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(grad, x.grad.numpy(), rtol=1e-11, atol=1e-14)
    if len(shape) == 2:
        got, back = ops.cross_entropy_with_grad(logits, labels, **options)
        assert got == pytest.approx(value, rel=1e-14)
        np.testing.assert_array_equal(back, grad)
        assert ops.cross_entropy(logits, labels, **options) == got


def test_all_labels_ignored(dtype: np.dtype) -> None:
    value, grad = SoftmaxCrossEntropy(ignore_index=1).with_grad(np.ones((3, 2), dtype), np.array([1, 1, 1]))
    assert value == 0
    assert not grad.any()


PAIRS: dict[str, tuple[Loss, str, dict[str, Any]]] = {
    "l1": (L1(), "l1_loss", {}),
    "huber": (Huber(), "huber_loss", {}),
    "huber_small": (Huber(0.3), "huber_loss", {"delta": 0.3}),
    "logits": (BinaryCrossEntropy(), "binary_cross_entropy_with_logits", {}),
    "probabilities": (BinaryCrossEntropy(from_logits=False), "binary_cross_entropy", {}),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (2, 3, 4, 5), (4099, 2), (0, 3)])
def test_pairs(name: str, shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> None:
    loss, function, options = PAIRS[name]
    x, t = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    if name in ("logits", "probabilities"):
        t = rng.uniform(0, 1, shape).astype(dtype)
    if name == "probabilities":
        x = rng.uniform(0.2, 0.8, shape).astype(dtype)
    value, grad = loss.with_grad(x, t)
    got, back = getattr(ops, function + "_with_grad")(x, t, **options)
    assert got == pytest.approx(value, rel=1e-12)
    np.testing.assert_array_equal(back, grad)
    assert getattr(ops, function)(x, t, **options) == got
    if x.size == 0:
        assert value == 0
        return
    if dtype == np.float64 and x.size < 200:
        assert_gradient(lambda at: np.array(loss(at, t)), x, np.array(1.0), grad)
    torch = pytest.importorskip("torch")
    at = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, function)(at, torch.tensor(t), **options)
    expected.backward()
    eps = float(np.finfo(dtype).eps)
    assert value == pytest.approx(expected.item(), rel=20 * eps)
    np.testing.assert_allclose(grad, at.grad.numpy(), rtol=20 * eps, atol=4 * eps / x.size)


def test_extremes_of_binary_cross_entropy(dtype: np.dtype) -> None:
    x = np.array([[1e4, -1e4, 1e4, -1e4]], dtype)
    t = np.array([[1, 0, 0, 1]], dtype)
    value, grad = ops.binary_cross_entropy_with_logits_with_grad(x, t, reduction="sum")
    assert value == 2e4
    np.testing.assert_array_equal(grad, [[0, 0, 1, -1]])
    p = np.array([[0, 1, 1, 0]], dtype)
    assert ops.binary_cross_entropy(p, 1 - p) == 100
    assert ops.binary_cross_entropy(p, p) == 0
    assert np.isnan(BinaryCrossEntropy()(np.array([[np.nan, 0]], dtype), np.zeros((1, 2))))


def test_a_model_that_ends_in_sigmoid_trains_on_its_logits(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(6, 1, 4, 4)), rng.integers(0, 2, 6)
    body = [Conv2d(1, 2, 3, seed=1), Flatten(), Linear(None, 1, seed=2)]
    model = Sequential(*body, Sigmoid(), input_shape=(1, 4, 4), dtype="float64")
    model.compile("sgd", "binary_crossentropy")
    p = model.predict_on_batch(x)
    assert ((p > 0) & (p < 1)).all()
    expected = -(y * np.log(p[:, 0]) + (1 - y) * np.log(1 - p[:, 0])).mean()
    assert model.test_on_batch(x, y)["loss"] == pytest.approx(expected, rel=1e-12)
    for _ in range(40):
        last = model.train_on_batch(x, y)["loss"]
    assert last < expected
    own = Sequential(Flatten(), Linear(None, 1, activation="sigmoid"), input_shape=(1, 4, 4))
    own.compile("sgd", "binary_cross_entropy")
    with pytest.raises(ValueError, match=r"takes the values before a sigmoid, and linear applies it itself; write Sig"):
        own.train_on_batch(x, y)
    own.compile("sgd", BinaryCrossEntropy(from_logits=False))
    assert np.isfinite(own.train_on_batch(x, y)["loss"])


def test_gram(dtype: np.dtype, rng: np.random.Generator) -> None:
    f, style = rng.normal(size=(2, 3, 4, 5)).astype(dtype), rng.normal(size=(2, 3, 4, 5)).astype(dtype)
    flat = f.astype(np.float64).reshape(2, 3, 20)
    np.testing.assert_allclose(gram_matrix(f), flat @ flat.swapaxes(1, 2) / 20, rtol=1e-4, atol=1e-6)
    wanted = style.astype(np.float64).reshape(2, 3, 20)
    # Gatys et al., equation 4, with sums over the pixels
    difference = flat @ flat.swapaxes(1, 2) - wanted @ wanted.swapaxes(1, 2)
    expected = (difference**2).sum((1, 2)).mean() / (4 * 3**2 * 20**2)
    value, grad = GramLoss().with_grad(f, style)
    assert value == pytest.approx(expected, rel=1e-4)
    assert GramLoss()(f, gram_matrix(style)) == pytest.approx(value, rel=1e-5)
    if dtype == np.float64:
        assert_gradient(lambda at: np.array(GramLoss()(at, style)), f, np.array(1.0), grad)


def test_total_variation(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    value, grad = TotalVariation().with_grad(x, np.zeros(2))
    assert value == pytest.approx((abs(np.diff(x, axis=2)).sum() + abs(np.diff(x, axis=3)).sum()) / x.size, rel=1e-13)
    assert_gradient(lambda at: np.array(TotalVariation()(at, np.zeros(2))), x, np.array(1.0), grad)
    assert TotalVariation()(np.ones((1, 2, 1, 1)), np.zeros(1)) == 0


@pytest.mark.parametrize("name", ["gram", "total_variation", "l1", "huber"])
def test_inside_a_model(name: str, rng: np.random.Generator) -> None:
    """The engine's gradient is the one that the loss alone gives."""
    x = rng.normal(size=(2, 3, 6, 5))
    model = Sequential(Conv2d(3, 4, 3), input_shape=(3, 6, 5), dtype="float64")
    model.compile("sgd", name)
    target = np.zeros((2, 4, 4)) if name == "gram" else rng.normal(size=(2, 4, 4, 3))
    output = model.predict_on_batch(x)
    value, grad = losses.get(name).with_grad(output, target)
    conv = model.layers["conv2d_1"]
    assert model.train_on_batch(x, target)["loss"] == pytest.approx(value, rel=1e-12)
    expected = ops.conv2d_backward_weight(x, conv.weight.shape, grad)
    np.testing.assert_allclose(conv.weight.grad, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("binary_crossentropy", BinaryCrossEntropy),
        ("binary_cross_entropy", BinaryCrossEntropy),
        ("mae", L1),
        ("l1", L1),
        ("mean_absolute_error", L1),
        ("huber", Huber),
        ("gram", GramLoss),
        ("total_variation", TotalVariation),
    ],
)
def test_names(name: str, kind: type[Loss]) -> None:
    assert type(losses.get(name)) is kind


X = np.full((2, 3), 0.5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: SoftmaxCrossEntropy(label_smoothing=1), ValueError, r"label_smoothing must lie in \[0, 1\), got 1"),
        (lambda: SoftmaxCrossEntropy(weight=np.array([-1.0])), ValueError, "weight must be finite, at least 0"),
        (lambda: SoftmaxCrossEntropy(ignore_index=1.5), TypeError, "ignore_index must be an integer"),
        (lambda: SoftmaxCrossEntropy(np.ones(2))(X, np.array([0, 1])), ValueError, r"weight must have shape \(3,\)"),
        (
            lambda: SoftmaxCrossEntropy(ignore_index=-1)(X, np.array([-1, 3])),
            ValueError,
            r"labels must be in \[0, 3\) or ignore_index=-1, got 3 at index 1",
        ),
        (
            lambda: ops.cross_entropy(X, np.array([-1, -2]), ignore_index=-1),
            ValueError,
            r"cross_entropy: labels must be in \[0, 3\) or ignore_index=-1, got -2 at index 1",
        ),
        (lambda: ops.cross_entropy(X, np.array([-1, 0])), ValueError, "got -1 at index 0"),
        (lambda: ops.cross_entropy(X, np.array([0, 0]), weight=np.ones(2)), ValueError, "weight must have shape"),
        (lambda: BinaryCrossEntropy()(X, X + 1), ValueError, r"target must lie in \[0, 1\], got 1.5 at index \(0, 0\)"),
        (lambda: BinaryCrossEntropy(1), TypeError, "from_logits must be True or False"),
        (lambda: ops.binary_cross_entropy(X + 1, X), ValueError, "binary_cross_entropy: input must lie in"),
        (lambda: ops.l1_loss(X, X[0]), ValueError, r"l1_loss: target must have shape \(2, 3\), got \(3,\)"),
        (lambda: ops.huber_loss(X, X, delta=0), ValueError, "huber_loss: delta must be finite and above 0, got 0"),
        (lambda: Huber("1"), TypeError, "huber: delta must be a number"),
        (lambda: L1()(X, X[0]), ValueError, "l1: target must have the output's shape"),
        (lambda: GramLoss()(X, X), ValueError, r"gram: output must be \(N, C, H, W\), got shape \(2, 3\)"),
        (lambda: GramLoss()(np.ones((1, 2, 3, 3)), X), ValueError, "gram: target must have shape"),
        (lambda: TotalVariation()(X, X), ValueError, "total_variation: output must be"),
        (lambda: gram_matrix(X), ValueError, "gram_matrix: features must have 4 dimensions"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
