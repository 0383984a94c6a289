"""Activations against their formulas in long double: every instruction set, wide ranges, special values, gradients.

Bounds in ulp of the result and in eps, from docs/numerics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
import gradcheck
from fastconv import _core, ops
from fastconv.ops.pointwise import READ_INPUT

Long = NDArray[np.longdouble]
PI = 4 * np.arctan(np.longdouble(1))
TWO_ROOT = 2 * np.sqrt(2 / PI)


def _sigmoid(x: Long) -> Long:
    return 1 / (1 + np.exp(-x))


def _below(x: Long) -> Long:
    """The normal distribution below x: a series near 0, a continued fraction (Lentz) in the tails."""
    a = abs(x)
    density = np.exp(-a * a / 2) / np.sqrt(2 * PI)
    near, term = np.zeros_like(a), np.minimum(a, 4)
    square = np.minimum(a, 4) ** 2
    for k in range(1, 160):
        near += term
        term = term * square / (2 * k + 1)
    far = a + 0
    for k in range(120, 0, -1):
        far = a + k / np.maximum(far, np.longdouble(1e-3))
    tail = np.where(a < 3, 0.5 - density * near, density / np.maximum(far, np.longdouble(1e-3)))
    return np.where(x < 0, tail, 1 - tail)


def _gelu_slope(x: Long) -> Long:
    return TWO_ROOT * (1 + 3 * (np.longdouble(44715) / 10**6) * x * x)


def _gelu_sigmoid(x: Long) -> Long:
    return _sigmoid(TWO_ROOT * (x + (np.longdouble(44715) / 10**6) * x * x * x))


# name: (forward, derivative, ulp of the result, eps of a gradient)
TRUTH: dict[str, tuple[Callable[[Long], Long], Callable[[Long], Long], float, float]] = {
    "leaky_relu": (lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25), 0.5, 0),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.exp(np.minimum(x, 0)), 2, 1),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), 4, 1),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, 4, 4),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), 5, 4),
    "gelu": (
        lambda x: x * _below(x),
        lambda x: _below(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * PI),
        8,
        6,
    ),
    "gelu_tanh": (
        lambda x: x * _gelu_sigmoid(x),
        lambda x: _gelu_sigmoid(x) * (1 + x * (1 - _gelu_sigmoid(x)) * _gelu_slope(x)),
        8,
        6,
    ),
    "softplus": (
        lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 21)))),
        lambda x: np.where(x > 20, 1, _sigmoid(x)),
        4,
        1,
    ),
}
FORWARD: dict[str, Callable[..., Any]] = {
    "leaky_relu": lambda x, **o: ops.leaky_relu(x, 0.25, **o),
    "elu": ops.elu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "silu": ops.silu,
    "gelu": ops.gelu,
    "gelu_tanh": lambda x, **o: ops.gelu(x, "tanh", **o),
    "softplus": ops.softplus,
}
BACKWARD: dict[str, Callable[..., Any]] = {
    "leaky_relu": lambda g, y, **o: ops.leaky_relu_backward(g, y, 0.25, **o),
    "elu": ops.elu_backward,
    "sigmoid": ops.sigmoid_backward,
    "tanh": ops.tanh_backward,
    "silu": ops.silu_backward,
    "gelu": ops.gelu_backward,
    "gelu_tanh": lambda g, x, **o: ops.gelu_backward(g, x, "tanh", **o),
    "softplus": ops.softplus_backward,
}


def saved(name: str, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    return x if name in READ_INPUT else y


def values(dtype: np.dtype) -> NDArray[Any]:
    """Random numbers of every size; of float32 also bit patterns from all of them, denormals among them."""
    rng = np.random.default_rng(5)
    parts = [rng.uniform(-20, 20, 20_000), rng.normal(0, 1, 20_000), rng.normal(0, 1e-2, 5_000)]
    parts += [rng.uniform(-800, 60, 20_000), rng.normal(0, 1, 2_000) * 10.0 ** rng.uniform(-300, 300, 2_000)]
    with np.errstate(over="ignore"):
        x = np.concatenate(parts).astype(dtype)
    if dtype == np.float32:
        patterns = np.arange(0, 2**32, 65_537 - 36, dtype=np.uint64).astype(np.uint32).view(np.float32)
        x = np.concatenate([x, patterns])
    return x[np.isfinite(x)]


@pytest.mark.parametrize("name", TRUTH)
def test_results_are_exact_to_a_few_ulp(name: str, dtype: np.dtype, isa: str) -> None:
    x = values(dtype)
    forward, _, bound, _ = TRUTH[name]
    with np.errstate(all="ignore"):
        expected = forward(x.astype(np.longdouble))
    got = FORWARD[name](x)
    assert got.dtype == dtype
    unit = np.spacing(np.maximum(abs(expected).astype(dtype), np.finfo(dtype).tiny)).astype(np.longdouble)
    if name == "gelu_tanh":  # an exponential's relative error is the absolute error of its argument
        unit = unit * np.maximum(1, abs(np.where(x < 0, TWO_ROOT * (x + 0.044715 * np.clip(x, -50, 50) ** 3), 0)))
    if name in ("silu", "gelu"):  # the factor of x is a denormal number
        unit = np.maximum(unit, np.finfo(dtype).smallest_subnormal.astype(np.longdouble) * np.maximum(1, abs(x)))
    error = abs(got - expected) / unit
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} ulp at {x[worst]!r}: {got[worst]!r}, not {expected[worst]!r}"


@pytest.mark.parametrize("name", TRUTH)
def test_gradients_are_exact_to_a_few_eps(name: str, dtype: np.dtype, isa: str) -> None:
    """Of gradients of the order of 1; where they vanish the error does not fall with them."""
    x = values(dtype)
    _, derivative, _, bound = TRUTH[name]
    with np.errstate(all="ignore"):
        near = np.clip(x.astype(np.longdouble), -500, 500)  # the formulas above overflow beyond
        expected = derivative(near)
    got = BACKWARD[name](np.ones_like(x), saved(name, x, FORWARD[name](x)))
    error = abs(got - expected) / np.finfo(dtype).eps
    at = (x != 0) if name in ("leaky_relu", "elu") else np.ones(x.shape, bool)
    if name == "leaky_relu":
        at &= (x > 0) | (x * dtype.type(0.25) != 0)
    worst = int(np.argmax(np.where(at, error, 0)))
    assert error[worst] <= bound, f"{error[worst]} eps at {x[worst]!r}: {got[worst]!r}, not {expected[worst]!r}"


@pytest.mark.parametrize("size", [0, 1, 3, 15, 16, 17, 31, 33, 1009, 8191, 8192, 8193])
@pytest.mark.parametrize("name", TRUTH)
def test_sizes_and_memory(name: str, size: int, dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    """Any size gives the bits of its elements alone; in place too, and at any alignment."""
    x, grad = rng.standard_normal((2, size + 1)).astype(dtype)[:, 1:]
    y = FORWARD[name](x)
    back = BACKWARD[name](grad, saved(name, x, y))
    for i in range(0, size, 1 + size // 7):
        assert FORWARD[name](x[i : i + 1]).tobytes() == y[i : i + 1].tobytes()
        one = BACKWARD[name](grad[i : i + 1], saved(name, x, y)[i : i + 1])
        assert one.tobytes() == back[i : i + 1].tobytes()
    kept = saved(name, x, y).copy()
    assert BACKWARD[name](grad, kept, out=kept).tobytes() == back.tobytes()
    again = grad.copy()
    assert BACKWARD[name](again, saved(name, x, y), out=again) is again
    assert again.tobytes() == back.tobytes()
    copy = x.copy()
    assert FORWARD[name](copy, out=copy).tobytes() == y.tobytes()


SPECIAL = {  # at +Inf, -Inf, +0, -0
    "leaky_relu": (np.inf, -np.inf, 0.0, -0.0),
    "elu": (np.inf, -1.0, 0.0, -0.0),
    "sigmoid": (1.0, 0.0, 0.5, 0.5),
    "tanh": (1.0, -1.0, 0.0, -0.0),
    "silu": (np.inf, -0.0, 0.0, -0.0),
    "gelu": (np.inf, -0.0, 0.0, -0.0),
    "gelu_tanh": (np.inf, -0.0, 0.0, -0.0),
    "softplus": (np.inf, 0.0, np.log(2), np.log(2)),
}
SLOPES = {  # the derivative there
    "leaky_relu": (1, 0.25, 0.25, 0.25),
    "elu": (1, 0, 1, 1),
    "sigmoid": (0, 0, 0.25, 0.25),
    "tanh": (0, 0, 1, 1),
    "silu": (1, 0, 0.5, 0.5),
    "gelu": (1, 0, 0.5, 0.5),
    "gelu_tanh": (1, 0, 0.5, 0.5),
    "softplus": (1, 0, 0.5, 0.5),
}


@pytest.mark.parametrize("name", TRUTH)
def test_special_values(name: str, dtype: np.dtype, isa: str) -> None:
    most = np.finfo(dtype).max
    x = np.array([np.inf, -np.inf, 0.0, -0.0, most, -most, np.nan], dtype)
    y = FORWARD[name](x)
    np.testing.assert_allclose(y[:4], np.array(SPECIAL[name], dtype), rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(y[:4]), np.signbit(SPECIAL[name]))
    assert np.isfinite(y[4:6]).all()
    assert np.isnan(y[6])
    back = BACKWARD[name](np.ones_like(x), saved(name, x, y))
    np.testing.assert_allclose(back[:4], SLOPES[name], rtol=2 * np.finfo(dtype).eps, atol=0)
    np.testing.assert_allclose(back[4:6], SLOPES[name][:2], rtol=0, atol=0)
    if name not in ("leaky_relu", "elu", "softplus"):  # these pass the gradient on, as ReLU does
        assert np.isnan(back[6])
    assert np.isnan(BACKWARD[name](np.full(3, np.nan, dtype), saved(name, x, y)[:3])).all()


@pytest.mark.parametrize("name", TRUTH)
def test_gradients_are_derivatives(name: str, rng: np.random.Generator) -> None:
    x = 2 * rng.standard_normal((4, 9))
    x[abs(x) < 0.05] = 0.5  # not at a kink
    grad = rng.standard_normal(x.shape)
    got = BACKWARD[name](grad, saved(name, x, FORWARD[name](x)))
    gradcheck.assert_gradient(FORWARD[name], x, grad, got)


def test_parameters(rng: np.random.Generator) -> None:
    x, grad = 3 * rng.standard_normal((3, 50)), rng.standard_normal((3, 50))
    x[abs(x) < 0.05] = 0.5
    np.testing.assert_array_equal(ops.leaky_relu(x, 0), np.maximum(x, 0))
    np.testing.assert_array_equal(ops.leaky_relu(x, 3), np.where(x > 0, x, 3 * x))
    np.testing.assert_allclose(ops.elu(x, 0.5), np.where(x > 0, x, 0.5 * np.expm1(x)), rtol=1e-15)
    np.testing.assert_allclose(ops.softplus(x, 2, 3), np.where(2 * x > 3, x, np.log1p(np.exp(2 * x)) / 2), rtol=2e-15)
    for forward, back in (
        (lambda v: ops.leaky_relu(v, 0), lambda: ops.leaky_relu_backward(grad, ops.leaky_relu(x, 0), 0)),
        (lambda v: ops.elu(v, 0.5), lambda: ops.elu_backward(grad, ops.elu(x, 0.5), 0.5)),
        (lambda v: ops.softplus(v, 0.5, 50), lambda: ops.softplus_backward(grad, x, 0.5, 50)),
    ):
        gradcheck.assert_gradient(forward, x, grad, back())


def test_bits_do_not_depend_on_threads_or_streaming(dtype: np.dtype, isa: str, rng: np.random.Generator) -> None:
    """A result of 40 MB goes past the caches, its halves do not; odd sizes and alignments."""
    size = (40 << 20) // (2 * dtype.itemsize) + 1001
    x, grad, out = (np.empty(size + 3, dtype)[3:] for _ in range(3))
    x[:], grad[:] = rng.standard_normal(size, np.float32), rng.standard_normal(size, np.float32)
    for name in ("leaky_relu", "gelu"):
        half = size // 2
        parts = [FORWARD[name](part) for part in (x[:half], x[half:])]
        backs = [BACKWARD[name](grad[i], saved(name, x[i], y)) for i, y in
                 ((slice(0, half), parts[0]), (slice(half, size), parts[1]))]  # fmt: skip
        for count in (1, 2, 3, 8):
            with fastconv.threads(count):
                y = FORWARD[name](x, out=out)
                np.testing.assert_array_equal(y[:half], parts[0])
                np.testing.assert_array_equal(y[half:], parts[1])
        back = BACKWARD[name](grad, saved(name, x, y))
        np.testing.assert_array_equal(back[:half], backs[0])
        np.testing.assert_array_equal(back[half:], backs[1])


@pytest.mark.parametrize("name", [name for name in TRUTH if name != "leaky_relu"])
def test_torch_agrees(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    call = {"gelu_tanh": lambda t: functional.gelu(t, approximate="tanh"), "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    x, grad = 4 * rng.standard_normal((2, 1000))
    x[0] = 0
    t = torch.tensor(x, requires_grad=True)
    y = call.get(name, getattr(functional, name, None))(t)
    y.backward(torch.tensor(grad))
    np.testing.assert_allclose(FORWARD[name](x), y.detach().numpy(), rtol=1e-13, atol=1e-14)
    got = BACKWARD[name](grad, saved(name, x, FORWARD[name](x)))
    np.testing.assert_allclose(got, t.grad.numpy(), rtol=1e-12, atol=1e-13)


X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize("name", TRUTH)
def test_bad_arrays(name: str) -> None:
    op = name.removesuffix("_tanh")
    which = "input" if name in READ_INPUT else "output"
    for wrong in (X.astype(int), X.tolist(), None, np.ma.masked_array(X)):
        with pytest.raises(TypeError, match=f"^{op}: input must be"):
            FORWARD[name](wrong)
        with pytest.raises(TypeError, match=f"^{op}_backward: {which} must be"):
            BACKWARD[name](X, wrong)
    with pytest.raises(TypeError, match=f"^{op}_backward: {which} must be float32 like the other arrays"):
        BACKWARD[name](X, X.astype(np.float64))
    with pytest.raises(ValueError, match=rf"^{op}_backward: {which} must have shape \(3, 4\), got \(4,\)"):
        BACKWARD[name](X, X[0])
    memory = np.ones(20, np.float32)
    with pytest.raises(ValueError, match=f"^{op}: out must not overlap"):
        FORWARD[name](memory[:12], out=memory[4:16])


def test_bad_parameters() -> None:
    for call, error, text in (
        (lambda: ops.leaky_relu(X, -0.1), ValueError, "leaky_relu: negative_slope must be finite and at least 0"),
        (lambda: ops.leaky_relu(X, True), TypeError, "leaky_relu: negative_slope must be a number, got True"),
        (lambda: ops.leaky_relu_backward(X, X, np.nan), ValueError, "leaky_relu_backward: negative_slope must be"),
        (lambda: ops.elu(X, "1"), TypeError, "elu: alpha must be a number"),
        (lambda: ops.elu_backward(X, X, -1), ValueError, "elu_backward: alpha must be finite and at least 0, got -1"),
        (lambda: ops.softplus(X, 0), ValueError, "softplus: beta must be finite and above 0, got 0"),
        (lambda: ops.softplus(X, 1, np.inf), ValueError, "softplus: threshold must be finite"),
        (lambda: ops.gelu(X, "erf"), ValueError, "gelu: approximate must be 'none' or 'tanh', got 'erf'"),
        (lambda: ops.gelu_backward(X, X, 3), TypeError, "gelu_backward: approximate must be 'none' or 'tanh', got 3"),
        (lambda: _core.activation_forward("selu", X, X), ValueError, "activation_forward: function must be one of"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            call()
