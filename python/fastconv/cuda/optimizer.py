"""Steps of the optimisers on a GPU, in place: the formulas of `fastconv.ops`, float32.

What changes from step to step may be an array on the GPU, so that a captured graph can be replayed: `lr` a float32 of
one element, and for Adam what `adam_factors` wrote.
"""

from __future__ import annotations

from typing import Any

from fastconv._checks import arguments as arg
from fastconv._checks.numbers import as_number
from fastconv.cuda import arrays, native
from fastconv.cuda.arrays import View
from fastconv.cuda.launch import Launch


def _like(op: str, name: str, value: Any, param: View, write: bool) -> View:
    """An array that lies in memory as the parameter does, so that element follows element."""
    array = arrays.check(op, arrays.look(op, name, value), None, "float32", write)
    arrays.check_shape(op, name, array, param.shape)
    if arrays.memory_order(array) != arrays.memory_order(param):
        raise ValueError(
            f"{op}: {name} must lie in memory as param does, with strides {param.strides}, got {array.strides}"
        )
    return array


def _parameter(op: str, param: Any) -> View:
    found = arrays.check(op, arrays.look(op, "param", param), None, "float32", write=True)
    if arrays.memory_order(found) is None:
        raise ValueError(f"{op}: param must fill its memory without gaps, got strides {found.strides}")
    return found


def _state(op: str, name: str, value: Any, param: View) -> View | None:
    return None if value is None else _like(op, name, value, param, write=True)


def _changing(op: str, name: str, value: Any, count: int = 1) -> View | None:
    """A number that lies on the GPU, or None for one that comes with the call."""
    if isinstance(value, int | float) or not arrays.is_on_a_gpu(value):
        return None
    array = arrays.view(op, name, value)
    if arrays.count(array.shape) != count:
        raise ValueError(f"{op}: {name} must have {count} elements, got shape {array.shape}")
    return array


def _address(array: View | None) -> int:
    return 0 if array is None else array.address


