"""Batch, group, layer and local response normalisation, each with its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fastconv import _core
from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array, Layout
from fastconv._checks.numbers import number
from fastconv.ops.device import gpu_ops

Stats = NDArray[np.float64]


def check_count(op: str, count: int, shape: Sequence[int]) -> None:
    """Refuse statistics over a single value, as PyTorch does: its output would be the bias, whatever the input."""
    if count == 1:
        raise ValueError(f"{op}: input must have more than one value per channel in training, got shape {tuple(shape)}")


def _images(op: str, input: object, layout: Layout) -> tuple[Array, int, int]:
    """Return a judged array of 2 or 4 dimensions, its channels and the values of each channel."""
    array = arg.check_array(op, "input", input, None)
    if array.ndim not in (2, 4):
        raise ValueError(f"{op}: input must be (N, F) or 4-D ({layout}), got shape {array.shape}")
    channels = array.shape[1] if array.ndim == 2 or layout == "NCHW" else array.shape[3]
    if 0 in array.shape[1:]:
        raise ValueError(f"{op}: sizes other than N must be positive, got shape {array.shape}")
    return array, channels, math.prod(array.shape) // channels


def _vector(op: str, name: str, value: object, size: int, dtype: np.dtype[Any]) -> Array | None:
    if value is None:
        return None
    array = arg.check_array(op, name, value, 1, dtype)
    arg.check_shape(op, name, array, (size,))
    return arg.contiguous(array)


def _running(op: str, name: str, value: object, size: int, dtype: np.dtype[Any]) -> Array | None:
    """A running statistic: written in training, so it must be the caller's very memory."""
    if value is None:
        return None
    array = arg.check_array(op, name, value, 1, dtype)
    return arg.check_output(op, array, (size,), dtype, (), name)


def _stats(op: str, value: object, count: int) -> Stats:
    array = arg.check_array(op, "stats", value, 2, np.dtype(np.float64))
    arg.check_shape(op, "stats", array, (count, 2))
    return arg.contiguous(array)  # type: ignore[return-value]  # its dtype was judged


def _gradient_pair(op: str, grad_output: object, input: Array) -> Array:
    grad = arg.check_array(op, "grad_output", grad_output, None, input.dtype)
    arg.check_shape(op, "grad_output", grad, input.shape)
    return arg.contiguous(grad)


