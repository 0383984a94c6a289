"""Steps of the optimisers on one parameter, in place: the parameter and its state change in one pass.

Nothing is copied, so parameter, gradient and state are C-contiguous, aligned arrays of one shape and dtype that do not
overlap. State arrays begin as zeros. `fastconv.optim` keeps state and step counts for whole models.
"""

from __future__ import annotations

import numpy as np

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv._checks.numbers import as_number
from fastconv.ops.device import gpu_ops


def _check_arrays(op: str, param: object, grad: object, **state: object) -> None:
    """The native module judges shapes, memory and overlap; here dtypes and types, with the cast to write."""
    dtype = arg.check_array(op, "param", param, None).dtype
    arg.check_array(op, "grad", grad, None, dtype)
    for name, array in state.items():
        if array is not None:
            arg.check_array(op, name, array, None, dtype)


def sgd_step(
    param: Array,
    grad: Array,
    velocity: Array | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of gradient descent with momentum, as `torch.optim.SGD`.

    g = grad + weight_decay*param;  velocity = momentum*velocity + (1 - dampening)*g
    param -= lr * velocity, or lr * (g + momentum*velocity) with `nesterov`, or lr * g without a velocity

    Parameters
    ----------
    param, grad, velocity : ndarray of one shape, float32 or float64
        `param` and `velocity` change. PyTorch does not dampen its first step: pass dampening=0 then.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool, default False

    Raises
    ------
    TypeError
        For other dtypes or memory layouts.
    ValueError
        For shapes that differ, arrays that overlap or cannot be written, numbers out of range, and momentum without a
        velocity.

    Notes
    -----
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """
    if type(param) is not np.ndarray and (gpu := gpu_ops(param)):
        gpu.sgd_step(
            param,
            grad,
            velocity,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )
        return
    op = "sgd_step"
    _check_arrays(op, param, grad, velocity=velocity)
    if velocity is None and (momentum != 0 or nesterov):
        raise ValueError(f"{op}: velocity must be an array where momentum is used, got None")
    _core.sgd_step(
        param,
        grad,
        velocity,
        lr=as_number(op, "lr", lr),
        momentum=as_number(op, "momentum", momentum),
        dampening=as_number(op, "dampening", dampening),
        weight_decay=as_number(op, "weight_decay", weight_decay),
        nesterov=bool(nesterov),
    )


def rmsprop_step(
    param: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None = None,
    velocity: Array | None = None,
    *,
    lr: float,
    rho: float = 0.9,
    eps: float = 1e-7,
    eps_inside_root: bool = True,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """One step of RMSprop: the gradient divided by the root of a running mean of its square.

    g = grad + weight_decay*param;  square_avg = rho*square_avg + (1 - rho)*g*g
    u = g / sqrt(square_avg + eps), or g / (sqrt(square_avg) + eps) without `eps_inside_root` (PyTorch's form)
    velocity = momentum*velocity + u;  param -= lr * velocity, or lr * u without a velocity

    Parameters
    ----------
    param, grad, square_avg : ndarray of one shape, float32 or float64
        All but `grad` change.
    grad_avg : ndarray, optional
        The centred form: grad_avg = rho*grad_avg + (1 - rho)*g, and square_avg - grad_avg**2 under the root.
    velocity : ndarray, optional
        With momentum.
    lr, rho, eps, momentum, weight_decay : float
    eps_inside_root : bool, default True
        The Keras form.

    Raises
    ------
    TypeError, ValueError
        As for `sgd_step`.

    Notes
    -----
    Hinton, lecture 6e of "Neural networks for machine learning", 2012; centred: Graves, arXiv 1308.0850.
    """
    if type(param) is not np.ndarray and (gpu := gpu_ops(param)):
        gpu.rmsprop_step(
            param,
            grad,
            square_avg,
            grad_avg,
            velocity,
            lr=lr,
            rho=rho,
            eps=eps,
            eps_inside_root=eps_inside_root,
            momentum=momentum,
            weight_decay=weight_decay,
        )
        return
    op = "rmsprop_step"
    _check_arrays(op, param, grad, square_avg=square_avg, grad_avg=grad_avg, velocity=velocity)
    if velocity is None and momentum != 0:
        raise ValueError(f"{op}: velocity must be an array where momentum is used, got None")
    _core.rmsprop_step(
        param,
        grad,
        square_avg,
        grad_avg,
        velocity,
        lr=as_number(op, "lr", lr),
        rho=as_number(op, "rho", rho, 1.0),
        eps=as_number(op, "eps", eps),
        eps_inside_root=bool(eps_inside_root),
        momentum=as_number(op, "momentum", momentum),
        weight_decay=as_number(op, "weight_decay", weight_decay),
    )


def adam_step(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    *,
    step: int,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam, or of AdamW with `decoupled`.

    g = grad + weight_decay*param, or with `decoupled` g = grad and param *= 1 - lr*weight_decay
    exp_avg = beta1*exp_avg + (1 - beta1)*g;  exp_avg_sq = beta2*exp_avg_sq + (1 - beta2)*g*g
    param -= lr / (1 - beta1**step) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2**step)) + eps)

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq : ndarray of one shape, float32 or float64
        All but `grad` change.
    step : int
        1 for the first step.
    lr, beta1, beta2, eps, weight_decay : float
    decoupled : bool, default False

    Raises
    ------
    TypeError, ValueError
        As for `sgd_step`; ValueError also for a step below 1.

    Notes
    -----
    Kingma and Ba, "Adam", ICLR 2015; Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    if type(param) is not np.ndarray and (gpu := gpu_ops(param)):
        gpu.adam_step(
            param,
            grad,
            exp_avg,
            exp_avg_sq,
            step=step,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            decoupled=decoupled,
        )
        return
    op = "adam_step"
    _check_arrays(op, param, grad, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    _core.adam_step(
        param,
        grad,
        exp_avg,
        exp_avg_sq,
        step=arg.integer(op, "step", step),
        lr=as_number(op, "lr", lr),
        beta1=as_number(op, "beta1", beta1, 1.0),
        beta2=as_number(op, "beta2", beta2, 1.0),
        eps=as_number(op, "eps", eps),
        weight_decay=as_number(op, "weight_decay", weight_decay),
        decoupled=bool(decoupled),
    )
