"""What a training step needs besides layers: losses, optimisers, addition, dropout; against fastconv.ops in float64."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv.ops as ops
from fastconv import cuda

SIZES = [1, 5, 1024, 2053]  # a thread has four elements, a block 1024


def bits(a: np.ndarray) -> np.ndarray:
    return a.view(np.uint32)


# Cross entropy

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"ignore_index": 1},
    {"label_smoothing": 0.1, "weight": True},
    {"label_smoothing": 0.2, "weight": True, "ignore_index": -100},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (9, 33), (300, 3)], ids=str)
def test_cross_entropy(
    emulated: ModuleType, rng: np.random.Generator, shape: tuple[int, int], options: dict[str, Any]
) -> None:
    x = (8 * rng.standard_normal(shape)).astype(np.float32)
    labels = rng.integers(0, shape[1], shape[0])
    options = dict(options)
    if options.get("ignore_index") == -100:
        labels[::3] = -100
    weight = rng.random(shape[1]).astype(np.float32) if options.pop("weight", False) else None
    wide = None if weight is None else weight.astype(np.float64)
    loss, grad = ops.cross_entropy_with_grad(x.astype(np.float64), labels, weight=wide, **options)
    for dtype in (np.int64, np.int32):
        got = np.full_like(x, np.nan)
        work, out = np.full(shape[0] + 1, np.nan, np.float32), np.full((), np.nan, np.float32)
        y = cuda.cross_entropy(x, labels.astype(dtype), weight=weight, **options, grad=got, workspace=work, out=out)
        assert y is out
        np.testing.assert_allclose(y, loss, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(got, grad, rtol=1e-5, atol=1e-7)
        again = cuda.cross_entropy(x, labels.astype(dtype), weight=weight, **options)
        assert again.tobytes() == y.tobytes()


def test_cross_entropy_in_every_order_of_threads(any_mode: ModuleType, rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((20, 40)).astype(np.float32), rng.integers(0, 40, 20)
    grad = np.empty_like(x)
    y = cuda.cross_entropy(x, labels, ignore_index=3, grad=grad)
    loss, truth = ops.cross_entropy_with_grad(x.astype(np.float64), labels, ignore_index=3)
    np.testing.assert_allclose(y, loss, rtol=1e-6)
    np.testing.assert_allclose(grad, truth, rtol=1e-5, atol=1e-8)


def test_cross_entropy_of_what_is_large_wrong_or_not_there(emulated: ModuleType) -> None:
    x = np.array([[1e30, -1e30], [5, 5], [0, np.inf], [np.nan, 0]], np.float32)
    grad = np.empty_like(x)
    work = np.empty(5, np.float32)
    cuda.cross_entropy(x, np.array([0, 1, 0, 1]), reduction="sum", grad=grad, workspace=work)
    np.testing.assert_allclose(work[:2], [0, np.log(2)], rtol=1e-6)
    assert np.isnan(work[2:4]).all()
    assert np.isfinite(grad[:2]).all()
    assert np.isnan(grad[2:]).all()
    # A label that is no class cannot be reported without waiting: NaN, in its row alone.
    y = cuda.cross_entropy(x[:2], np.array([2, 1]), grad=grad[:2])
    assert np.isnan(y)
    assert np.isnan(grad[0]).all()
    np.testing.assert_allclose(grad[1], [0.25, -0.25])
    assert cuda.cross_entropy(x[:0], np.zeros(0, np.int64)) == 0


def test_cross_entropy_errors(emulated: ModuleType) -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="cross_entropy: target must be int32 or int64 labels, got uint8"):
        cuda.cross_entropy(x, np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match=r"cross_entropy: target must have shape \(2,\)"):
        cuda.cross_entropy(x, np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="cross_entropy: reduction must be"):
        cuda.cross_entropy(x, np.zeros(2, np.int64), reduction="none")
    with pytest.raises(ValueError, match="cross_entropy: grad must not overlap input"):
        cuda.cross_entropy(x, np.zeros(2, np.int64), grad=x)
    with pytest.raises(ValueError, match=r"cross_entropy: input must have shape \(N, C\) with C >= 1"):
        cuda.cross_entropy(x[:, :0].copy(), np.zeros(2, np.int64))


# Optimisers

STEPS: list[tuple[str, int, dict[str, Any]]] = [
    ("sgd_step", 0, {}),
    ("sgd_step", 1, {"momentum": 0.9, "weight_decay": 0.01}),
    ("sgd_step", 1, {"momentum": 0.9, "nesterov": True, "dampening": 0.1}),
    ("rmsprop_step", 1, {}),
    ("rmsprop_step", 3, {"momentum": 0.8, "eps_inside_root": False, "weight_decay": 0.02}),
    ("adam_step", 2, {"weight_decay": 0.01}),
    ("adam_step", 2, {"weight_decay": 0.01, "decoupled": True}),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "states", "options"), STEPS, ids=str)
def test_optimisers(
    emulated: ModuleType, rng: np.random.Generator, name: str, states: int, options: dict[str, Any], size: int
) -> None:
    """Three steps, with the learning rate from the host and from the device."""
    start = rng.standard_normal(size).astype(np.float32)
    here, there, truth = start.copy(), start.copy(), start.astype(np.float64)
    state = [[np.zeros(size, dtype) for _ in range(states)] for dtype in (np.float32, np.float32, np.float64)]
    rate, count, factors = np.zeros(1, np.float32), np.zeros(1, np.int64), np.full(3, np.nan, np.float32)
    gpu_step, cpu_step = getattr(cuda, name), getattr(ops, name)
    for step in range(1, 4):
        grad = rng.standard_normal(size).astype(np.float32)
        lr = 0.125 / step  # exact in float32
        rate[0] = lr
        if name == "adam_step":
            decay = {key: options[key] for key in ("weight_decay", "decoupled") if key in options}
            cuda.adam_factors(count, factors, lr=rate, **decay)
            assert count[0] == step
            changing: dict[str, Any] = {"factors": factors}
            numbers: dict[str, Any] = {"step": step}
        else:
            changing, numbers = {"lr": rate}, {}
        gpu_step(here, grad, *state[0], lr=lr, **numbers, **options)
        gpu_step(there, grad, *state[1], **changing, **options)
        cpu_step(truth, grad.astype(np.float64), *state[2], lr=lr, **numbers, **options)
    np.testing.assert_allclose(here, truth, rtol=3e-5, atol=3e-6)
    np.testing.assert_array_equal(bits(here), bits(there))
    for mine, true in zip(state[0], state[2], strict=True):
        np.testing.assert_allclose(mine, true, rtol=3e-5, atol=3e-6)


def test_a_parameter_in_any_memory_order(emulated: ModuleType, rng: np.random.Generator) -> None:
    """Weights may lie as (O, KH, KW, C); gradients and state must lie as they do."""
    memory = rng.standard_normal((4, 3, 3, 2)).astype(np.float32)
    param, grad = memory.transpose(0, 3, 1, 2), np.ones((4, 3, 3, 2), np.float32).transpose(0, 3, 1, 2)
    before = memory.copy()
    cuda.sgd_step(param, grad, lr=0.5)
    np.testing.assert_array_equal(memory, before - np.float32(0.5))
    with pytest.raises(ValueError, match="sgd_step: grad must lie in memory as param does"):
        cuda.sgd_step(param, np.ones(param.shape, np.float32), lr=0.5)
    with pytest.raises(ValueError, match="sgd_step: param must fill its memory without gaps"):
        cuda.sgd_step(memory[..., :1], grad, lr=0.5)


def test_optimiser_errors(emulated: ModuleType) -> None:
    p, g = np.zeros(4, np.float32), np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="sgd_step: velocity must be an array where momentum is used"):
        cuda.sgd_step(p, g, lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="sgd_step: param must not overlap grad"):
        cuda.sgd_step(p, p, lr=0.1)
    with pytest.raises(ValueError, match="sgd_step: lr must be finite"):
        cuda.sgd_step(p, g, lr=float("nan"))
    with pytest.raises(ValueError, match="adam_step: step must be >= 1, got 0"):
        cuda.adam_step(p, g, p.copy(), p.copy(), step=0)
    with pytest.raises(ValueError, match=r"adam_step: factors must have shape \(3,\)"):
        cuda.adam_step(p, g, p.copy(), p.copy(), factors=np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="sgd_step: lr must have 1 elements"):
        cuda.sgd_step(p, g, lr=np.zeros(2, np.float32))


# Element by element


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_add_and_relu_backward(emulated: ModuleType, rng: np.random.Generator, size: int, shift: int) -> None:
    a, b = (rng.standard_normal(size + shift).astype(np.float32)[shift:] for _ in range(2))
    np.testing.assert_array_equal(cuda.add(a, b), a + b)
    b[::3] = np.nan
    b[1::5] = 0
    np.testing.assert_array_equal(cuda.relu_backward_output(a, b), ops.relu_backward(a, b))
    c = a.copy()
    assert cuda.add(c, c, out=c) is c
    np.testing.assert_array_equal(c, a + a)


def test_results_lie_in_memory_as_the_input_does(emulated: ModuleType, rng: np.random.Generator) -> None:
    a = rng.standard_normal((2, 4, 5, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    for y, truth in ((cuda.add(a, a), a + a), (cuda.relu(a), np.maximum(a, 0))):
        assert y.strides == a.strides
        np.testing.assert_array_equal(y, truth)
    with pytest.raises(ValueError, match="add: other must lie in memory as input does"):
        cuda.add(a, np.ascontiguousarray(a))


def philox(key: int, low: int, high: int) -> list[int]:
    """By the paper."""
    mask = 0xFFFFFFFF
    k, c = [key & mask, key >> 32], [low & mask, low >> 32, high & mask, high >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def test_the_reference_of_dropout_gives_the_published_numbers() -> None:
    """The known answer for key and counter 0 that comes with the authors' library."""
    assert philox(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("size", SIZES)
def test_dropout(emulated: ModuleType, size: int) -> None:
    seed, offset, p = 2**63 + 12345, 2**40 + 7, 0.3
    x = np.arange(1, size + 1, dtype=np.float32)
    counter = np.array([5], np.int64)
    y = cuda.dropout(x, p, seed=seed, offset=offset, counter=counter)
    numbers = [philox(seed, i // 4, offset + 5)[i % 4] for i in range(size)]
    kept = np.array(numbers, np.uint64) < np.uint64((1 - p) * 2**32)
    np.testing.assert_array_equal(y, x * np.where(kept, np.float32(1 / (1 - p)), np.float32(0)))
    np.testing.assert_array_equal(y, cuda.dropout(x, p, seed=seed, offset=offset + 5))
    if size > 1000:
        assert abs(kept.mean() - 0.7) < 0.05
        assert (cuda.dropout(x, p, seed=seed, offset=offset) != y).any()


def test_dropout_at_the_ends(emulated: ModuleType) -> None:
    x = np.array([1, np.nan, np.inf, -2], np.float32)
    np.testing.assert_array_equal(cuda.dropout(x, 0.0, seed=1), x)
    assert np.isnan(cuda.dropout(x, 0.999999, seed=1)[1])
    for p in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"dropout: p must lie in \[0, 1\)"):
            cuda.dropout(x, p, seed=1)