@overload
def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    layout: str = "NCHW",
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    layout: str = "NCHW",
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Stats]: ...
def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    layout: str = "NCHW",
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Stats]:
    """Batch normalisation (Ioffe and Szegedy 2015): (input - mean) / sqrt(var + eps) * weight + bias by channel.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W) or (N, C), float32 or float64
        With layout "NHWC": (N, H, W, C). N may be 0.
    running_mean, running_var : ndarray, shape (C,), or None
        With `training` they are outputs, as in PyTorch: running = (1 - momentum) * running + momentum * batch, the
        batch's variance taken with N*H*W - 1; or None. Without, they are what the input is normalised with.
    weight, bias : ndarray, shape (C,), optional
        Default: 1 and 0.
    training : bool, default False
        Take mean and (biased) variance from the batch.
    momentum : float, default 0.1
    eps : float, default 1e-5
    activation : None or "relu"
        Applied in the same pass.
    layout : "NCHW" or "NHWC"
    return_stats : bool, default False
        Return what `batch_norm_backward` wants, too.
    out : ndarray, optional
        Takes the result.

    Returns
    -------
    ndarray of the shape of `input`
    ndarray, shape (C, 2), float64; only with `return_stats`
        Mean and 1 / sqrt(var + eps).

    Raises
    ------
    TypeError, ValueError
        For wrong dtypes and shapes; in training for a single value per channel.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        options = {"activation": activation, "layout": layout, "return_stats": return_stats, "out": out}
        return gpu.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps, **options)
    op = "batch_norm"
    where, chosen = arg.layout(op, layout), arg.activation(op, activation)
    array, channels, count = _images(op, input, where)
    if training:
        check_count(op, count, array.shape)
    elif running_mean is None or running_var is None:
        raise ValueError(f"{op}: running_mean and running_var must be given unless training=True, got None")
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{op}: running_mean and running_var must be given both or not at all, got one")
    factor = number(op, "momentum", momentum, 0.0)
    small = number(op, "eps", eps, 0.0)
    scale, shift = (_vector(op, n, v, channels, array.dtype) for n, v in (("weight", weight), ("bias", bias)))
    check = _running if training else _vector
    mean = check(op, "running_mean", running_mean, channels, array.dtype)
    var = check(op, "running_var", running_var, channels, array.dtype)
    output = arg.check_output(op, out, array.shape, array.dtype, (array, scale, shift, mean, var))
    stats = np.zeros((channels, 2))
    if not training and mean is not None and var is not None:  # read only, whatever the caller's flags say
        mean, var = (m if m.flags.writeable else m.copy() for m in (mean, var))
    _core.norm_forward(
        arg.contiguous(array), scale, shift, output, stats, running_mean=mean, running_var=var,
        training=bool(training), momentum=factor, eps=small, activation=chosen, layout=where,
    )  # fmt: skip
    return (output, stats) if return_stats else output


def batch_norm_backward(
    grad_output: Array,
    input: Array,
    stats: Stats,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = True,
    *,
    activation: str | None = None,
    layout: str = "NCHW",
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm`.

    Parameters
    ----------
    grad_output, input : ndarray, shape (N, C, H, W) or (N, C)
    stats : ndarray, shape (C, 2), float64
        As `batch_norm` returned them.
    weight, bias : ndarray, shape (C,), optional
        The bias is read with activation "relu" only, whose mask is computed again.
    training : bool, default True
        The statistics were the batch's; otherwise they are constants.
    activation, layout
        As in forward.
    out : ndarray, optional
        Takes grad_input.

    Returns
    -------
    grad_input : ndarray of the shape of `input`
        rstd * weight * (g - mean(g) - xhat * mean(g * xhat)), xhat the normalised input; without `training`
        rstd * weight * g.
    grad_weight, grad_bias : ndarray, shape (C,)
        sum(g * xhat) and sum(g).

    Raises
    ------
    TypeError, ValueError
        As for `batch_norm`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        options = {"activation": activation, "layout": layout, "out": out}
        return gpu.batch_norm_backward(grad_output, input, stats, weight, bias, training, **options)
    op = "batch_norm_backward"
    where, chosen = arg.layout(op, layout), arg.activation(op, activation)
    array, channels, _ = _images(op, input, where)
    grad = _gradient_pair(op, grad_output, array)
    saved = _stats(op, stats, channels)
    scale, shift = (_vector(op, n, v, channels, array.dtype) for n, v in (("weight", weight), ("bias", bias)))
    grad_input = arg.check_output(op, out, array.shape, array.dtype, (array, grad, scale, shift))
    grad_weight, grad_bias = np.empty(channels, array.dtype), np.empty(channels, array.dtype)
    _core.norm_backward(
        grad, arg.contiguous(array), saved, scale, shift, grad_input, grad_weight, grad_bias,
        training=bool(training), activation=chosen, layout=where,
    )  # fmt: skip
    return grad_input, grad_weight, grad_bias


def check_groups(op: str, num_groups: object, channels: int) -> int:
    groups = arg.integer(op, "num_groups", num_groups)
    if groups < 1 or channels % groups:
        raise ValueError(f"{op}: num_groups must divide the {channels} channels, got {groups}")
    return groups


@overload
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Stats]: ...
def group_norm(
    input: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Stats]:
    """Group normalisation (Wu and He 2018): mean and variance over each sample's groups of channels.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W) or (N, C), float32 or float64
        With layout "NHWC": (N, H, W, C). N may be 0.
    num_groups : int
        Divides C. 1 normalises whole samples, C every channel by itself (instance norm).
    weight, bias : ndarray, shape (C,), optional
    eps : float, default 1e-5
    layout, out
        As for `batch_norm`.
    return_stats : bool, default False
        Return what `group_norm_backward` wants, too.

    Returns
    -------
    ndarray of the shape of `input`
    ndarray, shape (N * num_groups, 2), float64; only with `return_stats`
        Mean and 1 / sqrt(var + eps).

    Raises
    ------
    TypeError, ValueError
        For wrong dtypes, shapes and groups.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.group_norm(input, num_groups, weight, bias, eps, layout=layout, return_stats=return_stats, out=out)
    op = "group_norm"
    where = arg.layout(op, layout)
    array, channels, _ = _images(op, input, where)
    groups, small = check_groups(op, num_groups, channels), number(op, "eps", eps, 0.0)
    scale, shift = (_vector(op, n, v, channels, array.dtype) for n, v in (("weight", weight), ("bias", bias)))
    output = arg.check_output(op, out, array.shape, array.dtype, (array, scale, shift))
    stats = np.zeros((array.shape[0] * groups, 2))
    _core.norm_forward(
        arg.contiguous(array), scale, shift, output, stats, eps=small, groups=groups, layout=where
    )  # fmt: skip
    return (output, stats) if return_stats else output


