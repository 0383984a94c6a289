"""Sinusoidal embedding of positions or time steps (Vaswani et al. 2017, section 3.5; Ho et al. 2020 for diffusion).

    y[n, i] = sin(t[n] * f[i]),  y[n, D/2 + i] = cos(t[n] * f[i]),  f[i] = max_period^(-i / (D/2))
    grad_t[n] = sum over i of f[i] * (grad_y[n, i] * y[n, D/2 + i] - grad_y[n, D/2 + i] * y[n, i])

Sines first, then cosines, as in diffusion models; Vaswani et al. alternate them, which is a permutation of the
features. NumPy's sine and cosine, on one thread: a few values for each sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._checks import arguments as arg
from fastconv._checks.arguments import Array
from fastconv.ops.device import gpu_ops


def check_embedding(op: str, dim: object, max_period: object) -> tuple[int, float]:
    size = arg.integer(op, "dim", dim)
    if size < 2 or size % 2 or size >= 2**31:
        raise ValueError(f"{op}: dim must be positive, even and below 2147483648, got {size}")
    if isinstance(max_period, bool | np.bool_) or not isinstance(max_period, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: max_period must be a number, got {arg.describe(max_period)}")
    if not (math.isfinite(max_period) and max_period > 0):
        raise ValueError(f"{op}: max_period must be positive and finite, got {max_period}")
    return size, float(max_period)


def frequencies(dim: int, max_period: float, dtype: np.dtype[Any]) -> Array:
    """f[i], computed in float64."""
    half = dim // 2
    found: Array = np.exp(-math.log(max_period) * np.arange(half) / half).astype(dtype)
    return found


def embed(positions: Array, frequency: Array, output: Array) -> None:
    """Write the embedding of positions (N, 1)."""
    half = frequency.size
    sines, cosines = output[:, :half], output[:, half:]
    with np.errstate(invalid="ignore"):  # sin(inf) is NaN, as it should be
        np.multiply(positions, frequency, out=cosines)
        np.sin(cosines, out=sines)
        np.cos(cosines, out=cosines)


def embed_backward(grad_output: Array, output: Array, frequency: Array, grad_positions: Array) -> None:
    """Write the gradient of positions (N, 1); overwrites `grad_output`."""
    half = frequency.size
    grad_sines, grad_cosines = grad_output[:, :half], grad_output[:, half:]
    np.multiply(grad_sines, output[:, half:], out=grad_sines)
    np.multiply(grad_cosines, output[:, :half], out=grad_cosines)
    np.subtract(grad_sines, grad_cosines, out=grad_sines)
    np.einsum("nf,f->n", grad_sines, frequency, out=grad_positions[:, 0])


def sinusoidal_embedding(positions: Array, dim: int, max_period: float = 10000.0, *, out: Array | None = None) -> Array:
    """Turn positions into sines and cosines of geometrically falling frequencies.

    Parameters
    ----------
    positions : ndarray, shape (N,) or (N, 1), float32 or float64
        Time steps, say; they need not be whole numbers.
    dim : int
        D, even.
    max_period : float, default 10000
        The longest period is nearly 2 * pi * max_period.
    out : ndarray, optional
        As for `linear`.

    Returns
    -------
    ndarray, shape (N, D)

    Raises
    ------
    TypeError, ValueError
        For other arrays, shapes and sizes.
    """
    if type(positions) is not np.ndarray and (gpu := gpu_ops(positions)):
        return gpu.sinusoidal_embedding(positions, dim, max_period, out=out)
    op = "sinusoidal_embedding"
    size, period = check_embedding(op, dim, max_period)
    at = _column(op, arg.check_array(op, "positions", positions, None))
    output = arg.check_output(op, out, (at.shape[0], size), at.dtype, (at,))
    embed(at, frequencies(size, period, at.dtype), output)
    return output


def sinusoidal_embedding_backward(
    grad_output: Array, positions: Array, max_period: float = 10000.0, *, out: Array | None = None
) -> Array:
    """Gradient of `sinusoidal_embedding` with respect to the positions.

    Parameters
    ----------
    grad_output : ndarray, shape (N, D), float32 or float64
    positions : ndarray, shape (N,) or (N, 1)
        Of forward.
    max_period, out
        As for `sinusoidal_embedding`.

    Returns
    -------
    ndarray of the shape of `positions`

    Raises
    ------
    TypeError, ValueError
        As for `sinusoidal_embedding`.
    """
    if type(grad_output) is not np.ndarray and (gpu := gpu_ops(grad_output)):
        return gpu.sinusoidal_embedding_backward(grad_output, positions, max_period, out=out)
    op = "sinusoidal_embedding_backward"
    grad = arg.check_array(op, "grad_output", grad_output, 2)
    size, period = check_embedding(op, grad.shape[1], max_period)
    positions = arg.check_array(op, "positions", positions, None, grad.dtype)
    at = _column(op, positions)
    arg.check_shape(op, "grad_output", grad, (at.shape[0], size))
    grad_positions = arg.check_output(op, out, positions.shape, grad.dtype, (grad, positions))
    frequency = frequencies(size, period, grad.dtype)
    output = np.empty_like(grad, order="C")
    embed(at, frequency, output)
    embed_backward(grad.copy(order="C"), output, frequency, grad_positions.reshape(-1, 1))
    return grad_positions


def _column(op: str, positions: Array) -> Array:
    if positions.ndim not in (1, 2) or positions.shape[1:] not in ((), (1,)):
        raise ValueError(f"{op}: positions must have shape (N,) or (N, 1), got {positions.shape}")
    return positions.reshape(-1, 1)
