"""Optimisers against their formulas written out, against torch where it is installed, and through save and load."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastconv import optim
from fastconv.nn import Parameter
from fastconv.optim import SGD, Adam, AdamW, Optimizer, RMSprop

CASES: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: SGD(0.1),
    "sgd_decay": lambda: SGD(0.1, weight_decay=0.01),
    "sgd_momentum": lambda: SGD(0.1, momentum=0.9),
    "sgd_nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda: RMSprop(),
    "rmsprop_torch": lambda: RMSprop(0.01, rho=0.99, eps=1e-8, eps_inside_root=False),
    "rmsprop_all": lambda: RMSprop(0.01, 0.99, 1e-8, False, momentum=0.5, centered=True, weight_decay=0.01),
    "adam": lambda: Adam(),
    "adam_decay": lambda: Adam(0.01, 0.8, 0.99, 1e-6, weight_decay=0.1),
    "adamw": lambda: AdamW(0.01, weight_decay=0.1),
}


class _Formula:
    """The same optimiser in NumPy, a line for each equation."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.o = optimizer
        self.state: dict[str, np.ndarray] = {}
        self.t = 0

    def _average(self, name: str, decay: float, value: np.ndarray) -> np.ndarray:
        self.state[name] = decay * self.state.get(name, np.zeros_like(value)) + (1 - decay) * value
        return self.state[name]

    def _momentum(self, momentum: float, value: np.ndarray) -> np.ndarray:
        self.state["v"] = momentum * self.state.get("v", np.zeros_like(value)) + value
        return self.state["v"]

    def step(self, p: np.ndarray, g: np.ndarray) -> np.ndarray:
        o, self.t = self.o, self.t + 1
        lr = o.learning_rate
        if isinstance(o, AdamW):
            p = p - lr * o.weight_decay * p
        else:
            g = g + o.weight_decay * p
        if isinstance(o, SGD):
            v = self._momentum(o.momentum, g)
            return p - lr * (g + o.momentum * v if o.nesterov else v)
        if isinstance(o, RMSprop):
            s = self._average("s", o.rho, g * g)
            if o.centered:
                s = s - self._average("m", o.rho, g) ** 2
            root = np.sqrt(s + o.eps) if o.eps_inside_root else np.sqrt(s) + o.eps
            return p - lr * (self._momentum(o.momentum, g / root) if o.momentum else g / root)
        m = self._average("m", o.beta1, g) / (1 - o.beta1**self.t)
        s = self._average("s", o.beta2, g * g) / (1 - o.beta2**self.t)
        return p - lr * m / (np.sqrt(s) + o.eps)


def _set(parameter: Parameter, grad: np.ndarray) -> None:
    parameter.gradient()[...] = grad


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (4, 3, 3, 3)])
@pytest.mark.parametrize("name", CASES)
def test_steps_follow_the_formula(name: str, shape: tuple[int, ...], dtype: np.dtype, rng: np.random.Generator) -> None:
    optimizer = CASES[name]()
    expected = rng.normal(size=shape)
    formula, parameter = _Formula(optimizer), Parameter(expected.astype(dtype))
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for _ in range(5):
        grad = rng.normal(size=shape)
        _set(parameter, grad)
        version = parameter.version
        optimizer.step([parameter])
        expected = formula.step(expected, grad)
        np.testing.assert_allclose(parameter.data, expected, rtol=tolerance, atol=tolerance)
        assert parameter.version == version + 1