def group_norm_backward(
    grad_output: Array,
    input: Array,
    num_groups: int,
    stats: Stats,
    weight: Array | None = None,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `group_norm`.

    Parameters
    ----------
    grad_output, input : ndarray, shape (N, C, H, W) or (N, C)
    num_groups : int
    stats : ndarray, shape (N * num_groups, 2), float64
        As `group_norm` returned them.
    weight : ndarray, shape (C,), optional
    layout, out
        As for `batch_norm_backward`.

    Returns
    -------
    grad_input : ndarray of the shape of `input`
        rstd * (w g - mean(w g) - xhat * mean(w g xhat)), the means over the group.
    grad_weight, grad_bias : ndarray, shape (C,)

    Raises
    ------
    TypeError, ValueError
        As for `group_norm`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.group_norm_backward(grad_output, input, num_groups, stats, weight, layout=layout, out=out)
    op = "group_norm_backward"
    where = arg.layout(op, layout)
    array, channels, _ = _images(op, input, where)
    groups = check_groups(op, num_groups, channels)
    grad = _gradient_pair(op, grad_output, array)
    saved = _stats(op, stats, array.shape[0] * groups)
    scale = _vector(op, "weight", weight, channels, array.dtype)
    grad_input = arg.check_output(op, out, array.shape, array.dtype, (array, grad, scale))
    grad_weight, grad_bias = np.empty(channels, array.dtype), np.empty(channels, array.dtype)
    _core.norm_backward(
        grad, arg.contiguous(array), saved, scale, None, grad_input, grad_weight, grad_bias, groups=groups,
        layout=where,
    )  # fmt: skip
    return grad_input, grad_weight, grad_bias


def _rows(op: str, input: object, normalized_shape: object) -> tuple[Array, tuple[int, ...], tuple[int, int]]:
    """Return the judged array, the normalised shape, and (rows, elements)."""
    array = arg.check_array(op, "input", input, None)
    given = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    shape = tuple(arg.integer(op, "normalized_shape", size) for size in given)
    if not shape or min(shape) < 1 or array.shape[-len(shape) :] != shape:
        raise ValueError(f"{op}: normalized_shape must be the last sizes of input, {array.shape}, got {shape}")
    elements = math.prod(shape)
    return array, shape, (array.size // elements, elements)


def _element_array(op: str, name: str, value: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    if value is None:
        return None
    array = arg.check_array(op, name, value, None, dtype)
    arg.check_shape(op, name, array, shape)
    return arg.contiguous(array).reshape(-1)


@overload
def layer_norm(
    input: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    return_stats: Literal[False] = False,
    out: Array | None = None,
) -> Array: ...
@overload
def layer_norm(
    input: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    return_stats: Literal[True],
    out: Array | None = None,
) -> tuple[Array, Stats]: ...
def layer_norm(
    input: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    return_stats: bool = False,
    out: Array | None = None,
) -> Array | tuple[Array, Stats]:
    """Layer normalisation (Ba, Kiros and Hinton 2016) over the last axes, a weight and a bias for each element.

    Parameters
    ----------
    input : ndarray, shape (..., *normalized_shape), float32 or float64
    normalized_shape : int or sequence of int
    weight, bias : ndarray of shape `normalized_shape`, optional
    eps : float, default 1e-5
    return_stats : bool, default False
        Return what `layer_norm_backward` wants, too.
    out : ndarray, optional
        Takes the result.

    Returns
    -------
    ndarray of the shape of `input`
    ndarray, shape (rows, 2), float64; only with `return_stats`
        Mean and 1 / sqrt(var + eps) of each row of elements.

    Raises
    ------
    TypeError, ValueError
        For wrong dtypes and shapes.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.layer_norm(input, normalized_shape, weight, bias, eps, return_stats=return_stats, out=out)
    op = "layer_norm"
    array, shape, rows = _rows(op, input, normalized_shape)
    small = number(op, "eps", eps, 0.0)
    scale, shift = (_element_array(op, n, v, shape, array.dtype) for n, v in (("weight", weight), ("bias", bias)))
    output = arg.check_output(op, out, array.shape, array.dtype, (array, scale, shift))
    stats = np.zeros((rows[0], 2))
    _core.norm_forward(
        arg.contiguous(array).reshape(rows), scale, shift, output.reshape(rows), stats, eps=small, groups=-1,
        layout="NHWC",
    )  # fmt: skip
    return (output, stats) if return_stats else output


def layer_norm_backward(
    grad_output: Array,
    input: Array,
    normalized_shape: int | Sequence[int],
    stats: Stats,
    weight: Array | None = None,
    *,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of `layer_norm`.

    Parameters
    ----------
    grad_output, input : ndarray, shape (..., *normalized_shape)
    normalized_shape : int or sequence of int
    stats : ndarray, shape (rows, 2), float64
        As `layer_norm` returned them.
    weight : ndarray of shape `normalized_shape`, optional
    out : ndarray, optional
        Takes grad_input.

    Returns
    -------
    grad_input : ndarray of the shape of `input`
        rstd * (w g - mean(w g) - xhat * mean(w g xhat)), the means over a row.
    grad_weight, grad_bias : ndarray of shape `normalized_shape`

    Raises
    ------
    TypeError, ValueError
        As for `layer_norm`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.layer_norm_backward(grad_output, input, normalized_shape, stats, weight, out=out)
    op = "layer_norm_backward"
    array, shape, rows = _rows(op, input, normalized_shape)
    grad = _gradient_pair(op, grad_output, array)
    saved = _stats(op, stats, rows[0])
    scale = _element_array(op, "weight", weight, shape, array.dtype)
    grad_input = arg.check_output(op, out, array.shape, array.dtype, (array, grad, scale))
    grad_weight, grad_bias = np.empty(rows[1], array.dtype), np.empty(rows[1], array.dtype)
    _core.norm_backward(
        grad.reshape(rows), arg.contiguous(array).reshape(rows), saved, scale, None, grad_input.reshape(rows),
        grad_weight, grad_bias, groups=-1, layout="NHWC",
    )  # fmt: skip
    return grad_input, grad_weight.reshape(shape), grad_bias.reshape(shape)


def lrn_options(op: str, size: object, alpha: object, beta: object, k: object) -> dict[str, Any]:
    count = arg.integer(op, "size", size)
    if count < 1:
        raise ValueError(f"{op}: size must be positive, got {count}")
    return {
        "size": count,
        "alpha": number(op, "alpha", alpha, 0.0),
        "beta": number(op, "beta", beta, 0.0),
        "k": number(op, "k", k, 0.0),
    }


def local_response_norm(
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Local response normalisation (Krizhevsky, Sutskever and Hinton 2012, section 3.3), with PyTorch's options.

    output = input / base^beta, base[c] = k + alpha / size * sum of input^2 over c - size // 2 ... c + (size - 1) // 2.

    Parameters
    ----------
    input : ndarray, shape (N, C, H, W), float32 or float64
        With layout "NHWC": (N, H, W, C). N may be 0.
    size : int
        Neighbouring channels, those outside being 0. The paper's alpha is `alpha / size`.
    alpha, beta, k : float
        beta = 0.75 takes two roots, any other a power, which is several times slower.
    layout, out
        As for `batch_norm`.

    Returns
    -------
    ndarray of the shape of `input`

    Raises
    ------
    TypeError, ValueError
        For wrong dtypes, shapes and options.
    """
    if type(input) is not np.ndarray and (gpu := gpu_ops(input)):
        return gpu.local_response_norm(input, size, alpha, beta, k, layout=layout, out=out)
    op = "local_response_norm"
    where, options = arg.layout(op, layout), lrn_options(op, size, alpha, beta, k)
    array = arg.check_array(op, "input", input, 4)
    _images(op, array, where)
    output = arg.check_output(op, out, array.shape, array.dtype, (array,))
    _core.local_response_norm(arg.contiguous(array), None, output, layout=where, **options)
    return output


def local_response_norm_backward(
    grad_output: Array,
    input: Array,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Gradient of `local_response_norm`.

    Parameters
    ----------
    grad_output, input : ndarray, shape (N, C, H, W)
    size, alpha, beta, k, layout, out
        As in forward.

    Returns
    -------
    ndarray of the shape of `input`
        g / base^beta - 2 alpha beta / size * input * sum of g * input / base^(beta + 1) over the channels whose window
        holds c.

    Raises
    ------
    TypeError, ValueError
        As for `local_response_norm`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.local_response_norm_backward(grad_output, input, size, alpha, beta, k, layout=layout, out=out)
    op = "local_response_norm_backward"
    where, options = arg.layout(op, layout), lrn_options(op, size, alpha, beta, k)
    array = arg.check_array(op, "input", input, 4)
    _images(op, array, where)
    grad = _gradient_pair(op, grad_output, array)
    grad_input = arg.check_output(op, out, array.shape, array.dtype, (array, grad))
    _core.local_response_norm(arg.contiguous(array), grad, grad_input, layout=where, **options)
    return grad_input
