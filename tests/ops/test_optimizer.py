"""Optimiser steps: against their formulas in NumPy and against PyTorch, tails, bits, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fastconv
from fastconv import _core, ops

Array = NDArray[Any]
SIZES = [0, 1, 3, 7, 8, 9, 15, 16, 17, 33, 8193, 30_011]


def sgd(p: Array, g: Array, s: dict[str, Array], step: int, o: dict[str, Any]) -> None:
    g = g + o["weight_decay"] * p
    if "velocity" in s:
        s["velocity"][...] = o["momentum"] * s["velocity"] + (1 - o["dampening"]) * g
        g = g + o["momentum"] * s["velocity"] if o["nesterov"] else s["velocity"]
    p -= o["lr"] * g


def rmsprop(p: Array, g: Array, s: dict[str, Array], step: int, o: dict[str, Any]) -> None:
    g = g + o["weight_decay"] * p
    s["square_avg"][...] = o["rho"] * s["square_avg"] + (1 - o["rho"]) * g * g
    variance = s["square_avg"]
    if "grad_avg" in s:
        s["grad_avg"][...] = o["rho"] * s["grad_avg"] + (1 - o["rho"]) * g
        variance = variance - s["grad_avg"] ** 2
    root = np.sqrt(variance + o["eps"]) if o["eps_inside_root"] else np.sqrt(variance) + o["eps"]
    update = g / root
    if "velocity" in s:
        s["velocity"][...] = o["momentum"] * s["velocity"] + update
        update = s["velocity"]
    p -= o["lr"] * update


def adam(p: Array, g: Array, s: dict[str, Array], step: int, o: dict[str, Any]) -> None:
    if o["decoupled"]:
        p *= 1 - o["lr"] * o["weight_decay"]
    else:
        g = g + o["weight_decay"] * p
    s["exp_avg"][...] = o["beta1"] * s["exp_avg"] + (1 - o["beta1"]) * g
    s["exp_avg_sq"][...] = o["beta2"] * s["exp_avg_sq"] + (1 - o["beta2"]) * g * g
    mean, square = s["exp_avg"] / (1 - o["beta1"] ** step), s["exp_avg_sq"] / (1 - o["beta2"] ** step)
    p -= o["lr"] * mean / (np.sqrt(square) + o["eps"])


SGD = {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
RMSPROP = {"lr": 0.01, "rho": 0.9, "eps": 1e-7, "eps_inside_root": True, "momentum": 0.0, "weight_decay": 0.0}
ADAM = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
MOMENTS = ("exp_avg", "exp_avg_sq")
CASES = {
    "sgd": (ops.sgd_step, sgd, (), SGD | {"momentum": 0.0}),
    "sgd-decay": (ops.sgd_step, sgd, (), SGD | {"momentum": 0.0, "weight_decay": 0.01}),
    "momentum": (ops.sgd_step, sgd, ("velocity",), SGD | {"weight_decay": 0.01}),
    "dampening": (ops.sgd_step, sgd, ("velocity",), SGD | {"dampening": 0.3}),
    "nesterov": (ops.sgd_step, sgd, ("velocity",), SGD | {"nesterov": True, "weight_decay": 0.01}),
    "rmsprop": (ops.rmsprop_step, rmsprop, ("square_avg",), RMSPROP),
    "rmsprop-outside": (ops.rmsprop_step, rmsprop, ("square_avg",), RMSPROP | {"eps_inside_root": False}),
    "rmsprop-centered": (ops.rmsprop_step, rmsprop, ("square_avg", "grad_avg"), RMSPROP),
    "rmsprop-all": (
        ops.rmsprop_step,
        rmsprop,
        ("square_avg", "grad_avg", "velocity"),
        RMSPROP | {"momentum": 0.8, "weight_decay": 0.01, "eps_inside_root": False},
    ),
    "adam": (ops.adam_step, adam, MOMENTS, ADAM),
    "adam-decay": (ops.adam_step, adam, MOMENTS, ADAM | {"weight_decay": 0.1}),
    "adamw": (ops.adam_step, adam, MOMENTS, ADAM | {"weight_decay": 0.1, "decoupled": True}),
}


def run(case: str, size: int, dtype: np.dtype, steps: int = 3) -> dict[str, Array]:
    """Parameter and state after some steps of the native module."""
    native, _, slots, options = CASES[case]
    arrays = {"param": np.random.default_rng(1).standard_normal(size).astype(dtype)}
    arrays |= {slot: np.zeros(size, dtype) for slot in slots}
    for step in range(1, steps + 1):
        extra = {"step": step} if native is ops.adam_step else {}
        native(grad=gradient(step, size).astype(dtype), **arrays, **options, **extra)
    return arrays


def gradient(step: int, size: int) -> Array:
    return np.random.default_rng(100 + step).standard_normal(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_formulas(case: str, size: int, dtype: np.dtype, isa: str) -> None:
    _, formula, slots, options = CASES[case]
    param = np.random.default_rng(1).standard_normal(size).astype(dtype).astype(np.float64)
    state = {slot: np.zeros(size) for slot in slots}
    for step in (1, 2, 3):
        formula(param, gradient(step, size).astype(dtype).astype(np.float64), state, step, options)
    got = run(case, size, dtype)
    # Dividing by the root of a difference (centred) magnifies roundings; the others stay at a few.
    tolerance = (2000 if "grad_avg" in slots else 20) * np.finfo(dtype).eps
    for name, expected in {"param": param, **state}.items():
        np.testing.assert_allclose(got[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_bits_do_not_depend_on_threads(case: str, dtype: np.dtype, isa: str) -> None:
    results = []
    for count in (1, 2, 3, 8):
        with fastconv.threads(count):
            results.append({name: array.tobytes() for name, array in run(case, 50_021, dtype, 2).items()})
    assert all(other == results[0] for other in results[1:])


@pytest.mark.parametrize("case", CASES)
def test_nan_and_infinity_stay_where_they_are(case: str, isa: str) -> None:
    native, _, slots, options = CASES[case]
    for place in range(19):
        arrays = {name: np.ones(19, np.float32) for name in ("param", *slots)}
        grad = np.full(19, 0.5, np.float32)
        grad[place] = np.nan
        native(grad=grad, **arrays, **options, **({"step": 1} if native is ops.adam_step else {}))
        assert np.flatnonzero(np.isnan(arrays["param"])).tolist() == [place]


def test_a_variance_that_rounds_below_zero_is_zero(dtype: np.dtype, isa: str) -> None:
    """A constant gradient: square_avg - grad_avg**2 is 0 but for rounding."""
    arrays = {name: np.zeros(64, dtype) for name in ("param", "square_avg", "grad_avg")}
    for _ in range(300):
        ops.rmsprop_step(grad=np.linspace(900, 1100, 64).astype(dtype), lr=0.1, rho=0.5, eps=1e-7, **arrays)
    assert np.isfinite(arrays["param"]).all()


X = np.ones((3, 4), np.float32)


def states(case: str) -> dict[str, Array]:
    return {name: np.zeros_like(X) for name in ("param", *CASES[case][2])}


def call(case: str, **changes: Any) -> None:
    native, _, _, options = CASES[case]
    step = {"step": 1} if native is ops.adam_step else {}
    native(**{"grad": X, **states(case), **options, **step} | changes)


@pytest.mark.parametrize("case", ["momentum", "rmsprop-all", "adam"])
def test_bad_arrays(case: str) -> None:
    op = CASES[case][0].__name__
    for name in ("grad", *states(case)):
        with pytest.raises(TypeError, match=f"^{op}: .* must be float(32|64) like the other arrays"):
            call(case, **{name: X.astype(np.float64)})
        with pytest.raises(TypeError, match=f"^{op}: {name} must be a numpy.ndarray"):
            call(case, **{name: X.tolist()})
        with pytest.raises(ValueError, match=f"^{op}: .* must have shape"):
            call(case, **{name: np.ones((4, 3), np.float32)})
        with pytest.raises(TypeError, match=f"^{op}: {name} must be C-contiguous"):
            call(case, **{name: np.ones((3, 8), np.float32)[:, ::2]})
        if name != "grad":
            with pytest.raises(ValueError, match=f"^{op}: {name} must not share memory with grad"):
                call(case, **{name: X})
            frozen = np.zeros_like(X)
            frozen.flags.writeable = False
            with pytest.raises(ValueError, match=f"^{op}: {name} must be writeable"):
                call(case, **{name: frozen})
    shared = np.zeros_like(X)
    last = CASES[case][2][-1]
    with pytest.raises(ValueError, match=f"^{op}: {last} must not share memory with param"):
        call(case, param=shared, **{last: shared})


@pytest.mark.parametrize(
    ("case", "changes", "error", "text"),
    [
        ("sgd", {"lr": -1.0}, ValueError, "sgd_step: lr must be finite and not negative, got -1.0"),
        ("sgd", {"lr": float("nan")}, ValueError, "sgd_step: lr must be finite"),
        ("sgd", {"lr": float("inf")}, ValueError, "sgd_step: lr must be finite"),
        ("sgd", {"lr": "0.1"}, TypeError, "sgd_step: lr must be a number"),
        ("sgd", {"lr": True}, TypeError, "sgd_step: lr must be a number"),
        ("sgd", {"momentum": 0.5}, ValueError, "sgd_step: velocity must be an array where momentum is used"),
        ("sgd", {"nesterov": True}, ValueError, "sgd_step: velocity must be an array"),
        ("rmsprop", {"momentum": 0.5}, ValueError, "rmsprop_step: velocity must be an array"),
        ("rmsprop", {"rho": 1.0}, ValueError, r"rmsprop_step: rho must be in \[0, 1\), got 1.0"),
        ("adam", {"beta1": 1.5}, ValueError, r"adam_step: beta1 must be in \[0, 1\)"),
        ("adam", {"eps": -1e-8}, ValueError, "adam_step: eps must be finite and not negative"),
        ("adam", {"step": 0}, ValueError, "adam_step: step must be >= 1, got 0"),
        ("adam", {"step": 1.0}, TypeError, "adam_step: step must be an integer"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_numbers(case: str, changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        call(case, **changes)


def test_the_native_module_checks_too() -> None:
    with pytest.raises(ValueError, match="adam_step: step must be >= 1"):
        _core.adam_step(X, X, X, X, step=0, lr=0.1, beta1=0.9, beta2=0.9, eps=0, weight_decay=0, decoupled=False)
    options = SGD | {"momentum": 0.0}
    with pytest.raises(ValueError, match="sgd_step: param must not share memory with grad"):
        _core.sgd_step(X, X, None, **options)


# PyTorch, where it is installed. Its SGD does not dampen the first step, so that case is left out.

TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "sgd-decay": lambda torch, p: torch.optim.SGD([p], lr=0.1, weight_decay=0.01),
    "momentum": lambda torch, p: torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda torch, p: torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "rmsprop-outside": lambda torch, p: torch.optim.RMSprop([p], lr=0.01, alpha=0.9, eps=1e-7),
    "rmsprop-all": lambda torch, p: torch.optim.RMSprop(
        [p], lr=0.01, alpha=0.9, eps=1e-7, momentum=0.8, weight_decay=0.01, centered=True
    ),
    "adam": lambda torch, p: torch.optim.Adam([p], lr=0.01, betas=(0.9, 0.99)),
    "adam-decay": lambda torch, p: torch.optim.Adam([p], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "adamw": lambda torch, p: torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
}


@pytest.mark.parametrize("case", TORCH)
def test_against_torch(case: str) -> None:
    torch = pytest.importorskip("torch")
    size = 1001
    param = torch.tensor(np.random.default_rng(1).standard_normal(size), requires_grad=True)
    optimizer = TORCH[case](torch, param)
    for step in range(1, 6):
        param.grad = torch.tensor(gradient(step, size))
        optimizer.step()
    got = run(case, size, np.dtype(np.float64), 5)["param"]
    np.testing.assert_allclose(got, param.detach().numpy(), rtol=1e-11, atol=1e-12)