@pytest.mark.parametrize("name", [name for name in CASES if name != "rmsprop"])
def test_steps_agree_with_torch(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    o = CASES[name]()
    parameter = Parameter(rng.normal(size=(4, 3)))
    other = torch.nn.Parameter(torch.tensor(parameter.data.copy()))
    decay = {"weight_decay": o.weight_decay}
    if isinstance(o, SGD):
        theirs = torch.optim.SGD([other], o.learning_rate, momentum=o.momentum, nesterov=o.nesterov, **decay)
    elif isinstance(o, RMSprop):
        options = {"alpha": o.rho, "eps": o.eps, "momentum": o.momentum, "centered": o.centered}
        theirs = torch.optim.RMSprop([other], o.learning_rate, **options, **decay)
    else:
        kind = torch.optim.AdamW if isinstance(o, AdamW) else torch.optim.Adam
        theirs = kind([other], o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, **decay)
    for _ in range(5):
        grad = rng.normal(size=(4, 3))
        _set(parameter, grad)
        other.grad = torch.tensor(grad)
        o.step([parameter])
        theirs.step()
        np.testing.assert_allclose(parameter.data, other.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_optimiser_goes_on_with_the_same_bits(name: str, rng: np.random.Generator) -> None:
    first, second = CASES[name](), CASES[name]()
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,))]
    grads = [[rng.normal(size=p.shape) for p in start] for _ in range(6)]
    ours = [Parameter(p) for p in start]

    def run(optimizer: Optimizer, parameters: list[Parameter], some: list[list[np.ndarray]]) -> None:
        for step in some:
            for parameter, grad in zip(parameters, step, strict=True):
                _set(parameter, grad)
            optimizer.step(parameters)

    run(first, ours, grads[:3])
    first.learning_rate = 0.02
    state = first.state_dict()
    copies = [Parameter(parameter.data) for parameter in ours]
    run(first, ours, grads[3:])
    second.load_state_dict(state)
    assert (second.steps, second.learning_rate) == (3, 0.02)
    run(second, copies, grads[3:])
    for one, other in zip(ours, copies, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_frozen_parameters_and_those_without_gradient_stay(rng: np.random.Generator) -> None:
    frozen, fresh = (Parameter(rng.normal(size=3)) for _ in range(2))
    frozen.trainable = False
    _set(frozen, np.ones(3))
    before = frozen.data.copy(), fresh.data.copy()
    SGD(0.1).step([frozen, fresh])
    np.testing.assert_array_equal((frozen.data, fresh.data), before)
    assert frozen.version == fresh.version == 0


@pytest.mark.parametrize("name", CASES)
def test_state_bytes_are_what_a_step_makes(name: str) -> None:
    optimizer, parameters = CASES[name](), [Parameter(np.zeros(n, np.float32)) for n in (3, 40)]
    for parameter in parameters:
        parameter.gradient()
    optimizer.step(parameters)
    made = sum(array.nbytes for key, array in optimizer.state_dict().items() if key != "meta")
    assert made == optimizer.state_bytes(parameters)


def test_states_that_do_not_fit_are_refused() -> None:
    adam = Adam()
    parameter = Parameter(np.zeros(3, np.float32))
    parameter.gradient()
    adam.step([parameter])
    state = adam.state_dict()
    with pytest.raises(ValueError, match="SGD: state must come from a SGD, got 'Adam'"):
        SGD().load_state_dict(state)
    with pytest.raises(ValueError, match="got 'momentum.0'"):
        adam.load_state_dict({**state, "momentum.0": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"state of parameter 0 must hold \['exp_avg', 'exp_avg_sq'\], got \['exp_avg'\]"
    ):
        adam.load_state_dict({key: value for key, value in state.items() if key != "exp_avg_sq.0"})
    other = Parameter(np.zeros(4, np.float32))
    other.gradient()
    with pytest.raises(
        ValueError, match=r"Adam: state exp_avg.0 must be float32 of shape \(4,\) as its parameter, got"
    ):
        adam.step([other])


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: SGD(-0.1), ValueError, "SGD: learning_rate must be at least 0 and finite, got -0.1"),
        (lambda: SGD(float("nan")), ValueError, "SGD: learning_rate must be at least 0"),
        (lambda: SGD(float("inf")), ValueError, "SGD: learning_rate must be at least 0 and finite, got inf"),
        (lambda: SGD("fast"), TypeError, "SGD: learning_rate must be a number"),
        (lambda: SGD(True), TypeError, "SGD: learning_rate must be a number"),
        (lambda: SGD(0.1, 1.0), ValueError, r"SGD: momentum must be in \[0, 1\), got 1.0"),
        (lambda: SGD(0.1, nesterov=True), ValueError, "SGD: nesterov needs momentum above 0"),
        (lambda: SGD(0.1, 0.9, nesterov=1), TypeError, "SGD: nesterov must be True or False"),
        (lambda: RMSprop(rho=1.5), ValueError, r"RMSprop: rho must be in \[0, 1\)"),
        (lambda: Adam(beta2=1), ValueError, r"Adam: beta2 must be in \[0, 1\), got 1"),
        (lambda: AdamW(weight_decay=-1), ValueError, "AdamW: weight_decay must be at least 0"),
        (
            lambda: optim.get("lbfgs"),
            ValueError,
            "optim.get: optimizer must be an Optimizer or one of 'sgd', 'rmsprop'",
        ),
        (lambda: optim.get(None), TypeError, "optim.get"),
    ],
)
def test_bad_options_are_refused(build: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        build()


def test_get_knows_names() -> None:
    assert type(optim.get("rmsprop")) is RMSprop
    assert (optim.get("rmsprop").rho, optim.get("rmsprop").eps, optim.get("rmsprop").eps_inside_root) == (
        0.9,
        1e-7,
        True,
    )
    assert type(optim.get("adamw")) is AdamW
    made = SGD(0.5)
    assert optim.get(made) is made
