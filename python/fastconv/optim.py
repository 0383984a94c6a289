"""Optimisers: one pass over each parameter and its state, in place, in the native module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv._aligned import aligned_zeros
from fastconv._checks.arguments import Array, describe

if TYPE_CHECKING:
    from fastconv.nn.parameter import Parameter


def _number(op: str, name: str, value: object, low: float, high: float = math.inf) -> float:
    """Return a float in [low, high)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {name} must be a number, got {describe(value)}")
    if not low <= value < high:
        bound = f"at least {low:g} and finite" if high == math.inf else f"in [{low:g}, {high:g})"
        raise ValueError(f"{op}: {name} must be {bound}, got {value}")
    return float(value)


def _positive(op: str, name: str, value: object) -> float:
    if _number(op, name, value, 0.0) == 0:
        raise ValueError(f"{op}: {name} must be above 0 and finite, got {value}")
    return float(value)  # type: ignore[arg-type]  # _number has looked


def _flag(op: str, name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{op}: {name} must be True or False, got {describe(value)}")
    return bool(value)


class Optimizer:
    """Base of all optimisers.

    State belongs to a parameter's place in the sequence that `step` gets: give it the same sequence each time.

    Parameters
    ----------
    learning_rate : float
    clip_norm : float, optional
        The most that the gradients of all parameters together may measure (root of the sum of squares): longer ones are
        shortened before a step, each by the same factor (Pascanu et al. 2013).
    clip_value : float, optional
        The most that an element of a gradient may measure; applied before `clip_norm`. Both change the gradients in
        place; both may be set later, as attributes.

    Attributes
    ----------
    steps : int
        Steps done.
    """

    weight_decay: float = 0.0
    runs_on_gpu: ClassVar[bool] = False  # `update` asks the parameter's device for its kernel

    def __init__(self, learning_rate: float, clip_norm: float | None = None, clip_value: float | None = None) -> None:
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.steps = 0
        self._state: dict[int, dict[str, Array]] = {}
        self._loaded = 0  # how often the state was replaced: a captured step has the addresses of the old one
        self._place: Any = None  # the device on which the state lies, once a step has seen it

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def learning_rate(self) -> float:
        """May be changed between steps."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _number(self.name, "learning_rate", value, 0.0)

    @property
    def clip_norm(self) -> float | None:
        """The most that all gradients together may measure; None: anything."""
        return self._clip_norm

    @clip_norm.setter
    def clip_norm(self, value: float | None) -> None:
        self._clip_norm = None if value is None else _positive(self.name, "clip_norm", value)

    @property
    def clip_value(self) -> float | None:
        """The most that an element of a gradient may measure; None: anything."""
        return self._clip_value

    @clip_value.setter
    def clip_value(self, value: float | None) -> None:
        self._clip_value = None if value is None else _positive(self.name, "clip_value", value)

    def _clip(self, grads: list[Array], device: Any) -> None:
        if grads and device.on_gpu:
            device.steps.clip(grads, self._clip_value, self._clip_norm)
            return
        if self._clip_value is not None:
            for grad in grads:
                np.clip(grad, -self._clip_value, self._clip_value, out=grad)
        if self._clip_norm is not None:
            flat = [grad.reshape(-1) for grad in grads]
            norm = math.sqrt(sum(float(np.einsum("i,i->", one, one, dtype=np.float64)) for one in flat))
            if not norm <= self._clip_norm:  # NaN reaches all of them
                for grad in grads:
                    np.multiply(grad, self._clip_norm / norm, out=grad)

    def _decay(self, parameter: Parameter) -> float:
        """The weight decay of a parameter: its own, or the optimiser's."""
        return self.weight_decay if parameter.weight_decay is None else parameter.weight_decay

    def slots(self) -> tuple[str, ...]:
        """Return the names of the state arrays that each parameter gets."""
        raise NotImplementedError

    def update(self, parameter: Parameter, grad: Array, state: Mapping[str, Array]) -> None:
        """Change one parameter and its state."""
        raise NotImplementedError

    def step(self, parameters: Iterable[Parameter]) -> None:
        """Change every trainable parameter that has a gradient."""
        self.steps += 1
        parameters = list(parameters)
        if not parameters or not parameters[0].device.on_gpu:
            self.apply(parameters)
            return
        with parameters[0].device.active():
            parameters[0].device.begin_step(self, None)
            self.apply(parameters)

    def missing_on_gpu(self) -> str | None:
        """Return what a GPU lacks for it, in words; None: nothing."""
        return None if self.runs_on_gpu else f"optimizer {self.name} has no CUDA kernels"

    def fixed_options(self) -> tuple[object, ...]:
        """Return all that decides what `apply` does beside rate and number of the step."""
        changing = ("steps", "_learning_rate", "_state", "_place")
        return (id(self), *((name, value) for name, value in sorted(vars(self).items()) if name not in changing))

    def apply(self, parameters: Sequence[Parameter]) -> None:
        """The rest of `step`, once the step is counted and, on a GPU, its number and rate are there."""
        if parameters and parameters[0].device is not self._place:
            self._place = parameters[0].device
            self._move_state(parameters)
        if self._clip_norm is not None or self._clip_value is not None:
            self._clip([one.grad for one in parameters if one.grad is not None and one.trainable], self._place)
        for index, parameter in enumerate(parameters):
            grad = parameter.grad
            if grad is None or not parameter.trainable:
                continue
            state = self._state.get(index)
            if state is None:
                state = {slot: parameter.device.zeros(parameter.shape, parameter.dtype) for slot in self.slots()}
                self._state[index] = state
            for slot, array in state.items():
                if array.shape != parameter.shape or array.dtype != parameter.dtype:
                    raise ValueError(
                        f"{self.name}: state {slot}.{index} must be {parameter.dtype} of shape {parameter.shape} as "
                        f"its parameter, got {array.dtype} of shape {array.shape}"
                    )
            self.update(parameter, grad, state)
            parameter.touch()

    def _move_state(self, parameters: Sequence[Parameter]) -> None:
        """Bring the state to where its parameters lie now."""
        for parameter, state in [(parameters[k], state) for k, state in self._state.items() if k < len(parameters)]:
            for slot, array in state.items():
                state[slot] = parameter.device.zeros(array.shape, array.dtype)
                parameter.device.put(state[slot], _numpy(array))

    def state_bytes(self, parameters: Iterable[Parameter]) -> int:
        """Return the bytes of state that these parameters need."""
        return len(self.slots()) * sum(parameter.data.nbytes for parameter in parameters if parameter.trainable)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state, "velocity.0" for the first parameter, and "meta": name, steps, learning rate."""
        arrays: dict[str, Any] = {
            f"{slot}.{index}": _numpy(array) for index, state in self._state.items() for slot, array in state.items()
        }
        return {**arrays, "meta": {"name": self.name, "steps": self.steps, "learning_rate": self.learning_rate}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an optimiser with the same options returned."""
        meta = state.get("meta")
        if not isinstance(meta, Mapping) or meta.get("name") != self.name:
            got = meta.get("name") if isinstance(meta, Mapping) else meta
            raise ValueError(f"{self.name}: state must come from a {self.name}, got {got!r}")
        fresh: dict[int, dict[str, Array]] = {}
        for key, value in state.items():
            if key == "meta":
                continue
            slot, _, index = key.rpartition(".")
            if slot not in self.slots() or not index.isdecimal():
                raise ValueError(
                    f"{self.name}: state arrays must be called {', '.join(self.slots()) or 'nothing'} and a number, "
                    f"got {key!r}"
                )
            array = aligned_zeros(value.shape, value.dtype)
            np.copyto(array, value)
            fresh.setdefault(int(index), {})[slot] = array
        for place, arrays in fresh.items():
            if set(arrays) != set(self.slots()):
                raise ValueError(
                    f"{self.name}: state of parameter {place} must hold {sorted(self.slots())}, got {sorted(arrays)}"
                )
        self.learning_rate = meta["learning_rate"]
        self.steps = int(meta["steps"])
        self._state, self._place = fresh, None
        self._loaded += 1

    def __repr__(self) -> str:
        return f"{self.name}(learning_rate={self.learning_rate})"


def _numpy(array: Any) -> Array:
    """A copy in host memory, in C order whatever a GPU has."""
    copied: Array = array.copy() if isinstance(array, np.ndarray) else array.get()
    return np.ascontiguousarray(copied)


class SGD(Optimizer):
    """Gradient descent.

    Parameters
    ----------
    learning_rate : float, default 0.01
    momentum : float, default 0
        velocity = momentum * velocity + grad; the parameter moves by -learning_rate * velocity.
    nesterov : bool, default False
        The parameter moves by -learning_rate * (grad + momentum * velocity).
    weight_decay : float, default 0
        Added to the gradient, times the parameter.
    clip_norm, clip_value : float, optional
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.momentum = _number(self.name, "momentum", momentum, 0.0, 1.0)
        self.nesterov = _flag(self.name, "nesterov", nesterov)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"{self.name}: nesterov needs momentum above 0, got 0")

    runs_on_gpu: ClassVar[bool] = True

    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(self, parameter: Parameter, grad: Array, state: Mapping[str, Array]) -> None:
        parameter.device.steps.sgd_step(
            parameter.data,
            grad,
            state.get("velocity"),
            lr=self.learning_rate,
            momentum=self.momentum,
            dampening=0.0,
            weight_decay=self._decay(parameter),
            nesterov=self.nesterov,
        )


class RMSprop(Optimizer):
    """Gradient divided by the root of a running mean of its square (Hinton, lecture 6e of the Coursera course, 2012).

    Parameters
    ----------
    learning_rate : float, default 0.001
    rho : float, default 0.9
        square_avg = rho * square_avg + (1 - rho) * grad**2.
    eps : float, default 1e-7
    eps_inside_root : bool, default True
        True: grad / sqrt(square_avg + eps), as Keras. False: grad / (sqrt(square_avg) + eps), as PyTorch.
    momentum : float, default 0
    centered : bool, default False
        Subtract the square of the gradient's running mean under the root.
    weight_decay : float, default 0
        Added to the gradient, times the parameter.
    clip_norm, clip_value : float, optional
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        eps: float = 1e-7,
        eps_inside_root: bool = True,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.rho = _number(self.name, "rho", rho, 0.0, 1.0)
        self.eps = _number(self.name, "eps", eps, 0.0)
        self.eps_inside_root = _flag(self.name, "eps_inside_root", eps_inside_root)
        self.momentum = _number(self.name, "momentum", momentum, 0.0, 1.0)
        self.centered = _flag(self.name, "centered", centered)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)

    runs_on_gpu: ClassVar[bool] = True

    def slots(self) -> tuple[str, ...]:
        optional = (("grad_avg", self.centered), ("velocity", self.momentum > 0))
        return ("square_avg", *(slot for slot, wanted in optional if wanted))

    def update(self, parameter: Parameter, grad: Array, state: Mapping[str, Array]) -> None:
        parameter.device.steps.rmsprop_step(
            parameter.data,
            grad,
            state["square_avg"],
            state.get("grad_avg"),
            state.get("velocity"),
            lr=self.learning_rate,
            rho=self.rho,
            eps=self.eps,
            eps_inside_root=self.eps_inside_root,
            momentum=self.momentum,
            weight_decay=self._decay(parameter),
        )


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta1, beta2 : float, default 0.9 and 0.999
        Decay of the running means of the gradient and of its square.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
        Added to the gradient, times the parameter. (AdamW decays the parameter itself.)
    clip_norm, clip_value : float, optional
        See `Optimizer`.
    """

    _decoupled = False
    runs_on_gpu: ClassVar[bool] = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.beta1 = _number(self.name, "beta1", beta1, 0.0, 1.0)
        self.beta2 = _number(self.name, "beta2", beta2, 0.0, 1.0)
        self.eps = _number(self.name, "eps", eps, 0.0)
        self.weight_decay = _number(self.name, "weight_decay", weight_decay, 0.0)

    def slots(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def update(self, parameter: Parameter, grad: Array, state: Mapping[str, Array]) -> None:
        parameter.device.steps.adam_step(
            parameter.data,
            grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            step=self.steps,
            lr=self.learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            weight_decay=self._decay(parameter),
            decoupled=self._decoupled,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): parameters shrink by learning_rate * weight_decay.

    Parameters
    ----------
    learning_rate, beta1, beta2, eps
        As `Adam`.
    weight_decay : float, default 0.01
    clip_norm, clip_value : float, optional
        See `Optimizer`.
    """

    _decoupled = True

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, eps, weight_decay, clip_norm=clip_norm, clip_value=clip_value)


_BY_NAME: dict[str, type[SGD] | type[RMSprop] | type[Adam]] = {
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def get(optimizer: object) -> Optimizer:
    """Return an optimiser with default options by name; an Optimizer passes as it is.

    Parameters
    ----------
    optimizer : str or Optimizer
        "sgd", "rmsprop", "adam", "adamw", or an Optimizer.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in _BY_NAME:
        return _BY_NAME[optimizer]()
    error = ValueError if isinstance(optimizer, str) else TypeError
    raise error(
        f"optim.get: optimizer must be an Optimizer or one of {', '.join(map(repr, _BY_NAME))}, got {optimizer!r}"
    )