def sgd_step(
    param: Any,
    grad: Any,
    velocity: Any = None,
    *,
    lr: Any,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of gradient descent, as `fastconv.ops.sgd_step`; `lr` may be an array of one float32 on the GPU.

    Parameters
    ----------
    param, grad, velocity : array on a GPU, float32
        Of one shape and one order in memory.

    Raises
    ------
    TypeError, ValueError
        As for `fastconv.ops.sgd_step`.
    """
    op = "sgd_step"
    module = native.module(op)
    p = _parameter(op, param)
    g, v = _like(op, "grad", grad, p, write=False), _state(op, "velocity", velocity, p)
    if v is None and (momentum != 0 or nesterov):
        raise ValueError(f"{op}: velocity must be an array where momentum is used, got None")
    rate = _changing(op, "lr", lr)
    with Launch(op, p, g, v, rate) as stream:
        module.sgd_step(
            p.address,
            g.address,
            _address(v),
            _address(rate),
            arrays.count(p.shape),
            lr=0.0 if rate else as_number(op, "lr", lr),
            momentum=as_number(op, "momentum", momentum),
            dampening=as_number(op, "dampening", dampening),
            weight_decay=as_number(op, "weight_decay", weight_decay),
            nesterov=arg.flag(op, "nesterov", nesterov),
            stream=stream,
        )


def rmsprop_step(
    param: Any,
    grad: Any,
    square_avg: Any,
    grad_avg: Any = None,
    velocity: Any = None,
    *,
    lr: Any,
    rho: float = 0.9,
    eps: float = 1e-7,
    eps_inside_root: bool = True,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """One step of RMSprop, as `fastconv.ops.rmsprop_step`; `lr` may be an array of one float32 on the GPU."""
    op = "rmsprop_step"
    module = native.module(op)
    p = _parameter(op, param)
    g, s = _like(op, "grad", grad, p, write=False), _like(op, "square_avg", square_avg, p, write=True)
    m, v = _state(op, "grad_avg", grad_avg, p), _state(op, "velocity", velocity, p)
    if v is None and momentum != 0:
        raise ValueError(f"{op}: velocity must be an array where momentum is used, got None")
    rate = _changing(op, "lr", lr)
    with Launch(op, p, g, s, m, v, rate) as stream:
        module.rmsprop_step(
            p.address,
            g.address,
            s.address,
            _address(m),
            _address(v),
            _address(rate),
            arrays.count(p.shape),
            lr=0.0 if rate else as_number(op, "lr", lr),
            rho=as_number(op, "rho", rho, 1.0),
            eps=as_number(op, "eps", eps),
            eps_inside_root=arg.flag(op, "eps_inside_root", eps_inside_root),
            momentum=as_number(op, "momentum", momentum),
            weight_decay=as_number(op, "weight_decay", weight_decay),
            stream=stream,
        )


def adam_step(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    *,
    step: int = 1,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    factors: Any = None,
) -> None:
    """One step of Adam, or of AdamW with `decoupled`, as `fastconv.ops.adam_step`.

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : array on a GPU, float32
        Of one shape and one order in memory.
    step, lr, beta1, beta2, eps, weight_decay, decoupled
        As for `fastconv.ops.adam_step`.
    factors : array on a GPU, shape (3,), float32, optional
        What `adam_factors` wrote, with the same options: it then stands for `step` and `lr`.
    """
    op = "adam_step"
    module = native.module(op)
    p = _parameter(op, param)
    g = _like(op, "grad", grad, p, write=False)
    m, v = _like(op, "exp_avg", exp_avg, p, write=True), _like(op, "exp_avg_sq", exp_avg_sq, p, write=True)
    f = None if factors is None else arrays.view(op, "factors", factors, 1)
    if f is not None:
        arrays.check_shape(op, "factors", f, (3,))
    with Launch(op, p, g, m, v, f) as stream:
        module.adam_step(
            p.address,
            g.address,
            m.address,
            v.address,
            _address(f),
            arrays.count(p.shape),
            step=arg.integer(op, "step", step),
            lr=as_number(op, "lr", lr),
            beta1=as_number(op, "beta1", beta1, 1.0),
            beta2=as_number(op, "beta2", beta2, 1.0),
            eps=as_number(op, "eps", eps),
            weight_decay=as_number(op, "weight_decay", weight_decay),
            decoupled=arg.flag(op, "decoupled", decoupled),
            stream=stream,
        )


def adam_factors(
    step: Any,
    factors: Any,
    *,
    lr: Any = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Any:
    """Count `step` on and write what this step of Adam needs, once for all parameters; nothing comes from the host.

    Parameters
    ----------
    step : array on a GPU, shape (1,), int64
        The steps so far; 1 is added.
    factors : array on a GPU, shape (3,), float32
        Written: lr / (1 - beta1**step), sqrt(1 - beta2**step), and 1 - lr * weight_decay if `decoupled`, else 1.
    lr : float, or an array of one float32 on the GPU
    beta1, beta2, weight_decay, decoupled
        As for `adam_step`.

    Returns
    -------
    `factors`
    """
    op = "adam_factors"
    module = native.module(op)
    s = arrays.view(op, "step", step, 1, "int64", write=True)
    f = arrays.view(op, "factors", factors, 1, write=True)
    arrays.check_shape(op, "step", s, (1,))
    arrays.check_shape(op, "factors", f, (3,))
    rate = _changing(op, "lr", lr)
    decay = as_number(op, "weight_decay", weight_decay)
    with Launch(op, s, f, rate) as stream:
        module.adam_factors(
            s.address,
            _address(rate),
            f.address,
            lr=0.0 if rate else as_number(op, "lr", lr),
            beta1=as_number(op, "beta1", beta1, 1.0),
            beta2=as_number(op, "beta2", beta2, 1.0),
            decoupled_decay=decay if arg.flag(op, "decoupled", decoupled) else 0.0,
            stream=stream,
        )
    return factors
